"""What evaluation has to know of series it meets for the first time: what was stored of them and judged before.

Theory of operation. A snapshot shows more than was judged: the blocks that were just taken, and those acknowledged
since. All of these are past the journal's cursor, so a second look at the journal, made after the snapshot, names every
point that the snapshot may show and nobody has judged. What is left without them was judged, now or by a leader before.
"""

from typing import Final

import numpy as np

from core.domain.columns import Columns, Int32s, concat_columns, keep_last, overriding, without
from core.domain.errors import TooExpensive
from core.domain.tenants import Limits
from core.domain.times import DAY_US, HOUR_US, TimeRange
from core.services.evaluator import Evaluator, History
from core.services.newest import last_of_each, newest_in
from core.services.watched_rule import POINTS_MAX, WatchedRule
from ports.driven.clock import Clock
from ports.driven.evaluation_store import Taken, Term
from ports.driven.sample_reader import SampleReader, Snapshot

ALL_POINTS: Final = 2**62
"""Every block that waits."""
BACK_US: Final = 2 * DAY_US
"""How far back a series' newest sample is looked for; older than that nothing that comes is late."""
SIFTED_US: Final = HOUR_US
"""How far back stored samples are sifted from those that wait; a backlog older than this is rarely out of order."""
AHEAD_US: Final = DAY_US
"""Past any skew that ingest lets in."""
LIMITS: Final = Limits(
    samples_per_s=1.0, samples_burst=1.0, series_max=1, query_points_max=POINTS_MAX, query_timeout_s=60.0
)
"""As much as a rule may keep; a tenant's own limits on queries are no reason to miss an alert."""


class Past:
    """Reads it, and has the evaluator remember it."""

    def __init__(self, term: Term, reader: SampleReader, clock: Clock) -> None:
        self._term = term
        self._reader = reader
        self._clock = clock

    async def bring(self, evaluator: Evaluator, history: History, taken: Taken) -> None:
        """To be called before `taken` is observed."""
        now_us = self._clock.now_us()
        first_us = min(_first_us(taken, history.tenant_id), now_us + AHEAD_US)
        async with self._reader.snapshot(history.tenant_id, LIMITS) as snapshot:
            newest = await _stored(snapshot, history.newest_of, first_us, now_us, reach_us=0)
        stored = [(watched, await self._window(watched, ids, first_us, now_us)) for watched, ids in history.windows]
        waiting = await self._term.take(points_max=ALL_POINTS, skip_at=None)
        unjudged = keep_last(concat_columns([block.points for block in waiting.blocks]))
        evaluator.remember(last_of_each(without(newest, unjudged)))
        for watched, points in stored:
            watched.remember(without(points, unjudged))

    async def _window(self, watched: WatchedRule, series_ids: Int32s, first_us: int, now_us: int) -> Columns:
        """What a rule's windows reach; only the newest samples where that is more than can be kept."""
        compiled = watched.compiled
        try:
            async with self._reader.snapshot(compiled.tenant_id, LIMITS) as snapshot:
                reach_us = (compiled.window_us or 0) + compiled.delay_us
                return await _stored(snapshot, series_ids, first_us, now_us, reach_us=reach_us)
        except TooExpensive:
            watched.truncated = True
            async with self._reader.snapshot(compiled.tenant_id, LIMITS) as snapshot:
                return await _stored(snapshot, series_ids, first_us, now_us, reach_us=0)


async def _stored(snapshot: Snapshot, series_ids: Int32s, first_us: int, now_us: int, *, reach_us: int) -> Columns:
    """What is stored of series around `first_us`, the first instant that was taken; sorted by (series, ts).

    Each one's newest before that, and before the samples that are sifted; and these, as far as windows reach.
    """
    sifted = TimeRange(max(0, min(first_us, now_us) - reach_us, now_us - SIFTED_US - reach_us), now_us + AHEAD_US)
    since_us = max(0, now_us - BACK_US)
    parts = [
        await newest_in(snapshot, series_ids, TimeRange(since_us, end_us))
        for end_us in sorted({first_us, sifted.start_us})
        if end_us > since_us
    ]
    if len(series_ids):
        parts.append(overriding(await snapshot.settled_points(series_ids, sifted), snapshot.head(series_ids, sifted)))
    return keep_last(concat_columns(parts))


def _first_us(taken: Taken, tenant_id: int) -> int:
    """The first instant among the tenant's points that were taken."""
    first_us = int(np.iinfo(np.int64).max)
    for block in taken.blocks:
        start = 0
        for owner, end in zip(block.tenant_ids, block.tenant_ends, strict=True):
            if owner == tenant_id and end > start:
                first_us = min(first_us, int(block.points.ts_us[start:end].min()))
            start = end
    return first_us
