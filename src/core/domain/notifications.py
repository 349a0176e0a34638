"""Channels, what is sent through them, and what became of it."""

import enum
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from core.domain.alerts import Alert
from core.domain.errors import InvalidInput

NAME_CHARS_MAX: Final = 200
URL_CHARS_MAX: Final = 2_000
HOST_CHARS_MAX: Final = 253
"""The longest name that DNS knows."""
SECRET_CHARS_MAX: Final = 1_000
SECRETS_MAX: Final = 3
"""The current one, and old ones that receivers still know while a secret is rotated."""
RECIPIENTS_MAX: Final = 50
ALERTS_PER_MESSAGE_MAX: Final = 100
"""More are counted, not listed: nobody reads the hundredth line."""


class WebhookFormat(enum.Enum):
    """The body of a webhook."""

    SEXTANT = "sextant"
    ALERTMANAGER = "alertmanager"
    """Alertmanager's webhook, version 4."""


class SlackConfig(msgspec.Struct, frozen=True, kw_only=True, tag="slack", tag_field="type", forbid_unknown_fields=True):
    """Slack's incoming webhooks; the address itself is the secret, so it travels as `secret`."""

    name: str
    default: bool = True
    enabled: bool = True


class PagerDutyConfig(
    msgspec.Struct, frozen=True, kw_only=True, tag="pagerduty", tag_field="type", forbid_unknown_fields=True
):
    """PagerDuty's Events API v2; the routing key is the secret."""

    name: str
    url: str = "https://events.pagerduty.com/v2/enqueue"
    default: bool = True
    enabled: bool = True


class WebhookConfig(
    msgspec.Struct, frozen=True, kw_only=True, tag="webhook", tag_field="type", forbid_unknown_fields=True
):
    """Any HTTP receiver; signed as Standard Webhooks (https://www.standardwebhooks.com) with the secret, if one is set.

    While secrets are rotated every message carries a signature by each of them.
    """

    name: str
    url: str
    format: WebhookFormat = WebhookFormat.SEXTANT
    default: bool = True
    enabled: bool = True


class EmailConfig(msgspec.Struct, frozen=True, kw_only=True, tag="email", tag_field="type", forbid_unknown_fields=True):
    """Mail through an SMTP server; the password, where there is one, is the secret."""

    name: str
    host: str
    port: int = 587
    starttls: bool = True
    username: str | None = None
    sender: str
    to: tuple[str, ...]
    default: bool = True
    enabled: bool = True


ChannelConfig = SlackConfig | PagerDutyConfig | WebhookConfig | EmailConfig


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """A stored channel, without its secrets."""

    id: int
    config: ChannelConfig
    secrets_set: int
    """How many secrets it has."""
    disabled_reason: str | None
    """Why Sextant itself disabled it, such as a receiver that answered 410."""
    created_at: datetime
    updated_at: datetime


class AlertEvent(enum.Enum):
    """What a notification tells."""

    FIRED = "fired"
    ESCALATED = "escalated"
    RESOLVED = "resolved"
    ACKNOWLEDGED = "acknowledged"
    REMEDIATION = "remediation"
    """A remediation asks for approval, ended or needs a person; `text` says which."""
    TEST = "test"


class NotificationState(enum.Enum):
    """What became of a notification."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"
    """Given up: it stands in the dead-letter list and can be sent again."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be said through one channel: one event of the alerts of one rule and tenant.

    `id` is the same however often it is sent; receivers drop repeats by it.
    """

    id: UUID
    event: AlertEvent
    tenant: str
    rule: str
    alerts: tuple[Alert, ...]
    """At most `ALERTS_PER_MESSAGE_MAX`."""
    alerts_total: int
    created_at: datetime
    text: str | None = None
    link: str | None = None
    """Where a person can act on it, such as the page that approves a remediation."""


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """A message on its way through one channel, as it is listed."""

    id: UUID
    channel_id: int
    channel: str
    event: AlertEvent
    rule: str
    alert_ids: tuple[int, ...]
    state: NotificationState
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None
    """None where nothing more will be tried."""
    delivered_at: datetime | None
    last_error: str | None


def check_channel(config: ChannelConfig) -> None:
    """Raises `InvalidInput` where a channel's own fields cannot be; addresses are the outbound guard's to judge."""
    if not 1 <= len(config.name) <= NAME_CHARS_MAX or _unprintable(config.name):
        raise InvalidInput("name", f"must have 1 to {NAME_CHARS_MAX} printable characters")
    if isinstance(config, EmailConfig):
        _check_email(config)
    if isinstance(config, PagerDutyConfig | WebhookConfig) and (
        not 1 <= len(config.url) <= URL_CHARS_MAX or _unprintable(config.url)
    ):
        raise InvalidInput("url", f"must have 1 to {URL_CHARS_MAX} printable characters")


def check_secrets(config: ChannelConfig, secrets: tuple[str, ...]) -> None:
    """Raises `InvalidInput` where the secrets do not fit the channel."""
    if len(secrets) > SECRETS_MAX:
        raise InvalidInput("secret", f"at most {SECRETS_MAX} at a time")
    for secret in secrets:
        if not 1 <= len(secret) <= SECRET_CHARS_MAX or _unprintable(secret):
            raise InvalidInput("secret", f"must have 1 to {SECRET_CHARS_MAX} printable characters")
    if isinstance(config, SlackConfig | PagerDutyConfig) and not secrets:
        what = "the incoming webhook's address" if isinstance(config, SlackConfig) else "the integration's routing key"
        raise InvalidInput("secret", f"is missing: {what}")


def _check_email(config: EmailConfig) -> None:
    if not 1 <= len(config.host) <= HOST_CHARS_MAX or _unprintable(config.host):
        raise InvalidInput("host", f"must have 1 to {HOST_CHARS_MAX} printable characters")
    if not 1 <= config.port <= 65_535:
        raise InvalidInput("port", "must be from 1 to 65535")
    if not 1 <= len(config.to) <= RECIPIENTS_MAX:
        raise InvalidInput("to", f"give 1 to {RECIPIENTS_MAX} addresses")
    for field, address in (("sender", config.sender), *(("to", address) for address in config.to)):
        local, at, domain = address.rpartition("@")
        if not at or not local or not domain or len(address) > 254 or _unprintable(address) or " " in address:
            raise InvalidInput(field, f"{address[:64]!r} is not an e-mail address")
    if config.username is not None and (not 1 <= len(config.username) <= 254 or _unprintable(config.username)):
        raise InvalidInput("username", "must have 1 to 254 printable characters")


def _unprintable(text: str) -> bool:
    return not text.isprintable()
