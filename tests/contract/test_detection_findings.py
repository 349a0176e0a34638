"""The detection runs port: which series a run looks at, and what becomes of the anomalies it finds."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from core.detection.plan import RISK_METRIC
from core.domain.anomalies import Detector, Mark, Verdict
from core.domain.errors import Conflict
from core.domain.events import EventFilter
from ports.driven.detection_store import AnomalyChanges, PublishedRisk
from tests.support.detection_runs import LEASE_S, NOON, NOTHING, anomaly, claimed, event_of, later, progress
from tests.support.storages import Storage, Tenancy

ALL = 1_000
FALSE = Mark(verdict=Verdict.FALSE, by="key:1", at=NOON)


async def test_series(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Series come ascending, in pages, with all they are; risks and other tenants' series do not."""
    now = datetime.now(UTC)
    series_ids = [
        await tenancy.series("cpu", "agent", host="größe", zone="✓"),
        await tenancy.series("cpu", host="b"),
        await tenancy.series("disk", host="a"),
    ]
    await tenancy.series(RISK_METRIC, fingerprint="a:cpu")
    await neighbour.series("cpu", host="a")
    pages = []
    after_id = 0
    while page := await storage.detection_runs.series(tenancy.id, after_id=after_id, seen_since=now, limit=2):
        pages.append([series.series_id for series in page])
        after_id = page[-1].series_id
    assert pages == [series_ids[:2], series_ids[2:]]
    [first] = await storage.detection_runs.series(tenancy.id, after_id=0, seen_since=now, limit=1)
    assert (first.name, first.labels, first.source) == ("cpu", {"host": "größe", "zone": "✓"}, "agent")
    tomorrow = now + timedelta(days=1)
    assert not await storage.detection_runs.series(tenancy.id, after_id=0, seen_since=tomorrow, limit=9)


