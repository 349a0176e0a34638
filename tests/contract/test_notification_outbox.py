"""The notification outbox port: every event is decided once, one process at a time about a tenant."""

from datetime import timedelta

import msgspec
import pytest

from core.domain.alerts import InhibitionSpec, SilenceSpec
from core.domain.errors import NotFound
from core.domain.notifications import AlertEvent
from tests.support.alert_rows import FIRING, NOON, events_left, write_alert, write_event
from tests.support.alert_storage import AlertStorage
from tests.support.outbox_use import (
    FAR,
    LATER,
    RESOLVED,
    SECOND,
    decide,
    decide_nothing,
    event_of,
    ids_of,
    listed,
    messages,
    new_channel,
)
from tests.support.storages import Store, Tenancy

pytestmark = pytest.mark.usefixtures("empty_outbox")


async def test_events(alerting: AlertStorage, other_alerting: AlertStorage, tenancy: Tenancy, store: Store) -> None:
    """An event carries its alert as it now is; once it is decided, nobody gets it again."""
    alert = write_alert(store.place, tenancy.id, channels=("on call",))
    first = write_event(
        store.place, alert, tenant_id=tenancy.id, channels=("a", "größe ✓"), text="x\n✓", link="https://x.example"
    )
    seen = await alerting.alerts.acknowledge(tenancy.id, alert.id, by="key:abc", now=NOON + SECOND)
    async with alerting.outbox.undecided(now=LATER, created_before=LATER, limit=10) as undecided:
        fired, acknowledged = undecided.events
        assert (fired.id, fired.tenant_id, fired.tenant, fired.alert, fired.event, fired.created_at) == (
            first,
            tenancy.id,
            tenancy.tenant.name,
            seen,
            AlertEvent.FIRED,
            NOON,
        )
        assert (fired.channels, fired.text, fired.link) == (("a", "größe ✓"), "x\n✓", "https://x.example")
        assert (acknowledged.event, acknowledged.channels) == (AlertEvent.ACKNOWLEDGED, ("on call",))
        assert (acknowledged.alert, acknowledged.created_at, acknowledged.text) == (seen, NOON + SECOND, None)
        await undecided.decide([], suppressed=[(first, "silenced by 7")], kept=[], look_again_at=FAR)
    assert events_left(store.place, tenancy.id) == [
        (alert.id, "fired", "silenced by 7"),
        (alert.id, "acknowledged", None),
    ]
    assert not await decide_nothing(other_alerting, FAR)


async def test_events_of_one_moment_wait_for_each_other(alerting: AlertStorage, tenancy: Tenancy, store: Store) -> None:
    """Events at or after the given time are not looked at yet, and no more than the limit at once, oldest first."""
    ids = [event_of(store, tenancy, NOON + n * SECOND) for n in (2, 0, 1)]
    async with alerting.outbox.undecided(now=LATER, created_before=NOON, limit=9) as undecided:
        assert list(undecided.events) == []
    async with alerting.outbox.undecided(now=LATER, created_before=NOON + 2 * SECOND, limit=9) as undecided:
        assert [event.id for event in undecided.events] == ids[1:]
    async with alerting.outbox.undecided(now=LATER, created_before=LATER, limit=2) as undecided:
        assert [event.id for event in undecided.events] == ids[1:]


async def test_the_tenant_with_the_oldest_event_comes_first(
    alerting: AlertStorage, tenancy: Tenancy, neighbour: Tenancy, store: Store
) -> None:
    """Tenants take turns by the age of what waits, each alone."""
    newer = event_of(store, tenancy, NOON + SECOND)
    oldest = event_of(store, neighbour, NOON)
    newest = event_of(store, neighbour, NOON + 2 * SECOND)
    assert await decide_nothing(alerting, LATER) == [oldest, newest]
    assert await decide_nothing(alerting, LATER) == [newer]


async def test_what_is_kept_comes_back_later(
    alerting: AlertStorage, tenancy: Tenancy, neighbour: Tenancy, store: Store
) -> None:
    """A kept event is out of sight until its time, so that it holds back neither its tenant's others nor anybody's."""
    kept, done = event_of(store, tenancy, NOON), event_of(store, tenancy, NOON)
    other = event_of(store, neighbour, NOON + SECOND)
    async with alerting.outbox.undecided(now=LATER, created_before=LATER, limit=9) as undecided:
        assert [event.id for event in undecided.events] == [kept, done]
        await undecided.decide([], suppressed=[], kept=[kept], look_again_at=LATER + SECOND)
    assert await decide_nothing(alerting, LATER) == [other]
    assert await decide_nothing(alerting, LATER) == []
    assert await decide_nothing(alerting, LATER + SECOND) == [kept]
    assert await decide_nothing(alerting, FAR) == []


async def test_an_error_decides_nothing(alerting: AlertStorage, tenancy: Tenancy, store: Store) -> None:
    """Leaving by an error undoes the decision, leaving without one keeps the events; they come again."""
    event_id = event_of(store, tenancy, NOON)
    channel = await new_channel(alerting, tenancy)
    [outgoing] = messages(tenancy, channel, (FIRING,))
    with pytest.raises(RuntimeError, match="away"):  # noqa: PT012  # the body of the transaction is what is tested
        async with alerting.outbox.undecided(now=LATER, created_before=LATER, limit=9) as undecided:
            await undecided.decide([outgoing], suppressed=[], kept=[], look_again_at=FAR)
            raise RuntimeError("away")
    with pytest.raises(NotFound):
        await alerting.notifications.get(tenancy.id, outgoing.message.id)
    async with alerting.outbox.undecided(now=LATER, created_before=LATER, limit=9) as undecided:
        assert [event.id for event in undecided.events] == [event_id]
    assert await decide_nothing(alerting, LATER) == [event_id]


