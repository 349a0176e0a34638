"""Limits of remediation actions on PostgreSQL, under a lock for each tenant."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from adapters.driven.postgres.database import Connection, Database, Role
from adapters.driven.postgres.queries import load_queries
from core.domain.blast_radius import WINDOW, Taken, refusal
from core.domain.remediation import KillSwitch
from ports.driven.remediation_store import Reservation

TIMEOUT_S: Final = 10.0
"""Every statement here touches a few rows; longer means that the database is in trouble."""
LOCK_TIMEOUT_S: Final = 5.0
"""A lock is held for a few round trips; who waits longer had better come back."""
WHOLE_SERVER: Final = 0
"""Stands for a tenant's id."""

SQL = load_queries(__package__, "action_limits.sql")


class PostgresActionLimits:
    """Implements `ports.driven.remediation_store.ActionLimits`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(self, tenant_id: int, reservation: Reservation, *, now: datetime) -> str | None:
        """See `ActionLimits.reserve`."""
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id) as connection:
            # A statement of its own: what the next ones see must be younger than the lock.
            await connection.execute(SQL["lock_tenant"], tenant_id, timeout=LOCK_TIMEOUT_S)
            if not reservation.rollback:
                refused = await self._refusal(connection, tenant_id, reservation, now)
                if refused is not None:
                    return refused
            await connection.execute(
                SQL["grant"],
                tenant_id,
                reservation.key,
                reservation.remediation_id,
                reservation.policy,
                reservation.target,
                reservation.rollback,
                now,
                timeout=TIMEOUT_S,
            )
        return None

    async def kill_switches(self, tenant_id: int) -> Sequence[KillSwitch]:
        """See `ActionLimits.kill_switches`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            return await _kill_switches(connection, tenant_id)

    async def set_kill_switch(
        self, tenant_id: int | None, *, engaged: bool, by: str, reason: str, now: datetime
    ) -> None:
        """See `ActionLimits.set_kill_switch`."""
        whose = WHOLE_SERVER if tenant_id is None else tenant_id
        async with self._database.transaction(
            Role.WRITER, tenant_id=tenant_id, operator=tenant_id is None
        ) as connection:
            # A reservation that did not see the switch has ended before this returns.
            await connection.execute(SQL["lock_switch"], whose, timeout=LOCK_TIMEOUT_S)
            await connection.execute(SQL["set_kill_switch"], whose, engaged, by, reason, now, timeout=TIMEOUT_S)

    async def _refusal(
        self, connection: Connection, tenant_id: int, reservation: Reservation, now: datetime
    ) -> str | None:
        cooldown = timedelta(seconds=reservation.cooldown_s)
        row = await connection.fetchrow(
            SQL["taken"],
            tenant_id,
            reservation.key,
            now - WINDOW,
            now - cooldown,
            reservation.tenant_per_hour_max,
            reservation.target_per_hour_max,
            reservation.target,
            reservation.policy,
            reservation.remediation_id,
            timeout=TIMEOUT_S,
        )
        assert row is not None
        return refusal(
            Taken(switches=await _kill_switches(connection, tenant_id), **row),
            policy=reservation.policy,
            target=reservation.target,
            tenant_per_hour_max=reservation.tenant_per_hour_max,
            target_per_hour_max=reservation.target_per_hour_max,
            cooldown=cooldown,
        )


async def _kill_switches(connection: Connection, tenant_id: int) -> list[KillSwitch]:
    rows = await connection.fetch(SQL["kill_switches"], tenant_id)
    return [
        KillSwitch(
            tenant=row["tenant"],
            engaged=row["engaged"],
            by=row["changed_by"],
            reason=row["reason"],
            changed_at=row["changed_at"],
        )
        for row in rows
    ]
