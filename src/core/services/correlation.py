"""Correlation: joins what happened to incidents, explains them, and ends them when they have grown quiet."""

from datetime import datetime, timedelta
from typing import Final

from core.detection.lags import learn_lags
from core.domain.errors import Unavailable
from core.domain.times import EPOCH
from core.services.correlation_joins import Joined, SignalJoiner
from core.services.incident_analyses import IncidentAnalyses
from ports.driven.clock import Clock
from ports.driven.event_store import DependencyStore
from ports.driven.incident_store import IncidentWork
from ports.driven.sample_reader import SampleReader
from ports.driving.investigating import CorrelationRound

POLL_S: Final = 1.0
"""Signals are looked for so often: an incident shall be known within seconds."""
AWAY_S: Final = 2.0
"""Pause after the database was away."""
RESOLVE_EVERY_S: Final = 30.0
"""Incidents are resolved after an hour or so of quiet; half a minute more is invisible."""
LEARN_AFTER_S: Final = 600.0
"""What an incident teaches is of use in the next one, and most of its signals have come by then."""
LEARNED_FROM: Final = timedelta(days=90)
"""Systems change; what was so a season ago is no longer known to be so."""
HISTORIES_MAX: Final = 200
"""Incidents that are learned from, the newest: a lag shows in three."""
FORGET_EVERY_S: Final = 3_600.0
"""An hour is nothing beside the retention."""
RETENTION: Final = timedelta(days=400)
"""A year and a month: what happened at the same time last year is worth comparing with."""
FORGET_MAX: Final = 1_000
"""Incidents deleted at once; each may have thousands of signals."""


class CorrelationService:
    """Implements `ports.driving.investigating.CorrelationWork`; one process at a time runs it.

    What a round did is stored when it has done it, so a process may end at any moment and another one goes on.
    """

    def __init__(self, work: IncidentWork, dependencies: DependencyStore, reader: SampleReader, clock: Clock) -> None:
        self._work = work
        self._clock = clock
        self._joiner = SignalJoiner(work, dependencies, clock)
        self._analyses = IncidentAnalyses(work, dependencies, reader, clock)
        self._learn_due_s: dict[int, float] = {}
        """Tenants whose incidents changed, and when their lags are to be learned, by the monotonic clock."""
        self._resolve_due_s = self._forget_due_s = clock.monotonic_s()

    async def round(self) -> tuple[CorrelationRound, float]:
        """See `CorrelationWork.round`."""
        try:
            return await self._round()
        except Unavailable as error:
            return CorrelationRound(away=str(error)), AWAY_S

    async def _round(self) -> tuple[CorrelationRound, float]:
        joined = [await self._join(tenant_id) for tenant_id in await self._work.waiting_tenants()]
        analysed = await self._analyses.analyse_some()
        resolved = await self._resolve()
        await self._learn()
        await self._forget()
        done = CorrelationRound(
            signals=sum(one.signals for one in joined),
            opened=sum(one.opened for one in joined),
            grown=sum(one.grown for one in joined),
            reopened=sum(one.reopened for one in joined),
            dropped=sum(one.dropped for one in joined),
            analysed=analysed,
            resolved=resolved,
        )
        behind = any(one.behind for one in joined)
        return done, 0.0 if behind else POLL_S

    async def _join(self, tenant_id: int) -> Joined:
        joined = await self._joiner.join(tenant_id)
        if joined.signals:
            self._learn_due_s.setdefault(tenant_id, self._clock.monotonic_s() + LEARN_AFTER_S)
        return joined

    async def _resolve(self) -> int:
        if self._clock.monotonic_s() < self._resolve_due_s:
            return 0
        resolved = await self._work.resolve_quiet(now=self._now())
        self._resolve_due_s = self._clock.monotonic_s() + RESOLVE_EVERY_S
        return len(resolved)

    async def _learn(self) -> None:
        """Learns the lags of one tenant that is due."""
        now_s = self._clock.monotonic_s()
        due = next((tenant_id for tenant_id, due_s in self._learn_due_s.items() if due_s <= now_s), None)
        if due is None:
            return
        histories = await self._work.histories(due, since=self._now() - LEARNED_FROM, limit=HISTORIES_MAX)
        await self._work.save_lags(due, learn_lags(histories))
        del self._learn_due_s[due]

    async def _forget(self) -> None:
        """Deletes what is too old, some in each round until nothing is."""
        if self._clock.monotonic_s() < self._forget_due_s:
            return
        forgotten = await self._work.forget(before=self._now() - RETENTION, limit=FORGET_MAX)
        if forgotten < FORGET_MAX:
            self._forget_due_s = self._clock.monotonic_s() + FORGET_EVERY_S

    def _now(self) -> datetime:
        return EPOCH + timedelta(microseconds=self._clock.now_us())
