"""The correlator's side of incidents, on PostgreSQL: as the keeper, every statement for one tenant or for all."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final

import msgspec

from adapters.driven.incident_history import SEXTANT
from adapters.driven.postgres import incident_changes, incident_growth
from adapters.driven.postgres.alert_rows import alert_of
from adapters.driven.postgres.database import Connection, Database, Role
from adapters.driven.postgres.detection_rows import anomaly_of, settings_of
from adapters.driven.postgres.events import event_of
from adapters.driven.postgres.incident_growth import SQL
from adapters.driven.postgres.incident_rows import incident_of, signals_of
from adapters.driven.postgres.wire import timestamp
from adapters.driven.signals import signal_of_alert, signal_of_event
from core.domain.anomalies import Anomaly
from core.domain.errors import NotFound, TooExpensive, Unavailable
from core.domain.incidents import (
    CorrelationSettings,
    IncidentAnalysis,
    IncidentDetail,
    IncidentState,
    LearnedLag,
    Signal,
)
from core.domain.times import parse_duration
from ports.driven.incident_store import CorrelationChanges, OpenIncident, Unanalysed

TIMEOUT_S: Final = 30.0
"""A look with thousands of signals is written in seconds; longer means that the database is in trouble."""


class PostgresIncidentWork:
    """Implements `ports.driven.incident_store.IncidentWork`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[bool]:
        """See `IncidentWork.lead`."""
        async with self._database.session() as session:
            if not await session.fetchval(SQL["try_lead"]):
                yield False
                return
            yield True
            await session.fetchval(SQL["stop_leading"])  # after an error the lock goes with the connection instead

    async def waiting_tenants(self) -> Sequence[int]:
        """See `IncidentWork.waiting_tenants`."""
        async with self._keeping() as connection:
            return [row["id"] for row in await connection.fetch(SQL["waiting_tenants"])]

    async def settings(self, tenant_id: int) -> CorrelationSettings:
        """See `IncidentWork.settings`."""
        async with self._keeping() as connection:
            return _correlation(await connection.fetchval(SQL["settings"], tenant_id))

    async def waiting(self, tenant_id: int, *, limit: int) -> Sequence[Signal]:
        """See `IncidentWork.waiting`."""
        async with self._keeping(snapshot=True) as connection:
            events = await connection.fetch(SQL["waiting_events"], tenant_id, limit)
            alerts = await connection.fetch(SQL["waiting_alerts"], tenant_id, limit)
        waiting = [signal_of_event(event_of(row)) for row in events]
        waiting += [signal_of_alert(alert_of(row)) for row in alerts]
        return sorted(waiting, key=lambda signal: signal.at_us)[:limit]

    async def surroundings(
        self, tenant_id: int, *, start_us: int, end_us: int, resolved_after: datetime
    ) -> Sequence[OpenIncident]:
        """See `IncidentWork.surroundings`."""
        start, end = timestamp(start_us), timestamp(end_us)
        async with self._keeping(snapshot=True) as connection:
            rows = await connection.fetch(SQL["surrounding_signals"], tenant_id, start, end, resolved_after)
            then: dict[int, list[Mapping[str, Any]]] = {}
            for row in rows:
                then.setdefault(row["incident_id"], []).append(row)
            incidents = await connection.fetch(incident_changes.SQL["incidents"], tenant_id, sorted(then))
        return [
            OpenIncident(incident=incident_of(incident), signals=signals_of(then[incident["id"]]))
            for incident in reversed(incidents)
        ]

    async def apply(self, tenant_id: int, changes: CorrelationChanges, *, now: datetime) -> Sequence[int]:
        """See `IncidentWork.apply`."""
        async with self._keeping() as connection:
            await incident_changes.lock(connection, tenant_id)
            for growth in changes.grown:
                await incident_growth.grow(connection, tenant_id, growth, now=now)
            opened = [
                await incident_growth.open_incident(connection, tenant_id, new, now=now) for new in changes.opened
            ]
            await incident_growth.take(connection, tenant_id, changes.dropped)
        return [incident_id for incident_id in opened if incident_id is not None]

    async def unanalysed(self, *, limit: int) -> Sequence[Unanalysed]:
        """See `IncidentWork.unanalysed`."""
        async with self._keeping() as connection:
            rows = await connection.fetch(SQL["unanalysed"], limit)
        return [
            Unanalysed(tenant_id=row["tenant_id"], incident_id=row["id"], revision=row["signals_revision"])
            for row in rows
        ]

    async def detail(self, work: Unanalysed) -> IncidentDetail | None:
        """See `IncidentWork.detail`."""
        async with self._keeping(snapshot=True) as connection:
            try:
                found = await incident_changes.detail(connection, work.tenant_id, work.incident_id)
            except NotFound:
                return None
        return found if found.incident.state is not IncidentState.MERGED else None

    async def conditions(
        self, tenant_id: int, *, hosts: Sequence[str], services: Sequence[str], limit: int
    ) -> Sequence[Anomaly]:
        """See `IncidentWork.conditions`."""
        async with self._keeping() as connection:
            rows = await connection.fetch(SQL["conditions"], tenant_id, hosts, services, limit)
        return [anomaly_of(row) for row in rows]

    async def save_analysis(self, work: Unanalysed, analysis: IncidentAnalysis) -> bool:
        """See `IncidentWork.save_analysis`."""
        async with self._keeping() as connection:
            saved = await connection.fetchval(
                SQL["save_analysis"],
                work.tenant_id,
                work.incident_id,
                work.revision,
                analysis.title,
                analysis.text,
                msgspec.json.encode(analysis).decode(),
                analysis.analysed_at,
            )
        return saved is not None

    async def resolve_quiet(self, *, now: datetime) -> Sequence[tuple[int, int]]:
        """See `IncidentWork.resolve_quiet`."""
        async with self._keeping() as connection:
            active = await connection.fetch(SQL["active_tenants"])
        resolved: list[tuple[int, int]] = []
        for row in active:
            after = _correlation(row["settings"]).resolve_after
            since = now - timedelta(microseconds=parse_duration(after, "resolve_after"))
            if row["last_signal_at"] <= since:
                quiet = await self._resolve_quiet(
                    row["tenant_id"], since, why=f"after {after} without a signal", now=now
                )
                resolved += [(row["tenant_id"], incident_id) for incident_id in quiet]
        return resolved

    async def lags(self, tenant_id: int) -> Sequence[LearnedLag]:
        """See `IncidentWork.lags`."""
        async with self._keeping() as connection:
            rows = await connection.fetch(SQL["lags"], tenant_id)
        return [
            LearnedLag(
                first=row["first_entity"],
                then=row["then_entity"],
                lag_us=row["lag_us"],
                spread_us=row["spread_us"],
                incidents=row["incidents"],
            )
            for row in rows
        ]

    async def histories(self, tenant_id: int, *, since: datetime, limit: int) -> Sequence[Sequence[Signal]]:
        """See `IncidentWork.histories`."""
        async with self._keeping(snapshot=True) as connection:
            rows = await connection.fetch(SQL["histories"], tenant_id, since, limit)
        return [signals_of(first) for _, first in groupby(rows, key=lambda row: row["incident_id"])]

    async def save_lags(self, tenant_id: int, lags: Sequence[LearnedLag]) -> None:
        """See `IncidentWork.save_lags`."""
        async with self._keeping() as connection:
            await incident_changes.lock(connection, tenant_id)
            await connection.execute(SQL["forget_lags"], tenant_id)
            await connection.execute(
                SQL["save_lags"],
                tenant_id,
                [lag.first for lag in lags],
                [lag.then for lag in lags],
                [lag.lag_us for lag in lags],
                [lag.spread_us for lag in lags],
                [lag.incidents for lag in lags],
            )

    async def forget(self, *, before: datetime, limit: int) -> int:
        """See `IncidentWork.forget`."""
        async with self._keeping() as connection:
            old = await connection.fetch(SQL["forgettable"], before, limit)
        forgotten = 0
        for tenant_id in sorted({row["tenant_id"] for row in old}):
            incident_ids = [row["id"] for row in old if row["tenant_id"] == tenant_id]
            async with self._keeping() as connection:
                await incident_changes.lock(connection, tenant_id)
                rows = await connection.fetch(SQL["forget"], tenant_id, incident_ids, before)
            forgotten += len(rows)
        return forgotten

    @asynccontextmanager
    async def _keeping(self, *, snapshot: bool = False) -> AsyncIterator[Connection]:
        """A transaction as the keeper; what takes too long is no caller's fault here."""
        try:
            async with self._database.transaction(Role.KEEPER, snapshot=snapshot, timeout_s=TIMEOUT_S) as connection:
                yield connection
        except TooExpensive as error:
            raise Unavailable(f"incidents took the database more than {TIMEOUT_S:g} s") from error

    async def _resolve_quiet(self, tenant_id: int, since: datetime, *, why: str, now: datetime) -> Sequence[int]:
        async with self._keeping() as connection:
            await incident_changes.lock(connection, tenant_id)
            quiet = [row["id"] for row in await connection.fetch(SQL["quiet"], tenant_id, since)]
            if quiet:
                await incident_changes.stand(
                    connection, tenant_id, quiet, IncidentState.RESOLVED, by=SEXTANT, now=now, why=why
                )
        return quiet


def _correlation(settings: str | None) -> CorrelationSettings:
    return settings_of(settings).correlation if settings is not None else CorrelationSettings()
