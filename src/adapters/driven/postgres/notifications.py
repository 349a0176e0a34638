"""Notifications on PostgreSQL, as requests see them, and how a message becomes a row."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from adapters.driven.postgres.database import Connection, Database, Role
from adapters.driven.postgres.queries import load_queries
from core.domain.errors import Conflict, NotFound
from core.domain.notifications import AlertEvent, Message, Notification, NotificationState
from ports.driven.notification_store import OutgoingMessage

TIMEOUT_S: Final = 10.0
"""Every statement here touches a page of rows; longer means that the database is in trouble."""

SQL = load_queries(__package__, "notifications.sql")


class PostgresNotificationStore:
    """Implements `ports.driven.notification_store.NotificationStore`."""

    def __init__(self, database: Database) -> None:
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
        """See `NotificationStore.list`."""
        created_at, message_id = before or (None, None)
        async with self._database.transaction(
            Role.READER, tenant_id=tenant_id, snapshot=True, timeout_s=TIMEOUT_S
        ) as connection:
            rows = await connection.fetch(
                SQL["list"],
                tenant_id,
                state.value if state is not None else None,
                created_at,
                message_id,
                alert_id,
                limit,
            )
        return [_notification(row) for row in rows]

    async def get(self, tenant_id: int, message_id: UUID) -> Notification:
        """See `NotificationStore.get`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            return await _get(connection, tenant_id, message_id)

    async def resend(self, tenant_id: int, message_id: UUID, *, now: datetime) -> Notification:
        """See `NotificationStore.resend`."""
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            again = await connection.fetchval(SQL["resend"], tenant_id, message_id, now)
            notification = await _get(connection, tenant_id, message_id)
        if again is None:
            raise Conflict(
                f"the notification {message_id} is {notification.state.value}, and only a dead one is resent"
            )
        return notification

    async def put(self, tenant_id: int, channel_id: int, message: Message) -> Notification:
        """See `NotificationStore.put`."""
        alert_ids = tuple(alert.id for alert in message.alerts)
        outgoing = OutgoingMessage(tenant_id=tenant_id, channel_id=channel_id, message=message, alert_ids=alert_ids)
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            await store_messages(connection, [outgoing])
            try:
                return await _get(connection, tenant_id, message.id)
            except NotFound:
                raise NotFound("channel", str(channel_id)) from None


async def store_messages(connection: Connection, messages: Sequence[OutgoingMessage]) -> None:
    """Adds messages that are to be sent at once; those that are there, or whose channel is gone, are left out."""
    await connection.execute(
        SQL["store"],
        [outgoing.tenant_id for outgoing in messages],
        [outgoing.channel_id for outgoing in messages],
        [_json(outgoing.message) for outgoing in messages],
        [msgspec.json.encode(outgoing.alert_ids).decode() for outgoing in messages],
    )


def storable(text: str) -> str:
    """The text of a remote's answer without what PostgreSQL cannot store: NUL, and halves of surrogate pairs."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def _json(message: Message) -> str:
    if message.text is not None:
        message = msgspec.structs.replace(message, text=storable(message.text))
    return msgspec.json.encode(message).decode()


async def _get(connection: Connection, tenant_id: int, message_id: UUID) -> Notification:
    row = await connection.fetchrow(SQL["get"], tenant_id, message_id)
    if row is None:
        raise NotFound("notification", str(message_id))
    return _notification(row)


def _notification(row: Mapping[str, Any]) -> Notification:
    return Notification(
        id=row["id"],
        channel_id=row["channel_id"],
        channel=row["channel"],
        event=AlertEvent(row["event"]),
        rule=row["rule_name"],
        alert_ids=tuple(row["alert_ids"]),
        state=NotificationState(row["state"]),
        attempts=row["attempts"],
        created_at=row["created_at"],
        next_attempt_at=row["next_attempt_at"],
        delivered_at=row["delivered_at"],
        last_error=row["last_error"],
    )
