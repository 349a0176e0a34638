"""Incidents on PostgreSQL, as people read and change them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from adapters.driven import incident_history as history
from adapters.driven.incident_history import Move
from adapters.driven.postgres import incident_changes
from adapters.driven.postgres.database import Connection, Database, Role
from adapters.driven.postgres.incident_changes import SQL
from adapters.driven.postgres.incident_rows import change_of, incident_of
from adapters.driven.postgres.wire import timestamp
from core.domain.errors import InvalidInput, NotFound
from core.domain.incidents import (
    ChangeKind,
    Incident,
    IncidentDetail,
    IncidentFilter,
    IncidentState,
)

TIMEOUT_S: Final = 10.0
"""An incident's signals are read and moved in well under a second; longer means that the database is in trouble."""


class PostgresIncidentStore:
    """Implements `ports.driven.incident_store.IncidentStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(
        self, tenant_id: int, wanted: IncidentFilter, *, limit: int, before_id: int | None
    ) -> Sequence[Incident]:
        """See `IncidentStore.list`."""
        # As a snapshot it is planned for the filters that are there.
        async with self._database.transaction(
            Role.READER, tenant_id=tenant_id, snapshot=True, timeout_s=TIMEOUT_S
        ) as connection:
            rows = await connection.fetch(
                SQL["list"],
                tenant_id,
                before_id,
                wanted.state.value if wanted.state is not None else None,
                wanted.active,
                timestamp(wanted.start_us) if wanted.start_us is not None else None,
                timestamp(wanted.end_us) if wanted.end_us is not None else None,
                wanted.host,
                wanted.service,
                _in_any_case(wanted.text) if wanted.text is not None else None,
                wanted.synthetic,
                limit,
            )
        return [incident_of(row) for row in rows]

    async def get(self, tenant_id: int, incident_id: int) -> IncidentDetail:
        """See `IncidentStore.get`."""
        async with self._database.transaction(
            Role.READER, tenant_id=tenant_id, snapshot=True, timeout_s=TIMEOUT_S
        ) as connection:
            return await incident_changes.detail(connection, tenant_id, incident_id)

    async def acknowledge(self, tenant_id: int, incident_id: int, *, by: str, now: datetime) -> Incident:
        """See `IncidentStore.acknowledge`."""
        async with self._changing(tenant_id) as connection:
            before = await _unmerged(connection, tenant_id, incident_id)
            history.check_acknowledged(before)
            if before.state is IncidentState.OPEN:
                await incident_changes.stand(
                    connection, tenant_id, [incident_id], IncidentState.ACKNOWLEDGED, by=by, now=now
                )
            return await incident_changes.incident(connection, tenant_id, incident_id)

    async def resolve(self, tenant_id: int, incident_id: int, *, by: str, now: datetime) -> Incident:
        """See `IncidentStore.resolve`."""
        async with self._changing(tenant_id) as connection:
            before = await _unmerged(connection, tenant_id, incident_id)
            if before.state is not IncidentState.RESOLVED:
                await incident_changes.stand(
                    connection, tenant_id, [incident_id], IncidentState.RESOLVED, by=by, now=now
                )
            return await incident_changes.incident(connection, tenant_id, incident_id)

    async def reopen(self, tenant_id: int, incident_id: int, *, by: str, now: datetime) -> Incident:
        """See `IncidentStore.reopen`."""
        async with self._changing(tenant_id) as connection:
            before = await _unmerged(connection, tenant_id, incident_id)
            if before.state is IncidentState.RESOLVED:
                await incident_changes.stand(connection, tenant_id, [incident_id], IncidentState.OPEN, by=by, now=now)
            return await incident_changes.incident(connection, tenant_id, incident_id)

    async def merge(self, tenant_id: int, incident_id: int, from_id: int, *, by: str, now: datetime) -> Incident:
        """See `IncidentStore.merge`."""
        if incident_id == from_id:
            raise InvalidInput("from", "an incident cannot be merged into itself")
        async with self._changing(tenant_id) as connection:
            target = await _unmerged(connection, tenant_id, incident_id)
            source = await _unmerged(connection, tenant_id, from_id)
            history.check_alike(target, source)
            keys = await _swallow(connection, tenant_id, target, source, now=now)
            entries = history.merged(Move(from_id, incident_id, keys, source.signals))
            await incident_changes.write(connection, tenant_id, entries, by=by, now=now)
            return await incident_changes.incident(connection, tenant_id, incident_id)

    async def split(self, tenant_id: int, incident_id: int, keys: Sequence[str], *, by: str, now: datetime) -> Incident:
        """See `IncidentStore.split`."""
        wanted = sorted(set(keys))
        async with self._changing(tenant_id) as connection:
            before = await _unmerged(connection, tenant_id, incident_id)
            history.check_split(wanted, await _keys(connection, tenant_id, incident_id))
            made_id = await incident_changes.add(
                connection, tenant_id, before.title, synthetic=before.synthetic, now=now, of=before
            )
            await connection.execute(SQL["move"], tenant_id, wanted, made_id)
            await incident_changes.recount(connection, tenant_id, made_id, len(wanted), now=now)
            await incident_changes.recount(connection, tenant_id, incident_id, before.signals - len(wanted), now=now)
            entries = history.split(Move(incident_id, made_id, wanted, len(wanted)))
            await incident_changes.write(connection, tenant_id, entries, by=by, now=now)
            return await incident_changes.incident(connection, tenant_id, made_id)

    async def undo(self, tenant_id: int, incident_id: int, change_id: int, *, by: str, now: datetime) -> Incident:
        """See `IncidentStore.undo`."""
        async with self._changing(tenant_id) as connection:
            await incident_changes.incident(connection, tenant_id, incident_id)
            row = await connection.fetchrow(SQL["change"], tenant_id, incident_id, change_id)
            if row is None:
                raise NotFound("change", str(change_id))
            change = change_of(row)
            move = history.move_to_undo(change)
            rows = await connection.fetch(SQL["standing_moves"], tenant_id, [move.from_id, move.into_id])
            entries = history.check_last(change, [change_of(row) for row in rows])
            source = await incident_changes.incident(connection, tenant_id, move.from_id)
            target = await incident_changes.incident(connection, tenant_id, move.into_id)
            if change.kind is ChangeKind.MERGED:
                await _release(connection, tenant_id, target, source, move, now=now)
            else:
                await _swallow(connection, tenant_id, source, target, now=now)
            await connection.execute(SQL["mark_undone"], tenant_id, [entry.id for entry in entries])
            undone = [history.undone(entry) for entry in entries]
            await incident_changes.write(connection, tenant_id, undone, by=by, now=now)
            return await incident_changes.incident(connection, tenant_id, incident_id)

    @asynccontextmanager
    async def _changing(self, tenant_id: int) -> AsyncIterator[Connection]:
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            await incident_changes.lock(connection, tenant_id)
            yield connection


async def _unmerged(connection: Connection, tenant_id: int, incident_id: int) -> Incident:
    found = await incident_changes.incident(connection, tenant_id, incident_id)
    history.check_unmerged(found)
    return found


async def _keys(connection: Connection, tenant_id: int, incident_id: int) -> list[str]:
    return [row["key"] for row in await connection.fetch(SQL["keys"], tenant_id, incident_id)]


async def _swallow(
    connection: Connection, tenant_id: int, target: Incident, source: Incident, *, now: datetime
) -> list[str]:
    """Moves all signals of `source` to `target`; returns their keys."""
    keys = await _keys(connection, tenant_id, source.id)
    await connection.execute(SQL["move"], tenant_id, keys, target.id)
    await connection.execute(SQL["place"], tenant_id, source.id, IncidentState.MERGED.value, target.id)
    await incident_changes.recount(connection, tenant_id, source.id, 0, now=now)
    await incident_changes.recount(
        connection,
        tenant_id,
        target.id,
        target.signals + source.signals,
        now=now,
        last_at=source.last_signal_at,
        severe=source.severe,
    )
    return keys


async def _release(
    connection: Connection, tenant_id: int, target: Incident, source: Incident, move: Move, *, now: datetime
) -> None:
    """Gives a merged incident its signals back, and what it was before."""
    await connection.execute(SQL["move"], tenant_id, move.keys, source.id)
    await connection.execute(SQL["place"], tenant_id, source.id, history.state_before(source).value, None)
    await incident_changes.recount(connection, tenant_id, source.id, move.signals, now=now)
    await incident_changes.recount(connection, tenant_id, target.id, target.signals - move.signals, now=now)


def _in_any_case(text: str) -> str:
    """A regular expression for a text in letters of any case, which ILIKE, in a database of locale C, knows of ASCII's
    only."""
    return "".join(_either(letter) for letter in text)


def _either(letter: str) -> str:
    cases = {each for each in (letter, letter.lower(), letter.upper()) if len(each) == 1}
    if len(cases) > 1:
        return f"[{''.join(sorted(cases))}]"
    return letter if letter.isalnum() or not letter.isascii() else f"\\{letter}"
