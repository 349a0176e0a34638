"""The examples of drift and recommendations for the OpenAPI document, by operation."""

from typing import Any, Final

Example = dict[str, Any] | str

_AT: Final = "2026-01-31T12:00:00Z"
_DRIFT_ID: Final = "cpu-over-request-checkout-2026-01-31"
_REC_ID: Final = "right-size-checkout-2026-01-31"
_DRIFT: Final = {
    "cluster_id": "prod-eu",
    "env": "production",
    "drift_date": "2026-01-31",
    "drift_id": _DRIFT_ID,
    "drift_category": "CPU_MEMORY_DRIFT",
    "severity": "major",
    "workload_name": "checkout",
    "namespace": "shop",
    "start_ts": "2026-01-31T09:00:00Z",
    "end_ts": None,
    "detection_method": "threshold",
    "confidence_score": 0.9,
    "status": "open",
    "message": "checkout uses 180 % of the cpu that it asks for",
    "evidence": {"metric": "pod_cpu_usage_cores", "observed": 0.9, "expected": 0.5},
}
_EVENT: Final = {
    **_DRIFT,
    "last_seen_at": _AT,
    "automatic": False,
    "synthetic": False,
    "created_at": _AT,
    "updated_at": _AT,
    "status_by": None,
    "status_note": None,
}
_DOCUMENT: Final = {
    "namespace": "shop",
    "workload": "checkout",
    "current": {"cpu_request": "500m", "memory_request": "4Gi"},
    "proposed": {"cpu_request": "1", "memory_request": "2Gi"},
}
_RECOMMENDATION: Final = {
    "cluster_id": "prod-eu",
    "env": "production",
    "drift_date": "2026-01-31",
    "drift_id": _DRIFT_ID,
    "rec_id": _REC_ID,
    "recommendation_type": "right_size",
    "recommendation_json": _DOCUMENT,
    "estimated_savings_usd": 96.5,
    "auto_approved": False,
}
_STORED: Final = {
    **_RECOMMENDATION,
    "state": "proposed",
    "automatic": False,
    "synthetic": False,
    "created_at": _AT,
    "updated_at": _AT,
    "decided_at": None,
    "decided_by": None,
    "reason": None,
    "remediation": None,
    "dry_run": None,
    "applied_at": None,
}
_CHANGES: Final = ["cpu request of shop/checkout: 500m → 1", "memory request of shop/checkout: 4Gi → 2Gi"]
_DETAIL: Final = {
    "recommendation": {
        **_STORED,
        "state": "applied",
        "decided_at": "2026-01-31T12:10:00Z",
        "decided_by": "key:7",
        "reason": "agreed with the team",
        "remediation": 5,
        "dry_run": False,
        "applied_at": "2026-01-31T12:20:00Z",
    },
    "changes": _CHANGES,
    "outcome": {
        "predicted_savings_usd": 96.5,
        "realised_savings_usd": 91.2,
        "saturation": {"cpu_before": 1.8, "cpu_after": 0.9, "memory_before": 0.35, "memory_after": 0.7},
        "measured_until": "2026-02-01T12:00:00Z",
        "note": "by what shop/checkout asked for before and after, at the cluster's price",
    },
}
_DECIDED: Final = {**_STORED, "decided_at": "2026-01-31T12:10:00Z", "decided_by": "key:7"}


def _step(name: str, expected: dict[str, str], **settings: str) -> dict[str, Any]:
    action = {
        "type": "kubernetes_set_container",
        "namespace": "shop",
        "deployment": "checkout",
        "container": None,
        "image": None,
        "cpu_limit": None,
        "memory_limit": None,
        "expected": {"image": None, "cpu_limit": None, "memory_limit": None, **expected},
        **settings,
    }
    return {"name": name, "action": action, "risk": "medium", "preconditions": [], "timeout": None, "retries": 2}


_BEFORE: Final = {"cpu_request": "500m", "memory_request": "4Gi"}
_AFTER: Final = {"cpu_request": "1", "memory_request": "2Gi"}


_POLICY: Final = {
    "name": "recommendation right_size",
    "description": "cpu request of shop/checkout: 500m → 1; memory request of shop/checkout: 4Gi → 2Gi",
    "enabled": True,
    "dry_run": True,
    "preconditions": [],
    "steps": [_step("right size", _BEFORE, **_AFTER)],
    "approval": "none",
    "approval_above": "low",
    "approval_timeout": "1h",
    "cooldown": "15m",
    "actions_per_hour_max": 20,
    "actions_per_target_per_hour_max": 4,
    "verification": {
        "within": "30m",
        "every": "30s",
        "check": {
            "metric": "pod_restarts_total",
            "matchers": [
                "cluster_id={{ labels.cluster_id }}",
                "namespace={{ labels.namespace }}",
                "workload={{ labels.workload }}",
            ],
            "aggregation": "increase",
            "window": "10m",
            "condition": "<=",
            "value": 0.0,
        },
    },
    "rollback": [_step("undo right size", _AFTER, **_BEFORE)],
    "escalation_channel": None,
}
_APPLIED: Final = {
    "recommendation": {**_STORED, "remediation": 5, "dry_run": True},
    "remediation": {
        "id": 5,
        "alert_id": None,
        "rule": f"recommendation {_REC_ID}",
        "policy": "recommendation right_size",
        "workflow_id": "sextant-recommendation-2-a5fa777a3dc67268-0",
        "state": "waiting",
        "dry_run": True,
        "detail": None,
        "created_at": _AT,
        "started_at": None,
        "finished_at": None,
        "attempts": 0,
        "last_error": None,
        "recommendation": _REC_ID,
    },
    "policy": _POLICY,
    "changes": _CHANGES,
}

REQUESTS: Final[dict[str, Example]] = {
    "post_drift_event": _DRIFT,
    "set_drift_status": {"status": "acknowledged", "note": "the new release needs more; being looked at"},
    "detect_drift": {"cluster_id": "prod-eu"},
    "post_recommendation": _RECOMMENDATION,
    "approve_recommendation": {"reason": "agreed with the team"},
    "reject_recommendation": {"reason": "the traffic is seasonal"},
    "apply_recommendation": {"dry_run": True},
}

REPLIES: Final[dict[str, Example]] = {
    "post_drift_event": _EVENT,
    "list_drift_events": {"data": [_EVENT], "next_cursor": None},
    "get_drift_event": _EVENT,
    "set_drift_status": {
        **_EVENT,
        "status": "acknowledged",
        "status_by": "key:7",
        "status_note": "the new release needs more; being looked at",
    },
    "detect_drift": {
        "cluster_id": "prod-eu",
        "found": 2,
        "opened": 1,
        "resolved": 1,
        "skipped": ["telemetry: the newest is of 2026-01-30T08:00:00Z"],
    },
    "post_recommendation": _STORED,
    "list_recommendations": {"data": [_STORED], "next_cursor": None},
    "get_recommendation": _DETAIL,
    "approve_recommendation": {**_DECIDED, "state": "approved", "reason": "agreed with the team"},
    "reject_recommendation": {**_DECIDED, "state": "rejected", "reason": "the traffic is seasonal"},
    "apply_recommendation": _APPLIED,
}
