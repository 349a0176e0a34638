"""Channels on the wire: their own fields with their secret under the name that people know it by, and never back."""

from datetime import datetime
from typing import Final, TypeVar

import msgspec

from core.domain.errors import InvalidInput
from core.domain.notifications import (
    Channel,
    ChannelConfig,
    EmailConfig,
    PagerDutyConfig,
    SlackConfig,
    WebhookConfig,
)

C = TypeVar("C", SlackConfig, PagerDutyConfig, WebhookConfig, EmailConfig)


class SlackBody(SlackConfig, frozen=True, kw_only=True, tag="slack", tag_field="type"):
    """Slack's incoming webhooks; the webhook's address is the secret."""

    url: str | None = None
    secret: str | None = None
    """The same as `url`."""


class PagerDutyBody(PagerDutyConfig, frozen=True, kw_only=True, tag="pagerduty", tag_field="type"):
    """PagerDuty's Events API v2; the integration's routing key is the secret."""

    routing_key: str | None = None
    secret: str | None = None
    """The same as `routing_key`."""


class WebhookBody(WebhookConfig, frozen=True, kw_only=True, tag="webhook", tag_field="type"):
    """Any HTTP receiver, signed as Standard Webhooks with the secret."""

    secret: str | None = None
    secrets: tuple[str, ...] | None = None
    """Several at once, while they are rotated; an empty list removes them."""


class EmailBody(EmailConfig, frozen=True, kw_only=True, tag="email", tag_field="type"):
    """Mail through an SMTP server."""

    password: str | None = None
    secret: str | None = None
    """The same as `password`."""


ChannelBody = SlackBody | PagerDutyBody | WebhookBody | EmailBody


# The same members end each of the replies: a msgspec struct has one base.
class SlackReply(SlackConfig, frozen=True, kw_only=True, tag="slack", tag_field="type"):
    """A channel to Slack."""

    id: int
    secrets_set: int
    """How many secrets it has."""
    disabled_reason: str | None
    """Why Sextant itself disabled it, such as a receiver that answered 410."""
    created_at: datetime
    updated_at: datetime


class PagerDutyReply(PagerDutyConfig, frozen=True, kw_only=True, tag="pagerduty", tag_field="type"):
    """A channel to PagerDuty."""

    id: int
    secrets_set: int
    disabled_reason: str | None
    created_at: datetime
    updated_at: datetime


class WebhookReply(WebhookConfig, frozen=True, kw_only=True, tag="webhook", tag_field="type"):
    """A channel to an HTTP receiver."""

    id: int
    secrets_set: int
    disabled_reason: str | None
    created_at: datetime
    updated_at: datetime


class EmailReply(EmailConfig, frozen=True, kw_only=True, tag="email", tag_field="type"):
    """A channel by mail."""

    id: int
    secrets_set: int
    disabled_reason: str | None
    created_at: datetime
    updated_at: datetime


ChannelReply = SlackReply | PagerDutyReply | WebhookReply | EmailReply

_REPLIES: Final[dict[type[ChannelConfig], type[ChannelReply]]] = {
    SlackConfig: SlackReply,
    PagerDutyConfig: PagerDutyReply,
    WebhookConfig: WebhookReply,
    EmailConfig: EmailReply,
}


def config_and_secrets(body: ChannelBody) -> tuple[ChannelConfig, tuple[str, ...] | None]:
    """What is stored of a body; secrets are None where it names none. Raises `InvalidInput` where it names two."""
    match body:
        case SlackBody():
            return _config(SlackConfig, body), _secrets(url=body.url, secret=body.secret)
        case PagerDutyBody():
            return _config(PagerDutyConfig, body), _secrets(routing_key=body.routing_key, secret=body.secret)
        case EmailBody():
            return _config(EmailConfig, body), _secrets(password=body.password, secret=body.secret)
        case WebhookBody():
            return _config(WebhookConfig, body), _secrets(secret=body.secret, secrets=body.secrets)


def secret_field(body: ChannelBody) -> str:
    """What people call the secret of such a channel, for refusals to name."""
    match body:
        case SlackBody():
            return "url"
        case PagerDutyBody():
            return "routing_key"
        case EmailBody():
            return "password"
        case WebhookBody():
            return "secret"


def channel_reply(channel: Channel) -> ChannelReply:
    """A channel as it goes out."""
    members = {**msgspec.structs.asdict(channel), **msgspec.structs.asdict(channel.config)}
    del members["config"]
    return _REPLIES[type(channel.config)](**members)


def _config(kind: type[C], body: C) -> C:
    return kind(**{field: getattr(body, field) for field in kind.__struct_fields__})


def _secrets(**given: str | tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Those that were given, under one of their names."""
    named = {name: value for name, value in given.items() if value is not None}
    if len(named) > 1:
        raise InvalidInput(list(named)[-1], f"give either {' or '.join(named)}")
    for value in named.values():
        return (value,) if isinstance(value, str) else value
    return None
