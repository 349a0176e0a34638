"""Capacity, configuration, drift and recommendations, in memory."""

from datetime import datetime
from uuid import UUID

import msgspec

from core.domain.capacity import CapacityPlan, CapacitySnapshot
from core.domain.configurations import ConfigChange, ConfigKind, StoredBaseline
from core.domain.drift import DriftEvent
from core.domain.recommendations import Recommendation

ConfigKey = tuple[str, str, str, ConfigKind]
"""Cluster, namespace, workload and kind."""


class RecommendationRow(msgspec.Struct, eq=False, kw_only=True):
    """One recommendation; what follows from its remediations is worked out when it is read."""

    recommendation: Recommendation
    approved: bool | None
    """None: nobody has decided."""
    applying_id: int | None = None
    """The last remediation that was no dry run."""


class ClusterTables:
    """Capacity, configuration, drift and recommendations; all by tenant."""

    def __init__(self) -> None:
        self.snapshots: dict[int, dict[tuple[str, datetime], CapacitySnapshot]] = {}
        self.plans: dict[int, dict[str, CapacityPlan]] = {}
        self.changes: dict[int, dict[UUID, ConfigChange]] = {}
        self.baselines: dict[int, dict[ConfigKey, StoredBaseline]] = {}
        self.drift: dict[int, dict[str, DriftEvent]] = {}
        self.recommendations: dict[int, dict[str, RecommendationRow]] = {}
        self.looks: dict[int, datetime] = {}

    def forget_synthetic(self, tenant_id: int) -> None:
        """Deletes what is synthetic, and recommendations about it."""
        drift, recommendations = self.drift.get(tenant_id, {}), self.recommendations.get(tenant_id, {})
        made_up = {drift_id for drift_id, event in drift.items() if event.synthetic}
        self.drift[tenant_id] = {drift_id: event for drift_id, event in drift.items() if drift_id not in made_up}
        self.recommendations[tenant_id] = {
            rec_id: row
            for rec_id, row in recommendations.items()
            if not row.recommendation.synthetic and row.recommendation.drift_id not in made_up
        }
        snapshots, changes = self.snapshots.get(tenant_id, {}), self.changes.get(tenant_id, {})
        self.snapshots[tenant_id] = {key: snapshot for key, snapshot in snapshots.items() if not snapshot.synthetic}
        self.changes[tenant_id] = {key: change for key, change in changes.items() if not change.synthetic}


def recommendation_row(recommendation: Recommendation) -> RecommendationRow:
    """A new recommendation; one that is approved from the start was so when it was made."""
    if not recommendation.auto_approved:
        return RecommendationRow(recommendation=recommendation, approved=None)
    decided_at = recommendation.decided_at or recommendation.created_at
    return RecommendationRow(
        recommendation=msgspec.structs.replace(recommendation, decided_at=decided_at), approved=True
    )
