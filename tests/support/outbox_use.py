"""Everyday use of the notification outbox, which is one for all tenants of a store."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import msgspec

from core.domain.alerts import Alert, EpisodeState, Resolution
from core.domain.notifications import AlertEvent, Channel, Message, NotificationState, WebhookConfig
from ports.driven.notification_store import Claimed, OutgoingMessage
from tests.support.alert_rows import FIRING, NOON, write_alert, write_event
from tests.support.alert_storage import AlertStorage
from tests.support.storages import Store, Tenancy, unique

SECOND = timedelta(seconds=1)
LATER = NOON + timedelta(minutes=1)
FAR = NOON + timedelta(days=10_000)
"""When everything that earlier tests left is due."""
LEASE_S = 30.0
RESOLVED = msgspec.structs.replace(
    FIRING, state=EpisodeState.RESOLVED, resolved_at=NOON + SECOND, resolution=Resolution.RECOVERED
)


async def empty(alerting: AlertStorage) -> None:
    """Decides and delivers whatever waits, of all tenants."""
    while await decide_nothing(alerting, FAR):
        pass
    while claimed := await claim(alerting, FAR):
        for each in claimed:
            await alerting.outbox.delivered(each.tenant_id, each.message.id, now=FAR)


def event_of(store: Store, tenancy: Tenancy, created_at: datetime) -> int:
    """The id of a new event about a new alert."""
    alert = write_alert(store.place, tenancy.id, target_key=unique("s"))
    return write_event(store.place, alert, tenant_id=tenancy.id, created_at=created_at)


async def decide_nothing(alerting: AlertStorage, now: datetime) -> list[int]:
    """Takes one tenant's events, if any wait, and tells nobody of them; returns their ids."""
    async with alerting.outbox.undecided(now=now, created_before=now, limit=100) as undecided:
        events = [event.id for event in undecided.events]
        if events:
            await undecided.decide([], suppressed=[], kept=[], look_again_at=FAR)
    return events


async def new_channel(
    alerting: AlertStorage, tenancy: Tenancy, *, enabled: bool = True, secrets: tuple[str, ...] = ()
) -> Channel:
    """A new channel of a tenant."""
    config = WebhookConfig(name=unique("hook"), url="https://hooks.example", enabled=enabled)
    return await alerting.channels.create(tenancy.id, config, secrets)


def messages(
    tenancy: Tenancy,
    channel: Channel,
    alerts: Sequence[Alert],
    event: AlertEvent = AlertEvent.FIRED,
    *,
    created_at: datetime = NOON,
) -> list[OutgoingMessage]:
    """One message to a channel about some alerts, in a list."""
    message = Message(
        id=uuid4(),
        event=event,
        tenant=tenancy.tenant.name,
        rule="größe ✓",
        alerts=tuple(alerts),
        alerts_total=len(alerts),
        created_at=created_at,
        text="x\n✓",
        link="https://x.example",
    )
    alert_ids = tuple(alert.id for alert in alerts)
    return [OutgoingMessage(tenant_id=tenancy.id, channel_id=channel.id, message=message, alert_ids=alert_ids)]


async def decide(alerting: AlertStorage, tenancy: Tenancy, store: Store, sent: Sequence[OutgoingMessage]) -> None:
    """Makes messages of an event."""
    event_of(store, tenancy, NOON)
    async with alerting.outbox.undecided(now=LATER, created_before=LATER, limit=9) as undecided:
        await undecided.decide(sent, suppressed=[], kept=[], look_again_at=FAR)


async def decided(
    alerting: AlertStorage,
    tenancy: Tenancy,
    channel: Channel,
    store: Store,
    alerts: Sequence[Alert] = (),
    count: int = 1,
) -> list[OutgoingMessage]:
    """New messages to a channel, that wait."""
    sent = [message for _ in range(count) for message in messages(tenancy, channel, alerts)]
    await decide(alerting, tenancy, store, sent)
    return sent


async def claim(
    alerting: AlertStorage,
    now: datetime,
    *,
    per_channel: int = 100,
    busy: set[int] | frozenset[int] = frozenset(),
    limit: int = 100,
) -> list[Claimed]:
    """What is due."""
    claimed = await alerting.outbox.claim(
        now=now, lease_s=LEASE_S, per_channel=per_channel, busy=frozenset(busy), limit=limit
    )
    return list(claimed)


def ids(claimed: Sequence[Claimed]) -> list[UUID]:
    """The messages' ids."""
    return [each.message.id for each in claimed]


def ids_of(sent: Sequence[OutgoingMessage]) -> list[UUID]:
    """The messages' ids."""
    return [each.message.id for each in sent]


async def listed(
    alerting: AlertStorage,
    tenancy: Tenancy,
    *,
    state: NotificationState | None = None,
    limit: int = 100,
    alert_id: int | None = None,
) -> list[UUID]:
    """The ids of all pages, one after the other."""
    found: list[UUID] = []
    before = None
    while True:
        page = await alerting.notifications.list(tenancy.id, state=state, limit=limit, before=before, alert_id=alert_id)
        found += [notification.id for notification in page]
        if len(page) < limit:
            return found
        before = (page[-1].created_at, page[-1].id)
