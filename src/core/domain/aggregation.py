"""Bucket mathematics over columns: partial aggregates that merge, percentiles, increase, fill.

Theory of operation. A query maps every series to a *line* (one per distinct set of `group_by` labels) and
every sample to a *bucket* (start of its step, aligned to the epoch). Functions that decompose (count, sum, min, max,
avg, first, last) travel as `Partials`, one row per (line, bucket); partials of stored aggregates, of raw samples and of
the journal's head merge into the same numbers. Percentiles and increase need the samples themselves.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec
import numpy as np

from core.domain.columns import Bools, Columns, Float64s, Int32s, Int64s
from core.domain.definitions import Aggregation
from core.domain.times import SECOND_US

PERCENTILES: Final = {
    Aggregation.P50: 50.0,
    Aggregation.P90: 90.0,
    Aggregation.P95: 95.0,
    Aggregation.P99: 99.0,
}
DECOMPOSABLE: Final = frozenset(
    {
        Aggregation.AVG,
        Aggregation.MIN,
        Aggregation.MAX,
        Aggregation.SUM,
        Aggregation.COUNT,
        Aggregation.FIRST,
        Aggregation.LAST,
    }
)


Numbers = TypeVar("Numbers", Float64s, Int64s)


class Partials(msgspec.Struct, frozen=True, eq=False):
    """Partial aggregates, one row per (line, bucket), in any order; all arrays of shape (n,).

    `first` and `last` are the values at `first_ts_us` and `last_ts_us`; of samples at one instant on one line the
    greater value counts, so that the answer does not depend on the order of series.
    """

    lines: Int32s
    buckets_us: Int64s
    counts: Int64s
    sums: Float64s
    mins: Float64s
    maxs: Float64s
    first_ts_us: Int64s
    firsts: Float64s
    last_ts_us: Int64s
    lasts: Float64s

    def __len__(self) -> int:
        return len(self.lines)


class Buckets(msgspec.Struct, frozen=True, eq=False):
    """Finished values, sorted by (line, bucket); all arrays of shape (n,)."""

    lines: Int32s
    buckets_us: Int64s
    values: Float64s


def bucket_starts(ts_us: Int64s, step_us: int | None) -> Int64s:
    """The start of each instant's bucket, aligned to the Unix epoch; all 0 for no step (one bucket)."""
    if step_us is None:
        return np.zeros(len(ts_us), np.int64)
    return ts_us - ts_us % step_us


def lines_of(points: Columns, series_ids: Int32s, lines: Int32s) -> Int32s:
    """The line of each point: `series_ids` ascending, `lines` parallel to it, every point's series among them."""
    starts = _run_starts(points.series_ids)  # few where points are sorted by series: each run is looked up once
    found = lines[np.searchsorted(series_ids, points.series_ids[starts])]
    return np.repeat(found, np.diff(np.append(starts, len(points))))


def partials_of(points: Columns, lines: Int32s, step_us: int | None) -> Partials:
    """The partial aggregates of raw points, as `merge_partials` returns them; `lines` is the line of each point.

    Runs of one line and bucket whose instants ascend are aggregated as they stand, then merged: points sorted by
    (series, ts) have few runs, and sorting runs is far cheaper than sorting points.
    """
    buckets = bucket_starts(points.ts_us, step_us)
    starts = _run_starts(lines, buckets, breaks=points.ts_us[1:] <= points.ts_us[:-1])
    ends = np.append(starts[1:], len(points)) - 1 if len(starts) else starts
    runs = Partials(
        lines[starts],
        buckets[starts],
        ends - starts + 1,
        _reduce(np.add, points.values, starts),
        _reduce(np.minimum, points.values, starts),
        _reduce(np.maximum, points.values, starts),
        points.ts_us[starts],
        points.values[starts],
        points.ts_us[ends],
        points.values[ends],
    )
    return merge_partials([runs])


def merge_partials(parts: Sequence[Partials]) -> Partials:
    """One row per (line, bucket), sorted by them."""
    lines, buckets = _joined(parts, "lines"), _joined(parts, "buckets_us")
    order = np.lexsort((buckets, lines))
    starts = _run_starts(lines[order], buckets[order])
    if len(starts) == len(order):
        return Partials(*(_joined(parts, field)[order] for field in Partials.__struct_fields__))
    first_ts, firsts = _joined(parts, "first_ts_us"), _joined(parts, "firsts")
    last_ts, lasts = _joined(parts, "last_ts_us"), _joined(parts, "lasts")
    ends = np.append(starts[1:], len(order)) - 1
    by_first = np.lexsort((-firsts, first_ts, buckets, lines))[starts]
    by_last = np.lexsort((lasts, last_ts, buckets, lines))[ends]
    return Partials(
        lines[order][starts],
        buckets[order][starts],
        _reduce(np.add, _joined(parts, "counts")[order], starts),
        _reduce(np.add, _joined(parts, "sums")[order], starts),
        _reduce(np.minimum, _joined(parts, "mins")[order], starts),
        _reduce(np.maximum, _joined(parts, "maxs")[order], starts),
        first_ts[by_first],
        firsts[by_first],
        last_ts[by_last],
        lasts[by_last],
    )


