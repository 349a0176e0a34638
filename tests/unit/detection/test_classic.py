"""The classic three, against Python's own statistics and on what they must and must not find."""

import statistics

import numpy as np
import pytest

from core.detection.classic import (
    Classic,
    SpikeParameters,
    TrendParameters,
    VarianceParameters,
    classic_three,
    spikes,
    trend,
    variance_escalation,
)
from core.detection.scaling import Floats, Instants
from core.domain.times import HOUR_US, MINUTE_US

START_US = 1_700_006_400_000_000
"""Midnight UTC, so that 4-hour windows start with the data."""


def every(count: int, step_us: int = 5 * MINUTE_US) -> Instants:
    return START_US + step_us * np.arange(count, dtype=np.int64)


def swings(*sizes: float, rows: int = 48) -> Floats:
    """For each size, as many rows as 4 hours have, between 50 minus and 50 plus it."""
    return np.concatenate([50.0 + size * np.where(np.arange(rows) % 2, 1.0, -1.0) for size in sizes])


def test_variance_is_that_of_the_last_window_against_the_first() -> None:
    """And the finding is worded with the ratio."""
    values = swings(1.0, 9.0, 2.0)
    found = variance_escalation(every(len(values)), values)
    assert found is not None
    ratio = statistics.variance(values[-48:].tolist()) / statistics.variance(values[:48].tolist())
    assert (found.observed / found.baseline) ** 2 == pytest.approx(ratio) == pytest.approx(4.0)
    assert found.text("host-stressed:cpu") == "host-stressed:cpu variance escalated 4.00x (risk 1.00)"
    assert (found.detector, found.count) == (Classic.VARIANCE, 3)


@pytest.mark.parametrize(("last", "risk"), [(1.0, None), (1.2, None), (1.23, 0.256), (1.5, 0.625), (9.0, 1.0)])
def test_variance_is_reported_above_half_as_much_again(last: float, risk: float | None) -> None:
    """1.2 squared is 1.44, 1.23 squared 1.51; a risk of 1 is three times the variance."""
    values = swings(1.0, last)
    found = variance_escalation(every(len(values)), values)
    assert (None if found is None else round(found.risk, 3)) == risk


def test_variance_after_none_has_the_risk_1() -> None:
    """There is no ratio to name."""
    values = swings(0.0, 1.0)
    found = variance_escalation(every(len(values)), values)
    assert found is not None
    assert found.text("a") == "a variance escalated from none (risk 1.00)"


def test_a_window_cut_off_by_the_end_is_left_out() -> None:
    """Two wild rows in a window of 48 say nothing of it."""
    values = np.concatenate([swings(1.0, 1.0), [0.0, 100.0]])
    assert variance_escalation(every(len(values)), values) is None
    parameters = VarianceParameters(fill_min=0.0)
    assert variance_escalation(every(len(values)), values, parameters) is not None


def test_spikes_are_above_the_mean_by_two_and_a_half_deviations() -> None:
    """Counted against an oracle; half of the risk is how many, half how high."""
    values = np.random.default_rng(1).normal(20.0, 2.0, 500)
    values[::50] = 60.0
    found = spikes(every(500), values)
    limit = statistics.fmean(values) + 2.5 * statistics.stdev(values)
    assert found is not None
    assert found.count == sum(value > limit for value in values) == 10
    height = (60.0 - statistics.fmean(values)) / statistics.stdev(values)
    assert found.risk == pytest.approx(0.5 * (10 / 500 / 0.05) + 0.5 * min(1.0, height / 5.0))
    assert found.phrase == "spiked 10 times up to 60"


def test_spikes_may_be_measured_against_the_beginning_alone() -> None:
    """Where the first part is known to be healthy."""
    values = np.concatenate([np.tile([9.0, 11.0], 50), np.tile([9.0, 14.0], 50)])
    assert spikes(every(200), values) is None
    found = spikes(every(200), values, SpikeParameters(baseline_share=0.5))
    assert found is not None
    assert (found.count, found.baseline) == (50, 10.0)


