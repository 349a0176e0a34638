"""Runs of metric sources in memory, as callers see them."""

from collections.abc import Sequence
from datetime import datetime

from adapters.driven.memory.collection_tables import CollectionRunRow
from adapters.driven.memory.database import MemoryDatabase
from core.domain.collection import (
    WAITING_RUNS_MAX,
    CollectionRun,
    CollectionRunDetail,
    CollectionState,
    Progress,
)
from core.domain.errors import Conflict, NotFound
from ports.driven.source_store import RunOrder


class MemoryCollectionRunStore:
    """Implements `CollectionRunStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._tables = database.collection

    async def request(self, tenant_id: int, orders: Sequence[RunOrder], *, now: datetime) -> Sequence[CollectionRun]:
        """Puts them in line, or raises `Conflict`."""
        rows = [row for row in self._tables.runs.values() if row.tenant_id == tenant_id]
        waiting = sum(row.run.state is CollectionState.WAITING for row in rows)
        if waiting + len(orders) > WAITING_RUNS_MAX:
            raise Conflict(
                f"{waiting} runs wait already; at most {WAITING_RUNS_MAX} may, so {len(orders)} more have no room"
            )
        return [self._add(tenant_id, order, now).run for order in orders]

    async def list(
        self, tenant_id: int, *, source: str | None, state: CollectionState | None, limit: int, before_id: int | None
    ) -> Sequence[CollectionRun]:
        """Newest first."""
        runs = [row.run for row in reversed(self._tables.runs.values()) if row.tenant_id == tenant_id]
        found = [
            run
            for run in runs
            if (source is None or run.source == source)
            and (state is None or run.state is state)
            and (before_id is None or run.id < before_id)
        ]
        return found[:limit]

    async def get(self, tenant_id: int, run_id: int) -> CollectionRunDetail:
        """One, or `NotFound`."""
        row = self._tables.runs.get(run_id)
        if row is None or row.tenant_id != tenant_id:
            raise NotFound("run", str(run_id))
        return CollectionRunDetail(run=row.run, items=tuple(row.shown()))

    def _add(self, tenant_id: int, order: RunOrder, now: datetime) -> CollectionRunRow:
        sources = self._tables.sources.values()
        source_id = next(
            (row.source.id for row in sources if row.tenant_id == tenant_id and row.source.scope == order.scope), None
        )
        run = CollectionRun(
            id=self._database.next_id("collection_runs"),
            source=order.spec.name if order.stored else order.spec.kind.value,
            kind=order.spec.kind,
            request=order.request,
            requested_by=order.requested_by,
            state=CollectionState.WAITING,
            problem=None,
            progress=Progress(),
            attempts=0,
            requested_at=now,
            started_at=None,
            finished_at=None,
        )
        self._tables.runs[run.id] = CollectionRunRow(
            tenant_id=tenant_id,
            run=run,
            spec=order.spec,
            scope=order.scope,
            source_id=source_id,
            sealed=order.sealed,
        )
        return self._tables.runs[run.id]
