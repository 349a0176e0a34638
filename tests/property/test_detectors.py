"""The detectors on any series: what must not matter does not, nothing is NaN, nothing looks ahead; slow oracles."""

import math
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.detection.classic import Finding, classic_three, spikes, trend, variance_escalation
from core.detection.forecast import ForecastParameters, Outlook, forecast
from core.detection.scaling import Floats, Instants
from core.detection.streaming import (
    ALERT_RISK,
    REFRACTORY_FACTOR,
    ROUNDING,
    StreamingDetector,
    StreamingParameters,
)
from core.detection.streaming_alert import Alert
from core.domain.times import DAY_US, HOUR_US

START_US = 1_700_006_400_000_000
QUICK = StreamingParameters(
    block_rows=3,
    block_span_us=0,
    memory_blocks=12,
    window_blocks=2,
    warm_up_blocks=2,
    window_warm_up_blocks=4,
    refractory_blocks=1,
)
"""Small blocks, so that a hundred rows take every path."""
THOROUGH = settings(deadline=None)
"""An example is a hundred rows and more; how long that takes on a busy machine is no claim of these tests."""
FINITE = st.floats(allow_nan=False, allow_infinity=False)
EXTREME = st.sampled_from([0.0, -0.0, 1e300, -1e300, 1.7e308, -1.7e308, 1e-300, -1e-300, 5e-324, 1.0])
STEPS_US = st.sampled_from([0, 1, 1_000_000, 300_000_000, HOUR_US, DAY_US, 40 * DAY_US])


@st.composite
def series(draw: st.DrawFn, values: st.SearchStrategy[float]) -> tuple[Instants, Floats]:
    """Irregular times with gaps and repeats, and values."""
    levels = draw(st.lists(values, max_size=120))
    steps = draw(st.lists(STEPS_US, min_size=len(levels), max_size=len(levels)))
    return START_US + np.cumsum(np.array(steps, np.int64), dtype=np.int64), np.array(levels, np.float64)


def risks_of(ts_us: Instants, values: Floats, parameters: StreamingParameters = QUICK) -> list[float]:
    detector = StreamingDetector(parameters)
    return [detector.update(at, value) for at, value in zip(ts_us.tolist(), values.tolist(), strict=True)]


def alerts_of(ts_us: Instants, values: Floats) -> list[Alert]:
    detector = StreamingDetector(QUICK)
    found = []
    for at, value in zip(ts_us.tolist(), values.tolist(), strict=True):
        detector.update(at, value)
        if detector.alert is not None:
            found.append(detector.alert)
    return found


def numbers(finding: Finding) -> list[float]:
    return [finding.risk, finding.baseline, finding.observed]


@THOROUGH
@given(series(FINITE | EXTREME))
def test_risks_are_in_0_to_1_and_alerts_are_finite(rows: tuple[Instants, Floats]) -> None:
    """For every series of finite floats, the largest and smallest included."""
    ts_us, values = rows
    assert all(0.0 <= risk <= 1.0 for risk in risks_of(ts_us, values))
    for alert in alerts_of(ts_us, values):
        assert ALERT_RISK <= alert.risk <= 1.0
        assert max(alert.risks.values()) == alert.risk == alert.risks[alert.component]
        assert all(map(math.isfinite, (alert.value, alert.statistic, alert.usual_low, alert.usual_high)))
        assert alert.window.end_us == alert.ts_us + 1
        assert alert.window.start_us <= alert.ts_us
        assert "nan" not in alert.text("a")


@THOROUGH
@given(series(FINITE | EXTREME), st.integers(0, 120))
def test_the_streaming_detector_never_looks_ahead(rows: tuple[Instants, Floats], count: int) -> None:
    """The risks of the first rows are the same without the rest, and whatever the rest is."""
    ts_us, values = rows
    every = risks_of(ts_us, values)
    assert risks_of(ts_us[:count], values[:count]) == every[:count]
    other = np.concatenate([values[:count], -values[count:][::-1]])
    assert risks_of(ts_us, other)[:count] == every[:count]


@THOROUGH
@given(series(st.integers(-1000, 1000).map(float)), st.sampled_from([0.125, 4.0, 2.0**60, 2.0**-60]), st.booleans())
def test_the_unit_and_the_sign_do_not_matter(rows: tuple[Instants, Floats], factor: float, turned: bool) -> None:
    """Powers of two change no rounding, so the risks are the same to the last bit."""
    ts_us, values = rows
    assert risks_of(ts_us, values * (-factor if turned else factor)) == risks_of(ts_us, values)


@THOROUGH
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_scale_and_zero_do_not_matter(seed: int, factor: float, offset: float) -> None:
    """Affine invariance up to rounding, where no risk is so near the threshold that rounding decides."""
    values = np.random.default_rng(seed).standard_t(2.0, 300)
    ts_us = START_US + 300_000_000 * np.arange(300, dtype=np.int64)
    plain = risks_of(ts_us, values)
    if any(abs(risk - ALERT_RISK) < 1e-3 for risk in plain):
        return
    assert risks_of(ts_us, factor * (values + offset)) == pytest.approx(plain, abs=1e-3)


