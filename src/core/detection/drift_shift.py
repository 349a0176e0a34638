"""Drift of a workload against its own past: far from what it did at this time of day before.

Theory of operation. The median of the recent buckets is compared with the median of the baseline: the same time of day,
an hour more on either side, of the seven days before. A daily season is thereby compared with itself, and a weekly one
by asking that the same time a week ago, where it is known, was not like this too. The scatter of the baseline is its
median absolute deviation (times 1.4826 that of a normal distribution's standard deviation) from what is usual at each
time of day, but never less than a part of the level, or a constant series would alarm at the first crumb. A baseline
that grows day by day scatters by that growth alone, which would hide exactly the slow drift that is looked for: where
the growth itself explains the change, the scatter is that about a robust line (Theil 1950, Sen 1968).
"""

import math
from datetime import datetime
from typing import Final

import msgspec
import numpy as np

from core.detection.drift_findings import (
    RECENT_BUCKETS,
    RECENT_HOURS,
    STEP_US,
    Subject,
    bytes_text,
    cores_text,
    found_drift,
    lasts,
    recent_buckets,
    seconds_text,
    share_text,
)
from core.domain.columns import Float64s, Int64s
from core.domain.drift import DetectionMethod, DriftCategory, DriftSeverity, FoundDrift
from core.domain.times import DAY_US, HOUR_US

DAY_BUCKETS: Final = DAY_US // STEP_US
DAYS: Final = 7
"""Of baseline: a whole week, so that the same weekday is among them."""
AROUND_BUCKETS: Final = HOUR_US // STEP_US
"""What a day's users do they do an hour earlier or later on another."""
TIMES_SHOWN_MAX: Final = 10.0
"""A percentage of next to nothing says nothing."""
NORMAL_SCALE: Final = 1.4826


class ShiftParameters(msgspec.Struct, frozen=True, kw_only=True):
    """How far is far."""

    z_min: float = 6.0
    """Of four half hours' median: with three, one workload in some hundred would alarm by chance every day."""
    week_share_min: float = 0.5
    """Of the change, against the same time a week ago: what is left of less is what this weekday is like."""
    season_share_min: float = 0.25
    """Of the change, against the most that is usual an hour more or less: a job may begin later than it does."""
    rise_major: float = 0.3
    """Requests and autoscalers leave about that much room; below it nobody would act."""
    rise_critical: float = 1.0
    """Twice of what it was."""
    scatter_share_min: float = 0.02
    """Of the level: a steadier series than that is steady because its users are."""
    baseline_buckets_min: int = 4
    """Fewer say nothing of their own scatter. One day of half hours has eight."""
    season_days_min: int = 5
    """Of fewer days a time of day's median is nearly each of them, and nothing would be left of their scatter."""
    line_days_min: int = 5
    """Of fewer days almost any can be joined by a line."""
    line_share_min: float = 0.5
    """How much of the change the line must explain."""


