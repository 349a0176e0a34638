"""Runs of scheduled detection, as they are recorded."""

import enum
from datetime import datetime, timedelta

import msgspec

from core.domain.times import EPOCH


class RunState(enum.Enum):
    """Where a run stands."""

    RUNNING = "running"
    DONE = "done"
    PARTIAL = "partial"
    """It reached its time limit; the next run begins with the series that this one did not come to."""
    FAILED = "failed"


class DetectionRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one tenant."""

    id: int
    due_at: datetime
    covers_from: datetime | None
    """The due instant of the last finished run before; None for the first."""
    state: RunState
    attempts: int
    """How often it was begun: more than once where a server died on it."""
    started_at: datetime
    finished_at: datetime | None
    after_series_id: int
    """How far it came, by the id of a series."""
    series: int
    points: int
    findings: int
    error: str | None


def due_instant(now: datetime, interval_us: int, newest: datetime | None, *, overdue_s: float) -> datetime | None:
    """The instant of the run that is due now, or None: the last whole multiple of the interval since the Unix epoch,
    once the first one after the instant of the newest run lies `overdue_s` back. Without any run it is due at once."""
    interval = timedelta(microseconds=interval_us)
    if newest is not None and now < _last_multiple(newest, interval) + interval + timedelta(seconds=overdue_s):
        return None
    return _last_multiple(now, interval)


def _last_multiple(instant: datetime, interval: timedelta) -> datetime:
    return instant - (instant - EPOCH) % interval
