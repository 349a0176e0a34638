"""Remediations on PostgreSQL, and the outbox that those waiting for their workflow are."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from adapters.driven.postgres.database import Database, Role
from adapters.driven.postgres.queries import load_queries
from core.domain.alerts import Alert
from core.domain.errors import NotFound
from core.domain.remediation import ENDED, Remediation, RemediationOrder, RemediationPolicy, RemediationState
from core.domain.rules import AlertRule

TIMEOUT_S: Final = 10.0
"""Every statement here touches a few rows; longer means that the database is in trouble."""

SQL = load_queries(__package__, "remediations.sql")


class PostgresRemediationStore:
    """Implements `ports.driven.remediation_store.RemediationStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(
        self,
        tenant_id: int,
        *,
        state: RemediationState | None,
        alert_id: int | None,
        limit: int,
        before_id: int | None,
    ) -> Sequence[Remediation]:
        """See `RemediationStore.list`."""
        # A snapshot plans for the values given: a filter that is not set must not keep one that is from its index.
        async with self._database.transaction(
            Role.READER, tenant_id=tenant_id, snapshot=True, timeout_s=TIMEOUT_S
        ) as connection:
            rows = await connection.fetch(
                SQL["list"], tenant_id, state.value if state is not None else None, alert_id, before_id, limit
            )
        return [_remediation(row) for row in rows]

    async def get(self, tenant_id: int, remediation_id: int) -> Remediation:
        """See `RemediationStore.get`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            row = await connection.fetchrow(SQL["get"], tenant_id, remediation_id)
        if row is None:
            raise NotFound("remediation", str(remediation_id))
        return _remediation(row)

    async def order(self, tenant_id: int, remediation_id: int) -> RemediationOrder:
        """See `RemediationStore.order`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            row = await connection.fetchrow(SQL["order"], tenant_id, remediation_id)
        if row is None:
            raise NotFound("remediation", str(remediation_id))
        return _order(row)

    async def progress(
        self, tenant_id: int, remediation_id: int, state: RemediationState, *, detail: str | None, now: datetime
    ) -> None:
        """See `RemediationStore.progress`."""
        values = (tenant_id, remediation_id, state.value, detail, now, state in ENDED)
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            if await connection.fetchval(SQL["progress"], *values) is not None:
                return
            if await connection.fetchrow(SQL["get"], tenant_id, remediation_id) is None:
                raise NotFound("remediation", str(remediation_id))

    async def waiting(self, tenant_id: int | None) -> int:
        """See `RemediationStore.waiting`."""
        role = Role.KEEPER if tenant_id is None else Role.READER
        async with self._database.transaction(role, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            count: int = await connection.fetchval(SQL["waiting"], tenant_id)
        return count


class PostgresRemediationOutbox:
    """Implements `ports.driven.remediation_store.RemediationOutbox`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, *, now: datetime, lease_s: float, limit: int) -> Sequence[RemediationOrder]:
        """See `RemediationOutbox.claim`."""
        until = now + timedelta(seconds=lease_s)
        async with self._database.transaction(Role.KEEPER, timeout_s=TIMEOUT_S) as connection:
            return [_order(row) for row in await connection.fetch(SQL["claim"], now, until, limit)]

    async def confirm(self, tenant_id: int, remediation_id: int, *, now: datetime) -> None:
        """See `RemediationOutbox.confirm`."""
        async with self._database.transaction(Role.KEEPER, timeout_s=TIMEOUT_S) as connection:
            await connection.execute(SQL["confirm"], tenant_id, remediation_id, now)

    async def postpone(self, tenant_id: int, remediation_id: int, *, error: str, next_attempt_at: datetime) -> None:
        """See `RemediationOutbox.postpone`."""
        async with self._database.transaction(Role.KEEPER, timeout_s=TIMEOUT_S) as connection:
            await connection.execute(SQL["postpone"], tenant_id, remediation_id, error, next_attempt_at)


def _remediation(row: Mapping[str, Any]) -> Remediation:
    return Remediation(
        id=row["id"],
        alert_id=row["alert_id"],
        rule=row["rule_name"],
        policy=row["policy_name"],
        workflow_id=row["workflow_id"],
        state=RemediationState(row["state"]),
        dry_run=row["dry_run"],
        detail=row["detail"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        attempts=row["attempts"],
        last_error=row["last_error"],
        recommendation=row["recommendation"],
    )


def _order(row: Mapping[str, Any]) -> RemediationOrder:
    return RemediationOrder(
        tenant_id=row["tenant_id"],
        tenant=row["tenant"],
        remediation_id=row["id"],
        workflow_id=row["workflow_id"],
        alert=msgspec.json.decode(row["alert"], type=Alert),
        rule=msgspec.json.decode(row["rule"], type=AlertRule),
        policy_id=row["policy_id"],
        policy=msgspec.json.decode(row["policy"], type=RemediationPolicy),
    )
