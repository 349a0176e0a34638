"""Sources, clusters, drift and recommendations in the tenant-isolation matrix."""

from typing import Final

from core.domain.tenants import Scope
from tests.integration.isolation_kinds import (
    ADMIN,
    ALERTS,
    INGEST,
    READ_ALERTS,
    READ_REMEDIATION,
    REMEDIATE,
    Guarded,
    Request,
    Route,
    Subject,
    named,
    plain,
)

READ_SOURCES: Final = frozenset({Scope.QUERY, Scope.INGEST, Scope.ADMIN})
POST_DRIFT: Final = frozenset({Scope.INGEST, Scope.ALERTS})


def _source(path: str, subject: Subject) -> Request:
    config = {"type": "synthetic", "cluster_id": subject.cluster}
    return Request(named(path, subject), {}, {"name": subject.source, "config": config, "interval": None})


def _runs(path: str, subject: Subject) -> Request:
    return Request(path, {"source": subject.source})


def _collect(path: str, subject: Subject) -> Request:
    return Request(named(path, subject), {"wait": "0"}, {"cluster_id": subject.cluster})


def _tagged(path: str, subject: Subject) -> Request:
    return Request(path, {"tag": f"{subject.label}:{subject.value}"})


def _snapshot(path: str, subject: Subject) -> Request:
    amounts = {"cpu_cores": 1, "memory_bytes": 1, "pods": 1}
    snapshot = {"cluster_id": subject.cluster, "ts": "2026-01-31T12:00:00Z", "nodes": []}
    return Request(path, {}, {**snapshot, "allocatable": amounts, "used": amounts})


def _plan(path: str, subject: Subject) -> Request:
    return Request(named(path, subject), {}, {"nodes_max": 9})


def _place(subject: Subject) -> dict[str, str]:
    return {"cluster_id": subject.cluster, "namespace": subject.namespace, "workload": subject.workload}


def _change(path: str, subject: Subject) -> Request:
    change = {**_place(subject), "id": subject.change_id, "kind": "image", "after": {"image": subject.value}}
    return Request(path, {}, {**change, "ts": "2026-01-31T12:00:00Z"})


def _in_place(path: str, subject: Subject) -> Request:
    return Request(path, _place(subject))


def _baseline(path: str, subject: Subject) -> Request:
    return Request(path, {}, {**_place(subject), "kind": "image", "document": {"image": subject.value}})


def _no_baseline(path: str, subject: Subject) -> Request:
    return Request(path, {**_place(subject), "kind": "image"})


def _baselines(path: str, subject: Subject) -> Request:
    return Request(path, {"cluster_id": subject.cluster, "workload": subject.workload})


def _drift(path: str, subject: Subject) -> Request:
    drift = {"cluster_id": subject.cluster, "drift_id": subject.drift_id, "drift_category": "OTHER_DRIFT"}
    return Request(path, {}, {**drift, "severity": "minor", "start_ts": "2026-01-31T12:00:00Z"})


def _drifts(path: str, subject: Subject) -> Request:
    return Request(path, {"cluster_id": subject.cluster})


def _drift_status(path: str, subject: Subject) -> Request:
    return Request(named(path, subject), {}, {"status": "resolved", "note": subject.value})


def _look_for_drift(path: str, subject: Subject) -> Request:
    return Request(path, {}, {"cluster_id": subject.cluster})


def _recommendation(path: str, subject: Subject) -> Request:
    document = {"namespace": "a", "workload": "b", "proposed": {"replicas": 3}}
    which = {"cluster_id": subject.cluster, "drift_id": subject.drift_id, "rec_id": subject.rec_id}
    return Request(path, {}, {**which, "recommendation_type": "scale_workload", "recommendation_json": document})


def _recommendations(path: str, subject: Subject) -> Request:
    return Request(path, {"cluster_id": subject.cluster, "drift_id": subject.drift_id})


