"""The examples of sources, collecting and instances for the OpenAPI document, by operation."""

from typing import Any, Final

Example = dict[str, Any] | str

_AT: Final = "2026-01-31T12:00:00Z"
_CLOUDWATCH: Final = {
    "type": "cloudwatch",
    "region": "eu-central-1",
    "metrics": [
        {"name": "CPUUtilization", "namespace": "AWS/EC2", "statistic": "Average", "dimensions": None},
        {"name": "NetworkIn", "namespace": "AWS/EC2", "statistic": "Sum", "dimensions": None},
    ],
    "instance_ids": [],
    "tags": {"env": "production"},
    "period": "5m",
    "endpoint_url": None,
}
_SPEC: Final = {
    "name": "production-aws",
    "config": _CLOUDWATCH,
    "enabled": True,
    "interval": "5m",
    "lookback": None,
    "settle": None,
    "calls_per_minute": None,
    "calls_per_run_max": 1_000,
    "cost_usd_per_run_max": 0.5,
}
_CREDENTIALS: Final = {"access_key_id": "AKIAEXAMPLE", "secret_access_key": "an-example-that-opens-nothing"}
_STORED: Final = {
    "id": 7,
    "spec": _SPEC,
    "credential_names": sorted(_CREDENTIALS),
    "revision": 1,
    "created_at": _AT,
    "updated_at": _AT,
    "next_run_at": _AT,
}
_COUNTS: Final = {"fetched": 288, "stored": 24, "revised": 12, "unchanged": 252, "refused": 0, "created": 0}
_RUN: Final = {
    "id": 42,
    "source": "production-aws",
    "kind": "cloudwatch",
    "request": {"cluster_id": None, "start_time": None, "end_time": None, "namespaces": []},
    "requested_by": "schedule",
    "state": "partial",
    "problem": None,
    "progress": {
        "items": 13,
        "done": 13,
        "failed": 1,
        "counts": _COUNTS,
        "instances_seen": 6,
        "instances_created": 0,
        "changes_recorded": 0,
        "snapshots_stored": 0,
        "calls": 2,
        "cost_usd": 0.00013,
    },
    "attempts": 1,
    "requested_at": _AT,
    "started_at": "2026-01-31T12:00:01Z",
    "finished_at": "2026-01-31T12:00:04Z",
}
_PROBLEM: Final = {
    "kind": "permission",
    "message": "AWS refuses cloudwatch:GetMetricData for this metric; give the role that permission",
}
_DETAIL: Final = {
    "run": _RUN,
    "items": [
        {
            "item": "NetworkOut of i-0f3a9d",
            "counts": {"fetched": 0, "stored": 0, "revised": 0, "unchanged": 0, "refused": 0, "created": 0},
            "problem": _PROBLEM,
        },
        {"item": "CPUUtilization of i-0f3a9d", "counts": _COUNTS, "problem": None},
    ],
}
_COLLECTED: Final = {
    "runs": [_DETAIL],
    "totals": _COUNTS,
    "errors": {
        "production-aws": {**_PROBLEM, "message": f"failed items: 1; NetworkOut of i-0f3a9d: {_PROBLEM['message']}"}
    },
}
_INSTANCE: Final = {
    "id": 3,
    "provider": "cloudwatch",
    "external_id": "i-0f3a9d",
    "kind": "ec2",
    "region": "eu-central-1",
    "name": "web-1",
    "tags": {"env": "production"},
    "first_seen_at": "2026-01-30T08:00:00Z",
    "last_seen_at": _AT,
    "synthetic": False,
}
_STRETCH: Final = {
    "cluster_id": "prod-eu",
    "start_time": "2026-01-31T10:00:00Z",
    "end_time": _AT,
    "namespaces": ["shop"],
}

REQUESTS: Final[dict[str, Example]] = {
    "create_source": {
        "name": "production-aws",
        "config": {"type": "cloudwatch", "region": "eu-central-1", "tags": {"env": "production"}},
        "credentials": _CREDENTIALS,
        "interval": "5m",
        "cost_usd_per_run_max": 0.5,
    },
    "put_source": {"config": {"type": "cloudwatch", "region": "eu-central-1"}, "interval": "15m"},
    "collect_all": {"start_time": "2026-01-31T10:00:00Z", "end_time": _AT},
    "collect": {**_STRETCH, "config": {"type": "synthetic", "instances": 6, "step": "5m"}},
}

REPLIES: Final[dict[str, Example]] = {
    "list_sources": {"data": [_STORED]},
    "create_source": _STORED,
    "get_source": _STORED,
    "put_source": {**_STORED, "revision": 2},
    "list_collection_runs": {"data": [_RUN], "next_cursor": None},
    "get_collection_run": _DETAIL,
    "collect_all": _COLLECTED,
    "collect": _COLLECTED,
    "list_instances": {"data": [_INSTANCE], "next_cursor": None},
    "get_instance": _INSTANCE,
}
