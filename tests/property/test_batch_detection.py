"""Many series at once give what each gives by itself, whatever they are; the single-series functions are the oracle."""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.detection.batch import bucket_means, detect_batch
from core.detection.classic import spike_rows, spikes, trend, variance_escalation
from core.detection.classic_screen import may_escalate, may_rise, may_spike, scaled_series
from core.detection.plan import DetectionPlan, SpikeSettings, TrendSettings, VarianceSettings
from core.detection.scaling import Floats, Instants
from core.detection.segments import segments_of
from core.detection.streaming import StreamingDetector, StreamingParameters
from core.detection.streaming_alert import Alert, Component
from core.detection.streaming_screen import may_alert
from core.domain.anomalies import CLASSIC, MOMENTS_MAX, AnomalyFinding, Detector, Moment
from core.domain.columns import Columns, Float64s, Int32s, Int64s, concat_columns, empty_columns
from core.domain.times import DAY_US, HOUR_US, MINUTE_US

START_US = 1_700_006_400_000_000
THOROUGH = settings(deadline=None)
"""How long many series take on a busy machine is no claim of these tests."""
EXTREME = st.sampled_from([0.0, -0.0, 1e300, -1e300, 1.7e308, -1.7e308, 1e-300, -1e-300, 5e-324, 1.0])
GAPS = st.sampled_from([math.nan, math.inf, -math.inf])
LEVELS = st.integers(-3, 3).map(float)
"""Few, so that ratios often lie exactly on a threshold."""
NEARLY_EQUAL = st.integers(-3, 3).map(lambda step: 1.0 + step * 4e-13)
"""Varied by about as much as the detectors call rounding."""
STEPS_US = st.sampled_from([1, 1_000_000, MINUTE_US, MINUTE_US, 20 * MINUTE_US, HOUR_US, 5 * HOUR_US, 40 * DAY_US])

Rows = tuple[Instants, Floats]


@st.composite
def one_series(draw: st.DrawFn) -> Rows:
    """Irregular times; constants, extremes, near-constants, gaps; one point and more."""
    kind = draw(st.sampled_from([LEVELS, EXTREME, NEARLY_EQUAL, st.floats(), LEVELS | GAPS, st.just(7.0)]))
    values = np.array(draw(st.lists(kind, min_size=1, max_size=40)))
    steps = draw(st.lists(STEPS_US, min_size=len(values), max_size=len(values)))
    return START_US + np.cumsum(np.array(steps, np.int64)), values


@st.composite
def plans(draw: st.DrawFn) -> DetectionPlan:
    """Parameters at which small series are found, too."""
    return DetectionPlan(
        detectors=CLASSIC,
        variance=VarianceSettings(
            window=draw(st.sampled_from(["5m", "4h"])),
            increase_min=draw(st.sampled_from([0.0, 0.5, 1e3])),
            fill_min=draw(st.sampled_from([0.1, 0.5, 1.0])),
        ),
        spike=SpikeSettings(
            deviations=draw(st.sampled_from([0.0, 1.0, 2.5])), baseline_share=draw(st.sampled_from([1e-9, 0.3, 1.0]))
        ),
        trend=TrendSettings(increase_min=draw(st.sampled_from([0.0, 0.3, 1e6]))),
    )


def together(many: Sequence[Rows]) -> Columns:
    """Series 3, 6, 9 … in one piece."""
    return concat_columns([column(3 * number, rows) for number, rows in enumerate(many, 1)])


def column(series_id: int, rows: Rows) -> Columns:
    return Columns(np.full(len(rows[0]), series_id, np.int32), *rows)


def oracle(many: Sequence[Rows], plan: DetectionPlan) -> Iterator[AnomalyFinding]:
    """What the single-series functions find, one series after the other."""
    for number, (ts_us, values) in enumerate(many, 1):
        for detector, finding in (
            (Detector.VARIANCE, variance_escalation(ts_us, values, plan.variance_parameters)),
            (Detector.SPIKE, spikes(ts_us, values, plan.spike_parameters)),
            (Detector.TREND, trend(ts_us, values, plan.trend_parameters)),
        ):
            if finding is not None:
                moments: tuple[Moment, ...] = ()
                if detector is Detector.SPIKE:
                    known = np.isfinite(values)
                    above = spike_rows(values[known], plan.spike_parameters)
                    spiking = zip(ts_us[known][above].tolist(), values[known][above].tolist(), strict=True)
                    moments = tuple(Moment(at_us, value) for at_us, value in spiking)
                    assert len(moments) == finding.count
                yield AnomalyFinding(
                    series_id=3 * number,
                    detector=detector,
                    risk=finding.risk,
                    start_us=finding.observed_window.start_us,
                    end_us=finding.observed_window.end_us,
                    baseline_start_us=finding.baseline_window.start_us,
                    baseline_end_us=finding.baseline_window.end_us,
                    usual_low=finding.baseline,
                    usual_high=finding.baseline,
                    observed=finding.observed,
                    count=finding.count,
                    phrase=finding.phrase,
                    moments=moments,
                )


