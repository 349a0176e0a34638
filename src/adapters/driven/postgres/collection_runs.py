"""Runs of metric sources on PostgreSQL, as callers see them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import asyncpg

from adapters.driven.postgres.collection_rows import json_of, result_of, run_of
from adapters.driven.postgres.database import Database, Role
from adapters.driven.postgres.queries import load_queries
from core.domain.collection import (
    ITEMS_SHOWN_MAX,
    WAITING_RUNS_MAX,
    CollectionRun,
    CollectionRunDetail,
    CollectionState,
    Progress,
)
from core.domain.errors import Conflict, NotFound
from ports.driven.source_store import RunOrder

TIMEOUT_S: Final = 10.0
"""Every statement here touches a page of rows; longer means that the database is in trouble."""

SQL = load_queries(__package__, "collection_runs.sql")


class PostgresCollectionRunStore:
    """Implements `ports.driven.source_store.CollectionRunStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def request(self, tenant_id: int, orders: Sequence[RunOrder], *, now: datetime) -> Sequence[CollectionRun]:
        """See `CollectionRunStore.request`."""
        try:
            async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
                await connection.execute(SQL["lock"], tenant_id)
                waiting = await connection.fetchval(SQL["count_waiting"], tenant_id)
                if waiting + len(orders) > WAITING_RUNS_MAX:
                    raise Conflict(
                        f"{waiting} runs wait already; at most {WAITING_RUNS_MAX} may, so {len(orders)} more have no "
                        "room"
                    )
                values = [_values(tenant_id, order, now) for order in orders]
                rows = [await connection.fetchrow(SQL["request"], *each) for each in values]
        except asyncpg.ForeignKeyViolationError as error:
            raise Conflict("a source was deleted at this moment; ask again") from error
        return [run_of(row) for row in rows if row is not None]

    async def list(
        self, tenant_id: int, *, source: str | None, state: CollectionState | None, limit: int, before_id: int | None
    ) -> Sequence[CollectionRun]:
        """See `CollectionRunStore.list`."""
        wanted = state.value if state is not None else None
        # As a snapshot it is planned for the filters that are there.
        async with self._database.transaction(
            Role.READER, tenant_id=tenant_id, snapshot=True, timeout_s=TIMEOUT_S
        ) as connection:
            rows = await connection.fetch(SQL["list"], tenant_id, before_id, source, wanted, limit)
        return [run_of(row) for row in rows]

    async def get(self, tenant_id: int, run_id: int) -> CollectionRunDetail:
        """See `CollectionRunStore.get`."""
        async with self._database.transaction(
            Role.READER, tenant_id=tenant_id, snapshot=True, timeout_s=TIMEOUT_S
        ) as connection:
            row = await connection.fetchrow(SQL["get"], tenant_id, run_id)
            if row is None:
                raise NotFound("run", str(run_id))
            results = await connection.fetch(SQL["results"], tenant_id, run_id, ITEMS_SHOWN_MAX)
        return CollectionRunDetail(run=run_of(row), items=tuple(result_of(each["result"]) for each in results))


def _values(tenant_id: int, order: RunOrder, now: datetime) -> tuple[object, ...]:
    kind = order.spec.kind.value
    return (
        tenant_id,
        order.spec.name if order.stored else kind,
        kind,
        order.scope,
        json_of(order.spec),
        order.sealed,
        json_of(order.request),
        order.requested_by,
        json_of(Progress()),
        now,
    )
