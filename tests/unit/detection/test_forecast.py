"""When a limit is reached, with a band, and the honest no."""

import itertools
import statistics

import numpy as np
import pytest

from core.detection.forecast import POINTS_MAX, Forecast, ForecastParameters, Outlook, forecast
from core.detection.scaling import Floats, Instants
from core.domain.times import DAY_US, HOUR_US

START_US = 1_700_006_400_000_000


def hours(count: int) -> Instants:
    return START_US + HOUR_US * np.arange(count, dtype=np.int64)


def growing(count: int, per_day: float, *, scatter: float = 0.5, seed: int = 6) -> Floats:
    return 50.0 + per_day * np.arange(count) / 24.0 + np.random.default_rng(seed).normal(0.0, scatter, count)


def test_a_leak_reaches_its_limit_when_the_line_does() -> None:
    """One a day from 50, so 95 after 45 days; the band holds it."""
    found = forecast(hours(20 * 24), growing(20 * 24, 1.0), 95.0)
    wanted_us = START_US + 45 * DAY_US
    assert found.outlook is Outlook.WITHIN
    assert found.at_us == pytest.approx(wanted_us, abs=DAY_US)
    assert found.earliest_us is not None
    assert found.latest_us is not None
    assert found.earliest_us < wanted_us < found.latest_us
    assert found.latest_us - found.earliest_us < 4 * DAY_US
    assert found.slope_per_day == pytest.approx(1.0, rel=0.02)


def test_the_band_holds_the_truth_about_as_often_as_it_says() -> None:
    """At least 9 in 10 over 200 series whose neighbours depend on each other."""
    random = np.random.default_rng(7)
    held = 0
    for _ in range(200):
        steps = random.normal(0.0, 0.3, 240)
        wander = np.array(list(itertools.accumulate(steps, lambda level, step: 0.8 * level + step)))
        found = forecast(hours(240), 50.0 + np.arange(240) / 24.0 + wander, 70.0)
        truth_us = START_US + 20 * DAY_US
        held += (found.earliest_us or truth_us) <= truth_us <= (found.latest_us or truth_us)
    assert held >= 180


def test_wild_values_do_not_move_the_line() -> None:
    """A tenth of the rows at 0."""
    values = growing(480, 1.0)
    values[::10] = 0.0
    found = forecast(hours(480), values, 95.0)
    assert found.at_us == pytest.approx(START_US + 45 * DAY_US, abs=2 * DAY_US)


def test_what_comes_after_the_horizon_is_not_within() -> None:
    """An extrapolation is not stretched for ever."""
    found = forecast(hours(240), growing(240, 0.2), 95.0)
    assert (found.outlook, found.at_us) == (Outlook.NOT_WITHIN, None)
    later = forecast(hours(240), growing(240, 0.2), 95.0, ForecastParameters(horizon_us=400 * DAY_US))
    assert later.outlook is Outlook.WITHIN


@pytest.mark.parametrize("per_day", [0.0, -1.0])
def test_a_line_that_does_not_lead_there_is_never(per_day: float) -> None:
    """Flat or away."""
    values = 50.0 + per_day * np.arange(240, dtype=np.float64) / 24.0
    assert forecast(hours(240), values, 95.0).outlook is Outlook.NEVER


def test_a_floor_is_reached_from_above() -> None:
    """Free space that shrinks by one a day from 50."""
    found = forecast(hours(240), 100.0 - growing(240, 1.0), 30.0, ForecastParameters(falling=True))
    assert found.at_us == pytest.approx(START_US + 20 * DAY_US, abs=DAY_US)
    assert found.slope_per_day == pytest.approx(-1.0, rel=0.1)


def test_a_limit_that_the_newest_value_has_is_reached() -> None:
    """With one point already."""
    assert forecast(hours(1), np.array([96.0]), 95.0).outlook is Outlook.REACHED
    assert forecast(hours(1), np.array([4.0]), 5.0, ForecastParameters(falling=True)).outlook is Outlook.REACHED


@pytest.mark.parametrize("count", [0, 1, 4])
def test_too_little_is_unknown(count: int) -> None:
    """Nothing is made up."""
    assert forecast(hours(count), np.arange(count, dtype=np.float64), 95.0) == Forecast(outlook=Outlook.UNKNOWN)


def test_the_slope_is_the_median_of_all_pairs() -> None:
    """Theil and Sen, against a loop."""
    values = growing(40, 3.0, scatter=5.0)
    pairs = itertools.combinations(range(40), 2)
    wanted = statistics.median((values[after] - values[before]) / (after - before) * 24 for before, after in pairs)
    assert forecast(hours(40), values, 1e6).slope_per_day == pytest.approx(wanted)


def test_many_rows_are_medians_of_stretches() -> None:
    """The same line, in bounded time."""
    count = 50 * POINTS_MAX
    found = forecast(hours(count), growing(count, 1.0), 1e6)
    assert found.slope_per_day == pytest.approx(1.0, rel=0.01)
    assert found.points <= POINTS_MAX