def finish(partials: Partials, aggregation: Aggregation) -> Buckets:
    """The values of a decomposable aggregation; `partials` as `merge_partials` returns them."""
    match aggregation:
        case Aggregation.AVG:
            values = partials.sums / partials.counts
        case Aggregation.SUM:
            values = partials.sums
        case Aggregation.COUNT:
            values = partials.counts.astype(np.float64)
        case Aggregation.MIN:
            values = partials.mins
        case Aggregation.MAX:
            values = partials.maxs
        case Aggregation.FIRST:
            values = partials.firsts
        case Aggregation.LAST:
            values = partials.lasts
        case _:
            raise ValueError(f"{aggregation} does not decompose")
    return Buckets(partials.lines, partials.buckets_us, values)


def percentiles_of(points: Columns, lines: Int32s, step_us: int | None, percents: Sequence[float]) -> list[Buckets]:
    """For each percent its value per (line, bucket): continuous, linear interpolation between closest ranks.

    Equal to numpy.percentile's default, Hyndman and Fan's type 7.
    Source: R. J. Hyndman, Y. Fan, Sample Quantiles in Statistical Packages, The American Statistician 50 (1996).
    """
    buckets = bucket_starts(points.ts_us, step_us)
    order = np.lexsort((points.values, buckets, lines))
    values = points.values[order]
    starts = _run_starts(lines[order], buckets[order])
    sizes = np.diff(np.append(starts, len(order)))
    finished = []
    for percent in percents:
        rank = (sizes - 1) * (percent / 100)
        below = np.floor(rank).astype(np.int64)
        above = np.minimum(below + 1, sizes - 1)
        low, high = values[starts + below], values[starts + above]
        finished.append(Buckets(lines[order][starts], buckets[order][starts], _interpolate(low, high, rank - below)))
    return finished


def increases_of(points: Columns, series_ids: Int32s, lines: Int32s, step_us: int, *, start_us: int) -> Buckets:
    """The counters' increase per (line, bucket): the sum of each series' deltas between consecutive samples.

    `points` sorted by (series, ts), and may begin with each series' last sample before `start_us`, which lends
    its value to the first delta. A drop is a reset: the delta is then the later value. A delta counts in the bucket
    of the later sample, and nothing is extrapolated; a bucket without a delta is absent.
    """
    if len(points) < 2:
        return Buckets(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float64))
    values = points.values
    deltas = np.where(values[1:] < values[:-1], values[1:], values[1:] - values[:-1])
    counts = (points.series_ids[1:] == points.series_ids[:-1]) & (points.ts_us[1:] >= start_us)
    later = Columns(points.series_ids[1:][counts], points.ts_us[1:][counts], deltas[counts])
    partials = partials_of(later, lines_of(later, series_ids, lines), step_us)
    return Buckets(partials.lines, partials.buckets_us, partials.sums)


def per_second(increases: Buckets, step_us: int) -> Buckets:
    """The rate: increase divided by the bucket's length in seconds."""
    return Buckets(increases.lines, increases.buckets_us, increases.values / (step_us / SECOND_US))


def _run_starts(*columns: Int32s | Int64s, breaks: Bools | None = None) -> Int64s:
    """The first row of each run of rows equal in all `columns`; `breaks`, of shape (n - 1,), ends runs besides."""
    if len(columns[0]) == 0:
        return np.empty(0, np.int64)
    changes = breaks if breaks is not None else np.zeros(len(columns[0]) - 1, np.bool_)
    for column in columns:
        changes = changes | (column[1:] != column[:-1])
    return np.concatenate(([0], np.flatnonzero(changes) + 1)).astype(np.int64)


def _reduce(how: np.ufunc, values: Numbers, starts: Int64s) -> Numbers:
    reduced: Numbers = how.reduceat(values, starts) if len(starts) else values[:0]
    return reduced


def _interpolate(low: Float64s, high: Float64s, weight: Float64s) -> Float64s:
    """Between two values without overflow or loss at either end, as numpy does it."""
    with np.errstate(over="ignore", invalid="ignore"):
        step = high - low
        value = np.where(weight >= 0.5, high - step * (1 - weight), low + step * weight)
    far = ~np.isfinite(step)
    if far.any():
        value[far] = low[far] * (1 - weight[far]) + high[far] * weight[far]
    return value


def _joined(parts: Sequence[Partials], field: str) -> Any:
    return np.concatenate([getattr(part, field) for part in parts])
