"""Aggregates over sliding windows: at every instant at which a line has a sample, over ``(instant - window, instant]``.

Theory of operation. Rows are sorted by (line, instant), so that every window is one run of rows, found by binary
search on a key that joins line and instant. Sums, least and greatest values of the runs come from numpy's `reduceat`,
which adds what is in the window and nothing else: no running total whose rounding errors would outlive a huge value.
"""

from typing import Final

import msgspec
import numpy as np

from core.domain.aggregation import PERCENTILES
from core.domain.columns import INT64_MAX, Columns, Float64s, Int32s, Int64s, ascending, order_of
from core.domain.definitions import Aggregation
from core.domain.times import SECOND_US

INSTANT_WINDOW_US: Final = 1
"""A window that holds one instant only: each sample by itself."""
ORDERED: Final = frozenset({Aggregation.FIRST, Aggregation.LAST})
"""Where it matters in which order the values of one instant stand."""
GATHERED_VALUES_MAX: Final = 1_000_000
"""Windows overlap; of those laid out side by side, for percentiles, at most 8 MB are held at once."""


class Readings(msgspec.Struct, frozen=True, eq=False):
    """Values by line and instant, sorted by them; all arrays of shape (n,)."""

    lines: Int32s
    ts_us: Int64s
    values: Float64s

    def __len__(self) -> int:
        return len(self.lines)


def readings_of(
    points: Columns, lines: Int32s, aggregation: Aggregation, window_us: int | None, after_us: Int64s, until_us: int
) -> Readings:
    """One value for each distinct instant of each line with ``after_us[line] < instant <= until_us``.

    `points` sorted by (series, ts), one for each, the samples before the instants asked for included, as far as windows
    reach; `lines` int32, the line of each point; `after_us` int64, by line. `last` is the newest sample's value, of
    several at one instant the greatest. A rate or increase is absent where the window holds no difference.
    """
    values = _differences(points) if aggregation in (Aggregation.RATE, Aggregation.INCREASE) else points.values
    ts_us, counted = points.ts_us, np.isfinite(values)
    if not counted.all():
        lines, ts_us, values = lines[counted], ts_us[counted], values[counted]
    rows = Columns(lines, ts_us, values)
    if not ascending(rows):  # as they do where every line is one series
        order = np.lexsort((values, ts_us, lines)) if aggregation in ORDERED else order_of(rows)
        lines, ts_us, values = lines[order], ts_us[order], values[order]
    newest = np.ones(len(lines), np.bool_)  # the last row of each (line, instant)
    newest[:-1] = (lines[1:] != lines[:-1]) | (ts_us[1:] != ts_us[:-1])
    wanted = np.flatnonzero(newest & (ts_us > after_us[lines]) & (ts_us <= until_us))
    if len(wanted) == 0:
        return Readings(lines[:0], ts_us[:0], values[:0])
    span_us = window_us if window_us is not None else INSTANT_WINDOW_US
    starts = _window_starts(lines, ts_us, wanted, span_us)
    found = _aggregate(values, starts, wanted + 1, aggregation)
    if aggregation is Aggregation.RATE:
        found = found / (span_us / SECOND_US)
    return Readings(lines[wanted], ts_us[wanted], found)


def _window_starts(lines: Int32s, ts_us: Int64s, ends: Int64s, span_us: int) -> Int64s:
    """The first row of each window whose last row is in `ends`; rows sorted by (line, instant)."""
    first_us = int(ts_us.min()) - span_us
    step = int(ts_us.max()) - first_us + 1
    starts: Int64s
    if (int(lines[-1]) + 1) * step <= INT64_MAX:
        keys = lines.astype(np.int64) * step + (ts_us - first_us)
        starts = np.searchsorted(keys, keys[ends] - span_us, "right")
        return starts
    starts = np.empty(len(ends), np.int64)  # centuries of many lines: one key holds only one line's
    for line in np.unique(lines[ends]).tolist():
        low, high = np.searchsorted(lines, [line, line + 1])
        mine = (ends >= low) & (ends < high)
        starts[mine] = low + np.searchsorted(ts_us[low:high], ts_us[ends[mine]] - span_us, "right")
    return starts


def _differences(points: Columns) -> Float64s:
    """Each sample's increase over the one before it of its series, NaN for a first one; a drop is a counter's reset."""
    differences = np.full(len(points), np.nan)
    if len(points) > 1:
        before, after = points.values[:-1], points.values[1:]
        same = points.series_ids[1:] == points.series_ids[:-1]
        differences[1:] = np.where(same, np.where(after < before, after, after - before), np.nan)
    return differences


def _aggregate(values: Float64s, starts: Int64s, ends: Int64s, aggregation: Aggregation) -> Float64s:
    """The aggregate of each run ``[start, end)`` of `values`, none of them empty."""
    found: Float64s
    match aggregation:
        case Aggregation.LAST:
            found = values[ends - 1]
        case Aggregation.FIRST:
            found = values[starts]
        case Aggregation.COUNT:
            found = (ends - starts).astype(np.float64)
        case Aggregation.MIN:
            found = _reduce(np.minimum, values, starts, ends)
        case Aggregation.MAX:
            found = _reduce(np.maximum, values, starts, ends)
        case Aggregation.SUM | Aggregation.RATE | Aggregation.INCREASE:
            found = _reduce(np.add, values, starts, ends)
        case Aggregation.AVG:
            found = _reduce(np.add, values, starts, ends) / (ends - starts)
        case Aggregation.P50 | Aggregation.P90 | Aggregation.P95 | Aggregation.P99:
            found = _percentiles(values, starts, ends, PERCENTILES[aggregation])
    return found


def _reduce(how: np.ufunc, values: Float64s, starts: Int64s, ends: Int64s) -> Float64s:
    bounds = np.column_stack((starts, ends)).ravel()
    padded = np.append(values, 0.0)  # `reduceat` wants every bound to be a row; what follows an end is not used
    reduced: Float64s = how.reduceat(padded, bounds)[::2]
    return reduced


def _percentiles(values: Float64s, starts: Int64s, ends: Int64s, percent: float) -> Float64s:
    """Windows that hold equally many values at once: a call for each would cost far more than the sorting."""
    found = np.empty(len(starts), np.float64)
    sizes = ends - starts
    for size in np.unique(sizes).tolist():
        alike = np.flatnonzero(sizes == size)
        step = max(1, GATHERED_VALUES_MAX // size)
        for first in range(0, len(alike), step):
            some = alike[first : first + step]
            windows = values[starts[some] + np.arange(size)[:, None]]
            found[some] = np.percentile(windows, percent, axis=0, overwrite_input=True)
    return found
