"""The notification outbox port: every message is sent by one process at a time, until it is there."""

import asyncio
from datetime import timedelta
from uuid import UUID

import msgspec
import pytest

from core.domain.notifications import AlertEvent, NotificationState
from ports.driven.notification_store import Claimed
from tests.support.alert_rows import FIRING, NOON, write_alert
from tests.support.alert_storage import AlertStorage
from tests.support.outbox_use import (
    FAR,
    LATER,
    LEASE_S,
    claim,
    decide,
    decided,
    ids,
    ids_of,
    listed,
    messages,
    new_channel,
)
from tests.support.storages import Store, Tenancy

pytestmark = pytest.mark.usefixtures("empty_outbox")


async def test_a_message_from_decision_to_delivery(
    alerting: AlertStorage, other_alerting: AlertStorage, tenancy: Tenancy, store: Store
) -> None:
    """A message is claimed with its channel and secrets, once for each lease, until it is delivered."""
    alert = write_alert(store.place, tenancy.id)
    channel = await new_channel(alerting, tenancy, secrets=("new", "old"))
    [outgoing] = await decided(alerting, tenancy, channel, store, (alert,))
    [claimed] = await claim(alerting, NOON)
    assert claimed == Claimed(
        tenant_id=tenancy.id, channel=channel, secrets=("new", "old"), message=outgoing.message, attempts=0
    )
    assert await claim(other_alerting, NOON + timedelta(seconds=LEASE_S - 1)) == []
    waiting = await alerting.notifications.get(tenancy.id, outgoing.message.id)
    assert (waiting.state, waiting.attempts) == (NotificationState.WAITING, 1)
    assert waiting.next_attempt_at == NOON + timedelta(seconds=LEASE_S)
    [again] = await claim(other_alerting, NOON + timedelta(seconds=LEASE_S))
    assert again == msgspec.structs.replace(claimed, attempts=1)
    for at in (LATER, FAR):
        await other_alerting.outbox.delivered(tenancy.id, outgoing.message.id, now=at)
    await alerting.outbox.failed(tenancy.id, outgoing.message.id, error="too late", next_attempt_at=NOON)
    delivered = await alerting.notifications.get(tenancy.id, outgoing.message.id)
    assert delivered == msgspec.structs.replace(
        waiting, state=NotificationState.DELIVERED, attempts=2, next_attempt_at=None, delivered_at=LATER
    )
    assert await claim(alerting, FAR) == []


async def test_claims_are_shared_out(alerting: AlertStorage, tenancy: Tenancy, store: Store) -> None:
    """Oldest first, at most so many of a channel, none of busy or disabled ones, no more than the limit."""
    slow, quick = await new_channel(alerting, tenancy), await new_channel(alerting, tenancy)
    off = await new_channel(alerting, tenancy, enabled=False)
    alerts = [write_alert(store.place, tenancy.id, target_key=f"s{n}") for n in range(3)]
    sent = [
        message
        for channel in (off, slow, quick)
        for alert in alerts
        for message in messages(tenancy, channel, (alert,))
    ]
    await decide(alerting, tenancy, store, sent)
    assert ids(await claim(alerting, NOON, per_channel=2, busy={quick.id})) == ids_of(sent[3:5])
    assert ids(await claim(alerting, NOON, per_channel=2, limit=2)) == ids_of([sent[5], sent[6]])
    assert ids(await claim(alerting, NOON)) == ids_of(sent[7:9])
    enabled = msgspec.structs.replace(off.config, enabled=True)
    await alerting.channels.replace(tenancy.id, off.id, enabled, None)
    assert ids(await claim(alerting, NOON)) == ids_of(sent[:3])


