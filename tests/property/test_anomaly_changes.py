"""Whatever looks see of moments, and whenever: each is told once, and what is open is what happened lately."""

from hypothesis import given
from hypothesis import strategies as st

from core.domain.anomalies import Detector
from core.domain.times import HOUR_US, MINUTE_US
from core.services.anomaly_changes import QUIET_US
from tests.unit.services.test_anomaly_changes import NOON_US, Store, finding, look

WINDOW_MINUTES = 48 * 60
MINUTES = st.integers(-WINDOW_MINUTES, 5 * WINDOW_MINUTES)


@given(st.sets(MINUTES, min_size=1, max_size=40), st.lists(st.integers(1, WINDOW_MINUTES * 60), max_size=40))
def test_spikes(spikes: set[int], seconds_between: list[int]) -> None:
    """Each spike that any look saw is one event; an anomaly is open while its newest spike is young, and one at most;
    looking twice at once changes nothing more."""
    store, seen, seconds = Store(), set[int](), 0
    for between in seconds_between:
        seconds += between
        at = look(seconds / 60)
        inside = sorted(spike for spike in spikes if -WINDOW_MINUTES <= spike - seconds / 60 < 0)
        findings = [finding(Detector.SPIKE, *inside)] if inside else []
        store.see(at, *findings)
        seen.update(inside)
        young = bool(inside) and inside[-1] * MINUTE_US > seconds * 1_000_000 - QUIET_US[Detector.SPIKE]
        assert len(store.open) == int(young)
        before = dict(store.anomalies), dict(store.events)
        store.see(at, *findings)
        assert (store.anomalies, store.events) == before
    assert {event.ts for event in store.events.values()} == {look(spike).now for spike in seen}
    assert len(store.events) == len(seen)


@given(
    st.lists(st.integers(2 * 60, 2_000), min_size=1, max_size=10),
    st.lists(st.tuples(st.integers(1, 1_000), st.integers(-20, 20)), max_size=40),
)
def test_streaming_alerts(minutes_apart: list[int], looks: list[tuple[int, int]]) -> None:
    """Alerts hours apart, each seen some minutes off its place by each look, are one anomaly and one event each."""
    alerts = [sum(minutes_apart[: place + 1]) for place in range(len(minutes_apart))]
    store, minutes = Store(), 0
    seen = set[int]()
    for between, moved in looks:
        minutes += between
        inside = [alert for alert in alerts if -WINDOW_MINUTES + 60 <= alert - minutes < -20]
        store.see(look(minutes), *(finding(Detector.STREAMING, alert + moved) for alert in inside))
        seen.update(inside)
        assert len(store.open) <= 1
        newest_us = [one.finding.moments[-1].ts_us - NOON_US for one in store.open]
        assert all(minutes * MINUTE_US - at_us < HOUR_US for at_us in newest_us)
    assert len(store.events) == len(store.anomalies) == len(seen)
