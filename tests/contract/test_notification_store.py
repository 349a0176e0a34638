"""The notification store port: what became of messages, what was given up, and what a request sends."""

import msgspec
import pytest

from core.domain.errors import Conflict, NotFound
from core.domain.notifications import AlertEvent, NotificationState
from tests.support.alert_rows import NOON, write_alert
from tests.support.alert_storage import AlertStorage
from tests.support.outbox_use import FAR, LATER, SECOND, claim, decide, decided, ids_of, listed, messages, new_channel
from tests.support.storages import Store, Tenancy

pytestmark = pytest.mark.usefixtures("empty_outbox")


async def test_failing_until_dead_and_sent_again(alerting: AlertStorage, tenancy: Tenancy, store: Store) -> None:
    """A failed message waits for its next attempt; a dead one for whoever sends it again, under the same id."""
    channel = await new_channel(alerting, tenancy)
    [outgoing] = await decided(alerting, tenancy, channel, store)
    message_id = outgoing.message.id
    await claim(alerting, NOON)
    await alerting.outbox.failed(tenancy.id, message_id, error="500: größe ✓", next_attempt_at=LATER)
    assert await claim(alerting, LATER - SECOND) == []
    assert len(await claim(alerting, LATER)) == 1
    with pytest.raises(Conflict):
        await alerting.notifications.resend(tenancy.id, message_id, now=LATER)
    await alerting.outbox.failed(tenancy.id, message_id, error="410\x00\ud800", next_attempt_at=None)
    dead = await alerting.notifications.get(tenancy.id, message_id)
    assert (dead.state, dead.attempts, dead.next_attempt_at) == (NotificationState.DEAD, 2, None)
    assert dead.last_error is not None
    assert dead.last_error.startswith("410")
    assert await claim(alerting, FAR) == []
    again = await alerting.notifications.resend(tenancy.id, message_id, now=FAR)
    assert (again.state, again.next_attempt_at) == (NotificationState.WAITING, FAR)
    [claimed] = await claim(alerting, FAR)
    assert (claimed.message, claimed.attempts) == (outgoing.message, 0)


async def test_put(alerting: AlertStorage, other_alerting: AlertStorage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """A message put by a request is sent like any other; a channel that is not the tenant's is not found."""
    channel = await new_channel(alerting, tenancy, secrets=("s",))
    [outgoing] = messages(tenancy, channel, (), AlertEvent.TEST)
    put = await alerting.notifications.put(tenancy.id, channel.id, outgoing.message)
    assert (put.id, put.channel_id, put.channel, put.event) == (
        outgoing.message.id,
        channel.id,
        channel.config.name,
        AlertEvent.TEST,
    )
    assert (put.alert_ids, put.state, put.attempts, put.created_at) == ((), NotificationState.WAITING, 0, NOON)
    assert await alerting.notifications.put(tenancy.id, channel.id, outgoing.message) == put
    [claimed] = await claim(other_alerting, NOON)
    assert (claimed.message, claimed.secrets) == (outgoing.message, ("s",))
    for tenant_id, channel_id in ((neighbour.id, channel.id), (tenancy.id, 0), (tenancy.id, 2**40)):
        with pytest.raises(NotFound, match="channel"):
            await alerting.notifications.put(tenant_id, channel_id, messages(tenancy, channel, ())[0].message)


async def test_a_text_that_cannot_be_stored_as_it_is(alerting: AlertStorage, tenancy: Tenancy) -> None:
    """What a remote answered is told, whatever characters it holds."""
    channel = await new_channel(alerting, tenancy)
    [outgoing] = messages(tenancy, channel, ())
    message = msgspec.structs.replace(outgoing.message, text="answered a\x00\ud800 b \\u0000")
    await alerting.notifications.put(tenancy.id, channel.id, message)
    [claimed] = await claim(alerting, NOON)
    assert claimed.message.text is not None
    assert claimed.message.text.startswith("answered a")
    assert claimed.message.text.endswith(" b \\u0000")


async def test_listed(alerting: AlertStorage, tenancy: Tenancy, store: Store) -> None:
    """Newest first, by creation and id; pages hold each once, also those of one moment; by state and by alert."""
    channel = await new_channel(alerting, tenancy)
    alerts = [write_alert(store.place, tenancy.id, target_key=f"s{n}") for n in range(2)]
    sent = [
        message
        for n in range(12)
        for message in messages(tenancy, channel, (alerts[n % 2],), created_at=NOON + n // 5 * SECOND)
    ]
    await decide(alerting, tenancy, store, sent)
    newest = sorted(sent, key=lambda each: (each.message.created_at, each.message.id), reverse=True)
    for limit in (1, 5, 100):
        assert await listed(alerting, tenancy, limit=limit) == ids_of(newest)
    about = [each for each in newest if each.alert_ids == (alerts[0].id,)]
    assert await listed(alerting, tenancy, limit=2, alert_id=alerts[0].id) == ids_of(about)
    await alerting.outbox.delivered(tenancy.id, sent[3].message.id, now=NOON)
    await alerting.outbox.failed(tenancy.id, sent[4].message.id, error="410", next_attempt_at=None)
    assert await listed(alerting, tenancy, state=NotificationState.DELIVERED) == ids_of([sent[3]])
    assert await listed(alerting, tenancy, state=NotificationState.DEAD) == ids_of([sent[4]])
    assert len(await listed(alerting, tenancy, state=NotificationState.WAITING)) == 10


async def test_tenants_apart(alerting: AlertStorage, tenancy: Tenancy, neighbour: Tenancy, store: Store) -> None:
    """The neighbour neither sees nor resends a notification; an answer in its name changes nothing."""
    channel = await new_channel(alerting, tenancy)
    alert = write_alert(store.place, tenancy.id)
    [outgoing] = await decided(alerting, tenancy, channel, store, (alert,))
    message_id = outgoing.message.id
    await alerting.outbox.delivered(neighbour.id, message_id, now=NOON)
    await alerting.outbox.failed(neighbour.id, message_id, error="x", next_attempt_at=None)
    before = await alerting.notifications.get(tenancy.id, message_id)
    assert before.state is NotificationState.WAITING
    await alerting.outbox.failed(tenancy.id, message_id, error="x", next_attempt_at=None)
    assert await listed(alerting, neighbour) == []
    assert await listed(alerting, neighbour, alert_id=alert.id) == []
    with pytest.raises(NotFound):
        await alerting.notifications.get(neighbour.id, message_id)
    with pytest.raises(NotFound):
        await alerting.notifications.resend(neighbour.id, message_id, now=NOON)
    stray = msgspec.structs.replace(messages(tenancy, channel, ())[0], tenant_id=neighbour.id)
    await decide(alerting, neighbour, store, [stray])
    assert await claim(alerting, FAR) == []