CLUSTERS: Final[dict[Route, Guarded]] = {
    ("GET", "/api/v1/sources"): Guarded(READ_SOURCES, plain),
    ("POST", "/api/v1/sources"): Guarded(ADMIN, _source),
    ("GET", "/api/v1/sources/{source}"): Guarded(READ_SOURCES, plain),
    ("PUT", "/api/v1/sources/{source}"): Guarded(ADMIN, _source),
    ("DELETE", "/api/v1/sources/{source}"): Guarded(ADMIN, plain),
    ("GET", "/api/v1/sources/runs"): Guarded(READ_SOURCES, _runs),
    ("GET", "/api/v1/sources/runs/{run_id}"): Guarded(READ_SOURCES, plain),
    ("POST", "/api/v1/ingest/all"): Guarded(INGEST, _collect),
    ("POST", "/api/v1/ingest/{source}"): Guarded(INGEST, _collect),
    ("GET", "/api/v1/instances"): Guarded(READ_SOURCES, _tagged),
    ("GET", "/api/v1/instances/{instance_id}"): Guarded(READ_SOURCES, plain),
    ("GET", "/api/v1/telemetry/clusters"): Guarded(READ_ALERTS, plain),
    ("GET", "/api/v1/telemetry/golden-signals/{cluster}"): Guarded(READ_ALERTS, plain),
    ("GET", "/api/v1/telemetry/metrics/cluster/{cluster}"): Guarded(READ_ALERTS, plain),
    ("GET", "/api/v1/telemetry/metrics/namespace/{cluster}/{namespace}"): Guarded(READ_ALERTS, plain),
    ("GET", "/api/v1/telemetry/metrics/workload/{cluster}/{namespace}/{workload}"): Guarded(READ_ALERTS, plain),
    ("GET", "/api/v1/telemetry/metrics/pod/{cluster}/{namespace}/{pod}"): Guarded(READ_ALERTS, plain),
    ("POST", "/api/v1/capacity/snapshots"): Guarded(INGEST, _snapshot),
    ("GET", "/api/v1/capacity/snapshots/latest/{cluster}"): Guarded(READ_ALERTS, plain),
    ("GET", "/api/v1/capacity/snapshots/{cluster}"): Guarded(READ_ALERTS, plain),
    ("GET", "/api/v1/capacity/forecast/{cluster}"): Guarded(READ_ALERTS, plain),
    ("GET", "/api/v1/capacity/headroom/{cluster}"): Guarded(READ_ALERTS, plain),
    ("GET", "/api/v1/capacity/right-sizing/{cluster}"): Guarded(READ_ALERTS, plain),
    ("GET", "/api/v1/capacity/plan/{cluster}"): Guarded(READ_ALERTS, plain),
    ("PUT", "/api/v1/capacity/plan/{cluster}"): Guarded(ALERTS, _plan),
    ("DELETE", "/api/v1/capacity/plan/{cluster}"): Guarded(ALERTS, plain),
    ("POST", "/api/v1/config/history"): Guarded(INGEST, _change),
    ("GET", "/api/v1/config/history"): Guarded(READ_ALERTS, _in_place),
    ("GET", "/api/v1/config/history/{change_id}"): Guarded(READ_ALERTS, plain),
    ("GET", "/api/v1/config/at/{cluster}/{workload}"): Guarded(READ_ALERTS, plain),
    ("GET", "/api/v1/config/baselines"): Guarded(READ_ALERTS, _baselines),
    ("PUT", "/api/v1/config/baselines"): Guarded(ALERTS, _baseline),
    ("DELETE", "/api/v1/config/baselines"): Guarded(ALERTS, _no_baseline),
    ("POST", "/api/v1/drift/events"): Guarded(POST_DRIFT, _drift),
    ("GET", "/api/v1/drift/events"): Guarded(READ_REMEDIATION, _drifts),
    ("GET", "/api/v1/drift/events/{drift_id}"): Guarded(READ_REMEDIATION, plain),
    ("PATCH", "/api/v1/drift/events/{drift_id}"): Guarded(ALERTS, _drift_status),
    ("POST", "/api/v1/drift/detect"): Guarded(ALERTS, _look_for_drift),
    ("POST", "/api/v1/drift/recommendations"): Guarded(POST_DRIFT, _recommendation),
    ("GET", "/api/v1/drift/recommendations"): Guarded(READ_REMEDIATION, _recommendations),
    ("GET", "/api/v1/drift/recommendations/{rec_id}"): Guarded(READ_REMEDIATION, plain),
    ("POST", "/api/v1/drift/recommendations/{rec_id}/approve"): Guarded(REMEDIATE, plain),
    ("POST", "/api/v1/drift/recommendations/{rec_id}/reject"): Guarded(REMEDIATE, plain),
    ("POST", "/api/v1/drift/recommendations/{rec_id}/apply"): Guarded(REMEDIATE, plain),
}
"""By method and path template."""
