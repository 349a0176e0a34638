"""The alert store port: episodes as evaluation wrote them, found, acknowledged, and asked to be closed."""

from datetime import timedelta

import msgspec
import pytest

from core.domain.alerts import Alert, AlertFilter, EpisodeState, Resolution
from core.domain.errors import Conflict, InvalidInput, NotFound, TooExpensive
from core.domain.rules import Severity
from core.domain.times import EPOCH
from tests.support.alert_rows import FIRING, NOON, alert_revision, close_is_requested, events_left, write_alert
from tests.support.alert_storage import AlertStorage
from tests.support.storages import Store, Tenancy

RESOLVED = msgspec.structs.replace(
    FIRING, state=EpisodeState.RESOLVED, resolved_at=NOON + timedelta(hours=1), resolution=Resolution.RECOVERED
)
PENDING = msgspec.structs.replace(
    FIRING, state=EpisodeState.PENDING, severity=None, fired_at=None, value=None, threshold=None, announced=False
)
FULL = msgspec.structs.replace(
    RESOLVED,
    labels={"host": "größe ✓", "z": "", "path": 'a"b\\c\n'},
    severity=Severity.CRITICAL,
    value=-1.7976931348623157e308,
    threshold=(0.1, 5e-324 + 0.2),
    resolution=Resolution.CLOSED,
    no_data=True,
    shadow=True,
    announced=False,
    acknowledged_at=NOON + timedelta(microseconds=1),
    acknowledged_by="key:abc",
    annotations={"summary": "größe ✓\n", "b": ""},
    runbook_url="https://runbooks.example/x",
)
EVERYTHING = AlertFilter()


@pytest.mark.parametrize("alert", [FIRING, RESOLVED, PENDING, FULL])
async def test_shown_as_written(
    alerting: AlertStorage, other_alerting: AlertStorage, tenancy: Tenancy, store: Store, alert: Alert
) -> None:
    """Every field is shown as evaluation wrote it, in any process."""
    written = write_alert(store.place, tenancy.id, alert)
    assert await alerting.alerts.get(tenancy.id, written.id) == written
    assert list(await other_alerting.alerts.list(tenancy.id, EVERYTHING, limit=10, before_id=None)) == [written]


async def test_pages(alerting: AlertStorage, tenancy: Tenancy, store: Store) -> None:
    """Pages are newest first and together hold every alert once, filtered or not."""
    written = [
        write_alert(store.place, tenancy.id, labelled(FIRING, host=f"h{n % 3}", n=str(n)), target_key=f"s{n}")
        for n in range(20)
    ]
    newest = written[::-1]
    assert await pages(alerting, tenancy.id, EVERYTHING, limit=7) == newest
    for matchers in (("host=h1",), ("host=~h[12]", "n!=2"), ("nowhere=", "host!=h0"), ("metric=cpu",)):
        wanted = AlertFilter(matchers=matchers)
        expected = [alert for alert in newest if kept(alert, matchers)]
        assert expected
        for limit in (1, 3, 100):
            assert await pages(alerting, tenancy.id, wanted, limit=limit) == expected