def alerts_of(ts_us: Instants, values: Floats, parameters: StreamingParameters | None = None) -> list[Alert]:
    detector, alerts = StreamingDetector(parameters), []
    for at_us, value in zip(ts_us.tolist(), values.tolist(), strict=True):
        detector.update(at_us, value)
        if detector.alert is not None:
            alerts.append(detector.alert)
    return alerts


@THOROUGH
@given(st.lists(one_series(), max_size=6), plans())
def test_the_classic_three_are_those_of_each_series(many: list[Rows], plan: DetectionPlan) -> None:
    """All their findings and no others, by series and detector, to the last bit."""
    assert detect_batch(together(many), plan) == list(oracle(many, plan))


@pytest.mark.parametrize("seed", range(8))
def test_two_days_of_many_series(seed: int) -> None:
    """Of unequal length, irregular, some noisy, some rising, some growing restless."""
    rng = np.random.default_rng(seed)
    many = []
    for _ in range(40):
        rows = int(rng.integers(1, 2_000))
        ts_us = START_US + np.sort(rng.choice(2 * DAY_US // 1_000, rows, replace=False)) * 1_000
        course = rng.uniform(0, 4) * np.linspace(0, 1, rows) + rng.normal(0, 1, rows) * np.linspace(1, 2, rows)
        many.append((ts_us, 10.0 ** rng.uniform(-300, 300) * (rng.uniform(-5, 5) + course)))
    plan = DetectionPlan(detectors=CLASSIC)
    found, expected = detect_batch(together(many), plan), list(oracle(many, plan))
    assert {one.detector for one in found} == set(CLASSIC)
    assert found == expected


def test_screens_leave_most_series_out() -> None:
    """Calm series, whose largest value is nowhere near a spike, hardly ever cost a call of a detector."""
    rng = np.random.default_rng(1)
    calm = [(START_US + MINUTE_US * np.arange(2_880), rng.uniform(40.0, 60.0, 2_880)) for _ in range(50)]
    points, plan = together(calm), DetectionPlan()
    look = scaled_series(points, segments_of(points.series_ids))
    assert may_escalate(look, plan.variance_parameters).mean() < 0.1
    assert not may_spike(look, plan.spike_parameters).any()
    assert not may_rise(look, plan.trend_parameters).any()


def test_of_many_spikes_the_newest_are_kept() -> None:
    """All are counted."""
    values = np.zeros(10_000)
    values[::40] = 100.0 + np.arange(250)
    (found,) = detect_batch(
        column(1, (START_US + MINUTE_US * np.arange(10_000), values)), DetectionPlan(detectors=(Detector.SPIKE,))
    )
    assert found.count == 250
    assert [moment.value for moment in found.moments] == (100.0 + np.arange(250)[-MOMENTS_MAX:]).tolist()
    assert found.moments[-1].ts_us == START_US + 249 * 40 * MINUTE_US


@pytest.mark.parametrize("seed", range(4))
def test_streaming_alerts_are_those_of_each_series(seed: int) -> None:
    """With component, window, baseline, band, statistic, words and the row, of irregular series of unequal length."""
    rng = np.random.default_rng(seed)
    many = []
    for rows in (700, 600, 288, 100, 1, 1_100, 650):
        ts_us = START_US + np.cumsum(rng.integers(MINUTE_US, 9 * MINUTE_US, rows))
        values = rng.normal(50.0, 1.0, rows) + 10.0 * np.sin(2 * np.pi * ts_us / DAY_US)
        values += np.where(rng.random(rows) < 0.01, np.linspace(10.0, 200.0, rows), 0.0)
        many.append((ts_us, values))
    constant = (many[0][0], np.full(700, 3.0))
    found = detect_batch(together([*many, constant]), DetectionPlan(detectors=(Detector.STREAMING,)))
    expected = []
    for number, one in enumerate(many, 1):
        means = bucket_means(column(3 * number, one), 5 * MINUTE_US)
        expected += [(3 * number, alert) for alert in alerts_of(means.ts_us, means.values)]
    assert len({series_id for series_id, _ in expected}) >= 3
    for finding, (series_id, alert) in zip(found, expected, strict=True):
        assert (finding.series_id, finding.component, finding.risk) == (series_id, alert.component.value, alert.risk)
        assert (finding.start_us, finding.end_us) == (alert.window.start_us, alert.window.end_us)
        assert (finding.baseline_start_us, finding.baseline_end_us) == (alert.baseline.start_us, alert.baseline.end_us)
        assert (finding.usual_low, finding.usual_high) == (alert.usual_low, alert.usual_high)
        assert (finding.observed, finding.count, finding.moments) == (
            alert.statistic,
            1,
            (Moment(alert.ts_us, alert.value),),
        )
        assert finding.text("cpu") == alert.text("cpu")


@THOROUGH
@given(st.lists(one_series(), min_size=1, max_size=6), st.integers(3, 5))
def test_the_streaming_screen_misses_nothing(many: list[Rows], warm_up_blocks: int) -> None:
    """With blocks so small that short series take every path."""
    parameters = StreamingParameters(
        block_rows=2,
        block_span_us=0,
        memory_blocks=12,
        window_blocks=2,
        warm_up_blocks=warm_up_blocks,
        window_warm_up_blocks=8,
    )
    points = together(many)
    points = points.take(np.isfinite(points.values))
    assert_nothing_missed(points, parameters)


def test_the_streaming_screen_misses_nothing_in_days() -> None:
    """Noise, courses, steps, spikes and rounded values of any size, irregular and with gaps, by the defaults."""
    rng = np.random.default_rng(1)
    points = together([restless_days(rng) for _ in range(240)])
    alerts = assert_nothing_missed(points, StreamingParameters())
    assert {alert.component for alert in alerts} == {Component.RANGE, Component.SEASON}
    assert may_alert(points, segments_of(points.series_ids), StreamingParameters()).mean() < 0.6


def restless_days(rng: np.random.Generator) -> Rows:
    rows = int(rng.integers(289, 1_200))
    steps_us = rng.integers(1, MINUTE_US * rng.choice([2, 5, 10, 20, 40]), rows)
    steps_us[rng.random(rows) < 0.002] += rng.integers(20) * HOUR_US
    ts_us = START_US + rng.integers(DAY_US) + np.cumsum(steps_us)
    hour = 2.0 * np.pi * ts_us / DAY_US
    values = rng.normal(0.0, rng.choice([0.0, 0.01, 0.3, 1.0]), rows) + rng.uniform(0.0, 2.0) * np.sin(hour)
    values += rng.choice([0.0, 1.0]) * np.sign(np.sin(hour + 1.0)) + rng.choice([0.0, 5.0])
    values[rng.random(rows) < rng.choice([0.0, 0.01])] += 3.0
    return ts_us, (values if rng.random() < 0.7 else np.round(2.0 * values)) * 10.0 ** rng.uniform(-299.0, 290.0)


def assert_nothing_missed(points: Columns, parameters: StreamingParameters) -> list[Alert]:
    """That the screen lets every series through that there is an alert on; returns all alerts."""
    series = segments_of(points.series_ids)
    may = may_alert(points, series, parameters)
    every = []
    for start, count, passed in zip(series.starts.tolist(), series.counts.tolist(), may.tolist(), strict=True):
        rows = slice(start, start + count)
        alerts = alerts_of(points.ts_us[rows], points.values[rows], parameters)
        assert passed or not alerts
        every += alerts
    return every


def test_a_bucket_that_has_not_ended_is_left_out() -> None:
    """Its only sample would stand for the mean of five; it is looked at once the bucket is over."""
    begin_us = START_US // DAY_US * DAY_US
    ts_us = begin_us + MINUTE_US * np.arange(2 * 1_440 + 5)
    values = np.random.default_rng(1).normal(50.0, 1.0, len(ts_us))
    values[-5:] = 90.0
    points, plan = column(1, (ts_us, values)), DetectionPlan(detectors=(Detector.STREAMING,))
    for seen, found in ((points.take(slice(-4)), False), (points, True)):
        until_us = int(seen.ts_us[-1]) + MINUTE_US
        moments = {one.moments[0].ts_us for one in detect_batch(seen, plan, until_us=until_us)}
        assert (max(moments, default=0) >= int(ts_us[-5])) is found
    assert detect_batch(points.take(slice(-4)), plan)
    assert detect_batch(points, plan, until_us=begin_us) == []


@THOROUGH
@given(st.lists(one_series(), max_size=4), st.sampled_from([1, MINUTE_US, HOUR_US]))
def test_bucket_means_against_an_oracle_in_fractions(many: list[Rows], bucket_us: int) -> None:
    """One row a bucket at its last time; sparse series, constants and the largest floats stay what they are."""
    points = together(many)
    points = points.take(np.isfinite(points.values))
    buckets: dict[tuple[int, int], list[tuple[int, float]]] = {}
    for series_id, ts_us, value in zip(*(rows.tolist() for rows in columns_of(points)), strict=True):
        buckets.setdefault((series_id, ts_us // bucket_us), []).append((ts_us, value))
    means = bucket_means(points, bucket_us)
    assert means.series_ids.tolist() == [series_id for series_id, _ in buckets]
    assert means.ts_us.tolist() == [rows[-1][0] for rows in buckets.values()]
    for mean, rows in zip(means.values.tolist(), buckets.values(), strict=True):
        exact = float(sum(Fraction(value) for _, value in rows) / len(rows))
        largest = max(abs(value) for _, value in rows)
        assert mean == pytest.approx(exact, rel=0.0, abs=1e-12 * largest + 1e-320)
        if len({value for _, value in rows}) == 1:
            assert mean == rows[0][1]


def columns_of(points: Columns) -> tuple[Int32s, Int64s, Float64s]:
    return points.series_ids, points.ts_us, points.values


def test_nothing_is_found_in_nothing() -> None:
    """No point, and only gaps."""
    gaps = column(1, (START_US + MINUTE_US * np.arange(500), np.full(500, math.nan)))
    assert detect_batch(empty_columns(), DetectionPlan()) == []
    assert detect_batch(gaps, DetectionPlan()) == []
    assert len(bucket_means(empty_columns(), MINUTE_US)) == 0
