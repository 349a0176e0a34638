"""Which of many series the classic three may find something in: all those that they do, and few others.

Theory of operation. A screen computes a detector's statistics for all series at once and leaves the verdict to the
detector itself. The two add the same numbers up in different orders, which moves a statistic by some 1e-15 of the
largest value, while the least that a detector calls more than rounding is 1e-12. So a screen that asks for a tenth
less than its detector misses nothing.
"""

from typing import Final

import msgspec
import numpy as np

from core.detection.classic import ROWS_MIN, SpikeParameters, TrendParameters, VarianceParameters
from core.detection.scaling import ROUNDING, Floats, Instants
from core.detection.segments import Segments, leading_rows, segments_of, segments_with
from core.domain.columns import Bools, Columns

SLACK: Final = 0.9
"""What a screen asks for, as a part of what its detector does: far more generous than rounding, and cheap."""


class ScaledSeries(msgspec.Struct, frozen=True, eq=False):
    """Finite points of many series, each brought to the size at which its squares neither overflow nor vanish."""

    series: Segments
    ts_us: Instants
    small: Floats


def scaled_series(points: Columns, series: Segments) -> ScaledSeries:
    """The points, sorted by (series, ts), each series times a power of two; see `scaling.scaled`."""
    exponents = np.frexp(series.highest(np.abs(points.values)))[1]
    return ScaledSeries(series, points.ts_us, np.ldexp(points.values, -np.repeat(exponents, series.counts)))


def may_escalate(look: ScaledSeries, chosen: VarianceParameters) -> Bools:
    """For each series whether `variance_escalation` may find something: bool, shape (series,)."""
    number = np.repeat(np.arange(len(look.series)), look.series.counts)
    windows = segments_of(number, look.ts_us // chosen.window_us)
    owners = number[windows.starts]
    by_series = segments_of(owners)
    fullest = np.repeat(np.maximum.reduceat(windows.counts, by_series.starts), by_series.counts)
    full = np.flatnonzero((windows.counts >= 2) & (windows.counts >= chosen.fill_min * fullest))
    ends = segments_of(owners[full])
    several = ends.counts >= 2
    first = _deviations(look.small, windows, ends.first(full)[several])
    last = _deviations(look.small, windows, ends.last(full)[several])
    may = (last > SLACK * ROUNDING) & (last >= SLACK * np.sqrt(1.0 + chosen.increase_min) * _certain(first))
    found = np.zeros(len(look.series), np.bool_)
    found[ends.first(owners[full])[several][may]] = True
    return found


def may_spike(look: ScaledSeries, chosen: SpikeParameters) -> Bools:
    """For each series whether `spikes` may find something: bool, shape (series,)."""
    series = look.series
    baseline = segments_with(np.ceil(series.counts * chosen.baseline_share).astype(np.int64))
    small = look.small[leading_rows(series, baseline.counts)]
    height = np.maximum(chosen.deviations * _certain(baseline.deviations(small)), ROUNDING)
    found: Bools = series.highest(look.small) >= baseline.means(small) + SLACK * height
    return found & (baseline.counts >= ROWS_MIN)


def may_rise(look: ScaledSeries, chosen: TrendParameters) -> Bools:
    """For each series whether `trend` may find something: bool, shape (series,)."""
    series = look.series
    begin_us = series.first(look.ts_us)
    span_us = np.maximum(series.last(look.ts_us) - begin_us, 1).astype(np.float64)
    moments = (look.ts_us - np.repeat(begin_us, series.counts)) / series.spread(span_us)
    middle, level = series.means(moments), series.means(look.small)
    centred = moments - series.spread(middle)
    # Of a single row everything is 0, and it has no line.
    rise = series.sums(centred * (look.small - series.spread(level))) / np.maximum(series.sums(centred**2), ROUNDING)
    start = level - rise * middle
    found: Bools = rise >= SLACK * np.maximum(chosen.increase_min * np.abs(start), ROUNDING)
    return found & (series.counts >= ROWS_MIN)


def _deviations(small: Floats, windows: Segments, which: Instants) -> Floats:
    chosen = Segments(windows.starts[which], windows.counts[which])
    return segments_with(chosen.counts).deviations(small[leading_rows(chosen, chosen.counts)])


def _certain(deviations: Floats) -> Floats:
    """0 where a detector may take the deviation for rounding."""
    return np.where(deviations * SLACK > ROUNDING, deviations, 0.0)
