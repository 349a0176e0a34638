"""What causes are found from: shifts of a level, silence, and what metric names say."""

import math

import numpy as np
import pytest

from core.detection.level_shift import SHIFT_MAX, increments_per_s, level_shift
from core.detection.metric_meaning import MetricKind, ObservedSeries, meaning_of
from core.detection.presence import Intervals
from core.detection.service_graph import service_graph
from core.domain.times import MINUTE_US

BEFORE = 60
AT_US = BEFORE * MINUTE_US
TIMES_US = np.arange(BEFORE + 5, dtype=np.int64) * MINUTE_US
RECENT_US = 5 * MINUTE_US


def series(values: list[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """An hour that alternates between 9 and 11 (so its scale is 1.4826), then `values`."""
    return np.array([9.0, 11.0] * (BEFORE // 2) + values)


def scales(values: list[float]) -> float:
    """The shift of such a series."""
    shift = level_shift(TIMES_US, series(values), AT_US, recent_us=RECENT_US)
    assert shift is not None
    return shift.scales


def test_a_shift_is_measured_in_robust_scales() -> None:
    """The median after, from the nearer of hour and last minutes, over 1.4826 MAD."""
    assert scales([20, 20, 20, 20, 20]) == pytest.approx((20 - 11) / 1.4826)  # the last five end with 11
    assert scales([20, 20, 20, 10, 10]) == scales([20, 20, 20, 20, 20])
    assert scales([10.5] * 5) == 0  # above the hour, below the last minutes


def test_an_earlier_fault_in_the_hour_does_not_set_the_scale() -> None:
    """Five minutes of a hundred times as much hardly change it."""
    values = 10 + np.random.default_rng(1).standard_normal(65)
    values[60:] = 100
    clean = level_shift(TIMES_US, values, AT_US, recent_us=RECENT_US)
    values[20:25] = 1000
    faulty = level_shift(TIMES_US, values, AT_US, recent_us=RECENT_US)
    assert clean is not None
    assert faulty is not None
    assert faulty.scales == pytest.approx(clean.scales, rel=0.2)


def test_a_steady_series_has_a_scale_of_a_twentieth_of_its_level() -> None:
    """1 percent of a constant is no fault; ten times as much is."""
    values = np.full(65, 10.0)
    values[60:] = 10.1
    shift = level_shift(TIMES_US, values, AT_US, recent_us=RECENT_US)
    assert shift is not None
    assert shift.scales == pytest.approx(0.2)


def test_from_always_zero_to_anything_is_a_large_but_finite_shift() -> None:
    """Errors where there never were any; the unit cannot matter."""
    for value in (1e-9, 1.0, 1e9):
        values = np.zeros(65)
        values[60:] = value
        shift = level_shift(TIMES_US, values, AT_US, recent_us=RECENT_US)
        assert shift is not None
        assert shift.scales == pytest.approx(20)


def test_shifts_are_bounded() -> None:
    """Extremes of float64 give neither NaN nor infinity."""
    values = np.full(65, 1e-300)
    values[60:] = 1.7e308
    shift = level_shift(TIMES_US, values, AT_US, recent_us=RECENT_US)
    assert shift is not None
    assert shift.scales == SHIFT_MAX


def test_the_onset_is_the_first_sample_nearer_to_the_new_level() -> None:
    """Not the first after the instant."""
    shift = level_shift(TIMES_US, series([10, 10, 50, 50, 50]), AT_US, recent_us=RECENT_US)
    assert shift is not None
    assert shift.first_us == AT_US + 2 * MINUTE_US


def test_too_little_is_no_shift() -> None:
    """Two samples before have no scatter; none after is silence, not a shift."""
    assert level_shift(TIMES_US[58:], series([20.0] * 5)[58:], AT_US, recent_us=RECENT_US) is None
    assert level_shift(TIMES_US[:60], series([])[:60], AT_US, recent_us=RECENT_US) is None


def test_a_counter_is_looked_at_by_its_increments() -> None:
    """A reset begins again at zero; a repeated instant counts once."""
    ts_us = np.array([0, 60, 60, 120, 180], np.int64) * 1_000_000
    got_us, rates = increments_per_s(ts_us, np.array([100.0, 160, 160, 30, 90]))
    assert got_us.tolist() == [60_000_000, 120_000_000, 180_000_000]
    assert rates.tolist() == [1.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("http_server_request_duration_seconds", MetricKind.LATENCY),
        ("TargetResponseTime", MetricKind.LATENCY),
        ("http_requests_failed_total", MetricKind.ERRORS),
        ("HTTPCode_Target_5XX_Count", MetricKind.ERRORS),
        ("http.server.5xx", MetricKind.ERRORS),
        ("success_percent", MetricKind.ERRORS),
        ("http_requests_total", MetricKind.TRAFFIC),
        ("network_receive_bytes", MetricKind.TRAFFIC),
        ("cpu_usage_percent", MetricKind.RESOURCE),
        ("memory_available_bytes", MetricKind.RESOURCE),
        ("", MetricKind.RESOURCE),
    ],
)
def test_what_a_name_says(name: str, kind: MetricKind) -> None:
    """By the words of the field, however they are joined."""
    assert meaning_of(name).kind is kind


def test_less_may_be_worse() -> None:
    """Free memory and success; not free requests."""
    assert meaning_of("memory_available_bytes").less_is_worse
    assert meaning_of("success_percent").less_is_worse
    assert not meaning_of("memory_used_bytes").less_is_worse


def test_silence_is_judged_by_how_regular_it_was() -> None:
    """A series that often misses intervals is no news when it misses some."""
    steady = ObservedSeries("a", {"service": "a"}, TIMES_US, np.ones(65))
    lost = ObservedSeries("a", {"service": "b"}, TIMES_US[:60], np.ones(60))
    seldom = ObservedSeries("a", {"service": "c"}, TIMES_US[:60:3], np.ones(20))
    intervals = Intervals([steady, lost, seldom], AT_US)
    assert intervals.length_us == MINUTE_US
    assert intervals.silence([[steady]])[0] < 1
    share = 61 / 62
    surprise = 5 * share / math.sqrt(5 * share * (1 - share))
    found, since_us = intervals.silence([[lost]])
    assert found == pytest.approx(surprise)
    assert since_us == AT_US
    assert intervals.silence([[seldom]])[0] == 0


def test_a_graph_has_each_call_once_and_none_to_oneself() -> None:
    """Repeated edges and loops change nothing."""
    graph = service_graph([("a", "b"), ("a", "b"), ("b", "b")], ["c"])
    assert graph.services == ("a", "b", "c")
    assert graph.callees_of("a") == ("b",)
    assert graph.callers_of("b") == ("a",)
    assert graph.callees_of("b") == ()
