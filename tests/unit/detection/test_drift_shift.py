"""A workload against its own past: what drifts is found, what only varies is not."""

from datetime import UTC, datetime

import numpy as np
import pytest

from core.detection.drift_findings import Subject
from core.detection.drift_shift import (
    CPU_SHIFT,
    DAY_BUCKETS,
    ERROR_SHIFT,
    LATENCY_SHIFT,
    can_compare,
    confidence_of,
    shift_of,
    shifted,
)
from core.domain.columns import Float64s
from core.domain.drift import DetectionMethod, DriftCategory, DriftSeverity

BUCKETS = 8 * DAY_BUCKETS + 1
NEWEST = BUCKETS - 1
DAYS = np.arange(BUCKETS) / DAY_BUCKETS
RNG = np.random.default_rng(5)
START = datetime(2026, 1, 31, 10, tzinfo=UTC)
CHECKOUT = Subject(cluster_id="prod", namespace="shop", workload="checkout")


def jitter(share: float = 0.03) -> Float64s:
    """Noise around 1."""
    return 1.0 + share * RNG.standard_normal(BUCKETS)


def risen(values: Float64s, times: float, buckets: int = 4) -> Float64s:
    """The same, but of late so many times as much."""
    return np.where(np.arange(BUCKETS) > NEWEST - buckets, values * times, values)


def rise_of(values: Float64s, rise_min: float = 1e-6) -> float | None:
    """By how much it is found to have risen, where that is drift."""
    assert can_compare(values, NEWEST)
    shift = shift_of(values, NEWEST, rise_min)
    return None if shift is None else shift.rise


@pytest.mark.parametrize(
    "values",
    [
        np.full(BUCKETS, 3.0),
        np.zeros(BUCKETS),
        1.0 + 0.9 * np.sin(2 * np.pi * DAYS),
        np.where((DAYS % 1.0) > 0.9, 50.0, 1.0),
        risen(np.full(BUCKETS, 1.0), 1.2),
        risen(np.full(BUCKETS, 1.0), 0.01),
        risen(1.0 + 0.5 * RNG.uniform(size=BUCKETS), 1.3),
    ],
    ids=["constant", "nothing", "daily wave", "nightly job", "a little more", "less", "noise, a little more"],
)
def test_what_only_varies_is_no_drift(values: Float64s) -> None:
    """Constants, seasons, and changes that requests and autoscalers have room for."""
    assert rise_of(values) is None


def test_noise_alone_is_hardly_ever_drift() -> None:
    """Of two thousand workloads whose use scatters by half and by factors, and whose days differ, three at most."""
    alarms = 0
    for _ in range(500):
        days = np.repeat(RNG.lognormal(0.0, 0.25, 9), DAY_BUCKETS)[:BUCKETS]
        for values in (
            np.abs(1.0 + 0.5 * RNG.standard_normal(BUCKETS)),
            RNG.lognormal(0.0, 1.0, BUCKETS),
            RNG.gamma(1.0, 1.0, BUCKETS),
            days * jitter(0.2),
        ):
            alarms += rise_of(values) is not None
    assert alarms <= 3


def test_a_week_is_compared_with_itself() -> None:
    """A load of every seventh day is what that day is like; the same load on another day is drift."""
    weekly = np.ones(BUCKETS)
    at_night = slice(NEWEST - 5, NEWEST + 1)
    weekly[at_night] = 4.0
    assert rise_of(weekly * jitter()) == pytest.approx(3.0, rel=0.1)
    weekly[NEWEST - 5 - 7 * DAY_BUCKETS : NEWEST + 3 - 7 * DAY_BUCKETS] = 4.0
    assert rise_of(weekly * jitter()) is None


@pytest.mark.parametrize("times", [1.5, 2.0, 40.0])
def test_a_step_is_found_by_its_height(times: float) -> None:
    """Against the same time of day, whatever the season."""
    wave = (2.0 + np.sin(2 * np.pi * DAYS)) * jitter()
    assert rise_of(risen(wave, times)) == pytest.approx(times - 1.0, rel=0.1)


