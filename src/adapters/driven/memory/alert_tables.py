"""Rows of the in-memory tables about alerts, where a domain value alone does not say everything."""

from datetime import datetime
from uuid import UUID

import msgspec

from core.domain.alerts import Alert, Inhibition, Silence
from core.domain.notifications import AlertEvent, Channel, Message, NotificationState
from core.domain.times import EPOCH
from ports.driven.evaluation_store import Target


class AlertRow(msgspec.Struct, eq=False, kw_only=True):
    """One episode."""

    target: Target
    alert: Alert
    channels: tuple[str, ...] | None
    """Names of channels; None: the tenant's default ones."""


class SilenceRow(msgspec.Struct, eq=False, kw_only=True):
    """One silence."""

    tenant_id: int
    silence: Silence


class InhibitionRow(msgspec.Struct, eq=False, kw_only=True):
    """One inhibition."""

    tenant_id: int
    inhibition: Inhibition


class ChannelRow(msgspec.Struct, eq=False, kw_only=True):
    """One channel with its secrets."""

    tenant_id: int
    channel: Channel
    secrets: tuple[str, ...]


class EventRow(msgspec.Struct, eq=False, kw_only=True):
    """One event of the notification outbox."""

    id: int
    tenant_id: int
    alert_id: int
    event: AlertEvent
    created_at: datetime
    channels: tuple[str, ...] | None = None
    text: str | None = None
    link: str | None = None
    look_again_at: datetime = EPOCH
    decided_at: datetime | None = None
    suppressed: str | None = None


class MessageRow(msgspec.Struct, eq=False, kw_only=True):
    """One message to one channel."""

    sequence: int
    tenant_id: int
    channel_id: int
    message: Message
    alert_ids: tuple[int, ...]
    state: NotificationState
    attempts: int
    next_attempt_at: datetime | None
    delivered_at: datetime | None = None
    last_error: str | None = None

    @property
    def id(self) -> UUID:
        """The message's."""
        return self.message.id
