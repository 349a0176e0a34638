"""The correlator over every store: what happened becomes incidents, whatever the order and the delay."""

from datetime import timedelta

import msgspec
import pytest

from core.domain.alerts import Alert
from core.domain.dependencies import Dependency
from core.domain.events import CHANGE_METRIC, EventSeverity
from core.domain.incidents import ChangeKind, IncidentDetail, IncidentState, LearnedLag, ReferenceKind
from core.domain.rules import Severity
from core.domain.times import MINUTE_US
from core.services.correlation import LEARN_AFTER_S, RETENTION
from tests.support.alert_rows import FIRING, write_alert
from tests.support.correlating import Correlator, add, errors, incident_of, incidents_of, seen, waiting_of
from tests.support.incident_rows import NOON, NOON_US, error_event
from tests.support.storages import Storage, Store, Tenancy

MINUTE = timedelta(minutes=1)


@pytest.fixture
def correlator(storage: Storage) -> Correlator:
    """The service, five minutes after noon, when what tests tell of has happened."""
    return Correlator(storage, NOON_US + 5 * MINUTE_US)


def kinds(detail: IncidentDetail) -> list[ChangeKind]:
    """What became of an incident, in order."""
    return [change.kind for change in detail.history]


async def test_errors_become_an_incident_that_is_explained(correlator: Correlator, tenancy: Tenancy) -> None:
    """Events of one host are one incident; its narrative leads to the rows, and to the samples, behind it."""
    series_id = await tenancy.series("cpu", host="host-a", service="shop")
    await tenancy.storage.dependencies.replace(tenancy.id, [Dependency("web", "shop")])
    samples = [(minute, 20.0 + minute % 3) for minute in range(-60, 0)] + [(minute, 95.0) for minute in range(5)]
    await tenancy.append([(series_id, NOON_US + minute * MINUTE_US, value) for minute, value in samples])
    keys = await add(tenancy, *errors(5, service="shop", severity=EventSeverity.ERROR))
    await correlator.settle(tenancy)
    detail = await incident_of(tenancy)
    incident = detail.incident
    assert [signal.key for signal in detail.timeline] == keys
    assert (incident.state, incident.severe, incident.hosts) == (IncidentState.OPEN, True, ("host-a",))
    assert (incident.started_at, incident.last_signal_at) == (NOON, NOON + MINUTE * 4 / 6)
    assert kinds(detail) == [ChangeKind.OPENED]
    assert {key for link in detail.links for key in (link.first, link.then)} == set(keys)
    assert detail.analysis is not None
    assert incident.narrative == detail.analysis.text
    assert incident.narrative.startswith("At 2026-01-31 12:00 UTC, ")
    assert "5 error events" in incident.narrative
    references = [reference for sentence in detail.analysis.narrative for reference in sentence.references]
    assert {f"event:{one.id}" for one in references if one.kind is ReferenceKind.EVENT} <= set(keys)
    assert all(sentence.references for sentence in detail.analysis.narrative)
    assert detail.analysis.hypotheses[0].entity in ("shop", "host-a")


async def test_an_alert_and_errors_join(correlator: Correlator, tenancy: Tenancy, store: Store) -> None:
    """An alert, a change and errors of one host are one incident; what a shadow rule found is not part of it."""
    alert = write_alert(
        store.place,
        tenancy.id,
        _alert(severity=Severity.CRITICAL, labels={"host": "host-a"}),
    )
    write_alert(store.place, tenancy.id, _alert(shadow=True, labels={"host": "host-a"}), target_key="s2")
    change = error_event(-2, metric=CHANGE_METRIC, severity=EventSeverity.INFO, message="deployed 1.4")
    keys = await add(tenancy, change, *errors(2, 1))
    await correlator.settle(tenancy)
    detail = await incident_of(tenancy)
    assert {signal.key for signal in detail.timeline} == {*keys, f"alert:{alert.id}"}
    assert [signal.at_us for signal in detail.timeline] == sorted(signal.at_us for signal in detail.timeline)


async def test_a_severe_alert_is_an_incident_alone(correlator: Correlator, tenancy: Tenancy, store: Store) -> None:
    """And what comes to its host joins it."""
    alert = write_alert(store.place, tenancy.id, _alert(severity=Severity.CRITICAL, labels={"host": "host-a"}))
    await correlator.settle(tenancy)
    assert [signal.key for signal in (await incident_of(tenancy)).timeline] == [f"alert:{alert.id}"]
    [key] = await add(tenancy, error_event(2))
    await correlator.settle(tenancy)
    assert [signal.key for signal in (await incident_of(tenancy)).timeline] == [f"alert:{alert.id}", key]


async def test_calls_join_services(correlator: Correlator, tenancy: Tenancy) -> None:
    """Errors of two services become one incident where one calls the other, and are nothing where none does."""
    await tenancy.storage.dependencies.replace(tenancy.id, [Dependency("checkout", "payment")])
    services = ("checkout", "payment", "checkout", "search", "mail")
    events = [error_event(number / 6, host=None, service=name) for number, name in enumerate(services)]
    keys = await add(tenancy, *events)
    await correlator.settle(tenancy)
    detail = await incident_of(tenancy)
    assert [signal.key for signal in detail.timeline] == keys[:3]
    assert detail.incident.services == ("checkout", "payment")
    assert await waiting_of(tenancy) == keys[3:]


async def test_what_stays_alone_is_dropped(correlator: Correlator, tenancy: Tenancy) -> None:
    """Not before its window has passed, and never looked at again."""
    keys = await add(tenancy, error_event(4))
    await correlator.settle(tenancy)
    assert await waiting_of(tenancy) == keys
    await correlator.settle(tenancy, 6 * MINUTE)
    assert await waiting_of(tenancy) == []
    assert await incidents_of(tenancy) == []


