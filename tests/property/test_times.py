"""Instants, durations and ranges."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.definitions import retention_cutoff
from core.domain.errors import InvalidInput
from core.domain.times import (
    DAY_US,
    EPOCH,
    HOUR_US,
    SECOND_US,
    TIME_US_MAX,
    TimeRange,
    day_start,
    format_duration,
    format_time,
    parse_duration,
    parse_time,
)

instants = st.integers(0, TIME_US_MAX - 1)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
UNITS_US = {"ms": 1_000, "s": SECOND_US, "m": 60 * SECOND_US, "h": HOUR_US, "d": DAY_US, "w": 7 * DAY_US}


@given(instants)
def test_time_round_trip(ts_us: int) -> None:
    """Every instant is read back from what was written."""
    assert parse_time(format_time(ts_us), "timestamp") == ts_us


@given(instants, offsets)
def test_zones(ts_us: int, zone: timezone) -> None:
    """An instant written in any zone is the same instant."""
    text = (EPOCH + timedelta(microseconds=ts_us)).astimezone(zone).isoformat()
    assert parse_time(text, "timestamp") == ts_us


@given(instants, st.integers(0, 9), st.sampled_from("Zz"), st.sampled_from("Tt "))
def test_fractions(ts_us: int, digits: int, zulu: str, separator: str) -> None:
    """Any number of fractional digits up to nine is read; those past the microsecond are cut off."""
    whole = (EPOCH + timedelta(seconds=ts_us // SECOND_US)).strftime(f"%Y-%m-%d{separator}%H:%M:%S")
    nanoseconds = f"{ts_us % SECOND_US:06d}789"[:digits]
    text = f"{whole}{'.' if digits else ''}{nanoseconds}{zulu}"
    kept = int(nanoseconds.ljust(6, "0")[:6])
    assert parse_time(text, "timestamp") == ts_us // SECOND_US * SECOND_US + kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-01-31T12:00Z",
        "2026-02-30T12:00:00Z",
        "2026-01-31T25:00:00Z",
        "2026-01-31T12:00:60Z",
        "2026-01-31T12:00:00.Z",
        "2026-01-31T12:00:00.1234567890Z",
        "2026-01-31T12:00:00 02:00",
        "2026-01-31T12:00:00+99:99",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "1969-12-31T23:59:59.999999Z",
        "2200-01-01T00:00:00Z",
        "２０２６-01-31T12:00:00Z",
        "2026-01-31T12:00:00Z\n",
    ],
)
def test_not_a_time(text: str) -> None:
    """Naive, impossible and far-off timestamps are refused, naming the field."""
    with pytest.raises(InvalidInput) as refusal:
        parse_time(text, "timestamp")
    assert refusal.value.field == "timestamp"


@given(st.integers(1, 999_999_999), st.sampled_from(sorted(UNITS_US)))
def test_duration_round_trip(count: int, unit: str) -> None:
    """A duration is its count times its unit, and is read back from its short form."""
    duration_us = count * UNITS_US[unit]
    if duration_us > TIME_US_MAX:
        with pytest.raises(InvalidInput):
            parse_duration(f"{count}{unit}", "bucket")
        return
    assert parse_duration(f"{count}{unit}", "bucket") == duration_us
    assert parse_duration(format_duration(duration_us), "bucket") == duration_us


@pytest.mark.parametrize("text", ["", "5", "m", "0s", "-5m", "1.5h", "5 m", "5M", "1h30m", "9999999999s", "٥m", "5m\n"])
def test_not_a_duration(text: str) -> None:
    """Zero, negative and compound durations are refused, naming the field."""
    with pytest.raises(InvalidInput) as refusal:
        parse_duration(text, "bucket")
    assert refusal.value.field == "bucket"


@given(instants, instants, instants)
def test_range(start_us: int, end_us: int, cutoff_us: int) -> None:
    """A range is never empty; clamping it keeps exactly the instants at or after the cut."""
    if end_us <= start_us:
        with pytest.raises(InvalidInput):
            TimeRange(start_us, end_us)
        return
    clamped = TimeRange(start_us, end_us).clamped(cutoff_us)
    if cutoff_us >= end_us:
        assert clamped is None
    else:
        assert clamped == TimeRange(max(start_us, cutoff_us), end_us)


@given(instants, st.integers(1, 36_500))
def test_retention_cutoff(now_us: int, days: int) -> None:
    """Retention keeps whole UTC days: all of today and of as many days before it."""
    today = datetime.combine((EPOCH + timedelta(microseconds=now_us)).date(), datetime.min.time(), UTC)
    cutoff_us = retention_cutoff(now_us, days)
    assert (today - EPOCH) // timedelta(microseconds=1) - cutoff_us == days * DAY_US
    assert day_start(now_us) - cutoff_us == days * DAY_US
