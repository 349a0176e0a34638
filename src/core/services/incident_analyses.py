"""Analyses incidents whose signals changed, once these have come to rest.

Theory of operation. An analysis is computed from what is stored and replaces the one before, so that nothing is lost
where it is cut short. Signals come in bursts: an incident is analysed when it has not changed for a second, or has been
changing for ten. An analysis takes the processor for as long as it lasts, which scheduled detection shares; so it is
followed by a rest as long as that.
"""

import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from core.detection.incident_analysis import analyse, samples_range
from core.detection.incident_readings import references_to
from core.domain.anomalies import AnomalyFinding
from core.domain.dependencies import Dependency
from core.domain.incidents import Incident, IncidentAnalysis, IncidentDetail, Reference, ReferenceKind, Sentence
from core.domain.times import EPOCH, TimeRange
from core.services.incident_series import SeriesFound, SeriesRequest, read_series
from ports.driven.clock import Clock
from ports.driven.event_store import DependencyStore
from ports.driven.incident_store import IncidentWork, Unanalysed
from ports.driven.sample_reader import SampleReader

QUIET_S: Final = 1.0
"""Signals of one burst come within a second, and people want to know what happened soon."""
CHANGING_S: Final = 10.0
"""One that goes on growing is analysed all the same."""
LOOKED_AT_MAX: Final = 100
"""Of those that wait; others come when these are done."""
ANALYSES_MAX: Final = 4
"""In one round, between which new signals are joined."""
REST_SHARE: Final = 1.0
"""Of the time that analysing took."""
CONDITIONS_MAX: Final = 100
"""More open anomalies than a narrative can tell of; the riskiest."""
ENTITIES_MAX: Final = 500
"""Hosts and services whose metrics are read: those of the incident, and then their declared neighbours."""


class _Sighting(msgspec.Struct, frozen=True):
    """How an incident has been seen waiting, by the monotonic clock."""

    revision: int
    since_s: float
    """It has this revision."""
    first_s: float
    """It waits."""


class IncidentAnalyses:
    """Analyses incidents of all tenants. Not safe for concurrent calls; where one was cut short the next goes on."""

    def __init__(self, work: IncidentWork, dependencies: DependencyStore, reader: SampleReader, clock: Clock) -> None:
        self._work = work
        self._dependencies = dependencies
        self._reader = reader
        self._clock = clock
        self._sightings: dict[tuple[int, int], _Sighting] = {}
        self._resting_until_s = clock.monotonic_s()

    async def analyse_some(self) -> int:
        """Analyses up to `ANALYSES_MAX` that are due; returns how many. Raises `Unavailable`."""
        started_s = self._clock.monotonic_s()
        if started_s < self._resting_until_s:
            return 0
        due = await self._due(started_s)
        if not due:
            return 0
        # Another one is first each time: where analysing one fails, the process that begins anew gets to the others.
        first = zlib.crc32(self._clock.now_us().to_bytes(8, "big")) % len(due)
        chosen = [*due[first:], *due[:first]][:ANALYSES_MAX]
        for work in chosen:
            await self._analyse(work)
        now_s = self._clock.monotonic_s()
        self._resting_until_s = now_s + REST_SHARE * (now_s - started_s)
        return len(chosen)

    async def _due(self, now_s: float) -> list[Unanalysed]:
        waiting = await self._work.unanalysed(limit=LOOKED_AT_MAX)
        before = self._sightings
        self._sightings = {}
        for work in waiting:
            key = (work.tenant_id, work.incident_id)
            seen = before.get(key, _Sighting(work.revision, now_s, now_s))
            self._sightings[key] = _Sighting(
                work.revision, seen.since_s if seen.revision == work.revision else now_s, seen.first_s
            )
        return [work for work in waiting if self._is_due(work, now_s)]

    def _is_due(self, work: Unanalysed, now_s: float) -> bool:
        seen = self._sightings[work.tenant_id, work.incident_id]
        return now_s - seen.since_s >= QUIET_S or now_s - seen.first_s >= CHANGING_S

    async def _analyse(self, work: Unanalysed) -> None:
        detail = await self._work.detail(work)
        if detail is None:
            return
        dependencies = await self._dependencies.list(work.tenant_id)
        incident = detail.incident
        conditions = await self._work.conditions(
            work.tenant_id, hosts=incident.hosts, services=incident.services, limit=CONDITIONS_MAX
        )
        wanted = SeriesRequest(
            tenant_id=work.tenant_id,
            entities=_entities(incident, dependencies),
            metrics=sorted({signal.metric for signal in detail.timeline}),
            time_range=samples_range(detail.timeline),
        )
        found = await read_series(self._reader, wanted)
        now = _instant(self._clock.now_us())
        then = [one for one in conditions if _overlaps(one.finding, wanted.time_range)]
        analysis = analyse(detail.timeline, detail.links, found.series, dependencies, then, now)
        await self._work.save_analysis(work, _told(_counted(analysis, detail), found, wanted.time_range))


def _entities(incident: Incident, dependencies: Sequence[Dependency]) -> frozenset[str]:
    """The incident's hosts and services, and those that are one declared call away."""
    own = {*incident.hosts, *incident.services}
    callees = {one.server for one in dependencies if one.client in own}
    callers = {one.client for one in dependencies if one.server in own}
    return frozenset([*sorted(own), *sorted((callees | callers) - own)][:ENTITIES_MAX])


def _overlaps(finding: AnomalyFinding, time_range: TimeRange) -> bool:
    """What is open now may have begun long after the incident."""
    return finding.start_us < time_range.end_us and time_range.start_us < finding.end_us


def _counted(analysis: IncidentAnalysis, detail: IncidentDetail) -> IncidentAnalysis:
    """The analysis; where an incident has more signals than it keeps it says so."""
    kept, signals = len(detail.timeline), detail.incident.signals
    if kept == signals:
        return analysis
    text = f"Of {signals:,} signals the first {kept:,} are told of."
    sentence = Sentence(text=text, references=references_to(detail.timeline[-1:]))
    return msgspec.structs.replace(analysis, narrative=(*analysis.narrative, sentence))


def _told(analysis: IncidentAnalysis, found: SeriesFound, time_range: TimeRange) -> IncidentAnalysis:
    """The analysis; where metrics were left out it says so."""
    if found.left_out is None:
        return analysis
    said = "Not all metrics were read" if found.series else "Metrics were not read"
    samples = Reference(
        kind=ReferenceKind.SAMPLES, start=_instant(time_range.start_us), end=_instant(time_range.end_us)
    )
    sentence = Sentence(text=f"{said}: {found.left_out}.", references=(samples,))
    return msgspec.structs.replace(analysis, narrative=(*analysis.narrative, sentence))


def _instant(ts_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=ts_us)