async def test_late_signals(correlator: Correlator, tenancy: Tenancy) -> None:
    """What happened within an incident, or just before it, joins it whenever it comes; what happened a day before is an
    incident of that day."""
    keys = await add(tenancy, *errors(3))
    await correlator.settle(tenancy)
    before = await incident_of(tenancy)
    seen_at = NOON + 20 * MINUTE
    late = await add(tenancy, *seen(seen_at, error_event(-2), error_event(0.2)))
    earlier = await add(tenancy, *seen(seen_at, *errors(3, -24 * 60)))
    await correlator.settle(tenancy, 20 * MINUTE)
    first, second = await incidents_of(tenancy)
    assert [signal.key for signal in first.timeline] == [late[0], *keys[:2], late[1], keys[2]]
    assert first.incident.id == before.incident.id
    assert first.incident.started_at == NOON - 2 * MINUTE
    assert first.analysis != before.analysis
    assert [signal.key for signal in second.timeline] == earlier


async def test_quiet_incidents_are_resolved_and_may_open_again(
    correlator: Correlator, tenancy: Tenancy, store: Store
) -> None:
    """After an hour of quiet; a signal soon afterwards opens it again, one that comes later is another incident."""
    await add(tenancy, *errors(3))
    await correlator.settle(tenancy)
    await correlator.settle(tenancy, 50 * MINUTE)
    assert (await incident_of(tenancy)).incident.state is IncidentState.OPEN
    await correlator.settle(tenancy, 10 * MINUTE)
    resolved = await incident_of(tenancy)
    assert (resolved.incident.state, resolved.incident.resolved_by) == (IncidentState.RESOLVED, "sextant")
    await add(tenancy, error_event(80))
    await correlator.settle(tenancy, 15 * MINUTE)
    again = await incident_of(tenancy)
    assert again.incident.state is IncidentState.OPEN
    assert kinds(again) == [ChangeKind.OPENED, ChangeKind.RESOLVED, ChangeKind.REOPENED, ChangeKind.GREW]
    await correlator.settle(tenancy, 70 * MINUTE)
    assert (await incident_of(tenancy)).incident.state is IncidentState.RESOLVED
    await add(tenancy, *errors(3, 240))
    await correlator.settle(tenancy, 100 * MINUTE)
    assert [one.incident.state for one in await incidents_of(tenancy)] == [IncidentState.RESOLVED, IncidentState.OPEN]


async def test_not_quiet_while_its_alert_fires(correlator: Correlator, tenancy: Tenancy, store: Store) -> None:
    """An incident lasts as long as its alert does."""
    write_alert(store.place, tenancy.id, _alert(severity=Severity.CRITICAL, labels={"host": "host-a"}))
    await correlator.settle(tenancy)
    await correlator.settle(tenancy, 120 * MINUTE)
    assert (await incident_of(tenancy)).incident.state is IncidentState.OPEN


async def test_two_tenants(correlator: Correlator, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """The same events, ids included, of two tenants are two incidents that know nothing of each other."""
    shared = errors(3)
    for one in (tenancy, neighbour):
        await add(one, *shared)
    await add(neighbour, error_event(1))
    await correlator.settle(tenancy)
    await correlator.settle(neighbour)
    ours, theirs = await incident_of(tenancy), await incident_of(neighbour)
    assert (ours.incident.signals, theirs.incident.signals) == (3, 4)
    assert ours.incident.id != theirs.incident.id


async def test_synthetic_signals_keep_to_themselves(correlator: Correlator, tenancy: Tenancy) -> None:
    """They make incidents of their own."""
    await add(tenancy, *errors(3), *errors(3, 0.05, synthetic=True))
    await correlator.settle(tenancy)
    assert sorted(one.incident.synthetic for one in await incidents_of(tenancy)) == [False, True]


async def test_lags_are_learned(correlator: Correlator, tenancy: Tenancy) -> None:
    """What moved a minute after another thing in three incidents is expected to; that joins it in the next one."""
    for number in range(3):
        start = -180 * (number + 1)
        first = [error_event(start + 0.1 * one, host=None, service="db") for one in range(2)]
        then = [error_event(start + 1 + 0.1 * one, host=None, service="web") for one in range(2)]
        await add(tenancy, *first, *then, error_event(start + 0.5, host="db-1", service="db"))
    await tenancy.storage.dependencies.replace(tenancy.id, [Dependency("web", "db")])
    await correlator.settle(tenancy)
    assert len(await incidents_of(tenancy)) == 3
    await correlator.settle(tenancy, timedelta(seconds=LEARN_AFTER_S))
    expected = LearnedLag(first="db", then="web", lag_us=MINUTE_US, spread_us=0, incidents=3)
    assert expected in await tenancy.storage.incident_work.lags(tenancy.id)


async def test_old_incidents_are_forgotten(correlator: Correlator, tenancy: Tenancy) -> None:
    """More than a year after they were over; not a day before."""
    await add(tenancy, *errors(3))
    await correlator.settle(tenancy)
    await correlator.settle(tenancy, 60 * MINUTE)
    await correlator.settle(tenancy, RETENTION - timedelta(days=1))
    assert len(await incidents_of(tenancy)) == 1
    await correlator.settle(tenancy, timedelta(days=1, hours=1))
    assert await incidents_of(tenancy) == []


def _alert(**changes: object) -> Alert:
    """A warning that has fired since noon."""
    return msgspec.structs.replace(FIRING, started_at=NOON, fired_at=NOON + MINUTE, **changes)
