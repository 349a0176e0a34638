"""Evaluation under leadership: one transaction after another takes what was acknowledged and writes what follows."""

from typing import Final, Protocol

import msgspec
import numpy as np

from core.domain.compiled_rule import compile_rule
from core.domain.notifications import AlertEvent
from core.domain.times import SECOND_US
from core.services.evaluator import Evaluator
from core.services.past import Past
from ports.driven.clock import Clock
from ports.driven.evaluation_store import Effects, Taken, Term
from ports.driven.sample_reader import SampleReader

POINTS_MAX: Final = 4_000_000
"""An outage's backlog is caught up in few transactions, so that what fired and resolved within it pages nobody."""
BEHIND_POINTS: Final = POINTS_MAX // 2
"""A round that took this many had a backlog to catch up with, and another follows at once."""
BEHIND_BLOCKS: Final = 10_000
"""The same for small blocks, of which a round takes 20,000 of each stream."""
REST_SHARE: Final = 4.0
"""A round that took long is followed by four times as long a rest: evaluation is to take a fifth of a core."""
REST_S_MAX: Final = 0.3
"""What fires is to be known within a second, the round itself included."""
SILENCE_EVERY_US: Final = SECOND_US


class EvaluationTelemetry(Protocol):
    """What evaluation reports."""

    def evaluated(self, *, points: int, took_s: float, fired: int, resolved: int) -> None:
        """One transaction."""
        ...


class Evaluated(msgspec.Struct, frozen=True, kw_only=True):
    """What one round did, for the log."""

    points: int = 0
    """Read from the journal."""
    fired: int = 0
    """Alerts announced."""
    escalated: int = 0
    resolved: int = 0
    remediations: int = 0
    truncated: tuple[int, ...] = ()
    """Rules whose windows hold more samples than can be kept, told once."""
    took_s: float = 0.0


class EvaluationService:
    """One term of leadership; after an error it is of no use any more, and another begins from what is stored."""

    def __init__(
        self,
        term: Term,
        reader: SampleReader,
        clock: Clock,
        telemetry: EvaluationTelemetry,
        *,
        poll_s: float,
        fresh_s: float,
    ) -> None:
        self._term = term
        self._past = Past(term, reader, clock)
        self._clock = clock
        self._telemetry = telemetry
        self._poll_s = poll_s
        self._fresh_us = round(fresh_s * SECOND_US)
        self._evaluator: Evaluator | None = None
        self._revision: int | None = None
        self._silence_judged_us = clock.now_us()
        self._whole_learned = False
        self._truncated: set[int] = set()

    async def round(self) -> tuple[Evaluated, float]:
        """Takes what was appended since the last round; returns what it did and how long to wait before the next."""
        started_s, asked_us = self._clock.monotonic_s(), self._clock.now_us()
        idle = self._evaluator is not None and self._evaluator.is_idle
        taken = await self._term.take(points_max=POINTS_MAX, skip_at=self._revision if idle else None)
        evaluator = await self._current(taken)
        points = sum(len(block.points) for block in taken.blocks)
        await self._learn_whole(evaluator, taken)
        await self._learn(evaluator, taken)
        now_us = self._clock.now_us()
        evaluator.observe(taken.blocks, now_us)
        evaluator.tick(now_us)
        behind = points >= BEHIND_POINTS or len(taken.blocks) >= BEHIND_BLOCKS
        if not behind and asked_us - self._silence_judged_us >= SILENCE_EVERY_US:
            evaluator.judge_silence(asked_us)  # of then: what was acknowledged since is not known yet
            self._silence_judged_us = asked_us
        effects = evaluator.effects(now_us)
        if taken.positions or effects.states or effects.episodes:
            await self._term.commit(taken, effects)
        truncated = evaluator.truncated - self._truncated
        self._truncated |= truncated
        done = _summary(points, effects, truncated, self._clock.monotonic_s() - started_s)
        if points:
            self._telemetry.evaluated(points=points, took_s=done.took_s, fired=done.fired, resolved=done.resolved)
        # Large rounds cost far less for each point than small ones, and ingest needs the processor too.
        return done, 0.0 if behind else max(self._poll_s, min(REST_SHARE * done.took_s, REST_S_MAX))

    async def _current(self, taken: Taken) -> Evaluator:
        """The evaluator with the rules in force."""
        if self._evaluator is not None and self._revision == taken.rules_revision:
            return self._evaluator
        rules = [
            compile_rule(active.tenant_id, active.id, active.revision, active.rule)
            for active in await self._term.rules()
        ]
        stored = await self._term.states()
        now_us = self._clock.now_us()
        if self._evaluator is None:
            self._evaluator = Evaluator(rules, stored, fresh_us=self._fresh_us, now_us=now_us)
        else:
            self._evaluator.replace_rules(rules, stored, now_us)
        self._revision = taken.rules_revision
        self._whole_learned = False
        self._past.ends_with(await self._term.last_series())
        return self._evaluator

    async def _learn(self, evaluator: Evaluator, taken: Taken) -> None:
        """Finds the rules of series seen for the first time, and what evaluation has to know of their past."""
        unknown = evaluator.unknown(taken.blocks)
        if len(unknown) == 0:
            return
        for history in evaluator.learn(await self._term.series(unknown), unknown):
            await self._past.bring(evaluator, history, taken)

    async def _learn_whole(self, evaluator: Evaluator, taken: Taken) -> None:
        """Learns, once after each change of rules, all series of the metrics where those count that send nothing."""
        if self._whole_learned:
            return
        for tenant_id, metric in sorted(evaluator.whole_metrics):
            series = {info.series_id: info for info in await self._term.series_of(tenant_id, metric)}
            unknown = evaluator.not_learned(np.array(sorted(series), np.int32))
            for history in evaluator.learn([series[series_id] for series_id in unknown.tolist()], unknown):
                await self._past.bring(evaluator, history, taken)
        self._whole_learned = True


def _summary(points: int, effects: Effects, truncated: set[int], took_s: float) -> Evaluated:
    events = [event for episode in effects.episodes for event in episode.events]
    return Evaluated(
        points=points,
        fired=events.count(AlertEvent.FIRED),
        escalated=events.count(AlertEvent.ESCALATED),
        resolved=events.count(AlertEvent.RESOLVED),
        remediations=sum(episode.remediate for episode in effects.episodes),
        truncated=tuple(sorted(truncated)),
        took_s=took_s,
    )
