"""How the bucket averages of several pods become those of a workload, a namespace or a cluster.

Theory of operation. A grid has a row for each pod and a column for each bucket; NaN stands where a pod has no samples,
and such a pod contributes nothing to its bucket: never a 0. So a sum is that over the pods that were heard of in the
bucket, each as far as it was there (`PodSeries.shares`): of pods that come after each other, as in a rollout or the
runs of a CronJob, it is what is used at a time. A bucket in which nobody was heard of is absent. Pods that report more
seldom than a bucket is long make the sum of single buckets too low; averages over a whole range suffer from that too,
which is why buckets are never shorter than a minute.

Rows are ascending by (namespace, workload, pod), so that the pods of each workload stand together: a group is a run of
rows, given by its first.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from core.domain.columns import Float64s, Int64s
from core.domain.times import DAY_US, HOUR_US, MINUTE_US, TimeRange
from core.services.telemetry_reading import PodSeries, finite

WIDTHS_US: Final = (
    *(minutes * MINUTE_US for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * HOUR_US for hours in (1, 2, 3, 6, 12)),
    DAY_US,
)
"""Widths that people count in, and from five minutes on multiples of what TimescaleDB keeps aggregates of."""

_ROUNDING: Final = 1e-6
"""Of sums of shares: a millionth of a pod is none."""

PodKey = tuple[str, str, str]
"""Namespace, workload and pod."""


def bucket_width_us(time_range: TimeRange, buckets_max: int) -> int:
    """The shortest of `WIDTHS_US`, or else of whole days, of which at most `buckets_max` (2 or more) touch the
    range."""
    for width_us in WIDTHS_US:
        if len(bucket_starts_us(time_range, width_us)) <= buckets_max:
            return width_us
    days = -(-(time_range.end_us - time_range.start_us) // ((buckets_max - 1) * DAY_US))
    return days * DAY_US


def bucket_starts_us(time_range: TimeRange, width_us: int) -> range:
    """The starts of the buckets that touch the range, aligned to the Unix epoch; the first may lie before it."""
    return range(time_range.start_us // width_us * width_us, time_range.end_us, width_us)


def key_of(one: PodSeries) -> PodKey:
    """Which row a series belongs to."""
    return one.namespace, one.workload, one.pod


def rows_of(series: Iterable[PodSeries]) -> dict[PodKey, int]:
    """The row of each pod."""
    return {key: row for row, key in enumerate(sorted({key_of(one) for one in series}))}


def without_doubles(series: Sequence[PodSeries]) -> list[PodSeries]:
    """One metric's series without those of whole workloads whose pods are there themselves, to count nothing twice."""
    told_apart = {(one.namespace, one.workload) for one in series if one.pod}
    return [one for one in series if one.pod or (one.namespace, one.workload) not in told_apart]


def increases(series: Sequence[PodSeries]) -> list[PodSeries]:
    """By how much each pod's counter grew from one bucket with samples to the next, in the later bucket.

    A counter that fell was reset to zero in between: it grew by what it is now. A pod's first bucket has nothing to
    be compared with, and is absent.
    """
    return [
        msgspec.structs.replace(
            one,
            ts_us=one.ts_us[1:],
            shares=one.shares[1:],
            values=np.where(one.values[1:] < one.values[:-1], one.values[1:], one.values[1:] - one.values[:-1]),
        )
        for one in series
        if len(one.values) > 1
    ]


def grids_of(series: Sequence[PodSeries], rows: Mapping[PodKey, int], starts_us: range) -> tuple[Float64s, Float64s]:
    """One metric's grid, float64 of shape (pods, buckets), and that of the pods' shares of the buckets, which are 0
    where there are no samples; `rows` has all its pods, `starts_us` all its buckets."""
    grid = np.full((len(rows), len(starts_us)), np.nan)
    shares = np.zeros(grid.shape)
    if series:
        row_of = np.repeat([rows[key_of(one)] for one in series], [len(one.values) for one in series])
        column_of = (np.concatenate([one.ts_us for one in series]) - starts_us.start) // starts_us.step
        grid[row_of, column_of] = np.concatenate([one.values for one in series])
        shares[row_of, column_of] = np.concatenate([one.shares for one in series])
    return grid, shares


def usual_pods(shares: Float64s, groups: Int64s) -> list[int]:
    """How many pods of each group there usually are at a time: the median over the buckets in which there are any,
    rounded up; 0 where there never are. A pod that was heard of before and after a bucket was there."""
    there = shares > 0.0
    begun, goes_on = (np.logical_or.accumulate(side, axis=1) for side in (there, there[:, ::-1]))
    counts = np.add.reduceat(np.where(~there & begun & goes_on[:, ::-1], 1.0, shares), groups, axis=0)
    known = np.where(counts > 0.0, counts, np.nan)
    known[~(counts > 0.0).any(axis=1)] = 0.0
    return [math.ceil(usual - _ROUNDING) for usual in np.nanmedian(known, axis=1).tolist()]


def combined(grid: Float64s, combine: str, groups: Int64s, weights: Float64s | None = None) -> Float64s:
    """Each group's pods as one, shape (groups, buckets); NaN where none of them has samples.

    `combine` is that of a `StandardMetric`; `groups` are the first rows of the groups, ascending from 0, and `weights`
    a grid of the same pods: of a sum what part of it counts (usually the pods' shares; without weights all of it), of
    `weighted` requests. Without weights, and where they add up to nothing, `weighted` is the plain mean.
    """
    if combine == "max":
        return np.fmax.reduceat(grid, groups, axis=0)
    there = ~np.isnan(grid)
    present = np.where(there, grid, 0.0)
    if combine == "sum" and weights is not None:
        present *= np.where(weights > 0.0, weights, 0.0)
    counts = np.add.reduceat(there, groups, axis=0, dtype=np.int64)
    with np.errstate(over="ignore"):
        sums = finite(np.add.reduceat(present, groups, axis=0))
    if combine == "sum":
        return np.where(counts > 0, sums, np.nan)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    if weights is None:
        return means
    weighed = np.where(there & (weights > 0.0), weights, 0.0)
    weighed /= max(float(weighed.max(initial=0.0)), np.finfo(np.float64).tiny)  # the sums below cannot overflow
    totals = np.add.reduceat(weighed, groups, axis=0)
    with np.errstate(over="ignore"):
        products = finite(np.add.reduceat(present * weighed, groups, axis=0))
    return np.where(totals > 0.0, products / np.where(totals > 0.0, totals, 1.0), means)


def means_of(values: Float64s) -> Float64s:
    """The mean of each row over the buckets that are there, shape (rows,); NaN where there are none."""
    return combined(values.T, "weighted", np.zeros(1, np.int64))[0] if values.shape[1] else np.full(len(values), np.nan)