async def test_an_end_is_not_told_before_its_beginning(alerting: AlertStorage, tenancy: Tenancy, store: Store) -> None:
    """Messages about one alert go through a channel in the order in which they were made, whatever fails meanwhile."""
    channel, other = await new_channel(alerting, tenancy), await new_channel(alerting, tenancy)
    alert, another = (write_alert(store.place, tenancy.id, target_key=key) for key in ("s1", "s2"))
    [fired] = messages(tenancy, channel, (alert,))
    [resolved] = messages(tenancy, channel, (another, alert), AlertEvent.RESOLVED)
    [unrelated] = messages(tenancy, channel, (write_alert(store.place, tenancy.id, target_key="s3"),))
    [elsewhere] = messages(tenancy, other, (alert,), AlertEvent.RESOLVED)
    await decide(alerting, tenancy, store, [fired, resolved, unrelated, elsewhere])
    assert ids(await claim(alerting, NOON)) == ids_of([fired, unrelated, elsewhere])
    for outgoing in (unrelated, elsewhere):
        await alerting.outbox.delivered(tenancy.id, outgoing.message.id, now=NOON)
    await alerting.outbox.failed(tenancy.id, fired.message.id, error="500", next_attempt_at=LATER)
    assert ids(await claim(alerting, NOON)) == []
    assert ids(await claim(alerting, LATER)) == ids_of([fired])
    await alerting.outbox.delivered(tenancy.id, fired.message.id, now=LATER)
    assert ids(await claim(alerting, LATER)) == ids_of([resolved])


async def test_a_dead_beginning_holds_nothing_back(alerting: AlertStorage, tenancy: Tenancy, store: Store) -> None:
    """Once a message is given up, the next one about its alert is due."""
    channel = await new_channel(alerting, tenancy)
    alert = write_alert(store.place, tenancy.id)
    [fired], [resolved] = (messages(tenancy, channel, (alert,), e) for e in (AlertEvent.FIRED, AlertEvent.RESOLVED))
    await decide(alerting, tenancy, store, [fired, resolved])
    assert ids(await claim(alerting, NOON)) == ids_of([fired])
    await alerting.outbox.failed(tenancy.id, fired.message.id, error="410", next_attempt_at=None)
    assert ids(await claim(alerting, NOON)) == ids_of([resolved])


async def test_several_claim_at_once(
    alerting: AlertStorage, other_alerting: AlertStorage, tenancy: Tenancy, store: Store
) -> None:
    """Every message is claimed by one of them."""
    channels = [await new_channel(alerting, tenancy) for _ in range(5)]
    sent = [message for channel in channels for _ in range(8) for message in messages(tenancy, channel, ())]
    await decide(alerting, tenancy, store, sent)
    claimed: list[UUID] = []
    while len(claimed) < len(sent):
        answers = await asyncio.gather(
            *(claim((alerting, other_alerting)[n % 2], NOON, per_channel=2, limit=7) for n in range(4))
        )
        assert any(answers)
        claimed += [message_id for answer in answers for message_id in ids(answer)]
    assert sorted(claimed) == sorted(ids_of(sent))


async def test_stored_once(alerting: AlertStorage, tenancy: Tenancy, store: Store) -> None:
    """A message is stored once under its id, and not at all where its channel is gone meanwhile."""
    channel, gone = await new_channel(alerting, tenancy), await new_channel(alerting, tenancy)
    sent = [*messages(tenancy, gone, (FIRING,)), *messages(tenancy, channel, (FIRING,))]
    await alerting.channels.delete(tenancy.id, gone.id)
    await decide(alerting, tenancy, store, sent)
    await decide(alerting, tenancy, store, sent)
    assert ids(await claim(alerting, NOON)) == ids_of(sent[1:])


async def test_what_waits_for_a_deleted_channel_is_gone(alerting: AlertStorage, tenancy: Tenancy, store: Store) -> None:
    """Nothing is sent through it any more, and answers about it change nothing."""
    channel = await new_channel(alerting, tenancy)
    [outgoing, waiting] = await decided(alerting, tenancy, channel, store, (FIRING,), count=2)
    await claim(alerting, NOON, limit=1)
    await alerting.channels.delete(tenancy.id, channel.id)
    await alerting.outbox.failed(tenancy.id, outgoing.message.id, error="500", next_attempt_at=NOON)
    await alerting.outbox.delivered(tenancy.id, waiting.message.id, now=NOON)
    assert await claim(alerting, FAR) == []
    assert await listed(alerting, tenancy) == []
