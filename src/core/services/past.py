"""What evaluation has to know of series it meets for the first time: what was stored of them and judged before.

Theory of operation. A snapshot shows more than was judged: the blocks that were just taken, and those acknowledged
since. All of these are past the journal's cursor, so a second look at the journal, made after the snapshot, names every
point that the snapshot may show and nobody has judged. What is left without them was judged, now or by a leader before.

Series that came to be after the rules were read have no past: all of their points have been, or will be, taken under
these rules, and the first of them are those just taken.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np

from core.domain.columns import Columns, Int32s, concat_columns, keep_last, overriding, rows_of, without
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
Window = tuple[WatchedRule, Int32s]
"""A rule, and the series that are new to it."""


class Past:
    """Reads it, and has the evaluator remember it."""

    def __init__(self, term: Term, reader: SampleReader, clock: Clock) -> None:
        self._term = term
        self._reader = reader
        self._clock = clock
        self._last_series = 0

    def ends_with(self, series_id: int) -> None:
        """Series past this one are newer than the rules in force."""
        self._last_series = series_id

    async def bring(self, evaluator: Evaluator, history: History, taken: Taken) -> None:
        """To be called before `taken` is observed."""
        history = self._old(history)
        if len(history.newest_of) == 0 and not history.windows:
            return
        now_us = self._clock.now_us()
        first_us = min(_first_us(taken, history.tenant_id), now_us + AHEAD_US)
        async with self._reader.snapshot(history.tenant_id, LIMITS) as snapshot:
            newest = await _stored(snapshot, history.newest_of, first_us, now_us, reach_us=0)
        stored = []
        for group in _alike(history.windows):
            stored += await self._windows(history.tenant_id, group, first_us, now_us)
        waiting = await self._term.take(points_max=ALL_POINTS, skip_at=None)
        unjudged = keep_last(concat_columns([block.points for block in waiting.blocks]))
        evaluator.remember(last_of_each(without(newest, _of(unjudged, history.newest_of))))
        for (watched, series_ids), points in stored:
            watched.remember(without(points, _of(unjudged, series_ids)))

    def _old(self, history: History) -> History:
        """What of it has any past."""
        windows = [(watched, ids[ids <= self._last_series]) for watched, ids in history.windows]
        return History(
            tenant_id=history.tenant_id,
            newest_of=history.newest_of[history.newest_of <= self._last_series],
            windows=[(watched, ids) for watched, ids in windows if len(ids)],
        )

    async def _windows(
        self, tenant_id: int, group: Sequence[Window], first_us: int, now_us: int
    ) -> list[tuple[Window, Columns]]:
        """What windows that reach equally far back hold, read at once; one by one where that is too much, and only the
        newest samples where one alone is more than can be kept."""
        series_ids = np.unique(np.concatenate([ids for _, ids in group]))
        reach_us = _reach_us(group[0])
        try:
            points = await self._reached(tenant_id, series_ids, first_us, now_us, reach_us)
        except TooExpensive:
            if len(group) > 1:
                parts = [await self._windows(tenant_id, [one], first_us, now_us) for one in group]
                return [part for (part,) in parts]
            group[0][0].truncated = True
            points = await self._reached(tenant_id, series_ids, first_us, now_us, 0)
        return [(one, _of(points, one[1])) for one in group]

    async def _reached(self, tenant_id: int, series_ids: Int32s, first_us: int, now_us: int, reach_us: int) -> Columns:
        async with self._reader.snapshot(tenant_id, LIMITS) as snapshot:
            return await _stored(snapshot, series_ids, first_us, now_us, reach_us=reach_us)


def _reach_us(window: Window) -> int:
    compiled = window[0].compiled
    return (compiled.window_us or 0) + compiled.delay_us


def _alike(windows: Sequence[Window]) -> list[list[Window]]:
    """Those together that reach equally far back."""
    groups: dict[int, list[Window]] = defaultdict(list)
    for window in windows:
        groups[_reach_us(window)].append(window)
    return list(groups.values())


def _of(points: Columns, series_ids: Int32s) -> Columns:
    """The points of these series; sorted by (series, ts) before and after."""
    rows, _ = rows_of(points, series_ids)
    return points.take(rows)


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
