"""What a look at some series changes about their anomalies."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from core.domain.anomalies import Anomaly, AnomalyFinding, Detector, Moment
from core.domain.events import EventSeverity, SignalEvent
from core.domain.series import Series
from core.domain.times import EPOCH, HOUR_US, MINUTE_US
from core.services.anomaly_changes import EVENTS_PER_FINDING_MAX, QUIET_US, Look, anomaly_changes, ended
from ports.driven.detection_store import AnomalyChanges

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
NOON_US = (NOON - EPOCH) // timedelta(microseconds=1)
SERIES = Series(7, "cpu", {"instance": "web-1", "service": "shop", "synthetic": "true"}, "")
OTHER = Series(8, "disk", {}, "")


def look(minutes: float = 0, *, shadow: bool = False, tenant_id: int = 1) -> Look:
    """Some minutes after noon."""
    return Look(tenant_id=tenant_id, now=NOON + timedelta(minutes=minutes), shadow=shadow, alert_risk=0.8)


def finding(
    detector: Detector, *minutes: float, risk: float = 0.5, series: Series = SERIES, observed: float = 95.0
) -> AnomalyFinding:
    """With moments so many minutes after noon."""
    moments = tuple(Moment(NOON_US + round(at * MINUTE_US), 90.0 + n) for n, at in enumerate(minutes))
    return AnomalyFinding(
        series_id=series.series_id,
        detector=detector,
        risk=risk,
        start_us=NOON_US - 48 * HOUR_US,
        end_us=NOON_US,
        baseline_start_us=NOON_US - 48 * HOUR_US,
        baseline_end_us=NOON_US,
        usual_low=10.1578,
        usual_high=10.1578,
        observed=observed,
        count=max(1, len(moments)),
        phrase="behaved oddly",
        moments=moments,
    )


class Store:
    """What a store has after changes, for one look after the other."""

    def __init__(self) -> None:
        self.anomalies: dict[UUID, Anomaly] = {}
        self.events: dict[UUID, SignalEvent] = {}

    def see(self, at: Look, *findings: AnomalyFinding) -> AnomalyChanges:
        """One look at both series."""
        changes = anomaly_changes(at, {7: SERIES, 8: OTHER}, self.latest(), findings)
        for anomaly in changes.updated:
            assert anomaly.id in self.anomalies
            self.anomalies[anomaly.id] = anomaly
        for anomaly in changes.opened:
            assert anomaly.id not in self.anomalies
            self.anomalies[anomaly.id] = anomaly
        for event in changes.events:
            assert event.id not in self.events
            self.events[event.id] = event
        return changes

    def latest(self) -> Sequence[Anomaly]:
        """As `DetectionRuns.latest_anomalies` answers."""
        ordered = sorted(
            self.anomalies.values(), key=lambda one: (one.ended_at is None, one.first_seen_at, one.finding.end_us)
        )
        return list({(one.finding.series_id, one.finding.detector): one for one in ordered}.values())

    @property
    def open(self) -> list[Anomaly]:
        """Those that have not ended."""
        return [one for one in self.anomalies.values() if one.ended_at is None]


@pytest.mark.parametrize("detector", [Detector.VARIANCE, Detector.TREND])
def test_a_condition_is_open_while_it_is_found(detector: Detector) -> None:
    """One anomaly with one event, updated by each look, its highest risk kept; ended by the first look without it."""
    store = Store()
    store.see(look(), finding(detector, risk=0.9, observed=12.0))
    store.see(look(15), finding(detector, risk=0.6, observed=11.0))
    [anomaly] = store.open
    assert (anomaly.finding.risk, anomaly.risk_max) == (0.6, 0.9)
    assert (anomaly.first_seen_at, anomaly.last_seen_at) == (NOON, look(15).now)
    assert not store.see(look(30)).events
    assert [one.ended_at for one in store.anomalies.values()] == [look(30).now]
    assert store.anomalies[anomaly.id].last_seen_at == look(15).now
    [event] = store.events.values()
    assert (event.ts, event.value, event.anomaly_id) == (NOON, 12.0, anomaly.id)
    store.see(look(45), finding(detector))
    assert len(store.anomalies) == 2, "what comes back is another one"
    assert len(store.events) == 2


def test_what_is_told_of_an_anomaly() -> None:
    """Host, service, fingerprint, labels and whether it is synthetic are the series'; the text is the finding's."""
    store = Store()
    store.see(look(), finding(Detector.TREND, risk=0.81), finding(Detector.TREND, risk=0.8, series=OTHER))
    mine, other = store.anomalies.values()
    assert (mine.metric, mine.host, mine.service, mine.fingerprint) == ("cpu", "web-1", "shop", "web-1:cpu")
    assert (mine.labels, mine.synthetic, mine.shadow, mine.mark) == (SERIES.labels, True, False, None)
    assert (other.host, other.service, other.fingerprint, other.synthetic) == (None, None, "disk", False)
    event, other_event = store.events.values()
    assert (event.host, event.service, event.fingerprint) == ("web-1", "shop", "web-1:cpu")
    assert (event.metric, event.labels, event.synthetic) == ("cpu", SERIES.labels, True)
    assert event.message == "web-1:cpu behaved oddly (risk 0.81)"
    assert event.created_at == NOON
    assert (event.severity, other_event.severity) == (EventSeverity.ERROR, EventSeverity.WARN), "error above the risk"


def test_each_spike_is_told_once() -> None:
    """An event for each moment, at the moment and with its sample's value; later looks tell only of newer ones."""
    store = Store()
    store.see(look(), finding(Detector.SPIKE, -60, -10))
    [anomaly] = store.open
    assert [(event.ts - NOON, event.value) for event in store.events.values()] == [
        (timedelta(minutes=-60), 90.0),
        (timedelta(minutes=-10), 91.0),
    ]
    assert [event.message for event in store.events.values()] == [
        "web-1:cpu spiked to 90, usually about 10.2 (risk 0.50)",
        "web-1:cpu spiked to 91, usually about 10.2 (risk 0.50)",
    ]
    assert not store.see(look(15), finding(Detector.SPIKE, -60, -10)).events
    [event] = store.see(look(30), finding(Detector.SPIKE, -10, 20)).events
    assert (event.ts - NOON, event.anomaly_id) == (timedelta(minutes=20), anomaly.id)
    assert [one.id for one in store.open] == [anomaly.id]


