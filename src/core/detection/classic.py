"""The classic three: variance escalation, spikes, trend, each over one stretch of a series.

All take `ts_us` (int64, shape (n,), microseconds since the Unix epoch) and `values` (float64, shape (n,)); rows need
not be in order or evenly spaced, and a value that is not finite is a gap. All return a finding, or None where there is
nothing to report or too little to tell. They look at a stretch as a whole, so nothing about them is causal.
"""

import enum
import math
from typing import Final

import msgspec
import numpy as np

from core.detection.scaling import ROUNDING, Floats, Instants, finite_rows, scaled
from core.domain.columns import Bools
from core.domain.times import HOUR_US, TimeRange


class Classic(enum.StrEnum):
    """Which of the three."""

    VARIANCE = "variance"
    SPIKE = "spike"
    TREND = "trend"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one of the classic three found, with what it rests on."""

    detector: Classic
    risk: float
    """In [0, 1]."""
    window: TimeRange
    """From the first row looked at to just after the last."""
    baseline_window: TimeRange
    """The rows that `baseline` is of: those of the first window, the spikes' baseline, or all."""
    observed_window: TimeRange
    """The rows that `observed` is of: the last window, or all."""
    baseline: float
    """In the unit of the values: the first window's standard deviation; the mean; the line's start."""
    observed: float
    """Alike: the last window's standard deviation; the largest value; the line's end."""
    count: int
    """Windows compared, spikes, or rows of the line."""
    phrase: str
    """In words, without the series and the risk."""

    def text(self, series: str) -> str:
        """The finding in words: ``host-stressed:cpu variance escalated 4.30x (risk 1.00)``."""
        return f"{series} {self.phrase} (risk {self.risk:.2f})"


class VarianceParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Of `variance_escalation`."""

    window_us: int = 4 * HOUR_US
    increase_min: float = 0.5
    """Reported above: 0.5 is half as much again."""
    increase_full: float = 2.0
    """The increase that is a risk of 1: three times the variance."""
    errors_min: float = 0.0
    """Reported above so many standard errors of the ratio's logarithm; 0 also reports what chance gives."""
    fill_min: float = 0.5
    """Windows with less than this part of the fullest window's rows are cut off by the ends and left out."""


class SpikeParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Of `spikes`."""

    deviations: float = 2.5
    """A spike is a value above the mean by so many standard deviations."""
    baseline_share: float = 1.0
    """Mean and deviation are of this first part of the rows, in (0, 1]."""
    share_full: float = 0.05
    """Spikes among so large a part of the rows are half the risk."""
    deviations_full: float = 5.0
    """A largest value so many deviations above the mean is the other half."""


class TrendParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Of `trend`."""

    increase_min: float = 0.3
    """Reported above: the line's end against its start, 0.3 is 30 %."""
    increase_full: float = 1.0
    """The increase that is a risk of 1: doubling."""
    errors_min: float = 0.0
    """Reported above so many standard errors of the rise; 0 also reports what chance gives, as noise around 0 does."""


ROWS_MIN: Final = 3
"""A line through two points always fits, and two values have no usual deviation."""