async def test_pages_of_many(
    alerting: AlertStorage, tenancy: Tenancy, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page is full however many alerts that do not match lie between those that do."""
    monkeypatch.setattr("adapters.driven.postgres.alerts.PAGE_ROWS", 3)
    written = [write_alert(store.place, tenancy.id, labelled(FIRING, n=str(n)), target_key=f"s{n}") for n in range(13)]
    wanted = AlertFilter(matchers=("n=~[0369]|12",))
    found = await alerting.alerts.list(tenancy.id, wanted, limit=3, before_id=None)
    assert list(found) == [written[12], written[9], written[6]]
    rest = await alerting.alerts.list(tenancy.id, wanted, limit=3, before_id=written[6].id)
    assert list(rest) == [written[3], written[0]]


async def test_a_search_has_an_end(
    alerting: AlertStorage, tenancy: Tenancy, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would look at too many alerts is refused instead of being answered with too few; other filters help."""
    monkeypatch.setattr("adapters.driven.postgres.alerts.PAGE_ROWS", 3)
    for engine in ("postgres", "memory"):
        monkeypatch.setattr(f"adapters.driven.{engine}.alerts.ALERTS_LOOKED_AT_MAX", 3)
    for n in range(7):
        write_alert(store.place, tenancy.id, labelled(FIRING, n=str(n)), target_key=f"s{n}")
    with pytest.raises(TooExpensive):
        await alerting.alerts.list(tenancy.id, AlertFilter(matchers=("n=~[0]",)), limit=1, before_id=None)
    pending = AlertFilter(state=EpisodeState.PENDING, matchers=("n=~[0]",))
    assert list(await alerting.alerts.list(tenancy.id, pending, limit=1, before_id=None)) == []


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (EVERYTHING, "firing pending resolved full"),
        (AlertFilter(state=EpisodeState.FIRING), "firing"),
        (AlertFilter(state=EpisodeState.PENDING), "pending"),
        (AlertFilter(state=EpisodeState.RESOLVED), "resolved full"),
        (AlertFilter(severity=Severity.WARNING), "firing resolved"),
        (AlertFilter(severity=Severity.CRITICAL), "full"),
        (AlertFilter(rule="disk"), "pending"),
        (AlertFilter(metric="disk_free"), "pending"),
        (AlertFilter(rule="cpu"), ""),
        (AlertFilter(acknowledged=True), "full"),
        (AlertFilter(acknowledged=False), "firing pending resolved"),
        (AlertFilter(shadow=True), "full"),
        (AlertFilter(shadow=False, state=EpisodeState.RESOLVED), "resolved"),
        (AlertFilter(start_us=(NOON - EPOCH) // timedelta(microseconds=1)), "firing pending full"),
        (AlertFilter(end_us=(NOON - EPOCH) // timedelta(microseconds=1)), "resolved"),
        (AlertFilter(start_us=(NOON - EPOCH) // timedelta(microseconds=1) + 1), ""),
        (AlertFilter(matchers=("host=a",)), "firing pending resolved"),
        (AlertFilter(matchers=("host!=a",)), "full"),
        (AlertFilter(matchers=("z=",)), "firing pending resolved full"),
        (AlertFilter(matchers=("host=a", "host=b")), ""),
        (AlertFilter(matchers=("alertname=disk",)), "pending"),
        (AlertFilter(matchers=("severity=",)), "pending"),
        (AlertFilter(matchers=("severity=~warning|critical", "metric=cpu", "host=größe ✓")), "full"),
    ],
)
async def test_filters(
    alerting: AlertStorage, tenancy: Tenancy, store: Store, wanted: AlertFilter, expected: str
) -> None:
    """Each filter takes what it names; a matcher sees what a silence's would see."""
    written = {
        "firing": FIRING,
        "pending": msgspec.structs.replace(PENDING, rule="disk", rule_id=2, metric="disk_free"),
        "resolved": msgspec.structs.replace(RESOLVED, started_at=NOON - timedelta(microseconds=1)),
        "full": FULL,
    }
    names = {write_alert(store.place, tenancy.id, alert, target_key=name).id: name for name, alert in written.items()}
    found = await alerting.alerts.list(tenancy.id, wanted, limit=10, before_id=None)
    assert sorted(names[alert.id] for alert in found) == sorted(expected.split())


async def test_a_matcher_that_is_none(alerting: AlertStorage, tenancy: Tenancy) -> None:
    """What cannot be read as a matcher is refused."""
    with pytest.raises(InvalidInput):
        await alerting.alerts.list(tenancy.id, AlertFilter(matchers=("host=~(",)), limit=1, before_id=None)


@pytest.mark.parametrize("alert", [FIRING, PENDING])
async def test_acknowledge(alerting: AlertStorage, tenancy: Tenancy, store: Store, alert: Alert) -> None:
    """The first to acknowledge stays; those who were to be told of the alert are told of it, once."""
    written = write_alert(store.place, tenancy.id, alert, channels=("on call",))
    seen = await alerting.alerts.acknowledge(tenancy.id, written.id, by="key:abc", now=NOON)
    assert seen == msgspec.structs.replace(written, acknowledged_at=NOON, acknowledged_by="key:abc")
    later = NOON + timedelta(hours=1)
    assert await alerting.alerts.acknowledge(tenancy.id, written.id, by="key:other", now=later) == seen
    assert await alerting.alerts.get(tenancy.id, written.id) == seen
    told = [(written.id, "acknowledged", None)] if alert.announced else []
    assert events_left(store.place, tenancy.id) == told


async def test_shadows_are_acknowledged_in_silence(alerting: AlertStorage, tenancy: Tenancy, store: Store) -> None:
    """Nobody is told of an alert whose rule tells nobody."""
    written = write_alert(store.place, tenancy.id, msgspec.structs.replace(FIRING, shadow=True))
    await alerting.alerts.acknowledge(tenancy.id, written.id, by="key:abc", now=NOON)
    assert events_left(store.place, tenancy.id) == []


async def test_what_is_over_can_be_neither_acknowledged_nor_closed(
    alerting: AlertStorage, tenancy: Tenancy, store: Store
) -> None:
    """A resolved alert stays as it is, even while a later episode of the same target goes on."""
    over = write_alert(store.place, tenancy.id, RESOLVED)
    write_alert(store.place, tenancy.id, msgspec.structs.replace(FIRING, episode=2))
    before = alert_revision(store.place)
    with pytest.raises(Conflict):
        await alerting.alerts.acknowledge(tenancy.id, over.id, by="key:abc", now=NOON)
    with pytest.raises(Conflict):
        await alerting.alerts.request_close(tenancy.id, over.id, by="key:abc")
    assert await alerting.alerts.get(tenancy.id, over.id) == over
    assert not close_is_requested(store.place, tenancy.id)
    assert (events_left(store.place, tenancy.id), alert_revision(store.place)) == ([], before)


async def test_an_episode_that_has_just_ended_is_not_closed(
    alerting: AlertStorage, tenancy: Tenancy, store: Store
) -> None:
    """What counts is the target's state: its next episode is not closed for an earlier one."""
    earlier = write_alert(store.place, tenancy.id, FIRING)
    write_alert(store.place, tenancy.id, msgspec.structs.replace(FIRING, episode=2))
    with pytest.raises(Conflict):
        await alerting.alerts.request_close(tenancy.id, earlier.id, by="key:abc")
    assert not close_is_requested(store.place, tenancy.id)


@pytest.mark.parametrize("alert", [FIRING, PENDING])
async def test_request_close(alerting: AlertStorage, tenancy: Tenancy, store: Store, alert: Alert) -> None:
    """Evaluation is asked to end that target's episode, and no other's."""
    written = write_alert(store.place, tenancy.id, alert)
    write_alert(store.place, tenancy.id, FIRING, target_key="s2")
    before = alert_revision(store.place)
    assert await alerting.alerts.request_close(tenancy.id, written.id, by="key:abc") == written
    assert close_is_requested(store.place, tenancy.id)
    assert not close_is_requested(store.place, tenancy.id, "s2")
    assert alert_revision(store.place) > before
    await alerting.alerts.request_close(tenancy.id, written.id, by="key:abc")


@pytest.mark.parametrize("alert_id", [0, -1, 2**62])
async def test_no_such_alert(alerting: AlertStorage, tenancy: Tenancy, alert_id: int) -> None:
    """An id that none has is not found."""
    await refuses_all(alerting, tenancy.id, alert_id)


async def test_tenants_apart(alerting: AlertStorage, tenancy: Tenancy, neighbour: Tenancy, store: Store) -> None:
    """The neighbour neither sees, acknowledges nor closes an alert, whatever it asks for."""
    written = write_alert(store.place, tenancy.id)
    foreign = write_alert(store.place, neighbour.id)
    await refuses_all(alerting, neighbour.id, written.id)
    for wanted in (EVERYTHING, AlertFilter(state=EpisodeState.FIRING), AlertFilter(matchers=("host=a",))):
        found = await alerting.alerts.list(neighbour.id, wanted, limit=10, before_id=None)
        assert list(found) == [foreign]
    assert await alerting.alerts.get(tenancy.id, written.id) == written
    assert not close_is_requested(store.place, tenancy.id)
    assert events_left(store.place, tenancy.id) == []


async def refuses_all(alerting: AlertStorage, tenant_id: int, alert_id: int) -> None:
    """Nothing can be done with an alert that is not the tenant's."""
    for attempt in (
        alerting.alerts.get(tenant_id, alert_id),
        alerting.alerts.acknowledge(tenant_id, alert_id, by="key:abc", now=NOON),
        alerting.alerts.request_close(tenant_id, alert_id, by="key:abc"),
    ):
        with pytest.raises(NotFound):
            await attempt


async def pages(alerting: AlertStorage, tenant_id: int, wanted: AlertFilter, *, limit: int) -> list[Alert]:
    """All pages, one after the other; each but the last is full."""
    found: list[Alert] = []
    while True:
        before_id = found[-1].id if found else None
        page = await alerting.alerts.list(tenant_id, wanted, limit=limit, before_id=before_id)
        found += page
        if len(page) < limit:
            return found


def labelled(alert: Alert, **labels: str) -> Alert:
    """The alert with these labels."""
    return msgspec.structs.replace(alert, labels=labels)


def kept(alert: Alert, matchers: tuple[str, ...]) -> bool:
    """What the matchers of `test_pages` mean, said differently."""
    host, n = alert.labels["host"], alert.labels["n"]
    match matchers:
        case ("host=h1",):
            return host == "h1"
        case ("host=~h[12]", "n!=2"):
            return host in ("h1", "h2") and n != "2"
        case ("nowhere=", "host!=h0"):
            return host != "h0"
        case _:
            return alert.metric == "cpu"