def test_a_step_lasts_for_days() -> None:
    """It stays drift until more than half of the baseline is like it."""
    values = np.ones(BUCKETS) * jitter()
    assert rise_of(risen(values, 2.0, buckets=2 * DAY_BUCKETS)) == pytest.approx(1.0, rel=0.1)
    assert rise_of(risen(values, 2.0, buckets=5 * DAY_BUCKETS)) is None


def test_slow_growth_is_found_though_it_scatters_its_own_baseline() -> None:
    """A tenth more every day, of a series with noise, and with a season on top."""
    growth = 1.1**DAYS
    expected = pytest.approx(1.1**4 - 1.0, rel=0.2)
    assert rise_of(growth * jitter()) == expected
    assert rise_of(growth * jitter() * (2.0 + np.sin(2 * np.pi * DAYS))) == expected
    assert rise_of(1.01**DAYS * jitter()) is None


@pytest.mark.parametrize(
    ("kept", "can"),
    [
        (slice(NEWEST - 1, None), False),
        (slice(NEWEST - 4, None), False),
        (slice(NEWEST - DAY_BUCKETS, None), False),
        (slice(NEWEST - DAY_BUCKETS - 3, None), True),
        (slice(None, NEWEST - 5), False),
        (slice(None, None, 2), True),
    ],
    ids=["an hour", "two hours", "three of the baseline", "a day and two hours", "nothing of late", "by the hour"],
)
def test_a_handful_of_samples_is_not_compared(kept: slice, can: bool) -> None:
    """Two hours of today and four half hours of another day are the least."""
    values = np.full(BUCKETS, np.nan)
    values[kept] = 1.0
    assert can_compare(values, NEWEST) is can


def test_a_change_that_matters_to_nobody_is_no_drift() -> None:
    """Ten times next to nothing is still next to nothing."""
    assert rise_of(risen(np.full(BUCKETS, 0.001), 10.0), LATENCY_SHIFT.rise_min) is None
    assert rise_of(risen(np.full(BUCKETS, 0.01), 3.1), LATENCY_SHIFT.rise_min) == pytest.approx(2.1)
    from_nothing = np.zeros(BUCKETS)
    from_nothing[NEWEST - 3 :] = 0.05
    drift = shifted(CHECKOUT, ERROR_SHIFT, from_nothing, NEWEST, START)
    assert drift is not None
    assert "is 5 % over the last 2 h, far more than the 0 %" in (drift.drift.message or "")
    assert drift.drift.drift_category is DriftCategory.ERROR_DRIFT


def test_written_down_with_numbers_and_units() -> None:
    """Key, severity, message and evidence of what was found."""
    drift = shifted(CHECKOUT, CPU_SHIFT, risen(np.full(BUCKETS, 0.4), 1.5), NEWEST, START)
    assert drift is not None
    assert (drift.key, drift.drift.evidence["key"]) == ("cpu-shift/shop/checkout",) * 2
    assert drift.drift.severity is DriftSeverity.MAJOR
    assert drift.drift.detection_method is DetectionMethod.ANOMALY
    assert drift.drift.message == (
        "cpu of checkout in shop is 0.6 cores over the last 2 h, 50 % more than the 0.4 cores at this time of the "
        "7 days before"
    )
    assert (drift.drift.start_ts, drift.recommendation) == (START, None)
    worse = shifted(CHECKOUT, CPU_SHIFT, risen(np.full(BUCKETS, 0.4), 2.0), NEWEST, START)
    assert worse is not None
    assert worse.drift.severity is DriftSeverity.CRITICAL
    assert worse.drift.confidence_score > drift.drift.confidence_score


def test_confidence() -> None:
    """From a half on, and never certain."""
    assert [confidence_of(z) for z in (6.0, 30.0, 1e9)] == [0.5, 0.9, 0.99]
