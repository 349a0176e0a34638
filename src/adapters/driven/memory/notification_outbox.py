"""The notification outbox in memory."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from uuid import UUID

from adapters.driven.memory.alert_tables import EventRow, MessageRow
from adapters.driven.memory.channels import channels_of
from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.notifications import store_message
from adapters.driven.memory.silences import inhibitions_of, silences_of
from core.domain.alerts import EpisodeState
from core.domain.notifications import AlertEvent, NotificationState
from ports.driven.notification_store import Claimed, OutboxEvent, OutgoingMessage, Surroundings


class MemoryNotificationOutbox:
    """Implements `NotificationOutbox`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    @asynccontextmanager
    async def undecided(
        self, *, now: datetime, created_before: datetime, limit: int
    ) -> AsyncIterator["MemoryUndecided"]:
        """Events of the tenant whose event is oldest, among those that nobody is deciding about."""
        waiting = sorted(
            (
                row
                for row in self._database.notification_events.values()
                if row.decided_at is None
                and row.created_at < created_before
                and row.look_again_at <= now
                and row.tenant_id not in self._database.deciding
                and row.alert_id in self._database.alerts
            ),
            key=lambda row: (row.created_at, row.id),
        )
        if not waiting:
            yield MemoryUndecided(self._database, [], now)
            return
        tenant_id = waiting[0].tenant_id
        own = [row for row in waiting if row.tenant_id == tenant_id][:limit]
        undecided = MemoryUndecided(self._database, sorted(own, key=lambda row: row.id), now)
        self._database.deciding.add(tenant_id)
        try:
            yield undecided
        finally:
            self._database.deciding.discard(tenant_id)
        undecided.commit()

    async def claim(
        self, *, now: datetime, lease_s: float, per_channel: int, busy: frozenset[int], limit: int
    ) -> Sequence[Claimed]:
        """Waiting messages that are due, oldest first; counts the attempt."""
        claimed: list[Claimed] = []
        taken: Counter[int] = Counter()
        for row in self._due(now, busy):
            if len(claimed) == limit:
                break
            if taken[row.channel_id] == per_channel:
                continue
            taken[row.channel_id] += 1
            channel = self._database.channels[row.channel_id]
            claimed.append(
                Claimed(
                    tenant_id=row.tenant_id,
                    channel=channel.channel,
                    secrets=channel.secrets,
                    message=row.message,
                    attempts=row.attempts,
                )
            )
            row.attempts += 1
            row.next_attempt_at = now + timedelta(seconds=lease_s)
        return claimed

    async def delivered(self, tenant_id: int, message_id: UUID, *, now: datetime) -> None:
        """The receiver has it."""
        row = self._row(tenant_id, message_id)
        if row is not None and row.state is not NotificationState.DELIVERED:
            row.state, row.delivered_at, row.next_attempt_at = NotificationState.DELIVERED, now, None

    async def failed(self, tenant_id: int, message_id: UUID, *, error: str, next_attempt_at: datetime | None) -> None:
        """It does not; None: given up."""
        row = self._row(tenant_id, message_id)
        if row is not None and row.state is NotificationState.WAITING:
            row.state = NotificationState.WAITING if next_attempt_at is not None else NotificationState.DEAD
            row.last_error, row.next_attempt_at = error, next_attempt_at

    async def forget(self, *, before: datetime) -> int:
        """Deletes what was delivered or decided before that time."""
        events = self._database.notification_events
        messages = self._database.notifications
        old_events = [row.id for row in events.values() if row.decided_at is not None and row.decided_at < before]
        old_messages = [
            row.id
            for row in messages.values()
            if row.delivered_at is not None and row.delivered_at < before and not self._is_open(row, before)
        ]
        for event_id in old_events:
            del events[event_id]
        for message_id in old_messages:
            del messages[message_id]
        return len(old_events) + len(old_messages)

    def _due(self, now: datetime, busy: frozenset[int]) -> Iterator[MessageRow]:
        """Messages that may be sent now, oldest first."""
        waiting = sorted(
            (row for row in self._database.notifications.values() if row.state is NotificationState.WAITING),
            key=lambda row: row.sequence,
        )
        spoken_for: set[tuple[int, int]] = set()
        for row in waiting:
            about = {(row.channel_id, alert_id) for alert_id in row.alert_ids}
            enabled = self._database.channels[row.channel_id].channel.config.enabled
            is_due = row.next_attempt_at is not None and row.next_attempt_at <= now
            if is_due and enabled and row.channel_id not in busy and about.isdisjoint(spoken_for):
                yield row
            spoken_for |= about

    def _row(self, tenant_id: int, message_id: UUID) -> MessageRow | None:
        row = self._database.notifications.get(message_id)
        return row if row is not None and row.tenant_id == tenant_id else None

    def _is_open(self, row: MessageRow, before: datetime) -> bool:
        """Whether an alert that a message tells of had not resolved by then."""
        alerts = [self._database.alerts[each].alert for each in row.alert_ids if each in self._database.alerts]
        return any(alert.resolved_at is None or alert.resolved_at >= before for alert in alerts)


class MemoryUndecided:
    """Implements `Undecided`; what was decided takes effect with `commit`."""

    def __init__(self, database: MemoryDatabase, rows: Sequence[EventRow], now: datetime) -> None:
        self._database = database
        self._rows = rows
        self._now = now
        self._messages: Sequence[OutgoingMessage] = ()
        self._suppressed: dict[int, str] = {}
        self._kept: dict[int, datetime] = {event.id: event.look_again_at for event in rows}
        self.events = [self._event(row) for row in rows]

    @property
    def surroundings(self) -> Surroundings:
        """What decides who is told, of the events' tenant."""
        tenant_id = self._rows[0].tenant_id
        about = {row.alert_id for row in self._rows}
        inhibitions = inhibitions_of(self._database, tenant_id)
        alerts = [row.alert for row in self._database.alerts.values() if row.target.tenant_id == tenant_id]
        firing = [alert for alert in alerts if alert.state is EpisodeState.FIRING and alert.announced]
        return Surroundings(
            channels=channels_of(self._database, tenant_id),
            silences=silences_of(self._database, tenant_id, self._now),
            inhibitions=inhibitions,
            firing=firing if inhibitions else [],
            told=frozenset(
                (alert_id, message.channel_id)
                for message in self._database.notifications.values()
                if message.message.event in (AlertEvent.FIRED, AlertEvent.ESCALATED)
                for alert_id in about.intersection(message.alert_ids)
            ),
        )

    async def decide(
        self,
        messages: Sequence[OutgoingMessage],
        *,
        suppressed: Sequence[tuple[int, str]],
        kept: Sequence[int],
        look_again_at: datetime,
    ) -> None:
        """Notes what is to be; all events that are not kept are done."""
        self._messages = messages
        self._suppressed = dict(suppressed)
        self._kept = dict.fromkeys(kept, look_again_at)

    def commit(self) -> None:
        """Makes it so."""
        for outgoing in self._messages:
            store_message(self._database, outgoing)
        for row in self._rows:
            if row.id in self._kept:
                row.look_again_at = self._kept[row.id]
            else:
                row.decided_at = self._database.now()
                row.suppressed = self._suppressed.get(row.id)

    def _event(self, row: EventRow) -> OutboxEvent:
        return OutboxEvent(
            id=row.id,
            tenant_id=row.tenant_id,
            tenant=self._database.tenants[row.tenant_id].tenant.name,
            alert=self._database.alerts[row.alert_id].alert,
            event=row.event,
            created_at=row.created_at,
            channels=row.channels,
            text=row.text,
            link=row.link,
        )
