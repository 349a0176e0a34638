"""Recommendations in memory."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from adapters.driven.drift_records import check_may_apply, check_may_decide, check_unmoved, state_of
from adapters.driven.memory.cluster_tables import RecommendationRow, recommendation_row
from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.remediation_tables import RemediationRow
from core.domain.errors import Conflict, NotFound
from core.domain.recommendations import Recommendation, RecommendationFilter
from core.domain.remediation import Remediation, RemediationOrder, RemediationState


class MemoryRecommendationStore:
    """Implements `RecommendationStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._tables = database.clusters

    async def add(self, tenant_id: int, recommendation: Recommendation) -> tuple[Recommendation, bool]:
        """The stored one, and whether it is new; `NotFound` without its drift event."""
        rows = self._tables.recommendations.setdefault(tenant_id, {})
        is_new = recommendation.rec_id not in rows
        if is_new:
            if recommendation.drift_id not in self._tables.drift.get(tenant_id, {}):
                raise NotFound("drift event", recommendation.drift_id)
            rows[recommendation.rec_id] = recommendation_row(recommendation)
        return self._shown(rows[recommendation.rec_id]), is_new

    async def get(self, tenant_id: int, rec_id: str) -> Recommendation:
        """One, or `NotFound`."""
        return self._shown(self._row(tenant_id, rec_id))

    async def list(
        self, tenant_id: int, wanted: RecommendationFilter, *, limit: int, before: tuple[datetime, str] | None
    ) -> Sequence[Recommendation]:
        """Newest first, by (created_at, rec_id)."""
        found = [
            recommendation
            for recommendation in map(self._shown, self._tables.recommendations.get(tenant_id, {}).values())
            if (before is None or _position(recommendation) < before) and _is_wanted(recommendation, wanted)
        ]
        return sorted(found, key=_position, reverse=True)[:limit]

    async def decide(
        self,
        tenant_id: int,
        rec_id: str,
        *,
        approved: bool,
        by: str,
        reason: str | None,
        now: datetime,
        updated_at: datetime | None = None,
    ) -> Recommendation:
        """Approves or rejects, or `Conflict`."""
        row = self._row(tenant_id, rec_id)
        check_may_decide(self._shown(row))
        check_unmoved(row.recommendation, updated_at)
        row.approved = approved
        row.recommendation = msgspec.structs.replace(
            row.recommendation, decided_at=now, decided_by=by, reason=reason, updated_at=now
        )
        return self._shown(row)

    async def apply(
        self,
        tenant_id: int,
        rec_id: str,
        order: RemediationOrder,
        *,
        now: datetime,
        updated_at: datetime | None = None,
    ) -> tuple[Recommendation, int]:
        """Puts a remediation into the outbox and links it, or `Conflict`."""
        row = self._row(tenant_id, rec_id)
        dry_run = order.policy.dry_run
        last = self._remediation(row.recommendation.remediation)
        check_may_apply(
            self._shown(row), approved=row.approved, last=last.state if last is not None else None, dry_run=dry_run
        )
        check_unmoved(row.recommendation, updated_at)
        remediation_id = self._insert(tenant_id, rec_id, order, now)
        if not dry_run:
            row.applying_id = remediation_id
        row.recommendation = msgspec.structs.replace(row.recommendation, remediation=remediation_id, updated_at=now)
        return self._shown(row), remediation_id

    def _insert(self, tenant_id: int, rec_id: str, order: RemediationOrder, now: datetime) -> int:
        database = self._database
        if any(one.order.workflow_id == order.workflow_id for one in database.remediations.values()):
            raise Conflict(f"workflow {order.workflow_id!r} is another remediation's")
        remediation = Remediation(
            id=database.next_id("remediations"),
            alert_id=None,
            rule=order.rule.name,
            policy=order.policy.name,
            workflow_id=order.workflow_id,
            state=RemediationState.WAITING,
            dry_run=order.policy.dry_run,
            detail=None,
            created_at=now,
            started_at=None,
            finished_at=None,
            attempts=0,
            last_error=None,
            recommendation=rec_id,
        )
        filled = msgspec.structs.replace(
            order,
            tenant_id=tenant_id,
            tenant=database.tenants[tenant_id].tenant.name,
            remediation_id=remediation.id,
        )
        database.remediations[remediation.id] = RemediationRow(
            remediation=remediation, order=filled, next_attempt_at=now
        )
        return remediation.id

    def _row(self, tenant_id: int, rec_id: str) -> RecommendationRow:
        row = self._tables.recommendations.get(tenant_id, {}).get(rec_id)
        if row is None:
            raise NotFound("recommendation", rec_id)
        return row

    def _remediation(self, remediation_id: int | None) -> Remediation | None:
        return self._database.remediations[remediation_id].remediation if remediation_id is not None else None

    def _shown(self, row: RecommendationRow) -> Recommendation:
        """With what follows from its remediations."""
        last, applying = self._remediation(row.recommendation.remediation), self._remediation(row.applying_id)
        state = state_of(row.approved, applying.state if applying is not None else None)
        was_applied = applying is not None and applying.state is RemediationState.SUCCEEDED
        return msgspec.structs.replace(
            row.recommendation,
            state=state,
            dry_run=last.dry_run if last is not None else None,
            applied_at=applying.finished_at if applying is not None and was_applied else None,
        )


def _position(recommendation: Recommendation) -> tuple[datetime, str]:
    return recommendation.created_at, recommendation.rec_id


def _is_wanted(recommendation: Recommendation, wanted: RecommendationFilter) -> bool:
    return (
        wanted.cluster_id in (None, recommendation.cluster_id)
        and wanted.env in (None, recommendation.env)
        and wanted.drift_id in (None, recommendation.drift_id)
        and wanted.recommendation_type in (None, recommendation.recommendation_type)
        and wanted.state in (None, recommendation.state)
    )
