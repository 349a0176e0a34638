"""What stores of clusters are given in tests, and a row of each of their tables straight with SQL."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
import psycopg

from core.domain.capacity import CapacitySnapshot, NodeType, Resources
from core.domain.config_diff import differences
from core.domain.configurations import ConfigChange, ConfigKind, Document
from core.domain.drift import DetectionMethod, DriftCategory, DriftEvent, DriftSeverity, DriftStatus
from core.domain.recommendations import Recommendation, RecommendationState

NOON = datetime(2026, 1, 31, 12, 0, 0, 123_456, tzinfo=UTC)
HARD_DOCUMENT: Document = {
    "": "an empty name",
    "größe/~1": "“✓” \t\\ \u2028",
    "integers": [0, -1, 2**53 + 1, 2**63, 2**64, -(2**70), 10**40],
    "floats": [0.1 + 0.2, 1.0, -0.0, 1e16, 1e22, 1e23, -1.7976931348623157e308, 5e-324, 1e-7, 123456789012345680.0],
    "nested": {"a": [{"b": [[], {}, None, True, False, ""]}]},
}
"""What jsonb must not change."""

SNAPSHOT = CapacitySnapshot(
    cluster_id="prod",
    ts=NOON,
    nodes=(
        NodeType(instance_type="m6i.large", count=3, cost_usd_per_hour=0.096),
        NodeType(instance_type="Größe ✓", count=1, cost_usd_per_hour=0.5),
    ),
    allocatable=Resources(cpu_cores=7.5, memory_bytes=3.2e10, pods=116.0),
    used=Resources(cpu_cores=0.1 + 0.2, memory_bytes=1.6e10, pods=40.0),
    requested=Resources(cpu_cores=4.0, memory_bytes=2e10, pods=40.0),
    cost_usd_per_hour=1.25,
    source="eks",
)
EVENT = DriftEvent(
    cluster_id="prod",
    env="production",
    drift_date=NOON.date(),
    drift_id="",
    drift_category=DriftCategory.CPU_MEMORY_DRIFT,
    severity=DriftSeverity.MAJOR,
    workload_name="checkout",
    namespace="shop",
    start_ts=NOON,
    end_ts=None,
    last_seen_at=NOON,
    detection_method=DetectionMethod.THRESHOLD,
    confidence_score=0.1 + 0.2,
    status=DriftStatus.OPEN,
    message="uses “twice” what it asks for\n",
    evidence=HARD_DOCUMENT,
    automatic=True,
    synthetic=False,
    created_at=NOON,
    updated_at=NOON,
    status_by=None,
    status_note=None,
)
RECOMMENDATION = Recommendation(
    cluster_id="prod",
    env="production",
    drift_date=NOON.date(),
    drift_id="",
    rec_id="",
    recommendation_type="right_size",
    recommendation_json=HARD_DOCUMENT,
    estimated_savings_usd=-12.5,
    auto_approved=False,
    state=RecommendationState.PROPOSED,
    automatic=True,
    synthetic=False,
    created_at=NOON,
    updated_at=NOON,
    decided_at=None,
    decided_by=None,
    reason=None,
    remediation=None,
    dry_run=None,
    applied_at=None,
)


def snapshot(**changes: Any) -> CapacitySnapshot:
    """A capacity snapshot."""
    return msgspec.structs.replace(SNAPSHOT, **changes)


def change(
    *, before: Document | None = None, after: Document | None = None, ts: datetime = NOON, **changes: Any
) -> ConfigChange:
    """A configuration change with an id of its own."""
    made = ConfigChange(
        id=uuid4(),
        ts=ts,
        cluster_id="prod",
        namespace="shop",
        workload="checkout",
        kind=ConfigKind.IMAGE,
        before=before,
        after=after,
        diff=differences(before, after),
        actor="alice",
        source="api",
        synthetic=False,
    )
    return msgspec.structs.replace(made, **changes)


def drift_event(drift_id: str | None = None, **changes: Any) -> DriftEvent:
    """A drift event, with an id of its own unless one is given."""
    return msgspec.structs.replace(EVENT, **{"drift_id": drift_id or uuid4().hex, **changes})


def recommendation(drift_id: str, rec_id: str | None = None, **changes: Any) -> Recommendation:
    """A recommendation about that drift, with an id of its own unless one is given."""
    fields = {"drift_id": drift_id, "rec_id": rec_id or uuid4().hex, **changes}
    return msgspec.structs.replace(RECOMMENDATION, **fields)


ROWS = """
INSERT INTO sextant.drift_cluster_capacity_snapshots (tenant_id, cluster_id, ts, node_count, nodes,
        allocatable_cpu_cores, allocatable_memory_bytes, allocatable_pods, used_cpu_cores, used_memory_bytes, used_pods,
        source, synthetic)
    VALUES (:tenant, 'prod', now(), 1, '[]', 1, 1, 1, 1, 1, 1, 'api', false);
INSERT INTO sextant.capacity_plans VALUES (:tenant, 'prod', '{}');
INSERT INTO sextant.config_changes (tenant_id, id, ts, cluster_id, namespace, workload, kind, after, diff, source,
        synthetic)
    VALUES (:tenant, gen_random_uuid(), now(), 'prod', 'shop', 'checkout', 'image', '{}', '[]', 'api', false);
INSERT INTO sextant.config_baselines VALUES (:tenant, 'prod', 'shop', 'checkout', 'image', '{}', 'a', now());
INSERT INTO sextant.drift_events (tenant_id, drift_id, cluster_id, env, drift_date, drift_category, severity, start_ts,
        last_seen_at, detection_method, confidence_score, status, evidence, automatic, synthetic, created_at,
        updated_at)
    VALUES (:tenant, 'd', 'prod', 'production', '2026-01-31', 'OTHER_DRIFT', 'minor', now(), now(), 'manual', 1, 'open',
        '{}', false, false, now(), now());
INSERT INTO sextant.drift_recommendations (tenant_id, rec_id, drift_id, cluster_id, env, drift_date,
        recommendation_type, recommendation_json, auto_approved, automatic, synthetic, created_at, updated_at)
    VALUES (:tenant, 'r', 'd', 'prod', 'production', '2026-01-31', 'right_size', '{}', false, false, false, now(),
        now());
INSERT INTO sextant.drift_looks VALUES (:tenant, now());
"""


def write_cluster_rows(url: str, tenant_id: int) -> None:
    """Gives a tenant one row in every such table; as the owner, who must be a superuser."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in ROWS.replace(":tenant", str(int(tenant_id))).split(";"):
            if statement.strip():
                connection.execute(statement.encode())
