"""Alerts, channels and events as tests of the notifier need them: everything usual but what a test names."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from core.domain.alerts import Alert, Inhibition, Silence
from core.domain.notifications import (
    AlertEvent,
    Channel,
    ChannelConfig,
    EmailConfig,
    PagerDutyConfig,
    SlackConfig,
    WebhookConfig,
)
from core.domain.rules import Severity
from ports.driven.notification_store import OutboxEvent, Surroundings
from tests.support import messages

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SLACK: ChannelConfig = SlackConfig(name="chat")
PAGER: ChannelConfig = PagerDutyConfig(name="pager")
WEBHOOK: ChannelConfig = WebhookConfig(name="hook", url="https://example.org/")
EMAIL: ChannelConfig = EmailConfig(name="mail", host="mail.example.org", sender="a@example.org", to=("b@example.org",))


def alert(alert_id: int = 1, **changes: object) -> Alert:
    """A firing warning of the rule `busy`."""
    usual = {
        "id": alert_id,
        "rule": "busy",
        "rule_id": 7,
        "metric": "cpu",
        "labels": {"host": f"h{alert_id}"},
        "severity": Severity.WARNING,
    }
    return messages.alert(**usual | changes)


def event(event_id: int, about: Alert, kind: AlertEvent = AlertEvent.FIRED, **changes: object) -> OutboxEvent:
    """An event for the tenant's default channels."""
    usual = OutboxEvent(
        id=event_id,
        tenant_id=2,
        tenant="acme",
        alert=about,
        event=kind,
        created_at=NOW,
        channels=None,
        text=None,
        link=None,
    )
    return msgspec.structs.replace(usual, **changes)


def channel(channel_id: int, config: ChannelConfig, *, disabled_reason: str | None = None) -> Channel:
    """A stored channel."""
    return Channel(
        id=channel_id,
        config=config,
        secrets_set=1,
        disabled_reason=disabled_reason,
        created_at=NOW,
        updated_at=NOW,
    )


def surroundings(
    channels: Sequence[Channel],
    *,
    silences: Sequence[Silence] = (),
    inhibitions: Sequence[Inhibition] = (),
    firing: Sequence[Alert] = (),
    told: Iterable[tuple[int, int]] = (),
) -> Surroundings:
    """What decides who is told."""
    return Surroundings(
        channels=channels, silences=silences, inhibitions=inhibitions, firing=firing, told=frozenset(told)
    )
