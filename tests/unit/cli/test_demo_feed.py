"""The recording that the demo plays in a loop."""

from adapters.driving.cli.demo_feed import LABELS, METRIC, Recording
from core.domain.times import DAY_US, HOUR_US, parse_time

NOW_US = parse_time("2026-11-22T09:00:00Z", "")


def test_two_weeks_end_now() -> None:
    """A whole period, in order, none of it twice and none of it to come."""
    recording = Recording()
    points = recording.between(0, NOW_US)
    times = [parse_time(point.timestamp or "", "") for point in points]
    assert len(points) == 4_032
    assert times == sorted(times)
    assert NOW_US - recording.period_us <= times[0] < times[-1] < NOW_US
    assert NOW_US - times[-1] < HOUR_US
    assert 13 * DAY_US < recording.period_us < 15 * DAY_US
    assert {point.name for point in points} == {METRIC}
    assert bytes(points[0].labels) == b'{"instance":"i-ac20cd","region":"us-east-1"}'
    assert LABELS["instance"] == "i-ac20cd"


def test_whenever_it_is_asked_it_says_the_same() -> None:
    """So that a demo that is started again sends the same samples, not others between them."""
    recording = Recording()
    once = {point.timestamp: point.value for point in recording.between(0, NOW_US)}
    later = {point.timestamp: point.value for point in recording.between(0, NOW_US + 5 * DAY_US)}
    shared = once.keys() & later.keys()
    assert len(shared) > 2_000
    assert all(once[timestamp] == later[timestamp] for timestamp in shared)


def test_it_goes_on_without_gaps_or_repeats() -> None:
    """Pieces one after the other are the whole."""
    recording = Recording()
    whole = recording.between(NOW_US - DAY_US, NOW_US)
    hours = range(NOW_US - DAY_US, NOW_US, HOUR_US)
    pieces = [point for start_us in hours for point in recording.between(start_us, start_us + HOUR_US)]
    assert [(point.timestamp, point.value) for point in pieces] == [(point.timestamp, point.value) for point in whole]
    assert len(whole) > 250
