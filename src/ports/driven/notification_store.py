"""The notification outbox: events that evaluation wrote, and the messages made of them, until they are delivered."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from core.domain.alerts import Alert, Inhibition, Silence
from core.domain.notifications import AlertEvent, Channel, Message, Notification, NotificationState


class OutboxEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that somebody may have to be told, written in the transaction that made it so."""

    id: int
    tenant_id: int
    tenant: str
    alert: Alert
    """As it is now, which may be further on than the event."""
    event: AlertEvent
    created_at: datetime
    channels: tuple[str, ...] | None
    """Names of channels; None: the tenant's default ones."""
    text: str | None
    link: str | None


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What decides who is told, of one tenant."""

    channels: Sequence[Channel]
    """All, disabled ones too."""
    silences: Sequence[Silence]
    """Not yet ended."""
    inhibitions: Sequence[Inhibition]
    firing: Sequence[Alert]
    """Announced alerts that fire now; empty where the tenant has no inhibition."""
    told: frozenset[tuple[int, int]]
    """(alert id, channel id) of messages, among the events' alerts, that told of firing (fired or escalated): who may
    hear of the rest."""


class OutgoingMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message with the channel it goes through."""

    tenant_id: int
    channel_id: int
    message: Message
    alert_ids: tuple[int, ...]
    """All it tells of, also those that it counts and does not list."""


class Undecided(Protocol):
    """Events of one tenant that no message was made of yet, inside the transaction that decides on them."""

    @property
    def events(self) -> Sequence[OutboxEvent]:
        """By id; empty where nothing waits or another process is deciding."""
        ...

    @property
    def surroundings(self) -> Surroundings:
        """Of the events' tenant; not to be asked for where there are no events."""
        ...

    async def decide(
        self,
        messages: Sequence[OutgoingMessage],
        *,
        suppressed: Sequence[tuple[int, str]],
        kept: Sequence[int],
        look_again_at: datetime,
    ) -> None:
        """Stores the messages, to be sent at once; notes why events were suppressed (id, reason); leaves `kept`
        waiting, out of sight until `look_again_at`, so that they hold back nobody else's. All other events are done."""
        ...


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A message that this process is to send now; it comes back by itself when its lease ends unanswered."""

    tenant_id: int
    channel: Channel
    secrets: tuple[str, ...]
    message: Message
    attempts: int
    """Those made before."""


class NotificationOutbox(Protocol):
    """For the background process. Safe for several at once: an event is decided, a message claimed, by one."""

    def undecided(
        self, *, now: datetime, created_before: datetime, limit: int
    ) -> AbstractAsyncContextManager[Undecided]:
        """Events of one tenant, the one whose event is oldest; leaving without an error
        commits. Only events created before the given time are looked at, so that those of one moment are grouped,
        and of those that were kept only the ones to be looked at again by `now`."""
        ...

    async def claim(
        self, *, now: datetime, lease_s: float, per_channel: int, busy: frozenset[int], limit: int
    ) -> Sequence[Claimed]:
        """Waiting messages that are due, oldest first, at most `per_channel` of each channel and none of the `busy`
        channels; counts the attempt. Messages of disabled channels are not due; nor is one while an older message
        about one of its alerts waits for the same channel: nobody hears of an end before the beginning."""
        ...

    async def delivered(self, tenant_id: int, message_id: UUID, *, now: datetime) -> None:
        """The receiver has it."""
        ...

    async def failed(self, tenant_id: int, message_id: UUID, *, error: str, next_attempt_at: datetime | None) -> None:
        """It does not; None: given up, the message is dead."""
        ...

    async def forget(self, *, before: datetime) -> int:
        """Deletes what was delivered or decided before that time; returns how much. Messages about alerts that have
        not resolved stay: they say who is to hear of it."""
        ...


class NotificationStore(Protocol):
    """For requests, within one tenant."""

    async def list(
        self,
        tenant_id: int,
        *,
        state: NotificationState | None,
        limit: int,
        before: tuple[datetime, UUID] | None,
        alert_id: int | None = None,
    ) -> Sequence[Notification]:
        """Newest first (descending creation, then id), those before the given one; of one alert, if named."""
        ...

    async def resend(self, tenant_id: int, message_id: UUID, *, now: datetime) -> Notification:
        """Makes a dead message wait again, due now; raises `NotFound`, and `Conflict` where it is not dead."""
        ...

    async def get(self, tenant_id: int, message_id: UUID) -> Notification:
        """One; raises `NotFound`."""
        ...

    async def put(self, tenant_id: int, channel_id: int, message: Message) -> Notification:
        """Stores a message to be sent at once, past silences; raises `NotFound` for the channel."""
        ...
