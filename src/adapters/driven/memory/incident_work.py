"""The correlator's side of incidents, in memory."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import msgspec

from adapters.driven import incident_history as history
from adapters.driven.incident_history import SEXTANT
from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.detection import MemoryDetectionStore
from adapters.driven.memory.incident_signals import take_signals, waiting_signals
from adapters.driven.memory.incident_tables import IncidentRow, SignalRow
from adapters.driven.signals import instant_of, joined_keys
from core.domain.alerts import EpisodeState
from core.domain.anomalies import Anomaly, Detector, Verdict
from core.domain.errors import NotFound
from core.domain.incidents import (
    SIGNALS_MAX,
    ChangeKind,
    CorrelationSettings,
    IncidentAnalysis,
    IncidentDetail,
    IncidentState,
    LearnedLag,
    Signal,
    SignalEdge,
)
from core.domain.times import parse_duration
from ports.driven.incident_store import CorrelationChanges, Growth, NewIncident, OpenIncident, Unanalysed

_CONDITIONS = (Detector.VARIANCE, Detector.TREND)
_ACTIVE = (IncidentState.OPEN, IncidentState.ACKNOWLEDGED)


class MemoryIncidentWork:
    """Implements `IncidentWork`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._tables = database.incidents

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[bool]:
        """Whether nobody else leads."""
        if self._tables.led:
            yield False
            return
        self._tables.led = True
        try:
            yield True
        finally:
            self._tables.led = False

    async def waiting_tenants(self) -> Sequence[int]:
        """Tenants with signals that wait."""
        return [tenant_id for tenant_id in sorted(self._database.tenants) if waiting_signals(self._database, tenant_id)]

    async def settings(self, tenant_id: int) -> CorrelationSettings:
        """As the tenant set them, or the defaults."""
        settings = await MemoryDetectionStore(self._database).settings(tenant_id)
        return settings.correlation if settings is not None else CorrelationSettings()

    async def waiting(self, tenant_id: int, *, limit: int) -> Sequence[Signal]:
        """The earliest of them."""
        return sorted(waiting_signals(self._database, tenant_id), key=lambda signal: signal.at_us)[:limit]

    async def surroundings(
        self, tenant_id: int, *, start_us: int, end_us: int, resolved_after: datetime
    ) -> Sequence[OpenIncident]:
        """Incidents a signal of that time may belong to."""
        found = []
        for row in reversed(self._tables.rows_of(tenant_id)):
            resolved_at = row.incident.resolved_at
            lately = row.incident.state is IncidentState.RESOLVED and resolved_at and resolved_at >= resolved_after
            if row.incident.state in _ACTIVE or lately:
                signals = self._tables.signals_of(tenant_id, row.incident.id)
                then = tuple(signal for signal in signals if start_us <= signal.at_us < end_us)
                if then:
                    found.append(OpenIncident(incident=row.incident, signals=then))
        return found

    async def apply(self, tenant_id: int, changes: CorrelationChanges, *, now: datetime) -> Sequence[int]:
        """Writes what the correlator decided about signals that still wait."""
        for growth in changes.grown:
            self._grow(tenant_id, growth, now)
        opened = [self._open(tenant_id, new, now) for new in changes.opened]
        take_signals(self._database, tenant_id, changes.dropped)
        return [incident_id for incident_id in opened if incident_id is not None]

    async def unanalysed(self, *, limit: int) -> Sequence[Unanalysed]:
        """Incidents to be analysed, longest waiting first."""
        stale = [
            row
            for row in self._tables.incidents.values()
            if row.analysed_revision < row.signals_revision and row.incident.state is not IncidentState.MERGED
        ]
        return [
            Unanalysed(tenant_id=row.tenant_id, incident_id=row.incident.id, revision=row.signals_revision)
            for row in sorted(stale, key=lambda row: (row.incident.updated_at, row.incident.id))[:limit]
        ]

    async def detail(self, work: Unanalysed) -> IncidentDetail | None:
        """What is known of it, unless it is gone or merged."""
        row = self._unmerged(work)
        return self._tables.detail_of(row) if row is not None else None

    async def conditions(
        self, tenant_id: int, *, hosts: Sequence[str], services: Sequence[str], limit: int
    ) -> Sequence[Anomaly]:
        """Open anomalies of these places that are conditions, the riskiest first."""
        found = [
            anomaly
            for anomaly in self._database.detection.anomalies.get(tenant_id, {}).values()
            if anomaly.ended_at is None
            and anomaly.finding.detector in _CONDITIONS
            and not anomaly.shadow
            and not (anomaly.mark and anomaly.mark.verdict is Verdict.FALSE)
            and (anomaly.host in hosts or anomaly.service in services)
        ]
        return sorted(found, key=lambda anomaly: (-anomaly.finding.risk, anomaly.id))[:limit]

    async def save_analysis(self, work: Unanalysed, analysis: IncidentAnalysis) -> bool:
        """Keeps it, unless the incident changed meanwhile."""
        row = self._unmerged(work)
        if row is None or row.signals_revision != work.revision:
            return False
        row.analysis, row.analysed_revision = analysis, work.revision
        row.incident = msgspec.structs.replace(
            row.incident,
            title=analysis.title,
            narrative=analysis.text,
            revision=row.incident.revision + 1,
            updated_at=analysis.analysed_at,
        )
        return True

    async def resolve_quiet(self, *, now: datetime) -> Sequence[tuple[int, int]]:
        """Resolves what has been quiet for long enough."""
        resolved = []
        for row in list(self._tables.incidents.values()):
            after = (await self.settings(row.tenant_id)).resolve_after
            quiet_since = now - timedelta(microseconds=parse_duration(after, "resolve_after"))
            if row.incident.state in _ACTIVE and self._is_quiet(row, quiet_since):
                self._tables.stand(
                    row, IncidentState.RESOLVED, by=SEXTANT, now=now, why=f"after {after} without a signal"
                )
                resolved.append((row.tenant_id, row.incident.id))
        return resolved

    async def lags(self, tenant_id: int) -> Sequence[LearnedLag]:
        """What was learned."""
        return sorted(self._tables.lags.get(tenant_id, ()), key=lambda lag: (lag.first, lag.then))

    async def histories(self, tenant_id: int, *, since: datetime, limit: int) -> Sequence[Sequence[Signal]]:
        """The first signals of the newest incidents, of every place and metric one."""
        newest = [
            row.incident.id
            for row in self._tables.rows_of(tenant_id)
            if row.incident.state is not IncidentState.MERGED
            and row.incident.started_at >= since
            and not row.incident.synthetic
        ]
        return [_first(self._tables.signals_of(tenant_id, incident_id)) for incident_id in newest[:limit]]

    async def save_lags(self, tenant_id: int, lags: Sequence[LearnedLag]) -> None:
        """Replaces all."""
        self._tables.lags[tenant_id] = tuple(lags)

    async def forget(self, *, before: datetime, limit: int) -> int:
        """Deletes old incidents, those into which none was merged that is still kept."""
        rows = self._tables.incidents
        targets = {row.incident.merged_into for row in rows.values()}
        old = [
            incident_id
            for incident_id, row in rows.items()
            if (since := history.over_since(row.incident)) and since < before and incident_id not in targets
        ][:limit]
        for incident_id in old:
            self._tables.delete(incident_id)
        return len(old)

    def _grow(self, tenant_id: int, growth: Growth, now: datetime) -> None:
        row = self._place_of(tenant_id, growth.incident_id)
        taken = self._taken(tenant_id, growth.signals) if row is not None else []
        if row is None or not taken:
            return
        if growth.reopen and row.incident.state is IncidentState.RESOLVED:
            self._tables.stand(row, IncidentState.OPEN, by=SEXTANT, now=now, why=history.BY_A_SIGNAL)
        self._add(row, taken, growth.edges, now)
        last = self._tables.history_of(row.incident.id)[-1]
        grew = history.grew(row.incident.id, len(taken))
        if last.kind is ChangeKind.GREW:
            grew = history.grew(row.incident.id, len(taken) + last.detail["signals"])
            self._tables.changes[last.id].change = msgspec.structs.replace(
                last, at=now, summary=grew.summary, detail=grew.detail
            )
        else:
            self._tables.write(tenant_id, grew, by=SEXTANT, now=now)

    def _open(self, tenant_id: int, new: NewIncident, now: datetime) -> int | None:
        taken = self._taken(tenant_id, new.signals)
        if not taken:
            return None
        synthetic = all(signal.synthetic for signal in taken)
        row = self._tables.add(tenant_id, new.title, synthetic=synthetic, now=now)
        self._add(row, taken, new.edges, now)
        self._tables.write(tenant_id, history.opened(row.incident.id, len(taken)), by=SEXTANT, now=now)
        return row.incident.id

    def _taken(self, tenant_id: int, signals: Sequence[Signal]) -> "list[Signal]":
        keys = take_signals(self._database, tenant_id, [signal.key for signal in signals])
        keys -= {
            key for owner, key in self._tables.signals if owner == tenant_id
        }  # it was posted anew under its old id
        taken = {signal.key: signal for signal in signals if signal.key in keys}
        return sorted(taken.values(), key=lambda signal: (signal.at_us, signal.key))

    def _place_of(self, tenant_id: int, incident_id: int) -> IncidentRow | None:
        """Where an incident's signals are: it, or what it was merged into."""
        try:
            row = self._tables.row(tenant_id, incident_id)
        except NotFound:
            return None
        into = row.incident.merged_into
        return row if into is None else self._place_of(tenant_id, into)

    def _add(self, row: IncidentRow, signals: "list[Signal]", edges: Sequence[SignalEdge], now: datetime) -> None:
        """Adds signals to an incident, as many as it can keep, and counts them all."""
        room = max(0, SIGNALS_MAX - len(self._tables.signals_of(row.tenant_id, row.incident.id)))
        for signal in signals[:room]:
            self._tables.signals[row.tenant_id, signal.key] = SignalRow(incident_id=row.incident.id, signal=signal)
        for edge in edges:
            if all((row.tenant_id, key) in self._tables.signals for key in (edge.first, edge.then)):
                self._tables.edges.setdefault((row.tenant_id, edge.first, edge.then), edge)
        self._tables.recount(
            row,
            row.incident.signals + len(signals),
            now=now,
            last_at=instant_of(signals[-1].at_us),
            severe=any(signal.severe for signal in signals),
        )

    def _is_quiet(self, row: IncidentRow, since: datetime) -> bool:
        keys = {signal.key for signal in self._tables.signals_of(row.tenant_id, row.incident.id)}
        firing = joined_keys(
            (), (each.alert.id for each in self._database.alerts.values() if each.alert.state is EpisodeState.FIRING)
        )
        reopened = any(
            change.kind is ChangeKind.REOPENED and change.at > since
            for change in self._tables.history_of(row.incident.id)
        )
        return row.incident.last_signal_at <= since and not reopened and not keys & firing

    def _unmerged(self, work: Unanalysed) -> IncidentRow | None:
        try:
            row = self._tables.row(work.tenant_id, work.incident_id)
        except NotFound:
            return None
        return row if row.incident.state is not IncidentState.MERGED else None


def _first(signals: Sequence[Signal]) -> Sequence[Signal]:
    """The first of every host, service and metric."""
    first: dict[tuple[str | None, str | None, str], Signal] = {}
    for signal in signals:
        first.setdefault((signal.host, signal.service, signal.metric), signal)
    return list(first.values())
