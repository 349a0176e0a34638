"""The examples of telemetry, capacity and configurations for the OpenAPI document, by operation."""

from typing import Any, Final

Example = dict[str, Any] | str

_NOON: Final = "2026-01-31T12:00:00Z"
_YESTERDAY: Final = "2026-01-30T12:00:00Z"
_GIB: Final = 1 << 30


def _signal(metric: str, unit: str, combine: str, low: float, high: float) -> dict[str, Any]:
    return {
        "metric": metric,
        "unit": unit,
        "combine": combine,
        "pods": 3,
        "points": [["2026-01-31T11:50:00Z", low], ["2026-01-31T11:55:00Z", high]],
        "latest": high,
        "avg": (low + high) / 2,
        "min": low,
        "max": high,
        "p95": high,
    }


def _telemetry(**scope: str | None) -> dict[str, Any]:
    return {
        "scope": {"cluster_id": "prod-eu", "namespace": None, "workload": None, "pod": None, **scope},
        "start": _YESTERDAY,
        "end": _NOON,
        "bucket": "5m",
        "metrics": {
            "latency_p95": _signal("pod_request_latency_p95_seconds", "seconds", "max", 0.25, 0.5),
            "error_rate": _signal("pod_request_error_ratio", "ratio", "weighted", 0.0, 0.02),
            "cpu": _signal("pod_cpu_usage_cores", "cores", "sum", 1.5, 2.5),
        },
        "pods": ["checkout-6d5f7c9b8-x2k4q"] if scope.get("pod") else ["checkout-6d5f7c9b8-x2k4q", "checkout-…"],
    }


_GOLDEN: Final = {
    "cluster_id": "prod-eu",
    "start": _YESTERDAY,
    "end": _NOON,
    "workloads": [
        {
            "namespace": "shop",
            "workload": "checkout",
            "pods": 3,
            "latency_p50_seconds": 0.05,
            "latency_p95_seconds": 0.4,
            "latency_p99_seconds": 0.9,
            "throughput_per_second": 120.0,
            "error_ratio": 0.01,
            "cpu_cores": 2.0,
            "cpu_saturation": 0.66,
            "memory_bytes": 3.0 * _GIB,
            "memory_saturation": None,
        }
    ],
}
_ALLOCATABLE: Final = {"cpu_cores": 48.0, "memory_bytes": 192.0 * _GIB, "pods": 330.0}
_USED: Final = {"cpu_cores": 24.0, "memory_bytes": 96.0 * _GIB, "pods": 132.0}
_NODES: Final = [{"instance_type": "m6i.4xlarge", "count": 3, "cost_usd_per_hour": 0.92}]
_SNAPSHOT: Final = {
    "cluster_id": "prod-eu",
    "ts": _NOON,
    "nodes": _NODES,
    "allocatable": _ALLOCATABLE,
    "used": _USED,
    "requested": None,
}
_SNAPSHOT_REPLY: Final = {
    **_SNAPSHOT,
    "node_count": 3,
    "utilisation": {"cpu": 0.5, "memory": 0.5, "pods": 0.4},
    "cost_usd_per_hour": 2.76,
    "source": "api",
    "synthetic": False,
}
_PLAN: Final = {
    "utilisation_max": {"cpu": 0.75, "memory": 0.8, "pods": 0.85},
    "nodes_min": 3,
    "nodes_max": 12,
    "runway_days_min": 14.0,
}
_FORECAST: Final = {
    "cluster_id": "prod-eu",
    "snapshots": 720,
    "start": "2026-01-01T12:00:00Z",
    "end": _NOON,
    "confidence": 0.9,
    "horizon_days": 90.0,
    "resources": [
        {
            "resource": "cpu",
            "utilisation": 0.5,
            "limit": 0.75,
            "outlook": "within",
            "at": "2026-03-12T12:00:00Z",
            "earliest": "2026-03-01T12:00:00Z",
            "latest": "2026-04-02T12:00:00Z",
            "slope_per_day": 0.00625,
            "words": "cpu reaches 75 % on 2026-03-12 (from 2026-03-01 to 2026-04-02)",
        }
    ],
    "requested": [
        {
            "resource": "cpu",
            "utilisation": 0.97,
            "limit": 0.95,
            "outlook": "reached",
            "at": None,
            "earliest": None,
            "latest": None,
            "slope_per_day": 0.001,
            "words": "requested cpu is at 97 % and has reached 95 %",
        }
    ],
}
_HEADROOM: Final = {
    "cluster_id": "prod-eu",
    "ts": _NOON,
    "nodes_spare": 0,
    "resources": [
        {
            "resource": "cpu",
            "allocatable": 48.0,
            "used_p95": 30.0,
            "requested": 40.0,
            "free": 18.0,
            "free_share": 0.375,
            "pods_fit": 16,
        }
    ],
}
_RIGHT_SIZING: Final = {
    "cluster_id": "prod-eu",
    "start": "2026-01-24T12:00:00Z",
    "end": _NOON,
    "workloads": [
        {
            "namespace": "shop",
            "workload": "checkout",
            "pods": 3,
            "pods_mean": 2.9,
            "cpu_request_cores": 2.0,
            "cpu_p95_cores": 0.4,
            "cpu_proposed_cores": 0.5,
            "memory_request_bytes": 4.0 * _GIB,
            "memory_p99_bytes": 1.5 * _GIB,
            "memory_proposed_bytes": 2.0 * _GIB,
            "savings_usd_per_month": 96.5,
            "verdict": "oversized",
        }
    ],
}
_CHANGE_ID: Final = "5b0c9a52-1f7e-4d0f-8a39-7c4b9be0d671"
_BEFORE: Final = {"containers": {"app": {"requests": {"cpu": "500m"}, "limits": {"cpu": "1"}}}}
_AFTER: Final = {"containers": {"app": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}}
_CHANGE: Final = {
    "id": _CHANGE_ID,
    "ts": _NOON,
    "cluster_id": "prod-eu",
    "namespace": "shop",
    "workload": "checkout",
    "kind": "resource",
    "before": _BEFORE,
    "after": _AFTER,
    "actor": "deploy-bot",
    "source": "ci",
}
_STORED_CHANGE: Final = {
    **_CHANGE,
    "diff": [{"path": "/containers/app/requests/cpu", "op": "replace", "before": "500m", "after": "2"}],
    "synthetic": False,
}
_STATE: Final = {
    "cluster_id": "prod-eu",
    "namespace": "shop",
    "workload": "checkout",
    "ts": _NOON,
    "configuration": {"resource": {"document": _AFTER, "since": _NOON, "change_id": _CHANGE_ID}},
}
_BASELINE: Final = {
    "cluster_id": "prod-eu",
    "namespace": "shop",
    "workload": "checkout",
    "kind": "resource",
    "document": {"containers": {"app": {"requests": {"cpu": "500m"}}}},
}

