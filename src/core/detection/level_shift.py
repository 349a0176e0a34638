"""How far a series moved at an instant, measured in the scatter that it had before.

Robust on purpose: an hour before a fault often holds an earlier fault, which must neither set the level nor the scale.
The level is the median and the scale the median absolute deviation (P. J. Huber, Robust Statistics, 1981; the factor
1.4826 makes it the standard deviation of a normal distribution). A series that already stood where it stands now did
not move at the instant: the shift against the last stretch before it counts too, and the smaller of both is taken.
"""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.domain.times import SECOND_US

BASELINE_POINTS_MIN: Final = 3
"""Fewer have no scatter worth the name."""
SCALE_SHARE_MIN: Final = 0.05
"""The scale is at least this share of the level: a twentieth is no fault, however steady the series was."""
SHIFT_MAX: Final = 1e6
"""Scales; beyond it "more" says nothing more, and logarithms and products of shifts stay finite."""
_VALUE_MAX: Final = 1e300
"""Values are clipped here, so that differences of any two are finite."""
_SCALE_MIN: Final = 1e-300
"""No unit makes a metric this small; division by it stays defined."""
_NORMAL_PER_MAD: Final = 1.4826
_NORMAL_PER_MEAN_DEVIATION: Final = 1.2533
"""For a series whose median absolute deviation is zero (B. Iglewicz, D. Hoaglin, How to Detect Outliers, 1993)."""


class LevelShift(msgspec.Struct, frozen=True):
    """A move of a series at an instant."""

    baseline: float
    """The level before, in the metric's unit."""
    value: float
    """The level after, in the metric's unit."""
    scales: float
    """How many scales it moved at the instant, signed, within ± `SHIFT_MAX`; 0 where it had moved before."""
    first_us: int
    """The first sample after the instant that is nearer to the new level than to the old one."""

    @property
    def change(self) -> float:
        """From the level before to the level after, in the metric's unit."""
        return self.value - self.baseline


def level_shift(
    ts_us: NDArray[np.int64], values: NDArray[np.float64], at_us: int, *, recent_us: int
) -> LevelShift | None:
    """The shift at `at_us`; None with fewer than `BASELINE_POINTS_MIN` samples before it or none after it.

    `ts_us` (int64, microseconds) and `values` (float64) have the shape (n,), in any order. Samples that are not finite
    do not count. `recent_us` is how far the last stretch before the instant reaches back.
    """
    finite = np.isfinite(values)
    ts_us, values = ts_us[finite], np.clip(values[finite], -_VALUE_MAX, _VALUE_MAX)
    before = ts_us < at_us
    if np.count_nonzero(before) < BASELINE_POINTS_MIN or before.all():
        return None
    baseline = float(np.median(values[before]))
    after_us, after = ts_us[~before], values[~before]
    value = float(np.median(after))
    recent = values[before & (ts_us >= at_us - recent_us)]
    moved = value - baseline
    if recent.size:
        moved = _smaller(moved, value - float(np.median(recent)))
    scale = max(_scale(values[before], baseline) or SCALE_SHARE_MIN * abs(value), _SCALE_MIN)
    reached = np.abs(after - value) <= np.abs(after - baseline)
    return LevelShift(
        baseline=baseline,
        value=value,
        scales=max(-SHIFT_MAX, min(SHIFT_MAX, moved / scale)),
        first_us=int(after_us[reached].min()) if reached.any() else int(after_us.min()),
    )


def _smaller(one: float, other: float) -> float:
    """The one nearer to zero, or zero where they have different signs."""
    if (one > 0) != (other > 0):
        return 0.0
    return one if abs(one) < abs(other) else other


def _scale(values: NDArray[np.float64], level: float) -> float:
    """The scatter of `values` around their median; zero only where all are zero."""
    deviations = np.abs(values - level)
    scale = max(_NORMAL_PER_MAD * float(np.median(deviations)), SCALE_SHARE_MIN * abs(level))
    # Sorted, because the rounding of a sum depends on the order.
    return scale or _NORMAL_PER_MEAN_DEVIATION * float(np.mean(np.sort(deviations)))


def increments_per_s(
    ts_us: NDArray[np.int64], values: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The rate of a counter between its samples, per second, at the later sample of each pair; shape (n - 1,).

    A counter that fell was reset to zero in between, as Prometheus has it. Of samples at one instant the largest
    counts.
    """
    order = np.lexsort((values, ts_us))
    last = np.append(np.diff(ts_us[order]) > 0, True)[: order.size]
    ts_us, values = ts_us[order][last], np.clip(values[order][last], -_VALUE_MAX, _VALUE_MAX)
    grown = np.diff(values)
    return ts_us[1:], np.where(grown < 0, values[1:], grown) / (np.diff(ts_us) / SECOND_US)