async def test_kept_as_given(storage: Storage, other_storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Anomalies and their events come back as they were saved, in any process, for their tenant only."""
    claim = await claimed(storage.detection_runs, tenancy)
    found = [
        anomaly(1),
        anomaly(1, Detector.STREAMING, service="web", host=None, shadow=True, synthetic=True),
        anomaly(2**31 - 1, Detector.TREND, ended_at=later(microseconds=1), labels={}),
    ]
    events = [event_of(one) for one in found]
    changes = AnomalyChanges(opened=found, events=events)
    for _ in range(2):  # the second time nothing is new
        await storage.detection_runs.save(claim, progress(9), changes, now=NOON, lease_s=LEASE_S)
    for one in found:
        assert await other_storage.detection.anomaly(tenancy.id, one.id) == one
    listed = await other_storage.events.list(tenancy.id, EventFilter(), limit=ALL, before=None)
    assert {event.id: event for event in listed} == {event.id: event for event in events}
    assert len(listed) == 3
    assert not await storage.detection_runs.latest_anomalies(neighbour.id, [1, 2**31 - 1])
    assert not await storage.events.list(neighbour.id, EventFilter(), limit=ALL, before=None)


async def test_updates_leave_verdicts_alone(storage: Storage, tenancy: Tenancy) -> None:
    """Found again, an anomaly has its new finding and keeps what was said of it, also once it has ended."""
    claim = await claimed(storage.detection_runs, tenancy)
    old = anomaly(shadow=True)
    await storage.detection_runs.save(claim, NOTHING, AnomalyChanges(opened=[old]), now=NOON, lease_s=LEASE_S)
    await storage.detection.mark(tenancy.id, old.id, FALSE)
    finding = msgspec.structs.replace(old.finding, risk=0.5, phrase="1 spike", moments=())
    again = msgspec.structs.replace(old, finding=finding, risk_max=0.97, last_seen_at=later(minutes=15), shadow=False)
    for new in (again, msgspec.structs.replace(again, ended_at=later(minutes=30))):
        await storage.detection_runs.save(claim, NOTHING, AnomalyChanges(updated=[new]), now=NOON, lease_s=LEASE_S)
        assert await storage.detection.anomaly(tenancy.id, old.id) == msgspec.structs.replace(new, mark=FALSE)


async def test_what_was_forgotten_stays_forgotten(storage: Storage, tenancy: Tenancy) -> None:
    """An anomaly that is not there any more does not come back because a run had it in hand."""
    claim = await claimed(storage.detection_runs, tenancy)
    changes = AnomalyChanges(updated=[anomaly()])
    await storage.detection_runs.save(claim, NOTHING, changes, now=NOON, lease_s=LEASE_S)
    assert not await storage.detection_runs.latest_anomalies(tenancy.id, [1])


async def test_one_open_anomaly_for_each_series_and_detector(storage: Storage, tenancy: Tenancy) -> None:
    """Where one has ended another may open at once; a second open one is refused with all that came with it."""
    claim = await claimed(storage.detection_runs, tenancy)
    first, second = anomaly(), anomaly(first_seen_at=later(minutes=1))
    await storage.detection_runs.save(claim, NOTHING, AnomalyChanges(opened=[first]), now=NOON, lease_s=LEASE_S)
    changes = AnomalyChanges(opened=[second, anomaly(series_id=2)], events=[event_of(second)])
    with pytest.raises(Conflict):
        await storage.detection_runs.save(claim, progress(2), changes, now=NOON, lease_s=LEASE_S)
    assert list(await storage.detection_runs.latest_anomalies(tenancy.id, [1, 2])) == [first]
    assert not await storage.events.list(tenancy.id, EventFilter(), limit=ALL, before=None)
    ended = msgspec.structs.replace(first, ended_at=NOON)
    changes = msgspec.structs.replace(changes, updated=[ended])
    await storage.detection_runs.save(claim, progress(2), changes, now=NOON, lease_s=LEASE_S)
    assert list(await storage.detection_runs.latest_anomalies(tenancy.id, [1])) == [second]


async def test_latest_anomalies(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Of each series and detector the open one, else the one first seen last, else the one latest in time."""
    open_one = anomaly(1, Detector.SPIKE, first_seen_at=NOON)
    ended_later = anomaly(1, Detector.SPIKE, first_seen_at=later(hours=1), ended_at=later(hours=1))
    old = anomaly(1, Detector.TREND, first_seen_at=NOON, ended_at=NOON)
    new = anomaly(1, Detector.TREND, first_seen_at=later(hours=1), ended_at=later(hours=1))
    early, late = (
        anomaly(2, ended_at=NOON, finding=msgspec.structs.replace(open_one.finding, series_id=2, end_us=end_us))
        for end_us in (9_000_000, 10_000_000)
    )
    claim = await claimed(storage.detection_runs, tenancy)
    changes = AnomalyChanges(opened=[open_one, ended_later, new, old, late, early, anomaly(3)])
    await storage.detection_runs.save(claim, NOTHING, changes, now=NOON, lease_s=LEASE_S)
    assert list(await storage.detection_runs.latest_anomalies(tenancy.id, [2, 1])) == [open_one, new, late]
    assert not await storage.detection_runs.latest_anomalies(tenancy.id, [])
    assert not await storage.detection_runs.latest_anomalies(neighbour.id, [1, 2])


async def test_quiet_anomalies(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Open ones that were last seen before an instant, those that are quiet for longest first, as many as asked for."""
    found = [anomaly(number, last_seen_at=later(minutes=-number)) for number in range(5)]
    found.append(anomaly(9, last_seen_at=later(days=-1), ended_at=NOON))
    claim = await claimed(storage.detection_runs, tenancy)
    await storage.detection_runs.save(claim, NOTHING, AnomalyChanges(opened=found), now=NOON, lease_s=LEASE_S)
    quiet = await storage.detection_runs.quiet_anomalies(tenancy.id, seen_before=later(minutes=-1), limit=ALL)
    assert list(quiet) == [found[4], found[3], found[2]]
    assert list(await storage.detection_runs.quiet_anomalies(tenancy.id, seen_before=NOON, limit=1)) == [found[4]]
    assert not await storage.detection_runs.quiet_anomalies(neighbour.id, seen_before=later(days=9), limit=ALL)


async def test_alarming(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Alerted are open anomalies above a risk, riskiest first: none in shadow, none that an operator called false."""
    loud, louder = anomaly(1, risk=0.81), anomaly(2, risk=1.0)
    exactly, ended = anomaly(3, risk=0.8), anomaly(4, ended_at=NOON)
    shadow, wrong = anomaly(5, shadow=True), anomaly(6)
    opened = [loud, louder, exactly, ended, shadow, wrong]
    claim = await claimed(storage.detection_runs, tenancy)
    await storage.detection_runs.save(claim, NOTHING, AnomalyChanges(opened=opened), now=NOON, lease_s=LEASE_S)
    await storage.detection.mark(tenancy.id, wrong.id, FALSE)
    right = msgspec.structs.replace(FALSE, verdict=Verdict.TRUE)
    louder = await storage.detection.mark(tenancy.id, louder.id, right)
    assert list(await storage.detection_runs.alarming(tenancy.id, risk_min=0.8)) == [louder, loud]
    assert not await storage.detection_runs.alarming(neighbour.id, risk_min=0.0)


async def test_published_risks(storage: Storage, other_storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """What is published replaces what was; a risk of 0 is forgotten."""
    a, b = (PublishedRisk(fingerprint=name, labels={"host": "größe"}, risk=0.1 + 0.2) for name in ("a:cpu", "b:cpu"))
    claim = await claimed(storage.detection_runs, tenancy)
    await storage.detection_runs.save_published(claim, [b, a])
    assert list(await other_storage.detection_runs.published(tenancy.id)) == [a, b]
    risen = msgspec.structs.replace(a, risk=1.0, labels={})
    await storage.detection_runs.save_published(claim, [risen, msgspec.structs.replace(b, risk=0.0)])
    assert list(await other_storage.detection_runs.published(tenancy.id)) == [risen]
    assert not await storage.detection_runs.published(neighbour.id)
    await storage.detection_runs.save_published(claim, [])
    assert not await storage.detection_runs.published(tenancy.id)


async def test_many_at_once(storage: Storage, tenancy: Tenancy) -> None:
    """A chunk with thousands of anomalies is one transaction, and none gets lost."""
    found = [anomaly(number, detector) for number in range(1, 501) for detector in Detector]
    claim = await claimed(storage.detection_runs, tenancy)
    changes = AnomalyChanges(opened=found, events=[event_of(one) for one in found])
    await storage.detection_runs.save(claim, progress(500), changes, now=NOON, lease_s=LEASE_S)
    latest = await storage.detection_runs.latest_anomalies(tenancy.id, range(1, 501))
    assert {one.id for one in latest} == {one.id for one in found}
    ended = [msgspec.structs.replace(one, ended_at=NOON) for one in found]
    changes = AnomalyChanges(updated=ended)
    await storage.detection_runs.save(claim, progress(500), changes, now=NOON, lease_s=LEASE_S)
    assert not await storage.detection_runs.quiet_anomalies(tenancy.id, seen_before=later(days=1), limit=1)