def variance_escalation(
    ts_us: Instants, values: Floats, parameters: VarianceParameters | None = None
) -> Finding | None:
    """Whether the last window varies more than the first: the ratio of their sample variances.

    Windows start at multiples of `window_us` since the Unix epoch. The ratio is that of any series
    `a * values + b`, a not 0. A last window that varies after a first that did not has the risk 1.
    """
    chosen = parameters or VarianceParameters()
    ts_us, values = finite_rows(ts_us, values)
    small, exponent = scaled(values)
    _, starts, counts = np.unique(ts_us // chosen.window_us, return_index=True, return_counts=True)
    full = np.flatnonzero((counts >= 2) & (counts >= chosen.fill_min * counts.max(initial=0)))
    if len(full) < 2:
        return None
    ends = [slice(starts[place], starts[place] + counts[place]) for place in full[[0, -1]]]
    first, last = (_deviation(small[rows]) for rows in ends)
    if last == 0.0 or (first > 0.0 and (last / first) ** 2 <= 1.0 + chosen.increase_min):
        return None
    ratio = (last / first) ** 2 if first > 0.0 else math.inf
    error = math.hypot(_log_error(small[ends[0]], first), _log_error(small[ends[1]], last))
    if chosen.errors_min * error >= min(math.log(ratio), 1.0 if first == 0.0 else math.inf):
        return None
    return Finding(
        detector=Classic.VARIANCE,
        risk=min(1.0, (ratio - 1.0) / chosen.increase_full),
        window=_span(ts_us),
        baseline_window=_span(ts_us[ends[0]]),
        observed_window=_span(ts_us[ends[1]]),
        baseline=_grown(first, exponent),
        observed=_grown(last, exponent),
        count=len(full),
        phrase="variance escalated from none" if math.isinf(ratio) else f"variance escalated {ratio:.2f}x",
    )


def spikes(ts_us: Instants, values: Floats, parameters: SpikeParameters | None = None) -> Finding | None:
    """The values far above the mean; the risk is of their frequency and of the largest one's height, half each.

    What is found is that of any series `a * values + b`, a > 0.
    """
    chosen = parameters or SpikeParameters()
    ts_us, values = finite_rows(ts_us, values)
    small, exponent = scaled(values)
    baseline_rows = math.ceil(len(small) * chosen.baseline_share)
    if baseline_rows < ROWS_MIN:
        return None
    mean, deviation = _usual(small[:baseline_rows])
    count = int(_above(small, mean, deviation, chosen).sum())
    if not count:
        return None
    largest = float(small.max())
    height = (largest - mean) / deviation if deviation > 0.0 else math.inf
    frequency = min(1.0, count / len(small) / chosen.share_full)
    times = "once" if count == 1 else f"{count} times"
    return Finding(
        detector=Classic.SPIKE,
        risk=0.5 * frequency + 0.5 * min(1.0, height / chosen.deviations_full),
        window=_span(ts_us),
        baseline_window=_span(ts_us[:baseline_rows]),
        observed_window=_span(ts_us),
        baseline=_grown(mean, exponent),
        observed=_grown(largest, exponent),
        count=count,
        phrase=f"spiked {times} up to {_grown(largest, exponent):.6g}",
    )


def spike_rows(values: Floats, parameters: SpikeParameters | None = None) -> Bools:
    """Which of `values`, finite and in order of time, are the spikes that `spikes` counts: bool, shape (n,)."""
    chosen = parameters or SpikeParameters()
    small, _ = scaled(values)
    mean, deviation = _usual(small[: math.ceil(len(small) * chosen.baseline_share)])
    return _above(small, mean, deviation, chosen)


def trend(ts_us: Instants, values: Floats, parameters: TrendParameters | None = None) -> Finding | None:
    """Whether the least-squares line rises, by its end against its start.

    The increase is that of any series `a * values`, a > 0; shifted values have another, because the start has. A line
    that starts at 0 and rises has the risk 1.
    """
    chosen = parameters or TrendParameters()
    ts_us, values = finite_rows(ts_us, values)
    if len(values) < ROWS_MIN or ts_us[0] == ts_us[-1]:
        return None
    small, exponent = scaled(values)
    moments = (ts_us - ts_us[0]) / float(ts_us[-1] - ts_us[0])
    centred = moments - moments.mean()
    rise = float(centred @ (small - small.mean()) / (centred @ centred))
    start = float(small.mean() - rise * moments.mean())
    if rise <= max(chosen.increase_min * abs(start), ROUNDING):
        return None
    if rise <= chosen.errors_min * _standard_error(small - start - rise * moments, centred):
        return None
    increase = rise / abs(start) if abs(start) > ROUNDING else math.inf
    return Finding(
        detector=Classic.TREND,
        risk=min(1.0, increase / chosen.increase_full),
        window=_span(ts_us),
        baseline_window=_span(ts_us),
        observed_window=_span(ts_us),
        baseline=_grown(start, exponent),
        observed=_grown(start + rise, exponent),
        count=len(small),
        phrase="rose from 0" if math.isinf(increase) else f"rose {100.0 * increase:.0f}%",
    )


def classic_three(ts_us: Instants, values: Floats) -> list[Finding]:
    """The findings of all three with their defaults, the highest risk first."""
    found = (detect(ts_us, values) for detect in (variance_escalation, spikes, trend))
    return sorted((finding for finding in found if finding is not None), key=lambda finding: -finding.risk)


def _log_error(small: Floats, deviation: float) -> float:
    """The standard error of the logarithm of a sample variance; of rare large values it is large. 0 for no variance.

    Source: the asymptotic variance of a sample variance, (kurtosis - 1) / n of its square.
    """
    if deviation == 0.0:
        return 0.0
    kurtosis = float((((small - small.mean()) / deviation) ** 4).mean())
    return math.sqrt(max(kurtosis - 1.0, 0.0) / len(small))


def _standard_error(residuals: Floats, centred: Floats) -> float:
    """Of a line's rise; neighbours that resemble each other count for fewer rows, as in a random walk hardly any do.

    Source: Santer et al. 2000, "Statistical significance of trends …", J. Geophys. Res. 105 (D6), equations 2 to 6.
    """
    squares = float(residuals @ residuals)
    if squares <= len(residuals) * ROUNDING**2:
        return 0.0
    alike = min(max(float(residuals[1:] @ residuals[:-1]) / squares, 0.0), 1.0)
    freedom = len(residuals) * (1.0 - alike) / (1.0 + alike) - 2.0
    return math.sqrt(squares / freedom / float(centred @ centred)) if freedom > 0.0 else math.inf


def _usual(small: Floats) -> tuple[float, float]:
    """The mean and the deviation."""
    return float(small.mean()), _deviation(small)


def _above(small: Floats, mean: float, deviation: float, chosen: SpikeParameters) -> Bools:
    return small > mean + max(chosen.deviations * deviation, ROUNDING)


def _deviation(small: Floats) -> float:
    """The sample standard deviation of scaled values; 0 where it is nothing but rounding."""
    deviation = float(small.std(ddof=1))
    return deviation if deviation > ROUNDING else 0.0


def _grown(small: float, exponent: int) -> float:
    """A scaled number in the values' unit; lines and deviations of the largest floats may lie beyond all floats."""
    largest = float(np.finfo(np.float64).max)
    with np.errstate(over="ignore"):
        return float(np.clip(np.ldexp(small, exponent), -largest, largest))


def _span(ts_us: Instants) -> TimeRange:
    return TimeRange(int(ts_us[0]), int(ts_us[-1]) + 1)
