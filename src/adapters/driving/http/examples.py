"""The examples of the OpenAPI document, by operation."""

from typing import Any, Final

from adapters.driving.http import (
    alert_examples,
    cluster_examples,
    collection_examples,
    detection_examples,
    drift_examples,
    incident_examples,
)

Example = dict[str, Any] | str

_METRIC: Final = {
    "name": "cpu.usage",
    "value": 41.5,
    "labels": {"host": "web-1", "region": "eu-west-1"},
    "timestamp": "2026-01-31T12:00:00Z",
}
_STORED: Final = {"accepted": 1, "rejected": 0, "errors": [], "receipt": "1-42"}
_PARTLY: Final = {
    "accepted": 1,
    "rejected": 1,
    "errors": [{"index": 1, "field": "value", "reason": "must be a number, not a string"}],
    "receipt": "1-43",
}
_SAMPLE: Final = {**_METRIC, "source": None}
_DEFINITION: Final = {
    "name": "cpu.usage",
    "display_name": "CPU usage",
    "description": "Share of time that a processor was busy",
    "unit": "%",
    "type": "gauge",
    "aggregation": None,
    "retention_days": 90,
    "alert_threshold": {"warning": 80.0, "critical": 95.0},
}
_DEFINITION_REPLY: Final = {
    **_DEFINITION,
    "effective_aggregation": "avg",
    "effective_retention_days": 90,
    "retained_since": "2025-11-02T00:00:00Z",
}
_TENANT: Final = {"id": 2, "name": "acme", "created_at": "2026-01-31T12:00:00Z"}
_KEY: Final = {
    "id": 7,
    "tenant": "acme",
    "name": "web servers",
    "prefix": "Xb3kQ9",
    "scopes": ["ingest"],
    "created_at": "2026-01-31T12:00:00Z",
    "expires_at": None,
    "revoked_at": None,
}
_CHECKS: Final = [{"name": "database", "ok": True, "detail": "PostgreSQL 18.1, TimescaleDB 2.28.3"}]
_REMEDIATION: Final = {"available": False, "waiting": 2, "detail": "Temporal does not answer"}

REQUESTS: Final[dict[str, Example]] = {
    "ingest": _METRIC,
    "ingest_alias": _METRIC,
    "ingest_batch": {"metrics": [_METRIC, {"name": "mem.used", "value": 1.5e9, "labels": {"host": "web-1"}}]},
    "ingest_batch_alias": {"metrics": [_METRIC]},
    "create_definition": _DEFINITION,
    "put_definition": {"type": "counter", "unit": "requests", "retention_days": 365},
    "create_tenant": {"name": "acme", "limits": {"samples_per_s": 50_000, "series_max": 100_000}},
    "put_tenant_limits": {"samples_per_s": 100_000, "samples_burst": 500_000},
    "create_key": {"tenant": "acme", "scopes": ["ingest"], "name": "web servers"},
    **collection_examples.REQUESTS,
    **cluster_examples.REQUESTS,
    **drift_examples.REQUESTS,
    **detection_examples.REQUESTS,
    **incident_examples.REQUESTS,
    **alert_examples.REQUESTS,
}

REPLIES: Final[dict[str, Example]] = {
    "ingest": _STORED,
    "ingest_alias": _STORED,
    "ingest_batch": _PARTLY,
    "ingest_batch_alias": _STORED,
    "raw_samples": {"data": [_SAMPLE], "next_cursor": None},
    "metric_names": {"data": ["cpu.usage", "mem.used"]},
    "label_names": {"data": ["host", "region"]},
    "label_values": {"data": ["web-1", "web-2"]},
    "latest_samples": {"data": [_SAMPLE]},
    "aggregate": {
        "name": "cpu.usage",
        "data": [
            {
                "labels": {"host": "web-1"},
                "count": 360,
                "avg": 41.5,
                "min": 3.0,
                "max": 97.25,
                "sum": 14_940.0,
                "p50": 40.0,
                "p95": 88.5,
                "p99": 95.0,
            }
        ],
    },
    "series": {
        "name": "cpu.usage",
        "bucket": "5m",
        "agg": "avg",
        "data": [
            {
                "labels": {"host": "web-1"},
                "points": [
                    {"bucket": "2026-01-31T12:00:00Z", "value": 41.5},
                    {"bucket": "2026-01-31T12:05:00Z", "value": None},
                ],
            }
        ],
    },
    "list_definitions": {"data": [_DEFINITION_REPLY]},
    "create_definition": _DEFINITION_REPLY,
    "get_definition": _DEFINITION_REPLY,
    "put_definition": _DEFINITION_REPLY,
    "list_tenants": {"data": [_TENANT]},
    "create_tenant": _TENANT,
    "put_tenant_limits": _TENANT,
    "list_keys": {"data": [_KEY]},
    "create_key": {**_KEY, "key": "sx_Xb3kQ9…"},
    "get_limits": {
        "tenant": "acme",
        "limits": {
            "samples_per_s": 50_000.0,
            "samples_burst": 100_000.0,
            "series_max": 100_000,
            "query_points_max": 20_000_000,
            "query_timeout_s": 30.0,
        },
        "series_active": 1_250,
        "samples_available": 98_500.0,
    },
    **collection_examples.REPLIES,
    **cluster_examples.REPLIES,
    **drift_examples.REPLIES,
    **detection_examples.REPLIES,
    **incident_examples.REPLIES,
    **alert_examples.REPLIES,
    "healthz": {"status": "ok"},
    "readyz": {"ready": True, "checks": _CHECKS, "remediation": _REMEDIATION},
    "health": {"status": "ok", "version": "0.1.0", "checks": _CHECKS, "remediation": _REMEDIATION},
    "own_metrics": "# TYPE sextant_samples_accepted_total counter\nsextant_samples_accepted_total 1250.0\n",
}

_FAILED_CHECKS: Final = [{"name": "database", "ok": False, "detail": "no answer within 2 s"}]

UNAVAILABLE: Final[dict[str, Example]] = {
    "readyz": {"ready": False, "checks": _FAILED_CHECKS, "remediation": None},
    "health": {"status": "unavailable", "version": "0.1.0", "checks": _FAILED_CHECKS, "remediation": None},
}

PROBLEM: Final[Example] = {
    "type": "urn:sextant:problem:invalid-input",
    "title": "A field of the request is wrong",
    "status": 400,
    "detail": "bucket: must be longer than zero, for instance 5m",
    "request_id": "5f2b9c0d1e3a4f67",
    "field": "bucket",
}
