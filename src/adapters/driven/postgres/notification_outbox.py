"""The notification outbox on PostgreSQL: one process decides about a tenant, one sends a message, at a time."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from adapters.driven.postgres.alert_rows import alert_of
from adapters.driven.postgres.channels import channel_of
from adapters.driven.postgres.database import Connection, Database, Role
from adapters.driven.postgres.notifications import SQL, storable, store_messages
from adapters.driven.postgres.queries import affected_rows
from adapters.driven.postgres.silences import inhibition_of, silence_of
from core.domain.notifications import AlertEvent, Message
from ports.driven.notification_store import Claimed, OutboxEvent, OutgoingMessage, Surroundings

OLDEST_EVENTS: Final = 10_000
"""Among these the tenant is looked for whose turn it is; more would be read again every round."""
FIRING_MAX: Final = 10_000
"""Alerts that may inhibit others; a tenant with more has other worries."""
FORGET_ROWS: Final = 10_000
"""Deleted by one transaction, which then takes well under a second."""
ERROR_CHARS_MAX: Final = 1_000
"""What a receiver answered is shown in a list."""

_MESSAGE: Final = msgspec.json.Decoder(Message)


class PostgresNotificationOutbox:
    """Implements `ports.driven.notification_store.NotificationOutbox`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def undecided(
        self, *, now: datetime, created_before: datetime, limit: int
    ) -> AsyncIterator["PostgresUndecided"]:
        """See `NotificationOutbox.undecided`."""
        async with self._database.transaction(Role.KEEPER) as connection:
            for row in await connection.fetch(SQL["waiting_tenants"], created_before, now, OLDEST_EVENTS):
                tenant_id = row["tenant_id"]
                if await connection.fetchval(SQL["lock_tenant"], tenant_id):
                    # Whoever held the lock until now may have decided them all.
                    events = await _events(connection, tenant_id, created_before, now, limit)
                    if events:
                        surroundings = await _surroundings(connection, tenant_id, now, events)
                        yield PostgresUndecided(connection, events, surroundings)
                        return
            yield PostgresUndecided(connection, [], None)

    async def claim(
        self, *, now: datetime, lease_s: float, per_channel: int, busy: frozenset[int], limit: int
    ) -> Sequence[Claimed]:
        """See `NotificationOutbox.claim`."""
        async with self._database.transaction(Role.KEEPER) as connection:
            rows = await connection.fetch(SQL["claim"], now, lease_s, per_channel, sorted(busy), limit)
        return [
            Claimed(
                tenant_id=row["tenant_id"],
                channel=channel_of(row),
                secrets=tuple(row["secrets"]),
                message=_MESSAGE.decode(row["message"]),
                attempts=row["attempts_before"],
            )
            for row in rows
        ]

    async def delivered(self, tenant_id: int, message_id: UUID, *, now: datetime) -> None:
        """See `NotificationOutbox.delivered`."""
        async with self._database.transaction(Role.KEEPER) as connection:
            await connection.execute(SQL["delivered"], tenant_id, message_id, now)

    async def failed(self, tenant_id: int, message_id: UUID, *, error: str, next_attempt_at: datetime | None) -> None:
        """See `NotificationOutbox.failed`."""
        async with self._database.transaction(Role.KEEPER) as connection:
            await connection.execute(
                SQL["failed"], tenant_id, message_id, storable(error)[:ERROR_CHARS_MAX], next_attempt_at
            )

    async def forget(self, *, before: datetime) -> int:
        """See `NotificationOutbox.forget`."""
        forgotten = 0
        for query in (SQL["forget_messages"], SQL["forget_events"]):
            rows = FORGET_ROWS
            while rows == FORGET_ROWS:
                async with self._database.transaction(Role.KEEPER) as connection:
                    rows = affected_rows(await connection.execute(query, before, FORGET_ROWS))
                forgotten += rows
        return forgotten


class PostgresUndecided:
    """Implements `ports.driven.notification_store.Undecided`."""

    def __init__(
        self, connection: Connection, events: Sequence[OutboxEvent], surroundings: Surroundings | None
    ) -> None:
        self._connection = connection
        self._surroundings = surroundings
        self.events = events

    @property
    def surroundings(self) -> Surroundings:
        """See `Undecided.surroundings`."""
        assert self._surroundings is not None
        return self._surroundings

    async def decide(
        self,
        messages: Sequence[OutgoingMessage],
        *,
        suppressed: Sequence[tuple[int, str]],
        kept: Sequence[int],
        look_again_at: datetime,
    ) -> None:
        """See `Undecided.decide`."""
        await store_messages(self._connection, messages)
        suppressed_ids = [event_id for event_id, _ in suppressed]
        await self._connection.execute(SQL["suppress"], suppressed_ids, [reason for _, reason in suppressed])
        await self._connection.execute(SQL["keep"], kept, look_again_at)
        undone = {*suppressed_ids, *kept}
        await self._connection.execute(SQL["done"], [event.id for event in self.events if event.id not in undone])


async def _events(
    connection: Connection, tenant_id: int, created_before: datetime, now: datetime, limit: int
) -> Sequence[OutboxEvent]:
    rows = await connection.fetch(SQL["events"], tenant_id, created_before, now, limit)
    return [
        OutboxEvent(
            id=row["event_id"],
            tenant_id=tenant_id,
            tenant=row["tenant"],
            alert=alert_of(row),
            event=AlertEvent(row["event"]),
            created_at=row["created_at"],
            channels=tuple(row["event_channels"]) if row["event_channels"] is not None else None,
            text=row["text"],
            link=row["link"],
        )
        for row in rows
    ]


async def _surroundings(
    connection: Connection, tenant_id: int, now: datetime, events: Sequence[OutboxEvent]
) -> Surroundings:
    alert_ids = list({event.alert.id for event in events})
    channels = await connection.fetch(SQL["channels"], tenant_id)
    silences = await connection.fetch(SQL["silences"], tenant_id, now)
    inhibitions = await connection.fetch(SQL["inhibitions"], tenant_id)
    firing = await connection.fetch(SQL["firing"], tenant_id, FIRING_MAX) if inhibitions else []
    told = await connection.fetch(SQL["told"], tenant_id, alert_ids)
    return Surroundings(
        channels=[channel_of(row) for row in channels],
        silences=[silence_of(row) for row in silences],
        inhibitions=[inhibition_of(row) for row in inhibitions],
        firing=[alert_of(row) for row in firing],
        told=frozenset((row["alert_id"], row["channel_id"]) for row in told),
    )
