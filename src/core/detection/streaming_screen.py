"""Which of many series the streaming detector may alert on: all those that it does, and not many others.

Theory of operation. Of a series of a few days only two components can have learned what is usual: the range, and the
season by the day; the others judge windows, and are silent for `_silent_blocks`. What these two compare, the extremes
of blocks, is computed here for all series at once, as they do it. The range's numbers are the same to the last bit.
The season's come from means added up in another order, so a distance may be larger by `ROUNDING` of the largest value;
and whether the data show a course at all is not asked. Longer series are not screened, nor any by parameters so small
that the ends of a usual band could cross.
"""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.detection.scaling import Floats
from core.detection.season import DAY_HOURS, LEARNING_RATE, WEEK_HOURS
from core.detection.segments import Segments, segments_of
from core.detection.streaming import HEADROOM, ROUNDING, StreamingParameters
from core.domain.columns import Bools, Columns, Int64s
from core.domain.times import HOUR_US

SLACK: Final = 0.9
"""What the screen asks for, as a part of the distance from what is usual that is an alert."""
TINY: Final = 1e-290
"""Below, means are of so few bits that adding them up in another order matters; such series are not screened."""


class _Blocks(msgspec.Struct, frozen=True, eq=False):
    """Extremes of blocks, shape (series, blocks); -inf where a series has no such block or nothing is known of it."""

    counts: Int64s
    highs: Floats
    lows: Floats
    """Of the values turned upside down, so that they are highs, too."""
    distances: Floats
    """From what the hour of the day has."""
    largest: Floats
    """Absolute value of each series, shape (series,)."""


def may_alert(points: Columns, series: Segments, chosen: StreamingParameters) -> Bools:
    """For each series whether the streaming detector may alert: bool, shape (series,).

    `points`: finite, sorted by (series, ts), unique.
    """
    begin_us, end_us = series.first(points.ts_us), series.last(points.ts_us)
    # Nobody speaks in the warm-up.
    found: Bools = (series.counts > chosen.warm_up_blocks * chosen.block_rows) & (
        end_us - begin_us >= chosen.warm_up_blocks * chosen.block_span_us
    )
    largest = series.highest(np.abs(points.values))
    screened = found & (end_us // HOUR_US - begin_us // HOUR_US < WEEK_HOURS) & (largest > TINY)
    if screened.any() and chosen.warm_up_blocks >= 2 * chosen.rank - 1:
        some = points.take(np.repeat(screened, series.counts))
        found[screened] = _may_alert(some, segments_of(some.series_ids), chosen)
    return found


def _may_alert(points: Columns, series: Segments, chosen: StreamingParameters) -> Bools:
    silent = _silent_blocks(chosen)
    starts = _block_starts(points, series, chosen, silent + 1)
    blocks = _blocks(points, series, starts)
    found: Bools = blocks.counts > silent
    magnitude = np.maximum.accumulate(np.maximum(np.abs(blocks.highs), np.abs(blocks.lows)), axis=1)
    for block in range(chosen.warm_up_blocks, int(blocks.counts.max())):
        some = np.flatnonzero((blocks.counts > block) & ~found)
        high, low, distance = (
            _ranked(extremes[some, :block], chosen.rank) for extremes in (blocks.highs, blocks.lows, blocks.distances)
        )
        unit = SLACK * (chosen.margin * (high + low) + ROUNDING * magnitude[some, block - 1])
        above, below = blocks.highs[some, block], blocks.lows[some, block]
        may = ((above > high) & (above - high >= unit)) | ((below > low) & (below - low >= unit))
        known = np.isfinite(blocks.distances[some, :block]).sum(axis=1) >= chosen.warm_up_blocks
        may |= known & (blocks.distances[some, block] + ROUNDING * blocks.largest[some] >= distance + unit)
        found[some] = may
    return found


def _silent_blocks(chosen: StreamingParameters) -> int:
    """In so many blocks nothing is said of windows, until one is full, counts as usual, and enough of them do; and
    nothing is forgotten."""
    return min(2 * chosen.window_blocks - 1 + chosen.window_warm_up_blocks, chosen.memory_blocks)


def _block_starts(points: Columns, series: Segments, chosen: StreamingParameters, most: int) -> NDArray[np.int64]:
    """The first row of each block, shape (series, at most `most`); the end of the series where it has no more."""
    ends = series.starts + series.counts
    offset_us = points.ts_us - np.repeat(series.first(points.ts_us), series.counts)
    apart_us = int(offset_us.max()) + chosen.block_span_us + 1
    clock_us = offset_us + np.repeat(np.arange(len(series)) * apart_us, series.counts)
    starts = [series.starts]
    while len(starts) < most and (starts[-1] < ends).any():
        rows = np.minimum(starts[-1], len(points) - 1)
        late = np.searchsorted(clock_us, clock_us[rows] + chosen.block_span_us)
        starts.append(np.minimum(np.maximum(starts[-1] + chosen.block_rows, late), ends))
    return np.stack(starts, axis=1)


def _blocks(points: Columns, series: Segments, starts: NDArray[np.int64]) -> _Blocks:
    which = starts < (series.starts + series.counts)[:, np.newaxis]
    flat = starts[which]
    rows = Segments(flat, np.diff(flat, append=len(points)))
    small = points.values * HEADROOM
    distances = _distances(points, small)

    def table(extremes: Floats) -> Floats:
        filled = np.full(which.shape, -np.inf)
        filled[which] = extremes
        return filled

    return _Blocks(
        counts=which.sum(axis=1),
        highs=table(rows.highest(small)),
        lows=table(rows.highest(-small)),
        distances=table(rows.highest(distances)),
        largest=series.highest(np.abs(small)),
    )


def _distances(points: Columns, small: Floats) -> Floats:
    """Each value's distance from the band that the days before have at its hour; -inf where they have none."""
    hours = points.ts_us // HOUR_US
    stretches = segments_of(points.series_ids, hours)
    means = stretches.bounded_means(small)
    ids, hour = points.series_ids[stretches.starts], hours[stretches.starts]
    owner = np.cumsum(np.diff(ids, prepend=ids[:1]) != 0)
    course = np.full((int(owner[-1]) + 1, DAY_HOURS), np.nan)
    low, high = np.full(len(stretches), np.nan), np.full(len(stretches), np.nan)
    order = np.argsort(hour, kind="stable")
    for now in np.split(order, np.flatnonzero(np.diff(hour[order])) + 1):
        who, place = owner[now], int(hour[now[0]] % DAY_HOURS)
        level = course[who, place]
        around = course[who, place - 1], course[who, (place + 1) % DAY_HOURS]
        low[now] = np.where(np.isnan(level), np.nan, np.fmin(level, np.fmin(*around)))
        high[now] = np.where(np.isnan(level), np.nan, np.fmax(level, np.fmax(*around)))
        learned = level + LEARNING_RATE * (means[now] - level)
        course[who, place] = np.where(np.isnan(level), means[now], learned)
    distance = np.maximum(np.maximum(small - stretches.spread(high), stretches.spread(low) - small), 0.0)
    return np.where(np.isnan(distance), -np.inf, distance)


def _ranked(extremes: Floats, rank: int) -> Floats:
    """The `rank`-th largest of each row."""
    place = extremes.shape[1] - rank
    return np.partition(extremes, place, axis=1)[:, place]
