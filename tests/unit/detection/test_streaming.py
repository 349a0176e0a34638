"""The streaming detector: what it says, what it stays silent about, and what an alert carries."""

import math
import pickle

import numpy as np
import pytest

from core.detection.scaling import Floats
from core.detection.streaming import ALERT_RISK, StreamingDetector, StreamingParameters
from core.detection.streaming_alert import Alert, Component
from core.domain.times import DAY_US, HOUR_US, MINUTE_US

START_US = 1_700_006_400_000_000
STEP_US = 5 * MINUTE_US
DAY_ROWS = 288


def watched(values: Floats, step_us: int = STEP_US) -> tuple[list[float], dict[int, Alert]]:
    """The risks of all rows, and the alerts by row."""
    detector = StreamingDetector()
    risks, alerts = [], {}
    for row, value in enumerate(values.tolist()):
        risks.append(detector.update(START_US + row * step_us, value))
        if detector.alert is not None:
            alerts[row] = detector.alert
    return risks, alerts


def noise(days: int, *, seed: int = 5, size: float = 1.0) -> Floats:
    return 100.0 + size * np.random.default_rng(seed).uniform(-1.0, 1.0, days * DAY_ROWS)


def daily(days: int) -> Floats:
    hours = np.arange(days * DAY_ROWS) / 12.0
    return noise(days, size=0.5) - 40.0 * np.cos(2.0 * np.pi * hours / 24.0)


def test_a_spike_is_an_alert_that_explains_itself() -> None:
    """Window, baseline, statistic, the usual band, and who spoke."""
    values = noise(10)
    values[2500] = 120.0
    risks, alerts = watched(values)
    assert list(alerts) == [2500]
    alert = alerts[2500]
    assert alert.component is Component.RANGE
    assert alert.risk == risks[2500] == alert.risks[Component.RANGE] > 0.99
    assert (alert.ts_us, alert.value, alert.statistic) == (START_US + 2500 * STEP_US, 120.0, 120.0)
    assert (alert.window.start_us, alert.window.end_us) == (alert.ts_us, alert.ts_us + 1)
    assert alert.baseline.end_us <= alert.ts_us
    assert 6.9 * DAY_US <= alert.baseline.end_us - alert.baseline.start_us <= 7 * DAY_US
    assert 99.0 <= alert.usual_low < 99.1
    assert 100.9 < alert.usual_high <= 101.0
    usual = f"usually {alert.usual_low:.6g} to {alert.usual_high:.6g}"
    assert alert.text("web-1:cpu") == f"web-1:cpu value 120, {usual} (risk {alert.risk:.2f})"


def test_a_drop_counts_like_a_spike() -> None:
    """Both ends of the band are watched."""
    values = noise(10)
    values[2500] = 80.0
    assert list(watched(values)[1]) == [2500]


def test_one_incident_is_one_alert() -> None:
    """The refractory period keeps later rows below the threshold, and in order."""
    values = noise(10)
    values[2500:2540] += np.linspace(10.0, 20.0, 40)
    risks, alerts = watched(values)
    assert list(alerts) == [2500]
    assert all(0.0 < risk < ALERT_RISK for risk in risks[2501:2540])


def test_the_same_incident_on_another_day_alerts_again() -> None:
    """One earlier incident does not make it usual."""
    values = noise(12)
    values[[1500, 2500]] = 120.0
    assert list(watched(values)[1]) == [1500, 2500]


def test_a_missing_daily_peak_is_seen_by_the_season() -> None:
    """No value leaves its range; only the hour is wrong."""
    values = daily(14)
    values[12 * DAY_ROWS + 60 : 12 * DAY_ROWS + 220] = 62.0
    alerts = watched(values)[1]
    told = [row for row, alert in alerts.items() if alert.component is Component.SEASON and row >= 12 * DAY_ROWS]
    assert told
    assert 12 * DAY_ROWS + 60 <= told[0] < 12 * DAY_ROWS + 120
    assert alerts[told[0]].window.start_us % HOUR_US == 0


def test_a_lasting_step_inside_the_range_is_seen_by_level_or_change() -> None:
    """Every value has been there before."""
    values = noise(14, size=10.0)
    values[10 * DAY_ROWS :] = 106.0 + 0.3 * (values[10 * DAY_ROWS :] - 100.0)
    alert = next(alert for row, alert in watched(values)[1].items() if row >= 10 * DAY_ROWS)
    assert alert.component in (Component.LEVEL, Component.CHANGE)
    assert alert.window.end_us - alert.window.start_us <= DAY_US
    assert alert.baseline.end_us == alert.window.start_us


