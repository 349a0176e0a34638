"""Metric sources on PostgreSQL; their credentials are written by requests and read by the keeper alone."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg

from adapters.driven.postgres.collection_rows import json_of, source_of
from adapters.driven.postgres.database import Database, Role
from adapters.driven.postgres.queries import load_queries
from core.domain.errors import Conflict, NotFound
from core.domain.sources import SOURCE_SCOPE, SOURCES_MAX, SourceSpec, StoredSource

TIMEOUT_S: Final = 10.0
"""Every statement here touches a few rows; longer means that the database is in trouble."""

SQL = load_queries(__package__, "sources.sql")


class PostgresSourceStore:
    """Implements `ports.driven.source_store.SourceStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, tenant_id: int) -> Sequence[StoredSource]:
        """See `SourceStore.list`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            return [source_of(row) for row in await connection.fetch(SQL["list"], tenant_id)]

    async def get(self, tenant_id: int, name: str) -> StoredSource:
        """See `SourceStore.get`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            return _found(await connection.fetchrow(SQL["get"], tenant_id, name), name)

    async def create(
        self, tenant_id: int, spec: SourceSpec, credential_names: Sequence[str], sealed: bytes | None, *, now: datetime
    ) -> StoredSource:
        """See `SourceStore.create`."""
        values = (tenant_id, spec.name, json_of(spec), list(credential_names), sealed, _first_run(spec, now), now)
        try:
            async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
                await connection.execute(SQL["lock"], tenant_id)
                if await connection.fetchval(SQL["count"], tenant_id) >= SOURCES_MAX:
                    raise Conflict(f"there are {SOURCES_MAX} sources already, which is as many as a tenant may have")
                row = await connection.fetchrow(SQL["create"], *values)
        except asyncpg.UniqueViolationError:
            raise _taken(spec) from None
        assert row is not None
        return source_of(row)

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
        """See `SourceStore.replace`."""
        values: tuple[object, ...] = (tenant_id, name, spec.name, json_of(spec), _first_run(spec, now), now)
        query = SQL["replace"]
        if credentials is not None:
            names, sealed = credentials
            values = (*values, list(names), sealed)
            query = SQL["replace_with_credentials"]
        try:
            async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
                present = await connection.fetchval(SQL["lock_revision"], tenant_id, name)
                if present not in (None, revision):
                    raise Conflict(f"the source {name!r} was changed meanwhile")
                return _found(await connection.fetchrow(query, *values), name)
        except asyncpg.UniqueViolationError:
            raise _taken(spec) from None

    async def delete(self, tenant_id: int, name: str) -> None:
        """See `SourceStore.delete`."""
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            source_id = await connection.fetchval(SQL["delete"], tenant_id, name)
            if source_id is None:
                raise NotFound("source", name)
            # Afterwards: whoever held one of its runs meanwhile has written what there is to write.
            await connection.execute(SQL["delete_checkpoints"], tenant_id, f"{SOURCE_SCOPE}{source_id}")


def _first_run(spec: SourceSpec, now: datetime) -> datetime | None:
    return now if spec.interval_us is not None else None


def _found(row: Mapping[str, Any] | None, name: str) -> StoredSource:
    if row is None:
        raise NotFound("source", name)
    return source_of(row)


def _taken(spec: SourceSpec) -> Conflict:
    return Conflict(f"a source named {spec.name!r} exists already")