def test_a_counters_spike_is_told_per_second() -> None:
    """The event of the one moment says so, as the finding of all does."""
    store = Store()
    found = finding(Detector.SPIKE, -10)
    store.see(look(), msgspec.structs.replace(found, phrase="per second spiked once up to 90"))
    [event] = store.events.values()
    assert event.message == "web-1:cpu per second spiked to 90, usually about 10.2 (risk 0.50)"


def test_spikes_end_by_themselves_and_are_recorded_once() -> None:
    """Four hours after the newest spike it is over, though looks still show it; only a newer one makes another."""
    store = Store()
    store.see(look(), finding(Detector.SPIKE, -10))
    store.see(look(229), finding(Detector.SPIKE, -10))
    assert store.open
    store.see(look(230), finding(Detector.SPIKE, -10))
    assert [one.ended_at for one in store.anomalies.values()] == [look(230).now]
    for minutes in range(245, 2_880, 15):
        assert store.see(look(minutes), finding(Detector.SPIKE, -10)) == AnomalyChanges(
            opened=[], updated=[], events=[]
        )
    store.see(look(2_880), finding(Detector.SPIKE, -10, 2_870))
    assert len(store.anomalies) == len(store.events) == 2
    assert len(store.open) == 1


@pytest.mark.parametrize("detector", list(QUIET_US))
def test_what_is_over_at_first_sight(detector: Detector) -> None:
    """It is recorded, with its event, and is not open; once."""
    store = Store()
    old = finding(detector, -QUIET_US[detector] / MINUTE_US)
    store.see(look(), old)
    [anomaly] = store.anomalies.values()
    assert (anomaly.first_seen_at, anomaly.ended_at) == (NOON, NOON)
    assert len(store.events) == 1
    store.see(look(15), old)
    assert len(store.anomalies) == len(store.events) == 1


