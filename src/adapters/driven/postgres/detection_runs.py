"""The work of scheduled detection on PostgreSQL: unique indexes decide who begins a run, a token fences its claim."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import msgspec

from adapters.driven.postgres.database import Connection, Database, Role
from adapters.driven.postgres.detection import locked_settings
from adapters.driven.postgres.detection_rows import anomaly_of, run_of, settings_of
from adapters.driven.postgres.events import add_events
from adapters.driven.postgres.queries import affected_rows, load_queries
from adapters.driven.postgres.rules import follow_detection
from core.detection.plan import RISK_METRIC, DetectionSettings
from core.domain.anomalies import Anomaly
from core.domain.detection_runs import RunState, due_instant
from core.domain.errors import Conflict
from core.domain.series import Series
from core.domain.times import parse_duration
from ports.driven.detection_store import AnomalyChanges, PublishedRisk, RunClaim, RunProgress

TIMEOUT_S: Final = 30.0
"""A chunk with thousands of anomalies is written in about a second; longer means that the database is in trouble."""

SQL = load_queries(__package__, "detection_runs.sql")

_TEXTS: Final = msgspec.json.Decoder(dict[str, str])


class PostgresDetectionRuns:
    """Implements `ports.driven.detection_store.DetectionRuns`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(
        self,
        *,
        now: datetime,
        overdue_s: float,
        lease_s: float,
        tenant_id: int | None = None,
        own: UUID | None = None,
    ) -> RunClaim | None:
        """See `DetectionRuns.claim`."""
        token, until = uuid4(), now + timedelta(seconds=lease_s)
        async with self._database.transaction(Role.KEEPER, timeout_s=TIMEOUT_S) as connection:
            taken = await connection.fetchrow(SQL["take_over"], now, token, until, tenant_id, own)
            if taken is not None:
                return _claim(taken["tenant_id"], taken["tenant"], taken["settings"], taken, token)
            for idle in await connection.fetch(SQL["idle_tenants"], tenant_id):
                interval_us = parse_duration(idle["interval"] or DetectionSettings().interval, "interval")
                due_at = due_instant(now, interval_us, idle["due_at"], overdue_s=overdue_s)
                if due_at is None:
                    continue
                begun = await connection.fetchrow(SQL["begin"], idle["id"], due_at, now, token, until)
                if begun is not None:
                    return _claim(idle["id"], idle["name"], idle["settings"], begun, token)
        return None

    async def series(self, tenant_id: int, *, after_id: int, seen_since: datetime, limit: int) -> Sequence[Series]:
        """See `DetectionRuns.series`."""
        day = seen_since.astimezone(UTC).date()
        rows = await self._fetch("series", tenant_id, after_id, day, RISK_METRIC, limit)
        return [Series(row["id"], row["name"], _TEXTS.decode(row["labels"]), row["source"]) for row in rows]

    async def latest_anomalies(self, tenant_id: int, series_ids: Sequence[int]) -> Sequence[Anomaly]:
        """See `DetectionRuns.latest_anomalies`."""
        return [anomaly_of(row) for row in await self._fetch("latest_anomalies", tenant_id, list(series_ids))]

    async def quiet_anomalies(self, tenant_id: int, *, seen_before: datetime, limit: int) -> Sequence[Anomaly]:
        """See `DetectionRuns.quiet_anomalies`."""
        return [anomaly_of(row) for row in await self._fetch("quiet_anomalies", tenant_id, seen_before, limit)]

    async def save(
        self, claim: RunClaim, progress: RunProgress, changes: AnomalyChanges, *, now: datetime, lease_s: float
    ) -> None:
        """See `DetectionRuns.save`."""
        try:
            async with self._database.transaction(Role.KEEPER, timeout_s=TIMEOUT_S) as connection:
                await _hold(connection, claim)
                await _write(connection, claim.tenant_id, changes)
                await connection.execute(
                    SQL["progress"],
                    claim.tenant_id,
                    claim.run.id,
                    progress.after_series_id,
                    progress.series,
                    progress.points,
                    progress.findings,
                    now + timedelta(seconds=lease_s),
                )
        except asyncpg.UniqueViolationError as error:
            # Another claim of this run has opened an anomaly that this one did not see.
            raise _lost(claim) from error

    async def alarming(self, tenant_id: int, *, risk_min: float) -> Sequence[Anomaly]:
        """See `DetectionRuns.alarming`."""
        return [anomaly_of(row) for row in await self._fetch("alarming", tenant_id, risk_min)]

    async def published(self, tenant_id: int) -> Sequence[PublishedRisk]:
        """See `DetectionRuns.published`."""
        return [
            PublishedRisk(fingerprint=row["fingerprint"], labels=_TEXTS.decode(row["labels"]), risk=row["risk"])
            for row in await self._fetch("published", tenant_id)
        ]

    async def save_published(self, claim: RunClaim, risks: Sequence[PublishedRisk]) -> None:
        """See `DetectionRuns.save_published`."""
        lasting = [published for published in risks if published.risk > 0.0]
        fingerprints = [published.fingerprint for published in lasting]
        async with self._database.transaction(Role.KEEPER, timeout_s=TIMEOUT_S) as connection:
            await _hold(connection, claim)
            await connection.execute(SQL["forget_published"], claim.tenant_id, fingerprints)
            if lasting:
                await connection.execute(SQL["write_published"], claim.tenant_id, _json(lasting))

    async def ensure_rule(self, tenant_id: int) -> None:
        """See `DetectionRuns.ensure_rule`."""
        async with self._database.transaction(Role.KEEPER, timeout_s=TIMEOUT_S) as connection:
            settings = await locked_settings(connection, tenant_id) or DetectionSettings()
            await follow_detection(connection, tenant_id, settings.risk_rule())

    async def finish(self, claim: RunClaim, state: RunState, *, now: datetime, error: str | None = None) -> None:
        """See `DetectionRuns.finish`."""
        values = (claim.tenant_id, claim.run.id, claim.token, state.value, now, error)
        async with self._database.transaction(Role.KEEPER, timeout_s=TIMEOUT_S) as connection:
            if await connection.fetchval(SQL["finish"], *values) is None:
                raise _lost(claim)

    async def forget(self, *, before: datetime, limit: int) -> int:
        """See `DetectionRuns.forget`."""
        async with self._database.transaction(Role.KEEPER, timeout_s=TIMEOUT_S) as connection:
            runs = affected_rows(await connection.execute(SQL["forget_runs"], before, limit))
            return runs + affected_rows(await connection.execute(SQL["forget_anomalies"], before, limit - runs))

    async def _fetch(self, query: str, *values: object) -> Sequence[Mapping[str, Any]]:
        # A snapshot, so that it is planned for the values given.
        async with self._database.transaction(Role.KEEPER, snapshot=True, timeout_s=TIMEOUT_S) as connection:
            rows: Sequence[Mapping[str, Any]] = await connection.fetch(SQL[query], *values)
        return rows


async def _hold(connection: Connection, claim: RunClaim) -> None:
    """Makes sure that the claim stands until the end of the transaction."""
    if await connection.fetchval(SQL["hold"], claim.tenant_id, claim.run.id, claim.token) is None:
        raise _lost(claim)


async def _write(connection: Connection, tenant_id: int, changes: AnomalyChanges) -> None:
    if changes.updated:  # first: where one has ended, another may open
        await connection.execute(SQL["update"], tenant_id, _json(changes.updated))
    if changes.opened:
        await connection.execute(SQL["open"], tenant_id, _json(changes.opened))
    if changes.events:
        await add_events(connection, tenant_id, changes.events)


def _claim(tenant_id: int, tenant: str, settings: str | None, run: Mapping[str, Any], token: UUID) -> RunClaim:
    return RunClaim(tenant_id=tenant_id, tenant=tenant, run=run_of(run), settings=settings_of(settings), token=token)


def _lost(claim: RunClaim) -> Conflict:
    return Conflict(f"run {claim.run.id} of tenant {claim.tenant!r} is no longer this process's")


def _json(rows: Sequence[msgspec.Struct]) -> str:
    return msgspec.json.encode(rows).decode()
