"""What the core checks of parameters and bodies, as JSON schema: for people, and for whoever generates requests."""

from typing import Any, Final

from core.detection import plan
from core.domain import actions, alerts, drift, events, incidents, notifications, remediation, rules, source_configs
from core.domain.definitions import RETENTION_DAYS_MAX
from core.domain.matchers import MATCHERS_MAX
from core.domain.series import LABEL_NAME_CHARS_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX, NAME_CHARS_MAX

Node = dict[str, Any]

METRIC_NAME: Final = {"minLength": 1, "maxLength": NAME_CHARS_MAX, "pattern": r"^[A-Za-z_:][A-Za-z0-9_:.\-]*$"}
LABEL_NAME: Final = {
    "minLength": 1,
    "maxLength": LABEL_NAME_CHARS_MAX,
    "pattern": r"^[A-Za-z_][A-Za-z0-9_.\-/]*$",
}
MATCHERS: Final = {
    "maxItems": MATCHERS_MAX,
    "items": {"type": "string", "pattern": r"^[A-Za-z_][A-Za-z0-9_.\-/]*(=~|!~|!=|=)[^\x00]*$"},
}
SOME_MATCHERS: Final = {**MATCHERS, "minItems": 1}
TIME: Final = {"format": "date-time"}
NAME: Final = {"minLength": 1, "maxLength": 253}
"""Of a cluster, a namespace, a workload or a pod."""
DURATION: Final = {"pattern": "^[1-9][0-9]{0,4}(ms|s|m|h|d|w)$"}
SOURCE_NAME: Final = {"pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"}
DRIFT_ID: Final = {"minLength": 1, "maxLength": drift.ID_CHARS_MAX, "pattern": "^[ -.0-~]+$"}
_ID: Final = {"minimum": 1}
_POSITIVE: Final = {"exclusiveMinimum": 0}
_SHARE: Final = {"exclusiveMinimum": 0, "maximum": 1}

PARAMETERS: Final[dict[tuple[str, str], Node]] = {
    ("query", "name"): METRIC_NAME,
    ("path", "name"): METRIC_NAME,
    ("path", "label"): LABEL_NAME,
    ("query", "label"): MATCHERS,
    ("query", "group_by"): {"maxItems": LABELS_MAX, "items": {"type": "string", **LABEL_NAME}},
    ("query", "bucket"): DURATION,
    ("path", "incident_id"): _ID,
    ("path", "purge_id"): _ID,
    ("path", "alert_id"): _ID,
    ("path", "rule_id"): _ID,
    ("path", "silence_id"): _ID,
    ("path", "inhibition_id"): _ID,
    ("path", "channel_id"): _ID,
    ("path", "policy_id"): _ID,
    ("path", "remediation_id"): _ID,
    ("path", "source"): SOURCE_NAME,
    ("path", "run_id"): _ID,
    ("path", "instance_id"): _ID,
    ("path", "cluster"): NAME,
    ("path", "namespace"): NAME,
    ("path", "workload"): NAME,
    ("path", "pod"): NAME,
    ("path", "drift_id"): DRIFT_ID,
    ("path", "rec_id"): DRIFT_ID,
    ("query", "wait"): {"pattern": "^(0|[1-9][0-9]{0,4}(ms|s|m))$"},
    ("query", "tag"): {"pattern": "^[^:].*:.*$"},
}
"""By place and name."""


def _text(chars_max: int) -> Node:
    return {"minLength": 1, "maxLength": chars_max}


