"""The work of scheduled detection in memory."""

from collections.abc import Iterable, Iterator, Sequence, Set
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import msgspec

from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.detection_tables import RunRow
from adapters.driven.memory.rules import follow_detection
from core.detection.plan import RISK_METRIC, DetectionSettings
from core.domain.anomalies import Anomaly, Verdict
from core.domain.detection_runs import RunState, due_instant
from core.domain.errors import Conflict
from core.domain.series import Series
from core.domain.times import EPOCH, day_start
from ports.driven.detection_store import AnomalyChanges, PublishedRisk, RunClaim, RunProgress


class MemoryDetectionRuns:
    """Implements `DetectionRuns`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._tables = database.detection

    async def claim(
        self,
        *,
        now: datetime,
        overdue_s: float,
        lease_s: float,
        tenant_id: int | None = None,
        own: UUID | None = None,
    ) -> RunClaim | None:
        """The caller's own, one whose claim has run out, or a new one."""
        tenant_ids = list(self._database.tenants) if tenant_id is None else [tenant_id]
        waiting = self._database.events.awaiting_purge()
        row = self._take_over(tenant_ids, now, own, waiting) or self._begin(set(tenant_ids) - waiting, now, overdue_s)
        if row is None:
            return None
        row.run = msgspec.structs.replace(row.run, attempts=row.run.attempts + 1)
        row.token, row.leased_until = uuid4(), now + timedelta(seconds=lease_s)
        return RunClaim(
            tenant_id=row.tenant_id,
            tenant=self._database.tenants[row.tenant_id].tenant.name,
            run=row.run,
            settings=self._settings(row.tenant_id),
            token=row.token,
        )

    async def series(self, tenant_id: int, *, after_id: int, seen_since: datetime, limit: int) -> Sequence[Series]:
        """Ascending by id."""
        since_us = day_start((seen_since - EPOCH) // timedelta(microseconds=1))
        found = [
            Series(row.series_id, row.identity.name, dict(row.identity.labels), row.identity.source)
            for row in self._database.series_of(tenant_id)
            if row.series_id > after_id and row.seen_us >= since_us and row.identity.name != RISK_METRIC
        ]
        return found[:limit]

    async def latest_anomalies(self, tenant_id: int, series_ids: Sequence[int]) -> Sequence[Anomaly]:
        """One of each of these series and each detector."""
        wanted = set(series_ids)
        ascending = sorted(
            (one for one in self._tables.anomalies.get(tenant_id, {}).values() if one.finding.series_id in wanted),
            key=lambda one: (one.ended_at is None, one.first_seen_at, one.finding.end_us),
        )
        latest = {(one.finding.series_id, one.finding.detector.value): one for one in ascending}
        return [latest[subject] for subject in sorted(latest)]

    async def quiet_anomalies(self, tenant_id: int, *, seen_before: datetime, limit: int) -> Sequence[Anomaly]:
        """Open ones, last seen longest ago first."""
        quiet = [anomaly for anomaly in self._open(tenant_id) if anomaly.last_seen_at < seen_before]
        return sorted(quiet, key=lambda anomaly: (anomaly.last_seen_at, anomaly.id))[:limit]

    async def save(
        self, claim: RunClaim, progress: RunProgress, changes: AnomalyChanges, *, now: datetime, lease_s: float
    ) -> None:
        """Writes a chunk and renews the claim."""
        row = self._held(claim)
        self._tables.anomalies[claim.tenant_id] = self._changed(claim, changes)
        self._database.events.add(claim.tenant_id, changes.events)
        row.run = msgspec.structs.replace(row.run, **msgspec.structs.asdict(progress))
        row.leased_until = now + timedelta(seconds=lease_s)

    async def alarming(self, tenant_id: int, *, risk_min: float) -> Sequence[Anomaly]:
        """Open ones that are to be alerted, riskiest first."""
        found = [
            anomaly
            for anomaly in self._open(tenant_id)
            if anomaly.finding.risk > risk_min
            and not anomaly.shadow
            and (anomaly.mark is None or anomaly.mark.verdict is not Verdict.FALSE)
        ]
        return sorted(found, key=lambda anomaly: (-anomaly.finding.risk, anomaly.id))

    async def published(self, tenant_id: int) -> Sequence[PublishedRisk]:
        """By fingerprint."""
        published = self._tables.published.get(tenant_id, {})
        return [published[fingerprint] for fingerprint in sorted(published)]

    async def save_published(self, claim: RunClaim, risks: Sequence[PublishedRisk]) -> None:
        """Replaces all of the tenant's."""
        self._held(claim)
        self._tables.published[claim.tenant_id] = {
            published.fingerprint: published for published in risks if published.risk > 0.0
        }

    async def ensure_rule(self, tenant_id: int) -> None:
        """Makes the rule that watches the risks be what the settings say now."""
        follow_detection(self._database, tenant_id, self._settings(tenant_id).risk_rule())

    async def finish(self, claim: RunClaim, state: RunState, *, now: datetime, error: str | None = None) -> None:
        """Ends the run."""
        row = self._held(claim)
        row.run = msgspec.structs.replace(row.run, state=state, finished_at=now, error=error)

    async def forget(self, *, before: datetime, limit: int) -> int:
        """Deletes old runs, then old anomalies, up to `limit` together."""
        runs = [
            (rows, run_id)
            for rows in self._tables.runs.values()
            for run_id, row in rows.items()
            if row.run.started_at < before and row.run.state is not RunState.RUNNING
        ][:limit]
        for rows, run_id in runs:
            del rows[run_id]
        anomalies = [
            (stored, anomaly_id)
            for stored in self._tables.anomalies.values()
            for anomaly_id, anomaly in stored.items()
            if anomaly.ended_at is not None and anomaly.ended_at < before
        ][: limit - len(runs)]
        for stored, anomaly_id in anomalies:
            del stored[anomaly_id]
        return len(runs) + len(anomalies)

    def _take_over(
        self, tenant_ids: Sequence[int], now: datetime, own: UUID | None, awaiting_purge: Set[int]
    ) -> RunRow | None:
        newest = [row for tenant_id in tenant_ids if (row := self._newest(tenant_id)) is not None]
        running = [row for row in newest if row.run.state is RunState.RUNNING]
        lost = [
            row
            for row in running
            if row.token == own or (row.leased_until <= now and row.tenant_id not in awaiting_purge)
        ]
        return min(lost, key=lambda row: (row.token != own, row.leased_until, row.run.id), default=None)

    def _begin(self, tenant_ids: Iterable[int], now: datetime, overdue_s: float) -> RunRow | None:
        for tenant_id in sorted(tenant_ids, key=self._newest_due):
            settings, newest = self._settings(tenant_id), self._newest(tenant_id)
            if not settings.enabled or (newest is not None and newest.run.state is RunState.RUNNING):
                continue
            newest_at = newest.run.due_at if newest is not None else None
            due_at = due_instant(now, settings.interval_us, newest_at, overdue_s=overdue_s)
            if due_at is None:
                continue
            rest = newest.run if newest is not None and newest.run.state is RunState.PARTIAL else None
            return self._tables.add_run(
                tenant_id,
                self._database.next_id("detection_runs"),
                due_at=due_at,
                now=now,
                after_series_id=rest.after_series_id if rest is not None else 0,
            )
        return None

    def _held(self, claim: RunClaim) -> RunRow:
        row = self._tables.runs.get(claim.tenant_id, {}).get(claim.run.id)
        if row is None or row.token != claim.token or row.run.state is not RunState.RUNNING:
            raise _lost(claim)
        return row

    def _changed(self, claim: RunClaim, changes: AnomalyChanges) -> dict[UUID, Anomaly]:
        """The tenant's anomalies after the changes; one that was forgotten meanwhile stays so."""
        anomalies = dict(self._tables.anomalies.get(claim.tenant_id, {}))
        for anomaly in changes.updated:
            old = anomalies.get(anomaly.id)
            if old is not None:
                anomalies[anomaly.id] = msgspec.structs.replace(
                    old,
                    finding=anomaly.finding,
                    risk_max=anomaly.risk_max,
                    last_seen_at=anomaly.last_seen_at,
                    ended_at=anomaly.ended_at,
                    shadow=anomaly.shadow,
                )
        for anomaly in changes.opened:
            anomalies.setdefault(anomaly.id, anomaly)
        still_open = [anomaly.finding for anomaly in anomalies.values() if anomaly.ended_at is None]
        if len({(finding.series_id, finding.detector) for finding in still_open}) < len(still_open):
            raise _lost(claim)
        return anomalies

    def _open(self, tenant_id: int) -> Iterator[Anomaly]:
        anomalies = self._tables.anomalies.get(tenant_id, {}).values()
        return (anomaly for anomaly in anomalies if anomaly.ended_at is None)

    def _newest(self, tenant_id: int) -> RunRow | None:
        return next(reversed(self._tables.runs.get(tenant_id, {}).values()), None)

    def _newest_due(self, tenant_id: int) -> datetime:
        newest = self._newest(tenant_id)
        return EPOCH if newest is None else newest.run.due_at

    def _settings(self, tenant_id: int) -> DetectionSettings:
        return self._tables.settings.get(tenant_id) or DetectionSettings()


def _lost(claim: RunClaim) -> Conflict:
    return Conflict(f"run {claim.run.id} of tenant {claim.tenant!r} is no longer this process's")