def test_streaming_alerts_of_the_past_and_of_now() -> None:
    """Each is an anomaly; the fresh one is open, and later looks know all of them whatever order they come in."""
    store = Store()
    findings = [finding(Detector.STREAMING, at) for at in (-30, -1_500, -700)]
    store.see(look(), *findings)
    assert len(store.anomalies) == len(store.events) == 3
    [fresh] = store.open
    assert fresh.finding.moments[0].ts_us == NOON_US - 30 * MINUTE_US
    store.see(look(15), *reversed(findings))
    store.see(look(30), *findings)
    assert len(store.anomalies) == len(store.events) == 3
    assert not store.open


def test_a_streaming_alert_that_moves_a_little_is_the_same() -> None:
    """Where the window begins, and how far its last bucket has filled, moves what the detector alerts at by minutes."""
    store = Store()
    store.see(look(), finding(Detector.STREAMING, -5))
    for minutes, moved in ((15, -2), (30, -9), (45, -9), (60, 3), (75, 55), (90, -5)):
        store.see(look(minutes), finding(Detector.STREAMING, moved))
    assert len(store.anomalies) == len(store.events) == 1
    store.see(look(600), finding(Detector.STREAMING, -5), finding(Detector.STREAMING, 590))
    assert len(store.anomalies) == len(store.events) == 2


def test_a_spike_that_is_none_any_more_ends() -> None:
    """Where the newest recorded spike no longer stands out, older ones do not keep the anomaly open."""
    store = Store()
    store.see(look(), finding(Detector.SPIKE, -60, -10))
    store.see(look(15), finding(Detector.SPIKE, -60))
    assert not store.open
    store.see(look(30), finding(Detector.SPIKE, -60, -10))
    assert len(store.anomalies) == 1


def test_events_of_a_burst_are_bounded() -> None:
    """The newest moments become events."""
    store = Store()
    store.see(look(), finding(Detector.SPIKE, *range(-EVENTS_PER_FINDING_MAX - 50, 0)))
    assert len(store.events) == EVENTS_PER_FINDING_MAX
    assert max(event.ts for event in store.events.values()) == look(-1).now


def test_shadow_mode() -> None:
    """What is found in shadow mode is recorded as such; what is still found when that ends is to be alerted."""
    store = Store()
    store.see(look(shadow=True), finding(Detector.TREND, risk=1.0))
    assert [one.shadow for one in store.open] == [True]
    store.see(look(15), finding(Detector.TREND, risk=1.0))
    assert [one.shadow for one in store.open] == [False]


def test_ids_tell_tenants_series_and_detectors_apart() -> None:
    """The same look gives the same ids, another tenant's other ones."""
    findings = [
        finding(Detector.SPIKE, -10),
        finding(Detector.STREAMING, -10),
        finding(Detector.SPIKE, -10, series=OTHER),
    ]
    twice = [Store(), Store(), Store()]
    for store, tenant_id in zip(twice, (1, 1, 2), strict=True):
        store.see(look(tenant_id=tenant_id), *findings)
    first, again, other = twice
    assert first.anomalies.keys() == again.anomalies.keys()
    assert first.events.keys() == again.events.keys()
    assert len(first.anomalies.keys() | first.events.keys()) == 6
    assert first.anomalies.keys().isdisjoint(other.anomalies)
    assert first.events.keys().isdisjoint(other.events)


def test_quiet_series() -> None:
    """Anomalies whose series nobody looks at any more end as they are."""
    store = Store()
    store.see(look(), finding(Detector.TREND))
    [anomaly] = ended(store.open, look(60).now).updated
    assert (anomaly.ended_at, anomaly.last_seen_at) == (look(60).now, NOON)
