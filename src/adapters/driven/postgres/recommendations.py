"""Recommendations on PostgreSQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from adapters.driven.drift_records import (
    IN_VAIN,
    NO_LONGER_PROPOSED,
    UNAPPLIED_MAX,
    check_may_apply,
    check_may_decide,
    check_unmoved,
)
from adapters.driven.postgres.database import Connection, Database, Role
from adapters.driven.postgres.drift_rows import recommendation_of, recommendation_row
from adapters.driven.postgres.queries import load_queries
from core.domain.drift import SEXTANT
from core.domain.errors import Conflict, NotFound
from core.domain.recommendations import STATE_OF_REMEDIATION, Recommendation, RecommendationFilter
from core.domain.remediation import RemediationOrder, RemediationState

TIMEOUT_S: Final = 10.0
"""Every statement here touches a page of rows; longer means that the database is in trouble."""

SQL = load_queries(__package__, "recommendations.sql")

_STATES: Final = msgspec.json.encode(
    {remediation.value: state.value for remediation, state in STATE_OF_REMEDIATION.items()}
).decode()


class PostgresRecommendationStore:
    """Implements `ports.driven.drift_store.RecommendationStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, tenant_id: int, recommendation: Recommendation) -> tuple[Recommendation, bool]:
        """See `RecommendationStore.add`."""
        try:
            async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
                added = await add_recommendations(connection, tenant_id, [recommendation])
                row = await _row(connection, tenant_id, recommendation.rec_id)
        except asyncpg.ForeignKeyViolationError as error:
            raise NotFound("drift event", recommendation.drift_id) from error
        return recommendation_of(row), added == 1

    async def get(self, tenant_id: int, rec_id: str) -> Recommendation:
        """See `RecommendationStore.get`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            return recommendation_of(await _row(connection, tenant_id, rec_id))

    async def list(
        self, tenant_id: int, wanted: RecommendationFilter, *, limit: int, before: tuple[datetime, str] | None
    ) -> Sequence[Recommendation]:
        """See `RecommendationStore.list`."""
        created_at, rec_id = before if before is not None else (None, None)
        # As a snapshot it is planned for the filters that are there.
        async with self._database.transaction(
            Role.READER, tenant_id=tenant_id, snapshot=True, timeout_s=TIMEOUT_S
        ) as connection:
            rows = await connection.fetch(
                SQL["list"],
                tenant_id,
                _STATES,
                created_at,
                rec_id,
                wanted.cluster_id,
                wanted.env,
                wanted.drift_id,
                wanted.recommendation_type,
                wanted.state.value if wanted.state is not None else None,
                limit,
            )
        return [recommendation_of(row) for row in rows]

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
        """See `RecommendationStore.decide`."""
        decision = "approved" if approved else "rejected"
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            recommendation = recommendation_of(await _locked_row(connection, tenant_id, rec_id))
            check_may_decide(recommendation)
            check_unmoved(recommendation, updated_at)
            await connection.execute(SQL["decide"], tenant_id, rec_id, decision, by, reason, now)
            return recommendation_of(await _row(connection, tenant_id, rec_id))

    async def apply(
        self,
        tenant_id: int,
        rec_id: str,
        order: RemediationOrder,
        *,
        now: datetime,
        updated_at: datetime | None = None,
    ) -> tuple[Recommendation, int]:
        """See `RecommendationStore.apply`."""
        dry_run = order.policy.dry_run
        try:
            async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
                row = await _locked_row(connection, tenant_id, rec_id)
                recommendation, last = recommendation_of(row), row["remediation_state"]
                check_may_apply(
                    recommendation,
                    approved=row["decision"] == "approved",
                    last=RemediationState(last) if last is not None else None,
                    dry_run=dry_run,
                )
                check_unmoved(recommendation, updated_at)
                remediation_id = await _remediate(connection, tenant_id, rec_id, order, now)
                await connection.execute(SQL["link"], tenant_id, rec_id, remediation_id, dry_run, now)
                return recommendation_of(await _row(connection, tenant_id, rec_id)), remediation_id
        except asyncpg.UniqueViolationError as error:
            raise Conflict(f"workflow {order.workflow_id!r} is another remediation's") from error


async def add_recommendations(connection: Connection, tenant_id: int, recommendations: Sequence[Recommendation]) -> int:
    """Adds those whose id the tenant does not have yet; returns how many. Part of the caller's transaction."""
    rows = msgspec.json.encode([recommendation_row(each) for each in recommendations]).decode()
    return len(await connection.fetch(SQL["add"], tenant_id, rows)) if recommendations else 0


async def propose(
    connection: Connection, tenant_id: int, recommendations: Sequence[Recommendation], *, now: datetime
) -> None:
    """Adds detection's own, or renews those whose decision is open, or open again. Part of the caller's transaction."""
    if recommendations:
        rows = msgspec.json.encode([recommendation_row(each) for each in recommendations]).decode()
        in_vain = [state.value for state in IN_VAIN]
        await connection.execute(SQL["reopen"], tenant_id, rows, SEXTANT, in_vain, now - UNAPPLIED_MAX)
        await connection.execute(SQL["renew"], tenant_id, rows)
        await connection.execute(SQL["add"], tenant_id, rows)


async def withdraw(connection: Connection, tenant_id: int, drift_ids: Sequence[str], *, now: datetime) -> None:
    """Rejects detection's own that nobody has decided on. Part of the caller's transaction."""
    if drift_ids:
        await connection.execute(SQL["withdraw"], tenant_id, drift_ids, now, SEXTANT, NO_LONGER_PROPOSED)


async def _row(connection: Connection, tenant_id: int, rec_id: str) -> Mapping[str, Any]:
    row: Mapping[str, Any] | None = await connection.fetchrow(SQL["get"], tenant_id, rec_id, _STATES)
    if row is None:
        raise NotFound("recommendation", rec_id)
    return row


async def _locked_row(connection: Connection, tenant_id: int, rec_id: str) -> Mapping[str, Any]:
    """The same, of one that nobody else changes before the transaction ends."""
    await connection.execute(SQL["lock"], tenant_id, rec_id)
    return await _row(connection, tenant_id, rec_id)


async def _remediate(
    connection: Connection, tenant_id: int, rec_id: str, order: RemediationOrder, now: datetime
) -> int:
    remediation_id: int = await connection.fetchval(
        SQL["remediate"],
        tenant_id,
        rec_id,
        order.rule.name,
        order.policy_id,
        order.policy.name,
        order.workflow_id,
        order.policy.dry_run,
        *(msgspec.json.encode(part).decode() for part in (order.alert, order.rule, order.policy)),
        now,
    )
    return remediation_id
