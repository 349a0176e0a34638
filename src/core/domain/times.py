"""Instants, durations and ranges: int64 microseconds since the Unix epoch, UTC.

Every range in Sextant is half-open, ``[start, end)``; it is said here once, on `TimeRange`.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from core.domain.errors import InvalidInput

SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US
HOUR_US: Final = 60 * MINUTE_US
DAY_US: Final = 24 * HOUR_US

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_UTC: Final = datetime(1970, 1, 1)  # noqa: DTZ001  # without a zone it is written three times as fast
TIME_US_MIN: Final = 0
"""Nothing before 1970 is a metric's timestamp; it is a bug of the sender's clock."""
TIME_US_MAX: Final = 7_258_118_400 * SECOND_US
"""The year 2200: past any plan for this data, and far inside what PostgreSQL and numpy can hold."""

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?P<zone>[Zz]|[+-]\d\d:\d\d)?\Z", re.ASCII)
_DURATION = re.compile(r"(\d{1,9})(ms|s|m|h|d|w)\Z", re.ASCII)
_UNIT_US: Final = {
    "ms": 1_000,
    "s": SECOND_US,
    "m": MINUTE_US,
    "h": HOUR_US,
    "d": DAY_US,
    "w": 7 * DAY_US,
}


class TimeRange(msgspec.Struct, frozen=True):
    """The half-open range ``[start_us, end_us)`` of microseconds since the Unix epoch."""

    start_us: int
    end_us: int

    def __post_init__(self) -> None:
        if self.end_us <= self.start_us:
            raise InvalidInput("end", f"{format_time(self.end_us)} is not after start {format_time(self.start_us)}")

    def clamped(self, start_us: int) -> "TimeRange | None":
        """The part at or after `start_us`, or None where nothing is left."""
        if start_us >= self.end_us:
            return None
        return self if start_us <= self.start_us else TimeRange(start_us, self.end_us)


def parse_time(text: str, field: str) -> int:
    """Microseconds since the Unix epoch of an RFC 3339 timestamp with a zone.

    Digits past the microsecond are cut off. Raises `InvalidInput` naming `field`.
    """
    match = _RFC3339.match(text)
    if match is None:
        hint = " ('+' in a URL must be written %2B)" if " " in text[11:] else ""
        raise InvalidInput(field, f"{text[:64]!r} is not an RFC 3339 timestamp such as 2026-01-31T12:00:00Z{hint}")
    if match["zone"] is None:
        raise InvalidInput(field, f"{text[:64]!r} has no time zone; add Z or an offset such as +02:00")
    try:
        instant = datetime.fromisoformat(text.upper())
        since_epoch = instant - EPOCH
    except (ValueError, OverflowError) as error:
        raise InvalidInput(field, f"{text[:64]!r} is not a date that exists: {error}") from None
    ts_us = since_epoch // timedelta(microseconds=1)
    if not TIME_US_MIN <= ts_us < TIME_US_MAX:
        raise InvalidInput(field, f"{text[:64]!r} is outside the years 1970 to 2200")
    return ts_us


def check_instant(field: str, instant: datetime) -> None:
    """Raises `InvalidInput` unless it has a zone and lies where timestamps may."""
    if instant.tzinfo is None:
        raise InvalidInput(field, "needs a time zone, such as Z")
    if not TIME_US_MIN <= (instant - EPOCH) // timedelta(microseconds=1) < TIME_US_MAX:
        raise InvalidInput(field, "is outside the years 1970 to 2200")


def format_time(ts_us: int) -> str:
    """The RFC 3339 form in UTC, with microseconds only where there are any."""
    return (_EPOCH_UTC + timedelta(microseconds=int(ts_us))).isoformat() + "Z"


def format_times(ts_us: Sequence[int]) -> list[str]:
    """The same of many; instants that series share, as those of one agent do, are written once."""
    texts = {instant_us: format_time(instant_us) for instant_us in set(ts_us)}
    return [texts[instant_us] for instant_us in ts_us]


def parse_duration(text: str, field: str) -> int:
    """Microseconds of a duration such as ``500ms``, ``30s``, ``5m``, ``1h``, ``7d``; more than zero."""
    match = _DURATION.match(text)
    if match is None:
        raise InvalidInput(field, f"{text[:64]!r} is not a duration such as 30s, 5m, 1h or 7d")
    duration_us = int(match[1]) * _UNIT_US[match[2]]
    if duration_us == 0:
        raise InvalidInput(field, "must be longer than zero, for instance 5m")
    if duration_us > TIME_US_MAX:
        raise InvalidInput(field, f"{text[:64]!r} is longer than any range that can be asked for")
    return duration_us


def format_duration(duration_us: int) -> str:
    """The shortest whole-unit form of whole milliseconds: 300,000,000 gives ``5m``."""
    for unit in ("w", "d", "h", "m", "s"):
        if duration_us % _UNIT_US[unit] == 0 and (unit != "w" or duration_us > _UNIT_US["w"]):
            return f"{duration_us // _UNIT_US[unit]}{unit}"
    return f"{duration_us // 1_000}ms"


def day_start(ts_us: int) -> int:
    """Midnight UTC of the day that holds `ts_us`."""
    return ts_us - ts_us % DAY_US
