"""Bodies of requests to routes that decode strictly by themselves, which Litestar cannot know, and further status."""

from typing import Any, Final

from adapters.driving.http.administration import KeyBody, LimitsBody, TenantBody
from adapters.driving.http.anomalies import MarkBody
from adapters.driving.http.approval import AnswerForm
from adapters.driving.http.channel_bodies import ChannelBody
from adapters.driving.http.collection import CollectBody
from adapters.driving.http.definitions import DefinitionBody
from adapters.driving.http.dependencies import DependenciesBody
from adapters.driving.http.detect import DetectBody, DetectionBacktestBody
from adapters.driving.http.drift import DriftDetectBody, DriftStatusBody
from adapters.driving.http.event_body import EventBatch
from adapters.driving.http.incidents import MergeBody, SplitBody, UndoBody
from adapters.driving.http.json_list import ITEMS_MAX
from adapters.driving.http.kill_switch import KillSwitchBody
from adapters.driving.http.policies import PolicyBody
from adapters.driving.http.recommendations import ApplyBody, ApproveBody
from adapters.driving.http.remediations import ReasonBody
from adapters.driving.http.sources import SourceBody, SourceUpdateBody
from core.detection.plan import DetectionSettings
from core.domain.alerts import InhibitionSpec, SilenceSpec
from core.domain.capacity import CapacityPlan, CapacitySnapshot
from core.domain.collection import CollectionRequest
from core.domain.configurations import ConfigBaseline, ConfigChangeSpec
from core.domain.definitions import MetricDefinition
from core.domain.drift import DriftSpec
from core.domain.recommendations import RecommendationSpec
from core.domain.rules import AlertRule

Node = dict[str, Any]

BODIES: Final[dict[str, Any]] = {
    "create_definition": MetricDefinition,
    "put_definition": DefinitionBody,
    "create_source": SourceBody,
    "put_source": SourceUpdateBody,
    "collect_all": CollectionRequest,
    "collect": CollectBody,
    "post_capacity_snapshots": CapacitySnapshot,
    "put_capacity_plan": CapacityPlan,
    "post_config_changes": ConfigChangeSpec,
    "put_config_baseline": ConfigBaseline,
    "post_drift_event": DriftSpec,
    "set_drift_status": DriftStatusBody,
    "detect_drift": DriftDetectBody,
    "post_recommendation": RecommendationSpec,
    "approve_recommendation": ApproveBody,
    "reject_recommendation": ReasonBody,
    "apply_recommendation": ApplyBody,
    "create_tenant": TenantBody,
    "put_tenant_limits": LimitsBody,
    "create_key": KeyBody,
    "post_events": EventBatch,
    "put_dependencies": DependenciesBody,
    "detect": DetectBody,
    "backtest_detection": DetectionBacktestBody,
    "put_detection_settings": DetectionSettings,
    "mark_anomaly": MarkBody,
    "merge_incidents": MergeBody,
    "split_incident": SplitBody,
    "undo_incident_change": UndoBody,
    "create_rule": AlertRule,
    "put_rule": AlertRule,
    "backtest_unsaved_rule": AlertRule,
    "create_silence": SilenceSpec,
    "put_silence": SilenceSpec,
    "create_inhibition": InhibitionSpec,
    "create_channel": ChannelBody,
    "put_channel": ChannelBody,
    "create_policy": PolicyBody,
    "put_policy": PolicyBody,
    "put_kill_switch": KillSwitchBody,
    "approve_remediation": ReasonBody,
    "reject_remediation": ReasonBody,
    "cancel_remediation": ReasonBody,
    "decide_by_link": AnswerForm,
}
"""The types of request bodies by operation."""
_EVENT: Final = {"$ref": "#/components/schemas/EventSpec"}


def _list_of(schema: str) -> Node:
    items = {"$ref": f"#/components/schemas/{schema}"}
    return {"type": "array", "items": items, "minItems": 1, "maxItems": ITEMS_MAX}


ALTERNATIVES: Final[dict[str, list[Node]]] = {
    "post_events": [_EVENT, {"type": "array", "items": _EVENT, "minItems": 1}],
    "post_capacity_snapshots": [_list_of("CapacitySnapshot")],
    "post_config_changes": [_list_of("ConfigChangeSpec")],
}
"""Further shapes of request bodies by operation."""
FURTHER_STATUS: Final = {
    "put_definition": ("200", "201"),
    "post_capacity_snapshots": ("201", "200"),
    "post_drift_event": ("201", "200"),
    "post_recommendation": ("201", "200"),
    "collect_all": ("200", "202"),
    "collect": ("200", "202"),
}
"""Operations that have a second status for the same reply: the one that Litestar knows, the other one."""
BODY_OPTIONAL: Final = frozenset(
    {
        "approve_remediation",
        "reject_remediation",
        "cancel_remediation",
        "detect",
        "backtest_detection",
        "collect_all",
        "collect",
        "approve_recommendation",
        "reject_recommendation",
        "apply_recommendation",
    }
)
"""Operations whose body may be left out."""
