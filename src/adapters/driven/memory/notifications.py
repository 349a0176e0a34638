"""Notifications in memory, as requests see them, and how a message becomes a row."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from adapters.driven.memory.alert_tables import MessageRow
from adapters.driven.memory.database import MemoryDatabase
from core.domain.errors import Conflict, NotFound
from core.domain.notifications import Message, Notification, NotificationState
from ports.driven.notification_store import OutgoingMessage


class MemoryNotificationStore:
    """Implements `NotificationStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def list(
        self,
        tenant_id: int,
        *,
        state: NotificationState | None,
        limit: int,
        before: tuple[datetime, UUID] | None,
        alert_id: int | None = None,
    ) -> Sequence[Notification]:
        """Newest first, those before the given one; of one alert, if named."""
        rows = sorted(self._database.notifications.values(), key=_created, reverse=True)
        found = [
            self._notification(row)
            for row in rows
            if row.tenant_id == tenant_id
            and state in (None, row.state)
            and (before is None or _created(row) < before)
            and (alert_id is None or alert_id in row.alert_ids)
        ]
        return found[:limit]

    async def resend(self, tenant_id: int, message_id: UUID, *, now: datetime) -> Notification:
        """Makes a dead message wait again, with all its attempts before it."""
        row = self._row(tenant_id, message_id)
        if row.state is not NotificationState.DEAD:
            raise Conflict(f"the notification {message_id} is {row.state.value}, and only a dead one is resent")
        row.state, row.attempts, row.next_attempt_at = NotificationState.WAITING, 0, now
        return self._notification(row)

    async def get(self, tenant_id: int, message_id: UUID) -> Notification:
        """One, or `NotFound`."""
        return self._notification(self._row(tenant_id, message_id))

    async def put(self, tenant_id: int, channel_id: int, message: Message) -> Notification:
        """Stores a message to be sent at once; raises `NotFound` for the channel."""
        alert_ids = tuple(alert.id for alert in message.alerts)
        store_message(
            self._database,
            OutgoingMessage(tenant_id=tenant_id, channel_id=channel_id, message=message, alert_ids=alert_ids),
        )
        if message.id not in self._database.notifications:
            raise NotFound("channel", str(channel_id))
        return await self.get(tenant_id, message.id)

    def _row(self, tenant_id: int, message_id: UUID) -> MessageRow:
        row = self._database.notifications.get(message_id)
        if row is None or row.tenant_id != tenant_id:
            raise NotFound("notification", str(message_id))
        return row

    def _notification(self, row: MessageRow) -> Notification:
        return Notification(
            id=row.id,
            channel_id=row.channel_id,
            channel=self._database.channels[row.channel_id].channel.config.name,
            event=row.message.event,
            rule=row.message.rule,
            alert_ids=row.alert_ids,
            state=row.state,
            attempts=row.attempts,
            created_at=row.message.created_at,
            next_attempt_at=row.next_attempt_at,
            delivered_at=row.delivered_at,
            last_error=row.last_error,
        )


def store_message(database: MemoryDatabase, outgoing: OutgoingMessage) -> None:
    """Adds a message that is to be sent at once, unless it is there or its channel is gone."""
    channel = database.channels.get(outgoing.channel_id)
    if outgoing.message.id in database.notifications or channel is None or channel.tenant_id != outgoing.tenant_id:
        return
    database.notifications[outgoing.message.id] = MessageRow(
        sequence=database.next_id("notifications"),
        tenant_id=outgoing.tenant_id,
        channel_id=outgoing.channel_id,
        message=outgoing.message,
        alert_ids=outgoing.alert_ids,
        state=NotificationState.WAITING,
        attempts=0,
        next_attempt_at=outgoing.message.created_at,
    )


def _created(row: MessageRow) -> tuple[datetime, UUID]:
    return row.message.created_at, row.id
