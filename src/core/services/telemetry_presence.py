"""What part of each bucket a pod was there, told by how many samples it has in it.

Theory of operation. A pod's life goes from the first bucket in which it was heard of to the last. In between it was
there all the time: a gap is its source's, not its own. In the first and the last it was there as long as its samples
say: their number, divided by that of a whole bucket. That is the mean over the buckets inside its life, or inside
those of the metric's other pods for one that lives too short to have any: all pods of a metric mostly come from one
source. Where no pod at all lives that long, the interval between the samples tells: their own, or where each has but
one, that of the cluster's other pods.

The first and the last bucket with samples of anybody are only partly told of, because the range or what was collected
ends there. How much of them is, the pods tell that live on; without such pods it is what the range covers.
"""

from typing import Final, Protocol

import numpy as np

from core.domain.aggregation import Partials
from core.domain.columns import Bools, Columns, Float64s, Int32s, Int64s
from core.domain.times import TimeRange

SAMPLES_ASKED_MAX: Final = 10_000
"""Looked at for their interval, besides those of one pod: the pods of one source all tell the same."""
BUCKETS_JUDGED_MIN: Final = 3
"""Buckets with samples; of fewer each may have been begun or broken off, and the longest pod is the measure."""
_ROUNDING: Final = 1e-9


class Samples(Protocol):
    """Where the interval between samples can be seen. Points are sorted by (series, ts)."""

    async def of(self, lines: Int32s) -> Columns:
        """All samples of some lines, as series of their own."""
        ...

    async def around(self, since_us: int) -> Columns:
        """Some samples since an instant of whatever pods the cluster has."""
        ...


async def shares_of(cells: Partials, kept: TimeRange, step_us: int, samples: Samples) -> Float64s:
    """The share of its bucket in which each cell's line was there, above 0 and at most 1, shape (n,).

    `cells`: counts by (line, bucket) and sorted by them, of what lies in `kept`. `samples` is asked only where no line
    tells how many samples a bucket holds; where they do not tell it either, lines count whole.
    """
    if not len(cells):
        return np.empty(0, np.float64)
    firsts = np.flatnonzero(np.diff(cells.lines, prepend=-1))
    sizes = np.diff(np.append(firsts, len(cells)))
    lasts = firsts + sizes - 1
    insides = np.maximum(sizes - 2, 0)
    inner = np.where(insides > 0, np.add.reduceat(cells.counts, firsts) - cells.counts[firsts] - cells.counts[lasts], 0)
    begin_us, end_us = int(cells.buckets_us.min()), int(cells.buckets_us.max())
    if insides.any():
        usual = inner.sum() / insides.sum()
    elif (end_us - begin_us) // step_us + 1 >= BUCKETS_JUDGED_MIN:
        usual = await _usual(cells, step_us, samples)
    else:
        usual = np.inf
    full = np.where(insides > 0, inner / np.maximum(insides, 1), usual)  # samples in a whole bucket, by line
    shares = np.ones(len(cells))
    for edges in (firsts, lasts):
        shares[edges] = cells.counts[edges] / np.maximum(np.floor(full + _ROUNDING), 1.0)
        for bucket_us in (begin_us, end_us):
            part = cells.buckets_us[edges] == bucket_us
            rows, covered = edges[part], _covered(bucket_us, kept, step_us)
            if len(rows):
                shares[rows] = _broken_off(cells.counts[rows], full[part], insides[part] > 0, covered)
    return np.minimum(shares, 1.0)


def _broken_off(counts: Int64s, full: Float64s, lives: Bools, covered: float) -> Float64s:
    """The shares in a bucket that is only partly told of, at most `covered` of it; `lives`: who lives on beyond it."""
    if np.isinf(full).all():
        return np.asarray(counts / counts.max(), np.float64)
    told = float((counts[lives] / full[lives]).max()) if lives.any() else covered
    return counts / np.maximum(np.floor(full * min(told, covered) + _ROUNDING), 1.0)


def _covered(bucket_us: int, kept: TimeRange, step_us: int) -> float:
    return (min(bucket_us + step_us, kept.end_us) - max(bucket_us, kept.start_us)) / step_us


async def _usual(cells: Partials, step_us: int, samples: Samples) -> float:
    """How many samples a bucket holds, by the interval between those of the lines that have the most."""
    totals = np.bincount(cells.lines, weights=cells.counts)
    most = np.argsort(-totals, kind="stable")
    few = np.cumsum(totals[most]) <= SAMPLES_ASKED_MAX
    few[0] = True
    asked = most[few & (totals[most] > 1.0)]
    gaps = _gaps(await samples.of(np.sort(asked).astype(np.int32))) if len(asked) else np.empty(0, np.int64)
    if not len(gaps):
        gaps = _gaps(await samples.around(int(cells.buckets_us.max())))
    return float(max(1.0, step_us / np.median(gaps))) if len(gaps) else 1.0


def _gaps(points: Columns) -> Int64s:
    return np.asarray(np.diff(points.ts_us)[points.series_ids[1:] == points.series_ids[:-1]], np.int64)