REQUESTS: Final[dict[str, Example]] = {
    "post_capacity_snapshots": _SNAPSHOT,
    "put_capacity_plan": _PLAN,
    "post_config_changes": _CHANGE,
    "put_config_baseline": _BASELINE,
}

REPLIES: Final[dict[str, Example]] = {
    "list_clusters": {"data": ["prod-eu", "prod-us"]},
    "golden_signals": _GOLDEN,
    "pod_telemetry": _telemetry(namespace="shop", pod="checkout-6d5f7c9b8-x2k4q"),
    "workload_telemetry": _telemetry(namespace="shop", workload="checkout"),
    "namespace_telemetry": _telemetry(namespace="shop"),
    "cluster_telemetry": _telemetry(),
    "post_capacity_snapshots": {"stored": 1, "new": 1},
    "latest_capacity_snapshot": _SNAPSHOT_REPLY,
    "list_capacity_snapshots": {"data": [_SNAPSHOT_REPLY]},
    "forecast_capacity": _FORECAST,
    "capacity_headroom": _HEADROOM,
    "right_sizing": _RIGHT_SIZING,
    "get_capacity_plan": _PLAN,
    "put_capacity_plan": _PLAN,
    "post_config_changes": {"data": [_STORED_CHANGE]},
    "list_config_changes": {"data": [_STORED_CHANGE], "next_cursor": None},
    "get_config_change": _STORED_CHANGE,
    "config_at": _STATE,
    "list_config_baselines": {"data": [{"baseline": _BASELINE, "declared_by": "key:7", "declared_at": _NOON}]},
    "put_config_baseline": _BASELINE,
}
