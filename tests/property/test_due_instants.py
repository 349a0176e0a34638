"""When a run of detection is due."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from core.domain.detection_runs import due_instant
from core.domain.times import DAY_US, EPOCH, MINUTE_US

instants = st.datetimes(datetime(1970, 1, 9), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # as hypothesis takes bounds
intervals_us = st.integers(MINUTE_US, 7 * DAY_US)
overdues_s = st.sampled_from([0.0, 0.5, 90.0, 1e6])


@given(instants, intervals_us, st.none() | instants, overdues_s)
def test_the_last_instant_that_has_no_run(
    now: datetime, interval_us: int, newest: datetime | None, overdue_s: float
) -> None:
    """What is due is the last whole multiple of the interval, and after the newest run, once it is late enough."""
    interval = timedelta(microseconds=interval_us)
    due = due_instant(now, interval_us, newest, overdue_s=overdue_s)
    if due is None:
        assert newest is not None
        assert now - newest < interval + timedelta(seconds=overdue_s)
        return
    assert (due - EPOCH) % interval == timedelta(0)
    assert due <= now < due + interval
    assert newest is None or newest < due


@given(instants, intervals_us)
def test_one_run_for_each_instant(now: datetime, interval_us: int) -> None:
    """Once the run of an instant is there, nothing is due until the next."""
    interval = timedelta(microseconds=interval_us)
    due = due_instant(now, interval_us, None, overdue_s=1e6)
    assert due is not None
    assert due_instant(due + interval - timedelta(microseconds=1), interval_us, due, overdue_s=0.0) is None
    assert due_instant(due + interval, interval_us, due, overdue_s=0.0) == due + interval
