"""Metric sources in memory."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from adapters.driven.memory.collection_tables import SourceRow
from adapters.driven.memory.database import MemoryDatabase
from core.domain.errors import Conflict, NotFound
from core.domain.sources import SOURCES_MAX, SourceSpec, StoredSource


class MemorySourceStore:
    """Implements `SourceStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._tables = database.collection

    async def list(self, tenant_id: int) -> Sequence[StoredSource]:
        """All, by name."""
        return sorted((row.source for row in self._rows(tenant_id)), key=lambda source: source.spec.name)

    async def get(self, tenant_id: int, name: str) -> StoredSource:
        """One, or `NotFound`."""
        return self._row(tenant_id, name).source

    async def create(
        self, tenant_id: int, spec: SourceSpec, credential_names: Sequence[str], sealed: bytes | None, *, now: datetime
    ) -> StoredSource:
        """Adds one, or raises `Conflict`."""
        rows = self._rows(tenant_id)
        if len(rows) >= SOURCES_MAX:
            raise Conflict(f"there are {SOURCES_MAX} sources already, which is as many as a tenant may have")
        self._check_free(tenant_id, spec.name, None)
        source = StoredSource(
            id=self._database.next_id("metric_sources"),
            spec=spec,
            credential_names=tuple(credential_names),
            revision=1,
            created_at=now,
            updated_at=now,
            next_run_at=now if spec.interval_us is not None else None,
        )
        self._tables.sources[source.id] = SourceRow(tenant_id=tenant_id, source=source, sealed=sealed)
        return source

    async def replace(
        self,
        tenant_id: int,
        name: str,
        spec: SourceSpec,
        credentials: tuple[Sequence[str], bytes | None] | None,
        *,
        revision: int,
        now: datetime,
    ) -> StoredSource:
        """Changes one; without credentials it keeps its own."""
        row = self._row(tenant_id, name)
        if row.source.revision != revision:
            raise Conflict(f"the source {name!r} was changed meanwhile")
        self._check_free(tenant_id, spec.name, row)
        names: Sequence[str] = row.source.credential_names
        if credentials is not None:
            names, row.sealed = credentials
        row.source = msgspec.structs.replace(
            row.source,
            spec=spec,
            credential_names=tuple(names),
            revision=row.source.revision + 1,
            updated_at=now,
            next_run_at=now if spec.interval_us is not None else None,
        )
        return row.source

    async def delete(self, tenant_id: int, name: str) -> None:
        """Removes one with its checkpoints."""
        row = self._row(tenant_id, name)
        del self._tables.sources[row.source.id]
        self._tables.checkpoints.pop((tenant_id, row.source.scope), None)
        for run in self._tables.runs.values():
            if run.source_id == row.source.id:
                run.source_id = None

    def _rows(self, tenant_id: int) -> Sequence[SourceRow]:
        return [row for row in self._tables.sources.values() if row.tenant_id == tenant_id]

    def _row(self, tenant_id: int, name: str) -> SourceRow:
        for row in self._rows(tenant_id):
            if row.source.spec.name == name:
                return row
        raise NotFound("source", name)

    def _check_free(self, tenant_id: int, name: str, own: SourceRow | None) -> None:
        if any(row.source.spec.name == name and row is not own for row in self._rows(tenant_id)):
            raise Conflict(f"a source named {name!r} exists already")
