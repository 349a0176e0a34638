"""Configuration changes and baselines on PostgreSQL."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from adapters.driven.config_recording import check_baselines_fit, event_of_change, recorded_change
from adapters.driven.postgres.config_rows import baseline_of, change_of, diff_json
from adapters.driven.postgres.database import Connection, Database, Role
from adapters.driven.postgres.documents import document_json, optional_json
from adapters.driven.postgres.events import add_events
from adapters.driven.postgres.queries import load_queries
from core.domain.configurations import (
    ConfigBaseline,
    ConfigChange,
    ConfigFilter,
    ConfigKind,
    ObservedConfiguration,
    StoredBaseline,
)
from core.domain.errors import NotFound

TIMEOUT_S: Final = 30.0
"""A cluster of thousands of workloads is compared in some seconds; longer means that the database is in trouble."""
COMPARED_AT_ONCE: Final = 200
"""Configurations: with their documents some megabytes, at most 50."""

SQL = load_queries(__package__, "configurations.sql")

Place = tuple[str, str, str, str]


class PostgresConfigStore:
    """Implements `ports.driven.cluster_store.ConfigStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, tenant_id: int, changes: Sequence[ConfigChange]) -> int:
        """See `ConfigStore.append`."""
        first: dict[UUID, ConfigChange] = {}
        for change in changes:
            first.setdefault(change.id, change)
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            await connection.execute(SQL["lock"], tenant_id)
            added = await _add(connection, tenant_id, first.values())
            await add_events(connection, tenant_id, [event_of_change(change, now=change.ts) for change in added])
        return len(added)

    async def observe(
        self, tenant_id: int, observed: Sequence[ObservedConfiguration], *, source: str, now: datetime
    ) -> int:
        """See `ConfigStore.observe`."""
        changed = 0
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            await connection.execute(SQL["lock"], tenant_id)
            for start in range(0, len(observed), COMPARED_AT_ONCE):
                part = observed[start : start + COMPARED_AT_ONCE]
                changed += await _observe(connection, tenant_id, part, source=source, now=now)
        return changed

    async def standing(
        self, tenant_id: int, cluster_id: str, namespaces: Sequence[str], *, source: str
    ) -> Sequence[tuple[str, str, ConfigKind]]:
        """See `ConfigStore.standing`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            rows = await connection.fetch(SQL["standing"], tenant_id, cluster_id, source, list(namespaces))
        return [(row["namespace"], row["workload"], ConfigKind(row["kind"])) for row in rows]

    async def list(
        self, tenant_id: int, wanted: ConfigFilter, *, limit: int, before: tuple[datetime, UUID] | None
    ) -> Sequence[ConfigChange]:
        """See `ConfigStore.list`."""
        ts, change_id = before if before is not None else (None, None)
        # As a snapshot it is planned for the filters that are there: each index serves other ones.
        async with self._database.transaction(
            Role.READER, tenant_id=tenant_id, snapshot=True, timeout_s=TIMEOUT_S
        ) as connection:
            rows = await connection.fetch(
                SQL["list"],
                tenant_id,
                ts,
                change_id,
                wanted.cluster_id,
                wanted.namespace,
                wanted.workload,
                wanted.kind.value if wanted.kind is not None else None,
                wanted.start,
                wanted.end,
                limit,
            )
        return [change_of(row) for row in rows]

    async def get(self, tenant_id: int, change_id: UUID) -> ConfigChange:
        """See `ConfigStore.get`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            row = await connection.fetchrow(SQL["get"], tenant_id, change_id)
        if row is None:
            raise NotFound("configuration change", str(change_id))
        return change_of(row)

    async def at(
        self, tenant_id: int, cluster_id: str, workload: str, *, namespace: str | None, ts: datetime
    ) -> Sequence[ConfigChange]:
        """See `ConfigStore.at`."""
        async with self._database.transaction(
            Role.READER, tenant_id=tenant_id, snapshot=True, timeout_s=TIMEOUT_S
        ) as connection:
            rows = await connection.fetch(SQL["at"], tenant_id, cluster_id, workload, namespace, ts)
        return sorted(map(change_of, rows), key=lambda change: (change.namespace, change.kind.value))

    async def baselines(
        self, tenant_id: int, *, cluster_id: str | None, workload: str | None
    ) -> Sequence[StoredBaseline]:
        """See `ConfigStore.baselines`."""
        async with self._database.transaction(
            Role.READER, tenant_id=tenant_id, snapshot=True, timeout_s=TIMEOUT_S
        ) as connection:
            rows = await connection.fetch(SQL["baselines"], tenant_id, cluster_id, workload)
        return [baseline_of(row) for row in rows]

    async def put_baseline(self, tenant_id: int, baseline: ConfigBaseline, *, by: str, now: datetime) -> None:
        """See `ConfigStore.put_baseline`."""
        place = (baseline.cluster_id, baseline.namespace, baseline.workload, baseline.kind.value)
        text = document_json(baseline.document)
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            await connection.execute(SQL["lock_baselines"], tenant_id)
            others_bytes: int = await connection.fetchval(SQL["size_of_other_baselines"], tenant_id, *place)
            check_baselines_fit(others_bytes, len(text.encode()))
            await connection.execute(SQL["put_baseline"], tenant_id, *place, text, by, now)

    async def delete_baseline(
        self, tenant_id: int, cluster_id: str, namespace: str, workload: str, kind: ConfigKind
    ) -> None:
        """See `ConfigStore.delete_baseline`."""
        place = (cluster_id, namespace, workload, kind.value)
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            if await connection.fetchval(SQL["delete_baseline"], tenant_id, *place) is None:
                raise NotFound("baseline", f"{kind.value} of {cluster_id}/{namespace}/{workload}")


async def _observe(
    connection: Connection, tenant_id: int, observed: Sequence[ObservedConfiguration], *, source: str, now: datetime
) -> int:
    """Records what differs from the newest; returns how many changes, first sights not counted."""
    newest = await _newest(connection, tenant_id, observed)
    recorded: list[ConfigChange] = []
    told: set[UUID] = set()
    for found in observed:
        place = _place(found)
        change = recorded_change(tenant_id, found, newest.get(place), source=source, now=now)
        if change is None:
            continue
        recorded.append(change)
        if place in newest:
            told.add(change.id)
        newest[place] = change
    changes = [change for change in await _add(connection, tenant_id, recorded) if change.id in told]
    await add_events(connection, tenant_id, [event_of_change(change, now=now) for change in changes])
    return len(changes)


async def _newest(
    connection: Connection, tenant_id: int, observed: Sequence[ObservedConfiguration]
) -> dict[Place, ConfigChange]:
    places = sorted({_place(found) for found in observed})
    columns = [list(column) for column in zip(*places, strict=True)]
    return {
        places[row["place"] - 1]: change_of(row) for row in await connection.fetch(SQL["newest"], tenant_id, *columns)
    }


async def _add(connection: Connection, tenant_id: int, changes: Iterable[ConfigChange]) -> list[ConfigChange]:
    """Adds those whose id the tenant does not have yet; returns these."""
    given = {change.id: change for change in changes}
    if not given:
        return []
    rows = await connection.fetch(
        SQL["add"],
        tenant_id,
        list(given),
        [change.ts for change in given.values()],
        [change.cluster_id for change in given.values()],
        [change.namespace for change in given.values()],
        [change.workload for change in given.values()],
        [change.kind.value for change in given.values()],
        [optional_json(change.before) for change in given.values()],
        [optional_json(change.after) for change in given.values()],
        [diff_json(change.diff) for change in given.values()],
        [change.actor for change in given.values()],
        [change.source for change in given.values()],
        [change.synthetic for change in given.values()],
    )
    return [given[row["id"]] for row in rows]


def _place(found: ObservedConfiguration) -> Place:
    return found.cluster_id, found.namespace, found.workload, found.kind.value