@pytest.mark.usefixtures("two_transactions")
async def test_one_decides_about_a_tenant(
    alerting: AlertStorage, other_alerting: AlertStorage, tenancy: Tenancy, neighbour: Tenancy, store: Store
) -> None:
    """While one decides about a tenant, another takes the next tenant, and with none left nothing."""
    first, second = event_of(store, tenancy, NOON), event_of(store, neighbour, NOON + SECOND)
    bounds = {"now": LATER, "created_before": LATER}
    async with alerting.outbox.undecided(**bounds, limit=1) as mine:
        async with other_alerting.outbox.undecided(**bounds, limit=1) as theirs:
            assert ([event.id for event in mine.events], [event.id for event in theirs.events]) == ([first], [second])
            assert await decide_nothing(alerting, LATER) == []
            await theirs.decide([], suppressed=[], kept=[], look_again_at=FAR)
        await mine.decide([], suppressed=[], kept=[], look_again_at=FAR)
    assert await decide_nothing(alerting, LATER) == []


async def test_surroundings(alerting: AlertStorage, tenancy: Tenancy, neighbour: Tenancy, store: Store) -> None:
    """All channels of the tenant, silences that have not ended, inhibitions, and where there are any what fires."""
    channel = await new_channel(alerting, tenancy)
    disabled = await new_channel(alerting, tenancy, enabled=False)
    now = NOON + timedelta(hours=2)
    for owner in (tenancy, neighbour):
        for ends_at in (now, now + SECOND):
            spec = SilenceSpec(matchers=("host=a",), ends_at=ends_at, reason="x")
            await alerting.silences.create_silence(owner.id, spec, author="a", now=NOON)
    firing = write_alert(store.place, tenancy.id)
    write_event(store.place, firing, tenant_id=tenancy.id)
    for n, alert in enumerate((RESOLVED, msgspec.structs.replace(FIRING, announced=False))):
        write_alert(store.place, tenancy.id, alert, target_key=f"g{n}")
    await new_channel(alerting, neighbour)
    foreign = InhibitionSpec(name="foreign", source=("a=b",), target=("c=d",))
    await alerting.silences.create_inhibition(neighbour.id, foreign)
    async with alerting.outbox.undecided(now=now, created_before=now, limit=9) as undecided:
        around = undecided.surroundings
        assert list(around.channels) == [channel, disabled]
        assert [silence.ends_at for silence in around.silences] == [now + SECOND]
        assert (list(around.inhibitions), list(around.firing), around.told) == ([], [], frozenset())
    own = await alerting.silences.create_inhibition(tenancy.id, foreign)
    async with alerting.outbox.undecided(now=now, created_before=now, limit=9) as undecided:
        assert list(undecided.surroundings.inhibitions) == [own]
        assert list(undecided.surroundings.firing) == [firing]


async def test_who_was_told(alerting: AlertStorage, tenancy: Tenancy, store: Store) -> None:
    """Those are told of the end who were told of the beginning, whether the message counts or lists the alert."""
    chat, pager, mail = [await new_channel(alerting, tenancy) for _ in range(3)]
    alerts = [write_alert(store.place, tenancy.id, target_key=f"s{n}") for n in range(3)]
    unasked = write_alert(store.place, tenancy.id, target_key="other")
    for alert in alerts:
        write_event(store.place, alert, AlertEvent.RESOLVED, tenant_id=tenancy.id)
    shortened = msgspec.structs.replace(
        messages(tenancy, chat, alerts[:1])[0], alert_ids=(alerts[0].id, alerts[1].id, unasked.id)
    )
    told = [
        shortened,
        *messages(tenancy, pager, (alerts[0],), AlertEvent.ESCALATED),
        *messages(tenancy, mail, (alerts[2],), AlertEvent.ACKNOWLEDGED),
    ]
    async with alerting.outbox.undecided(now=LATER, created_before=LATER, limit=9) as undecided:
        kept = [event.id for event in undecided.events]
        await undecided.decide(told, suppressed=[], kept=kept, look_again_at=LATER)
    async with alerting.outbox.undecided(now=LATER, created_before=LATER, limit=9) as undecided:
        assert undecided.surroundings.told == {
            (alerts[0].id, chat.id),
            (alerts[1].id, chat.id),
            (alerts[0].id, pager.id),
        }


async def test_forget(alerting: AlertStorage, tenancy: Tenancy, store: Store) -> None:
    """Old decisions and deliveries go; what waits or is dead stays, and who was told of an alert that still fires."""
    channel = await new_channel(alerting, tenancy)
    over = write_alert(store.place, tenancy.id, RESOLVED, target_key="over")
    fires = write_alert(store.place, tenancy.id, FIRING, target_key="fires")
    told, ended, dead, waiting = messages(tenancy, channel, (fires,)) + [
        each for _ in range(3) for each in messages(tenancy, channel, (over,))
    ]
    await decide(alerting, tenancy, store, [told, ended, dead, waiting])
    write_event(store.place, fires, tenant_id=tenancy.id, created_at=FAR)
    for outgoing in (told, ended):
        await alerting.outbox.delivered(tenancy.id, outgoing.message.id, now=LATER)
    await alerting.outbox.failed(tenancy.id, dead.message.id, error="410", next_attempt_at=None)
    await alerting.outbox.forget(before=LATER)
    assert set(await listed(alerting, tenancy)) == set(ids_of([told, ended, dead, waiting]))
    assert len(events_left(store.place, tenancy.id)) == 2
    assert await alerting.outbox.forget(before=FAR) >= 2
    assert set(await listed(alerting, tenancy)) == set(ids_of([told, dead, waiting]))
    assert events_left(store.place, tenancy.id) == [(fires.id, "fired", None)]
