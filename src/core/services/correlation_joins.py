"""Joins the waiting signals of a tenant to incidents.

Theory of operation. All that wait are read, with the incidents around them, and `core.detection.correlation` decides;
what it decides is written in a transaction that passes over what changed meanwhile, so a look that was cut short is
simply done again. Signals that lie further apart than anything joins are looked at apart, or one that comes a month
late would bring all incidents of the month with it.
"""

import itertools
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import msgspec

from core.detection.correlation import Decision, Nearby, correlate, surroundings_range
from core.domain.dependencies import Dependency
from core.domain.incidents import CorrelationSettings, LearnedLag, Signal
from core.domain.times import EPOCH, HOUR_US, parse_duration
from ports.driven.clock import Clock
from ports.driven.event_store import DependencyStore
from ports.driven.incident_store import CorrelationChanges, Growth, IncidentWork, NewIncident

WAITING_MAX: Final = 10_000
"""Looked at at once, the earliest: two incidents full of signals, which takes about a second."""
APART_US: Final = 3 * HOUR_US
"""Longer than any window, and than any lag with its tolerance: nothing joins signals that are further apart."""
STRETCHES_MAX: Final = 20
"""Each costs a transaction or two; past it the shorter gaps are read over."""
LOOK_AGAIN_S: Final = 10.0
"""Where no signal came or went only time can decide, and nobody waits for what it decides: that they stay alone."""


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """What became of signals of one tenant."""

    signals: int = 0
    """That became part of incidents."""
    opened: int = 0
    grown: int = 0
    reopened: int = 0
    dropped: int = 0
    behind: bool = False
    """More may wait than were looked at."""


class _Context(msgspec.Struct, frozen=True, kw_only=True):
    """What decides about all signals of a tenant alike."""

    tenant_id: int
    dependencies: Sequence[Dependency]
    lags: Sequence[LearnedLag]
    settings: CorrelationSettings


class SignalJoiner:
    """Joins signals. Not safe for concurrent calls; where one was cut short the next one goes on."""

    def __init__(self, work: IncidentWork, dependencies: DependencyStore, clock: Clock) -> None:
        self._work = work
        self._dependencies = dependencies
        self._clock = clock
        self._undecided: dict[int, tuple[frozenset[str], float]] = {}
        """By tenant: what waits on, and since when, by the monotonic clock."""

    async def join(self, tenant_id: int) -> Joined:
        """Looks at the earliest `WAITING_MAX` that wait. Raises `Unavailable`."""
        waiting = await self._work.waiting(tenant_id, limit=WAITING_MAX)
        keys, now_s = frozenset(signal.key for signal in waiting), self._clock.monotonic_s()
        known, since_s = self._undecided.get(tenant_id, (None, now_s))
        if keys == known and now_s - since_s < LOOK_AGAIN_S:
            return Joined()
        context = _Context(
            tenant_id=tenant_id,
            dependencies=await self._dependencies.list(tenant_id),
            lags=await self._work.lags(tenant_id),
            settings=await self._work.settings(tenant_id),
        )
        cut = len(waiting) == WAITING_MAX
        done: list[Joined] = []
        parts = stretches(waiting)
        for stretch in parts:
            decision = await self._decision(context, stretch)
            if cut and stretch is parts[-1]:
                decision = _held_back(decision, stretch, context, progressed=bool(done))
            if _decides(decision):
                done.append(await self._apply(tenant_id, decision))
        if done:
            self._undecided.pop(tenant_id, None)
        else:
            self._undecided[tenant_id] = keys, now_s
        return _sum(done, behind=cut and bool(done))

    async def _decision(self, context: _Context, stretch: Sequence[Signal]) -> Decision:
        """What becomes of signals that lie together."""
        time_range = surroundings_range(stretch, context.lags, context.settings)
        reopen_within_us = parse_duration(context.settings.reopen_within, "reopen_within")
        nearby = await self._work.surroundings(
            context.tenant_id,
            start_us=time_range.start_us,
            end_us=time_range.end_us,
            resolved_after=EPOCH + timedelta(microseconds=max(0, stretch[0].at_us - reopen_within_us)),
        )
        return correlate(
            stretch,
            [Nearby(one.incident, one.signals) for one in nearby],
            context.dependencies,
            context.lags,
            context.settings,
            self._clock.now_us(),
        )

    async def _apply(self, tenant_id: int, decision: Decision) -> Joined:
        changes = CorrelationChanges(
            opened=[NewIncident(title=one.title, signals=one.signals, edges=one.edges) for one in decision.opened],
            grown=[
                Growth(incident_id=one.incident_id, signals=one.signals, edges=one.edges, reopen=one.reopen)
                for one in decision.grown
            ],
            dropped=decision.dropped,
        )
        now = EPOCH + timedelta(microseconds=self._clock.now_us())
        opened = await self._work.apply(tenant_id, changes, now=now)
        return Joined(
            signals=sum(len(one.signals) for one in changes.opened) + sum(len(one.signals) for one in changes.grown),
            opened=len(opened),
            grown=len(decision.grown),
            reopened=sum(one.reopen for one in decision.grown),
            dropped=len(decision.dropped),
        )


def stretches(waiting: Sequence[Signal]) -> list[Sequence[Signal]]:
    """Signals, ascending in time, cut at the widest gaps above `APART_US`."""
    gaps_us = [(then.at_us - first.at_us, row) for row, (first, then) in enumerate(itertools.pairwise(waiting), 1)]
    widest = sorted((gap for gap in gaps_us if gap[0] > APART_US), reverse=True)[: STRETCHES_MAX - 1]
    cuts = [0, *sorted(row for _, row in widest), len(waiting)]
    return [waiting[start:end] for start, end in itertools.pairwise(cuts) if end > start]


def _held_back(decision: Decision, stretch: Sequence[Signal], context: _Context, *, progressed: bool) -> Decision:
    """Of the last signals that were read none is dropped that may belong to those after them. Where nothing else was
    decided, nothing else makes room for these: then half of what may be dropped is, the earliest."""
    last_us = stretch[-1].at_us
    reach_us = surroundings_range(stretch, context.lags, context.settings).end_us - last_us
    early = {signal.key for signal in stretch if signal.at_us + reach_us < last_us}
    held = Decision(decision.opened, decision.grown, tuple(key for key in decision.dropped if key in early))
    if progressed or _decides(held):
        return held
    dropped = set(decision.dropped)
    ascending = tuple(signal.key for signal in stretch if signal.key in dropped)
    return Decision((), (), ascending[: (len(ascending) + 1) // 2])


def _decides(decision: Decision) -> bool:
    return bool(decision.opened or decision.grown or decision.dropped)


def _sum(done: Sequence[Joined], *, behind: bool) -> Joined:
    return Joined(
        signals=sum(one.signals for one in done),
        opened=sum(one.opened for one in done),
        grown=sum(one.grown for one in done),
        reopened=sum(one.reopened for one in done),
        dropped=sum(one.dropped for one in done),
        behind=behind,
    )