def test_a_flat_line_is_seen_by_the_spread() -> None:
    """A sensor that hangs at its mean."""
    values = noise(14, size=10.0)
    values[10 * DAY_ROWS :] = 100.0
    spoke = [alert.component for row, alert in watched(values)[1].items() if row >= 10 * DAY_ROWS]
    assert spoke[0] is Component.SPREAD


def test_a_course_never_seen_is_seen_by_the_discord() -> None:
    """Every seventeen hours a peak, so no hour is like another; then two days of a course twice as quick.

    Values, level and spread stay what they were.
    """
    rows = np.arange(16 * DAY_ROWS)
    values = noise(16, size=0.5) + 40.0 * np.sin(2.0 * np.pi * rows / 204.0)
    quick = slice(14 * DAY_ROWS, 16 * DAY_ROWS)
    values[quick] = noise(2, size=0.5) + 40.0 * np.sin(2.0 * np.pi * rows[quick] / 102.0)
    spoke = [alert for row, alert in watched(values)[1].items() if row >= 14 * DAY_ROWS]
    assert Component.DISCORD in {who for alert in spoke for who in alert.risks}


@pytest.mark.parametrize(
    "values",
    [noise(30), daily(30), np.full(5000, 7.0), np.tile(np.repeat([20.0, 80.0], DAY_ROWS // 2), 20)],
    ids=["noise", "daily", "constant", "square"],
)
def test_what_is_usual_is_no_alert(values: Floats) -> None:
    """After two weeks; a course may surprise until it is known."""
    assert [row for row in watched(values)[1] if row > 14 * DAY_ROWS] == []


def test_the_start_is_silent() -> None:
    """Twelve blocks of at least 24 rows and two hours: a day at five minutes, still a day at ten seconds."""
    values = np.concatenate([np.zeros(200), np.full(80, 1000.0)])
    assert not any(watched(values)[0])
    assert not any(watched(np.concatenate([np.zeros(4000), np.full(4000, 1000.0)]), step_us=10_000_000)[0])


def test_daylight_saving_is_no_alert() -> None:
    """Everything comes an hour early from one day on."""
    values = daily(30)
    shifted = np.concatenate([values[: 20 * DAY_ROWS], values[20 * DAY_ROWS + 12 :]])
    assert [row for row in watched(shifted)[1] if 14 * DAY_ROWS < row < 28 * DAY_ROWS] == []


def test_memory_does_not_grow_with_the_rows() -> None:
    """Eight weeks hold what two hold."""
    sizes = []
    detector = StreamingDetector()
    for row, value in enumerate(daily(56).tolist()):
        detector.update(START_US + row * STEP_US, value)
        if row + 1 in (14 * DAY_ROWS, 56 * DAY_ROWS):
            sizes.append(len(pickle.dumps(detector)))
    assert sizes[1] <= sizes[0] * 1.02 < 40_000


def test_a_gap_is_no_row() -> None:
    """NaN and infinity change nothing that comes after."""
    values = noise(6)
    detector, other = StreamingDetector(), StreamingDetector()
    for row, value in enumerate(values.tolist()):
        ts_us = START_US + row * STEP_US
        assert detector.update(ts_us, math.nan) == detector.update(ts_us, -math.inf) == 0.0
        assert detector.update(ts_us, value) == other.update(ts_us, value)


def test_a_late_row_counts_as_of_now() -> None:
    """Clocks that go back do not bring the detector back."""
    detector = StreamingDetector()
    detector.update(START_US, 1.0)
    assert detector.update(START_US - DAY_US, 2.0) == 0.0


@pytest.mark.parametrize(
    ("name", "value"),
    [("rank", 0), ("window_blocks", 1), ("margin", 0.0), ("memory_blocks", 20), ("block_span_us", -1)],
)
def test_parameters_are_checked(name: str, value: float) -> None:
    """When they are made."""
    with pytest.raises(ValueError, match=name if name != "margin" else "margins"):
        StreamingParameters(**{name: value})  # type: ignore[arg-type]  # one of several fields, by name