def test_a_trend_is_the_lines_end_against_its_start() -> None:
    """Against Python's own regression; doubling has the risk 1."""
    values = 40.0 + np.linspace(0.0, 20.0, 300) + np.random.default_rng(2).normal(0.0, 1.0, 300)
    found = trend(every(300), values)
    line = statistics.linear_regression(range(300), values.tolist())
    assert found is not None
    assert found.baseline == pytest.approx(line.intercept)
    assert found.observed == pytest.approx(line.intercept + 299 * line.slope)
    assert found.risk == pytest.approx(299 * line.slope / line.intercept)
    assert found.text("h:memory") == "h:memory rose 49% (risk 0.49)"


@pytest.mark.parametrize(("end", "found"), [(129.0, False), (131.0, True), (60.0, False)])
def test_a_trend_is_reported_above_30_percent(end: float, found: bool) -> None:
    """Falling ones are not reported."""
    assert (trend(every(50), np.linspace(100.0, end, 50)) is not None) is found


def test_a_trend_from_nothing_has_the_risk_1() -> None:
    """No percentage can be named."""
    found = trend(every(50), np.linspace(0.0, 5.0, 50))
    assert found is not None
    assert found.text("a") == "a rose from 0 (risk 1.00)"


def chance(number: int, rows: int = 2_880) -> np.random.Generator:
    return np.random.default_rng([number, rows])


def test_noise_is_no_trend_where_its_error_counts() -> None:
    """Around 0 a line may rise by any multiple of its start; walks at random seem to rise, too."""
    asked = TrendParameters(errors_min=4.0)
    noise = [chance(number).normal(0.0, 1.0, 2_880) for number in range(100)]
    times = every(2_880, MINUTE_US)
    assert sum(trend(times, one) is not None for one in noise) > 30
    assert not any(trend(times, one, asked) for one in noise)
    walks = [100.0 + np.cumsum(one) for one in noise]
    found = [sum(trend(times, one, chosen) is not None for one in walks) for chosen in (asked, TrendParameters())]
    assert found[0] < 10 < found[1]


def test_a_line_in_noise_is_a_trend() -> None:
    """A leak in noise, a staircase, and a line without any noise, whose error is 0."""
    asked = TrendParameters(errors_min=4.0)
    times = every(2_880, MINUTE_US)
    line = np.linspace(40.0, 60.0, 2_880)
    for values in (line, line + chance(0).normal(0.0, 10.0, 2_880), line - line % 5.0):
        assert trend(times, values, asked) is not None


def test_rare_large_values_are_no_escalation_where_its_error_counts() -> None:
    """One value makes the variance of a window; of a plain escalation nothing is lost."""
    asked = VarianceParameters(errors_min=3.0)
    times = every(2_880, MINUTE_US)
    heavy = [chance(number).pareto(2.0, 2_880) for number in range(100)]
    few = sum(variance_escalation(times, one, asked) is not None for one in heavy)
    assert few < 8 < sum(variance_escalation(times, one) is not None for one in heavy)
    counts = np.zeros(2_880)
    counts[-10] = 1.0
    assert variance_escalation(times, counts) is not None
    assert variance_escalation(times, counts, asked) is None
    assert variance_escalation(every(144), swings(1.0, 1.0, 2.0), asked) is not None
    assert variance_escalation(every(144), swings(0.0, 1.0, 2.0), asked) is not None


def test_the_findings_of_all_three_come_highest_risk_first() -> None:
    """A series that has everything wrong."""
    values = swings(1.0, 2.0, 4.0, 8.0) + np.linspace(0.0, 30.0, 192)
    values[150] = 200.0
    found = classic_three(every(192), values)
    assert {finding.detector for finding in found} == set(Classic)
    assert [finding.risk for finding in found] == sorted((finding.risk for finding in found), reverse=True)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_little_is_no_finding(count: int) -> None:
    """Empty, one point, two points."""
    assert classic_three(every(count, HOUR_US * 4), np.arange(count, dtype=np.float64)) == []


def test_all_rows_at_one_instant_have_no_trend() -> None:
    """Nothing is divided by a span of 0."""
    assert trend(np.full(10, START_US, np.int64), np.arange(10.0), TrendParameters(increase_min=0.0)) is None


def test_shapes_must_agree() -> None:
    """A caller's bug is told."""
    with pytest.raises(ValueError, match="shape"):
        spikes(every(3), np.zeros(4))