BODY_FIELDS: Final[dict[tuple[str, str], Node]] = {
    ("MetricDefinition", "name"): METRIC_NAME,
    ("MetricDefinition", "retention_days"): {"minimum": 1, "maximum": RETENTION_DAYS_MAX},
    ("DefinitionBody", "retention_days"): {"minimum": 1, "maximum": RETENTION_DAYS_MAX},
    ("TenantBody", "name"): {"pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"},
    ("EventSpec", "metric"): METRIC_NAME,
    ("EventSpec", "host"): {"maxLength": LABEL_VALUE_BYTES_MAX},
    ("EventSpec", "service"): {"maxLength": LABEL_VALUE_BYTES_MAX},
    ("EventSpec", "message"): _text(events.MESSAGE_CHARS_MAX),
    ("EventSpec", "ts"): {"format": "date-time"},
    ("EventSpec", "labels"): {"maxProperties": events.LABELS_MAX},
    ("Dependency", "client"): _text(LABEL_VALUE_BYTES_MAX),
    ("Dependency", "server"): _text(LABEL_VALUE_BYTES_MAX),
    ("DetectBody", "metric"): METRIC_NAME,
    ("DetectBody", "matchers"): MATCHERS,
    ("DetectBody", "since"): DURATION,
    ("DetectBody", "start"): {"format": "date-time"},
    ("DetectBody", "end"): {"format": "date-time"},
    ("DetectionBacktestBody", "since"): DURATION,
    ("DetectionBacktestBody", "start"): {"format": "date-time"},
    ("DetectionBacktestBody", "end"): {"format": "date-time"},
    ("DetectionSettings", "interval"): DURATION,
    ("DetectionSettings", "window"): DURATION,
    ("DetectionSettings", "time_limit"): DURATION,
    ("DetectionSettings", "matchers"): MATCHERS,
    ("DetectionSettings", "include"): {"maxItems": plan.PATTERNS_MAX},
    ("DetectionSettings", "exclude"): {"maxItems": plan.PATTERNS_MAX},
    ("DetectionSettings", "alert_risk"): {"minimum": 0, "exclusiveMaximum": 1},
    ("DetectionSettings", "alert_detectors"): {"minItems": 1, "uniqueItems": True},
    ("DetectionPlan", "detectors"): {"minItems": 1, "uniqueItems": True},
    ("VarianceSettings", "window"): DURATION,
    ("VarianceSettings", "increase_min"): {"minimum": 0},
    ("VarianceSettings", "increase_full"): _POSITIVE,
    ("VarianceSettings", "errors_min"): {"minimum": 0},
    ("VarianceSettings", "fill_min"): _SHARE,
    ("SpikeSettings", "deviations"): {"minimum": 0},
    ("SpikeSettings", "baseline_share"): _SHARE,
    ("SpikeSettings", "share_full"): _POSITIVE,
    ("SpikeSettings", "deviations_full"): _POSITIVE,
    ("TrendSettings", "increase_min"): {"minimum": 0},
    ("TrendSettings", "increase_full"): _POSITIVE,
    ("TrendSettings", "errors_min"): {"minimum": 0},
    ("StreamingSettings", "bucket"): DURATION,
    ("CorrelationSettings", "window"): DURATION,
    ("CorrelationSettings", "signals_min"): {"minimum": 1, "maximum": incidents.SIGNALS_MIN_MAX},
    ("CorrelationSettings", "reopen_within"): DURATION,
    ("CorrelationSettings", "resolve_after"): DURATION,
    ("AlertRule", "name"): _text(rules.NAME_CHARS_MAX),
    ("AlertRule", "metric"): METRIC_NAME,
    ("AlertRule", "matchers"): MATCHERS,
    ("AlertRule", "no_data_after"): DURATION,
    ("SilenceSpec", "matchers"): SOME_MATCHERS,
    ("SilenceSpec", "reason"): _text(alerts.REASON_CHARS_MAX),
    ("InhibitionSpec", "name"): _text(rules.NAME_CHARS_MAX),
    ("InhibitionSpec", "source"): SOME_MATCHERS,
    ("InhibitionSpec", "target"): SOME_MATCHERS,
    ("SlackBody", "name"): _text(notifications.NAME_CHARS_MAX),
    ("PagerDutyBody", "name"): _text(notifications.NAME_CHARS_MAX),
    ("WebhookBody", "name"): _text(notifications.NAME_CHARS_MAX),
    ("EmailBody", "name"): _text(notifications.NAME_CHARS_MAX),
    ("EmailBody", "port"): {"minimum": 1, "maximum": 65_535},
    ("EmailBody", "to"): {"minItems": 1, "maxItems": notifications.RECIPIENTS_MAX},
    ("PolicyBody", "name"): _text(actions.NAME_CHARS_MAX),
    ("PolicyBody", "steps"): {"minItems": 1, "maxItems": remediation.STEPS_MAX},
    ("PolicyBody", "approval_timeout"): DURATION,
    ("PolicyBody", "cooldown"): DURATION,
    ("PolicyBody", "actions_per_hour_max"): {"minimum": 1, "maximum": 1_000},
    ("PolicyBody", "actions_per_target_per_hour_max"): {"minimum": 1, "maximum": 1_000},
    ("Step", "name"): _text(actions.NAME_CHARS_MAX),
    ("Step", "timeout"): DURATION,
    ("Step", "retries"): {"minimum": 0, "maximum": remediation.RETRIES_MAX},
    ("MetricCheck", "metric"): METRIC_NAME,
    ("MetricCheck", "window"): DURATION,
    ("Verification", "within"): DURATION,
    ("Verification", "every"): DURATION,
    ("WaitAction", "duration"): DURATION,
    ("SourceBody", "name"): SOURCE_NAME,
    ("SourceBody", "interval"): DURATION,
    ("SourceBody", "lookback"): DURATION,
    ("SourceBody", "settle"): DURATION,
    ("SourceBody", "calls_per_minute"): {"minimum": 1, "maximum": 60_000},
    ("SourceBody", "calls_per_run_max"): {"minimum": 1, "maximum": 100_000},
    ("SourceBody", "cost_usd_per_run_max"): {**_POSITIVE, "maximum": 1e6},
    ("SourceUpdateBody", "name"): {"pattern": "^([a-z0-9][a-z0-9_-]{0,62})?$"},
    ("SourceUpdateBody", "interval"): DURATION,
    ("SourceUpdateBody", "lookback"): DURATION,
    ("SourceUpdateBody", "settle"): DURATION,
    ("SourceUpdateBody", "calls_per_minute"): {"minimum": 1, "maximum": 60_000},
    ("SourceUpdateBody", "calls_per_run_max"): {"minimum": 1, "maximum": 100_000},
    ("SourceUpdateBody", "cost_usd_per_run_max"): {**_POSITIVE, "maximum": 1e6},
    ("CloudWatchConfig", "region"): {"pattern": "^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$"},
    ("CloudWatchConfig", "period"): DURATION,
    ("NewRelicConfig", "account_id"): {"minimum": 1},
    ("NewRelicConfig", "region"): {"enum": ["us", "eu"]},
    ("NewRelicConfig", "bucket"): DURATION,
    ("PrometheusConfig", "step"): DURATION,
    ("SyntheticConfig", "instances"): {"minimum": 1, "maximum": source_configs.FLEET_MAX},
    ("SyntheticConfig", "cluster_id"): NAME,
    ("SyntheticConfig", "step"): DURATION,
    ("EksConfig", "cluster_id"): NAME,
    ("CollectionRequest", "cluster_id"): NAME,
    ("CollectionRequest", "start_time"): TIME,
    ("CollectionRequest", "end_time"): TIME,
    ("CollectBody", "cluster_id"): NAME,
    ("CollectBody", "start_time"): TIME,
    ("CollectBody", "end_time"): TIME,
    ("CapacitySnapshot", "cluster_id"): NAME,
    ("CapacitySnapshot", "ts"): TIME,
    ("NodeType", "instance_type"): NAME,
    ("ConfigChangeSpec", "cluster_id"): NAME,
    ("ConfigChangeSpec", "namespace"): NAME,
    ("ConfigChangeSpec", "workload"): NAME,
    ("ConfigChangeSpec", "ts"): TIME,
    ("ConfigBaseline", "cluster_id"): NAME,
    ("ConfigBaseline", "namespace"): NAME,
    ("ConfigBaseline", "workload"): NAME,
    ("DriftSpec", "cluster_id"): NAME,
    ("DriftSpec", "env"): NAME,
    ("DriftSpec", "drift_id"): DRIFT_ID,
    ("DriftSpec", "start_ts"): TIME,
    ("DriftSpec", "end_ts"): TIME,
    ("DriftDetectBody", "cluster_id"): NAME,
    ("RecommendationSpec", "cluster_id"): NAME,
    ("RecommendationSpec", "drift_id"): DRIFT_ID,
    ("RecommendationSpec", "rec_id"): DRIFT_ID,
    ("RecommendationSpec", "recommendation_type"): {"pattern": "^[A-Za-z0-9_]{1,64}$"},
}
"""By schema and field."""