class ShiftRule(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared of one metric."""

    what: str
    """In keys."""
    noun: str
    category: DriftCategory
    rise_min: float
    """In the metric's unit: a smaller change matters to nobody, however many times the past it is."""
    unit: str
    """`cores`, `bytes`, `seconds` or `ratio`."""


CPU_SHIFT: Final = ShiftRule(
    what="cpu-shift", noun="cpu", category=DriftCategory.CPU_MEMORY_DRIFT, rise_min=0.05, unit="cores"
)
MEMORY_SHIFT: Final = ShiftRule(
    what="memory-shift", noun="memory", category=DriftCategory.CPU_MEMORY_DRIFT, rise_min=float(32 << 20), unit="bytes"
)
LATENCY_SHIFT: Final = ShiftRule(
    what="latency-shift",
    noun="95th percentile of latency",
    category=DriftCategory.LATENCY_DRIFT,
    rise_min=0.02,
    unit="seconds",
)
ERROR_SHIFT: Final = ShiftRule(
    what="error-shift", noun="share of errors", category=DriftCategory.ERROR_DRIFT, rise_min=0.02, unit="ratio"
)
PARAMETERS: Final = ShiftParameters()
_TEXTS: Final = {"cores": cores_text, "bytes": bytes_text, "seconds": seconds_text, "ratio": share_text}


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """How far the recent level is from the baseline's."""

    recent: float
    baseline: float
    scatter: float
    z: float
    days: int
    """Of baseline."""

    @property
    def rise(self) -> float:
        """Part of the baseline."""
        return (self.recent - self.baseline) / self.baseline if self.baseline > 0.0 else math.inf


def can_compare(values: Float64s, newest: int, parameters: ShiftParameters = PARAMETERS) -> bool:
    """Whether there is enough of both sides; arguments as of `shift_of`."""
    there = ~np.isnan(values)
    baseline = there[_baseline_buckets(newest)[0]]
    return lasts(there[recent_buckets(newest)]) and int(baseline.sum()) >= parameters.baseline_buckets_min


def shift_of(values: Float64s, newest: int, rise_min: float, parameters: ShiftParameters = PARAMETERS) -> Shift | None:
    """How far a series rose above its baseline; None where it did not, or not far enough to matter.

    `values`: float64, shape (n,), buckets of `STEP_US`, not negative, NaN where there is none; `newest` the index of
    the newest bucket, from which recent ones and the baseline are counted; `rise_min` more than 0. See `can_compare`.
    """
    buckets, days_ago = _baseline_buckets(newest)
    known = ~np.isnan(values[buckets])
    buckets, days_ago = buckets[known], days_ago[known]
    levels = values[buckets]
    recent, baseline = float(np.nanmedian(values[recent_buckets(newest)])), float(np.median(levels))
    change = recent - baseline
    if change < rise_min or change < parameters.rise_major * baseline:
        return None
    a_week_ago = levels[days_ago == DAYS]
    if len(a_week_ago) and recent - float(np.median(a_week_ago)) < parameters.week_share_min * change:
        return None
    if len(np.unique(days_ago)) >= parameters.season_days_min:
        usual = _usual(levels, buckets % DAY_BUCKETS)
        if recent - float(usual.max()) < parameters.season_share_min * change:
            return None
        levels = levels - usual + np.median(levels)
    least = max(parameters.scatter_share_min * baseline, rise_min / (2.0 * parameters.z_min))
    scatter = max(_scatter(levels), least)
    if change < parameters.z_min * scatter:
        scatter = max(_scatter_about_line(levels, days_ago, recent, baseline, parameters), least)
    z = change / scatter
    days = len(np.unique(days_ago))
    return Shift(recent=recent, baseline=baseline, scatter=scatter, z=z, days=days) if z >= parameters.z_min else None


def shifted(
    subject: Subject,
    rule: ShiftRule,
    values: Float64s,
    newest: int,
    start: datetime,
    parameters: ShiftParameters = PARAMETERS,
) -> FoundDrift | None:
    """The drift of one metric of a workload, if it is one; see `shift_of`."""
    shift = shift_of(values, newest, rule.rise_min, parameters)
    if shift is None:
        return None
    text = _TEXTS[rule.unit]
    rise = f", {share_text(shift.rise)} more than" if shift.rise < TIMES_SHOWN_MAX else ", far more than"
    return found_drift(
        subject,
        rule.what,
        category=rule.category,
        severity=DriftSeverity.CRITICAL if shift.rise >= parameters.rise_critical else DriftSeverity.MAJOR,
        method=DetectionMethod.ANOMALY,
        confidence=confidence_of(shift.z),
        message=(
            f"{rule.noun} of {subject} is {text(shift.recent)} over the last {RECENT_HOURS} h{rise} the "
            f"{text(shift.baseline)} at this time of the {shift.days} day{'' if shift.days == 1 else 's'} before"
        ),
        start=start,
        evidence={
            "metric": rule.noun,
            "unit": rule.unit,
            "observed": shift.recent,
            "expected": shift.baseline,
            "scatter": shift.scatter,
            "z": min(shift.z, 1e6),
            "baseline_days": shift.days,
        },
    )


def confidence_of(z: float) -> float:
    """From 0.5 at z = 6 towards, and at most, 0.99."""
    return min(max(1.0 - 3.0 / z, 0.5), 0.99)


def _baseline_buckets(newest: int) -> tuple[Int64s, Int64s]:
    """Indices of the baseline's buckets, and how many days ago each was."""
    first, last = newest - RECENT_BUCKETS + 1 - AROUND_BUCKETS, newest + AROUND_BUCKETS
    buckets = np.concatenate([np.arange(first, last + 1) - day * DAY_BUCKETS for day in range(1, DAYS + 1)])
    days_ago = np.repeat(np.arange(1, DAYS + 1), last + 1 - first)
    return buckets[buckets >= 0], days_ago[buckets >= 0]


def _usual(levels: Float64s, times: Int64s) -> Float64s:
    """The median of each level's time of day, as long as they are."""
    _, slots = np.unique(times, return_inverse=True)
    usual = np.array([float(np.median(levels[slots == slot])) for slot in range(int(slots.max()) + 1)])
    return usual[slots]


def _scatter(values: Float64s) -> float:
    return NORMAL_SCALE * float(np.median(np.abs(values - np.median(values))))


def _scatter_about_line(
    levels: Float64s, days_ago: Int64s, recent: float, baseline: float, parameters: ShiftParameters
) -> float:
    """Infinite where no line explains how the recent level came about."""
    if len(np.unique(days_ago)) < parameters.line_days_min:
        return np.inf
    before, after = np.triu_indices(len(levels), k=1)
    apart = days_ago[before] - days_ago[after]
    slope = float(np.median((levels[after] - levels[before])[apart != 0] / apart[apart != 0]))
    at_present = levels + slope * days_ago
    explained = float(np.median(at_present)) - baseline
    return _scatter(at_present) if explained >= parameters.line_share_min * (recent - baseline) else np.inf
