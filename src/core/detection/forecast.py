"""When a series reaches its limit: a robust line, with a band that says how little it may know.

Theory of operation. The slope is the median of the slopes between all pairs of points (Theil 1950, Sen 1968), which up
to 29 % of wild values cannot move far. Its interval is Sen's, from the distribution of Kendall's tau. Neighbouring
points of a metric are not independent: the number of points is reduced by the lag-1 autocorrelation of the residuals
(Bayley, Hammersley 1946), or the interval would be far too narrow. The band of the time is where the steepest line
plus the largest usual residual, and the flattest line plus the smallest, meet the limit: an extrapolation of a
straight line, honest only as long as the series goes on as it did.
"""

import enum
import math
from statistics import NormalDist
from typing import Final

import msgspec
import numpy as np

from core.detection.scaling import ROUNDING, Floats, Instants, finite_rows, scaled
from core.domain.times import DAY_US

POINTS_MAX: Final = 400
"""The line is drawn through so many medians at most: all pairs of them take some milliseconds."""
POINTS_MIN: Final = 5
"""Fewer points say nothing of their own scatter."""


class ForecastParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Of `forecast`."""

    horizon_us: int = 30 * DAY_US
    """What comes later is "not within"."""
    confidence: float = 0.9
    """Of the band, in (0, 1)."""
    falling: bool = False
    """Whether the limit is a floor (free space) instead of a ceiling (used space)."""


class Outlook(enum.StrEnum):
    """What can be said of the limit."""

    UNKNOWN = "unknown"
    """Too few points, or all of one time."""
    REACHED = "reached"
    """The newest value is at the limit or past it."""
    WITHIN = "within"
    """The line meets the limit inside the horizon."""
    NOT_WITHIN = "not within"
    """The line meets the limit later."""
    NEVER = "never"
    """The line does not lead to the limit."""


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """When a limit is reached. Times are microseconds since the Unix epoch, None where not inside the horizon."""

    outlook: Outlook
    at_us: int | None = None
    earliest_us: int | None = None
    """May be known where the line itself does not lead to the limit: the band is wider than the line."""
    latest_us: int | None = None
    slope_per_day: float = 0.0
    """In the unit of the values."""
    points: int = 0
    """Independent points that the interval is worth."""


def forecast(ts_us: Instants, values: Floats, limit: float, parameters: ForecastParameters | None = None) -> Forecast:
    """When the series reaches `limit` (finite).

    `ts_us`: int64, shape (n,), microseconds since the Unix epoch; `values`: float64, shape (n,), in any order; what is
    not finite is a gap. The times are those of any series `a * values + b` with the limit `a * limit + b`, a > 0.
    """
    chosen = parameters or ForecastParameters()
    ts_us, values = finite_rows(ts_us, values)
    small, exponent = scaled(np.append(values, limit))
    if chosen.falling:
        small = -small
    small, ceiling = small[:-1], float(small[-1])
    if len(small) and small[-1] >= ceiling:
        now_us = int(ts_us[-1])
        return Forecast(outlook=Outlook.REACHED, at_us=now_us, earliest_us=now_us, latest_us=now_us)
    if len(small) < POINTS_MIN or ts_us[0] == ts_us[-1]:
        return Forecast(outlook=Outlook.UNKNOWN)
    span_us = int(ts_us[-1] - ts_us[0])
    moments, levels = _medians((ts_us - ts_us[0]) / span_us, small)
    if len(moments) < POINTS_MIN:
        return Forecast(outlook=Outlook.UNKNOWN)
    line = _line(moments, levels, chosen.confidence)
    middle, earliest, latest = (
        _met_us(centre + offset, slope, ceiling, int(ts_us[0]), span_us, chosen.horizon_us)
        for centre, offset, slope in (
            (line.centre, 0.0, line.slope),
            (line.centre, line.residual_high, line.slope_high),
            (line.centre, line.residual_low, line.slope_low),
        )
    )
    rises = line.slope > ROUNDING
    outlook = Outlook.WITHIN if middle is not None else Outlook.NOT_WITHIN if rises else Outlook.NEVER
    sign = -1.0 if chosen.falling else 1.0
    return Forecast(
        outlook=outlook,
        at_us=middle,
        earliest_us=earliest,
        latest_us=latest if middle is not None else None,
        slope_per_day=_per_day(sign * line.slope, exponent, span_us),
        points=line.independent,
    )


class _Line(msgspec.Struct, frozen=True):
    """A line over moments in [0, 1]: its level at 0.5, its slope and both ends of its interval, its residuals."""

    centre: float
    slope: float
    slope_low: float
    slope_high: float
    residual_low: float
    residual_high: float
    independent: int


def _line(moments: Floats, levels: Floats, confidence: float) -> _Line:
    before, after = np.triu_indices(len(moments), k=1)
    apart = moments[after] - moments[before]
    slopes = np.sort((levels[after] - levels[before])[apart > 0] / apart[apart > 0])
    slope = float(np.median(slopes))
    offsets = levels - slope * (moments - 0.5)
    centre = float(np.median(offsets))
    residuals = offsets - centre
    independent = _independent(residuals)
    quantile = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    # Sen (1968): the pairs of the order statistics on either side of the median, for `independent` points.
    pairs = independent * (independent - 1) / 2.0
    reach = quantile * math.sqrt(independent * (independent - 1) * (2 * independent + 5) / 18.0) / pairs
    slope_low, slope_high = np.quantile(slopes, [max(0.0, 0.5 - reach / 2.0), min(1.0, 0.5 + reach / 2.0)])
    low, high = np.quantile(residuals, [0.5 - confidence / 2.0, 0.5 + confidence / 2.0])
    return _Line(centre, slope, float(slope_low), float(slope_high), float(low), float(high), independent)


def _independent(residuals: Floats) -> int:
    """How many independent points these are worth, at least 3."""
    centred = residuals - residuals.mean()
    power = float(centred @ centred)
    if power <= ROUNDING * ROUNDING:
        return len(residuals)
    correlation = min(max(float(centred[:-1] @ centred[1:]) / power, 0.0), 1.0)
    return max(3, round(len(residuals) * (1.0 - correlation) / (1.0 + correlation)))


def _medians(moments: Floats, small: Floats) -> tuple[Floats, Floats]:
    """At most `POINTS_MAX` points: the medians of equal stretches of time where there are more."""
    if len(small) <= POINTS_MAX:
        return moments, small
    stretch = np.minimum((moments * POINTS_MAX).astype(np.int64), POINTS_MAX - 1)
    starts = np.flatnonzero(np.diff(stretch, prepend=-1))
    groups = zip(np.split(moments, starts[1:]), np.split(small, starts[1:]), strict=True)
    points = np.array([(np.median(group), np.median(levels)) for group, levels in groups])
    return points[:, 0], points[:, 1]


def _met_us(level: float, slope: float, ceiling: float, start_us: int, span_us: int, horizon_us: int) -> int | None:
    """When a line with this level at the middle of the span meets the ceiling, not before the newest row."""
    if level + 0.5 * slope >= ceiling:
        return start_us + span_us
    if slope <= ROUNDING:
        return None
    moment = 0.5 + (ceiling - level) / slope
    if (moment - 1.0) * span_us > horizon_us:
        return None
    return start_us + round(moment * span_us)


def _per_day(slope: float, exponent: int, span_us: int) -> float:
    with np.errstate(over="ignore"):
        grown = float(np.ldexp(slope * (DAY_US / span_us), exponent))
    return math.copysign(float(np.finfo(np.float64).max), grown) if math.isinf(grown) else grown
