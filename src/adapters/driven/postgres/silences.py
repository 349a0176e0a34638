"""Silences and inhibitions on PostgreSQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from adapters.driven.postgres.database import Database, Role
from adapters.driven.postgres.queries import load_queries
from core.domain.alerts import Inhibition, InhibitionSpec, Silence, SilenceSpec
from core.domain.errors import Conflict, NotFound

TIMEOUT_S: Final = 10.0
"""Every statement here touches a few rows; longer means that the database is in trouble."""

SQL = load_queries(__package__, "silences.sql")


class PostgresSilenceStore:
    """Implements `ports.driven.alerting_store.SilenceStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def silences(self, tenant_id: int, *, ended_before: datetime | None) -> Sequence[Silence]:
        """See `SilenceStore.silences`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            return [silence_of(row) for row in await connection.fetch(SQL["silences"], tenant_id, ended_before)]

    async def silence(self, tenant_id: int, silence_id: int) -> Silence:
        """See `SilenceStore.silence`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            row = await connection.fetchrow(SQL["silence"], tenant_id, silence_id)
        if row is None:
            raise _no_silence(silence_id)
        return silence_of(row)

    async def create_silence(self, tenant_id: int, spec: SilenceSpec, *, author: str, now: datetime) -> Silence:
        """See `SilenceStore.create_silence`."""
        starts_at = spec.begin(now)
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            row = await connection.fetchrow(
                SQL["create_silence"], tenant_id, spec.matchers, starts_at, spec.ends_at, author, spec.reason, now
            )
        assert row is not None
        return silence_of(row)

    async def replace_silence(self, tenant_id: int, silence_id: int, spec: SilenceSpec) -> Silence:
        """See `SilenceStore.replace_silence`."""
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            row = await connection.fetchrow(SQL["lock_silence"], tenant_id, silence_id)
            if row is None:
                raise _no_silence(silence_id)
            starts_at = spec.begin(row["starts_at"])
            row = await connection.fetchrow(
                SQL["replace_silence"], tenant_id, row["id"], spec.matchers, starts_at, spec.ends_at, spec.reason
            )
        assert row is not None
        return silence_of(row)

    async def end_silence(self, tenant_id: int, silence_id: int, *, now: datetime) -> None:
        """See `SilenceStore.end_silence`."""
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            if await connection.fetchval(SQL["end_silence"], tenant_id, silence_id, now) is None:
                raise _no_silence(silence_id)

    async def inhibitions(self, tenant_id: int) -> Sequence[Inhibition]:
        """See `SilenceStore.inhibitions`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            return [inhibition_of(row) for row in await connection.fetch(SQL["inhibitions"], tenant_id)]

    async def create_inhibition(self, tenant_id: int, spec: InhibitionSpec) -> Inhibition:
        """See `SilenceStore.create_inhibition`."""
        text = msgspec.json.encode(spec).decode()
        try:
            async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
                row = await connection.fetchrow(SQL["create_inhibition"], tenant_id, spec.name, text)
        except asyncpg.UniqueViolationError:
            raise Conflict(f"an inhibition named {spec.name!r} exists already") from None
        assert row is not None
        return inhibition_of(row)

    async def delete_inhibition(self, tenant_id: int, inhibition_id: int) -> None:
        """See `SilenceStore.delete_inhibition`."""
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            if await connection.fetchval(SQL["delete_inhibition"], tenant_id, inhibition_id) is None:
                raise NotFound("inhibition", str(inhibition_id))


def silence_of(row: Mapping[str, Any]) -> Silence:
    """The silence in a row of `sextant.silences`."""
    return Silence(
        id=row["id"],
        matchers=tuple(row["matchers"]),
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        author=row["author"],
        reason=row["reason"],
        created_at=row["created_at"],
    )


def inhibition_of(row: Mapping[str, Any]) -> Inhibition:
    """The inhibition in a row of `sextant.inhibitions`."""
    spec = msgspec.json.decode(row["spec"], type=InhibitionSpec)
    return Inhibition(id=row["id"], spec=spec, created_at=row["created_at"])


def _no_silence(silence_id: int) -> NotFound:
    return NotFound("silence", str(silence_id))