@THOROUGH
@given(series(st.integers(-5, 5).map(float)), st.integers(-100, 100))
def test_whole_weeks_do_not_matter(rows: tuple[Instants, Floats], weeks: int) -> None:
    """Only the hour of the day and of the week does."""
    ts_us, values = rows
    assert risks_of(ts_us + weeks * 7 * DAY_US, values) == risks_of(ts_us, values)


@THOROUGH
@given(EXTREME | FINITE, st.integers(0, 200), st.lists(STEPS_US, min_size=200, max_size=200))
def test_a_constant_series_has_no_risk_and_no_finding(value: float, count: int, steps: list[int]) -> None:
    """Empty, one point, all equal; at any times."""
    ts_us = START_US + np.cumsum(np.array(steps[:count], np.int64), dtype=np.int64)
    values = np.full(count, value)
    assert risks_of(ts_us, values) == pytest.approx([0.0] * count, abs=1e-6)
    assert classic_three(ts_us, values) == []


@THOROUGH
@given(series(FINITE | EXTREME | st.just(math.nan) | st.just(math.inf)))
def test_findings_are_finite(rows: tuple[Instants, Floats]) -> None:
    """The classic three and the forecast, for any floats and gaps."""
    ts_us, values = rows
    for finding in classic_three(ts_us, values):
        assert all(map(math.isfinite, numbers(finding)))
        assert 0.0 < finding.risk <= 1.0
        assert "nan" not in finding.text("a")
    for falling in (False, True):
        found = forecast(ts_us, values, 1e300, ForecastParameters(falling=falling))
        assert math.isfinite(found.slope_per_day)
        moments = [at for at in (found.earliest_us, found.at_us, found.latest_us) if at is not None]
        assert all(before <= after for before, after in pairwise(moments))
        assert (found.at_us is not None) == (found.outlook in (Outlook.WITHIN, Outlook.REACHED))


@THOROUGH
@given(series(FINITE), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter_to_the_classic_three(
    rows: tuple[Instants, Floats], shuffler: random.Random
) -> None:
    """They sort by time; equal times are left out here, whose order is theirs to keep."""
    ts_us, values = rows
    ts_us = ts_us + np.arange(len(ts_us))
    order = list(range(len(ts_us)))
    shuffler.shuffle(order)
    assert classic_three(ts_us[order], values[order]) == classic_three(ts_us, values)


@THOROUGH
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_what_may_be_scaled_and_shifted_may(seed: int, factor: float, shift: float) -> None:
    """Variance and spikes of a * values + b, a > 0; the trend's start moves with b, so it is scaled only."""
    values = np.random.default_rng(seed).normal(50.0, 1.0, 600) * np.linspace(1.0, 3.0, 600)
    ts_us = START_US + 300_000_000 * np.arange(600, dtype=np.int64)
    for detector, moved in ((variance_escalation, shift), (spikes, shift), (trend, 0.0)):
        plain, other = detector(ts_us, values), detector(ts_us, factor * values + moved)
        assert (plain is None) == (other is None)
        if plain is not None and other is not None:
            assert other.risk == pytest.approx(plain.risk, rel=1e-6)
            assert other.count == plain.count


@THOROUGH
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_a_forecast_may_be_scaled_and_shifted_with_its_limit(seed: int, factor: float, shift: float) -> None:
    """The times are the same to a second."""
    values = np.random.default_rng(seed).normal(0.0, 1.0, 100) + np.linspace(0.0, 10.0, 100)
    ts_us = START_US + HOUR_US * np.arange(100, dtype=np.int64)
    plain = forecast(ts_us, values, 20.0)
    other = forecast(ts_us, factor * values + shift, factor * 20.0 + shift)
    assert other.outlook == plain.outlook
    for name in ("at_us", "earliest_us", "latest_us"):
        assert getattr(other, name) == pytest.approx(getattr(plain, name), abs=1_000_000)


@THOROUGH
@given(st.lists(st.integers(-8, 8).map(float), max_size=150))
def test_the_range_against_an_oracle_that_keeps_every_row(levels: list[float]) -> None:
    """Within a day no hour comes back and the windows are not yet warm: only the range may speak."""
    parameters = StreamingParameters(
        block_rows=3, block_span_us=0, memory_blocks=60, window_blocks=2, warm_up_blocks=4, window_warm_up_blocks=58
    )
    ts_us = START_US + 1_000_000 * np.arange(len(levels), dtype=np.int64)
    assert risks_of(ts_us, np.array(levels), parameters) == pytest.approx(oracle(levels), abs=1e-12)


def oracle(levels: list[float]) -> list[float]:
    risks: list[float] = []
    alerted = -math.inf
    for row, value in enumerate(levels):
        blocks = [levels[at : at + 3] for at in range(0, row - row % 3, 3)]
        risk = 0.0
        if len(blocks) >= 4:
            high, low = sorted(map(max, blocks))[-2], sorted(map(min, blocks))[1]
            magnitude = max(abs(level) for block in blocks for level in block)
            unit = 0.05 * (high - low) + ROUNDING * magnitude
            excess = value - high if value > high else max(low - value, 0.0)
            risk = excess / (excess + unit) if excess > 0 else 0.0
        if risk >= ALERT_RISK:
            if row - alerted <= 12:
                risk *= REFRACTORY_FACTOR
            else:
                alerted = row
        risks.append(risk)
    return risks
