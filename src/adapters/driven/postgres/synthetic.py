"""Purges of synthetic data on PostgreSQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np

from adapters.driven.postgres.database import Connection, Database, Role
from adapters.driven.postgres.journal import SETTLER, read_blocks
from adapters.driven.postgres.journal import SQL as JOURNAL
from adapters.driven.postgres.keeping import SQL as KEEPING
from adapters.driven.postgres.queries import affected_rows, load_queries
from adapters.driven.postgres.rules import bump_revision
from core.domain.errors import NotFound, Unavailable
from ports.driven.synthetic_store import Purge

TIMEOUT_S: Final = 10.0
"""Every statement of a request touches a few rows; longer means that the database is in trouble."""
REQUEST_TRIES: Final = 3
"""A purge that waited may be finished between two statements; that happens once, if at all."""
BLOCKS_AT_ONCE: Final = 64
"""Unsettled blocks decoded at a time: what they take in memory is bounded, however many wait."""

COLLECTED: Final = (
    "delete_instances",
    "delete_checkpoints",
    "delete_capacity",
    "delete_config_changes",
    "delete_drift",
    "delete_recommendations",
)
"""Queries that delete what came of collecting beside samples."""

SQL = load_queries(__package__, "synthetic.sql")
INCIDENTS = load_queries(__package__, "incidents.sql")


class PostgresSyntheticStore:
    """Implements `ports.driven.synthetic_store.SyntheticStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def request(self, tenant_id: int, *, by: str, now: datetime) -> Purge:
        """See `SyntheticStore.request`."""
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            for _ in range(REQUEST_TRIES):
                row = await connection.fetchrow(SQL["request"], tenant_id, now, by)
                row = row or await connection.fetchrow(SQL["waiting_of"], tenant_id)
                if row is not None:
                    await _close_alerts(connection, tenant_id, by)
                    return _purge_of(row)
        raise Unavailable("purges were finished each time this one was asked for", retry_after_s=1.0)

    async def get(self, tenant_id: int, purge_id: int) -> Purge:
        """See `SyntheticStore.get`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            row = await connection.fetchrow(SQL["get"], tenant_id, purge_id)
        if row is None:
            raise NotFound("purge", str(purge_id))
        return _purge_of(row)


class PostgresSyntheticPurger:
    """Implements `ports.driven.synthetic_store.SyntheticPurger` on plain PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def waiting(self) -> Sequence[int]:
        """See `SyntheticPurger.waiting`."""
        async with self._database.transaction(Role.KEEPER) as connection:
            return [row["id"] for row in await connection.fetch(SQL["waiting"])]

    async def purge(self, purge_id: int, *, now: datetime) -> bool:
        """See `SyntheticPurger.purge`."""
        async with self._database.transaction(Role.KEEPER) as connection:
            # Nobody settles to the end of this transaction: what was looked for in the journal stays there.
            if not await connection.fetchval(JOURNAL["lock_consumer"], SETTLER):
                return False
            purge = await connection.fetchrow(SQL["lock"], purge_id)
            if purge is None:
                return True
            tenant_id = purge["tenant_id"]
            series_ids = [row["id"] for row in await connection.fetch(SQL["series"], tenant_id)]
            if await connection.fetchval(SQL["detects"], tenant_id, now):
                return False
            if await _are_unsettled(connection, series_ids):
                return False
            await connection.execute(SQL["fence"], tenant_id)
            await connection.execute(INCIDENTS["lock"], tenant_id)
            samples = await self._delete_samples(connection, tenant_id, series_ids)
            events, anomalies, _, incidents, _ = [
                affected_rows(await connection.execute(SQL[name], tenant_id))
                for name in ("delete_events", "delete_anomalies", "delete_risks", "delete_incidents", "pass_alerts")
            ]
            for name in COLLECTED:
                await connection.execute(SQL[name], tenant_id)
            await connection.execute(SQL["finish"], purge_id, now, samples, events, anomalies, incidents)
            await _close_alerts(connection, tenant_id, purge["requested_by"])
        return True

    async def _delete_samples(self, connection: Connection, tenant_id: int, series_ids: list[int]) -> int:
        """Deletes their settled samples; returns how many there were."""
        deleted = affected_rows(await connection.execute(SQL["delete_samples"], tenant_id, series_ids))
        if deleted:
            await connection.execute(KEEPING["next_epoch"])
        return deleted


async def _are_unsettled(connection: Connection, series_ids: list[int]) -> bool:
    """Whether points of these series wait in the journal."""
    if not series_ids:
        return False
    positions = [(row["writer"], row["sequence"]) for row in await connection.fetch(SQL["unsettled"])]
    for start in range(0, len(positions), BLOCKS_AT_ONCE):
        blocks = await read_blocks(connection, positions[start : start + BLOCKS_AT_ONCE])
        if any(np.isin(block.points.series_ids, series_ids).any() for block in blocks):
            return True
    return False


async def _close_alerts(connection: Connection, tenant_id: int, by: str) -> None:
    """Asks evaluation to end the tenant's synthetic alerts; last in a transaction, for the revision's sake."""
    if affected_rows(await connection.execute(SQL["close_alerts"], tenant_id, by)):
        await bump_revision(connection)


def _purge_of(row: Mapping[str, Any]) -> Purge:
    return Purge(
        id=row["id"],
        requested_at=row["requested_at"],
        requested_by=row["requested_by"],
        finished_at=row["finished_at"],
        samples=row["samples"],
        events=row["events"],
        anomalies=row["anomalies"],
        incidents=row["incidents"],
    )
