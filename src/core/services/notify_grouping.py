"""Who is told of what: from events that wait and what surrounds them to messages, pure.

    event ──▶ no longer worth telling ──────────────▶ suppressed, with the reason
      │
      ├─────▶ nobody to tell (channels, who was told) ─▶ suppressed, with the reason
      │
      ├─────▶ silenced or inhibited ────────────────▶ kept: looked at again, for the alert may outlast the silence
      │
      └─────▶ told: one message for all events of one kind, rule and channel

Theory of operation. An event says that something happened; the alert beside it is as it is now. So what has passed
meanwhile is not told: an alert that resolved before anybody heard of it leaves no trace with anybody. Who has never
heard of an alert hears that it fired, whichever event brings it up, and its end and acknowledgement are told to exactly
those who have. An end that falls into a silence is told when the silence is over.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

import msgspec

from core.domain.alerts import Alert, EpisodeState
from core.domain.notifications import (
    ALERTS_PER_MESSAGE_MAX,
    AlertEvent,
    Channel,
    Message,
    PagerDutyConfig,
    WebhookConfig,
)
from core.domain.rules import Severity
from core.services.withholding import Withholding
from ports.driven.notification_store import OutboxEvent, OutgoingMessage, Surroundings

MESSAGE_IDS: Final = UUID("6f0e5f0a-3d0c-5b5e-9d5f-0f6f6b1c6a51")
"""The name space of messages' ids."""

FIRING: Final = frozenset({AlertEvent.FIRED, AlertEvent.ESCALATED})
"""What tells that something is wrong."""
FOLLOWING: Final = frozenset({AlertEvent.RESOLVED, AlertEvent.ACKNOWLEDGED})
"""What is told only to who has heard that something was wrong."""


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of events: each contributes to messages, or is suppressed, or is kept."""

    messages: tuple[OutgoingMessage, ...]
    suppressed: tuple[tuple[int, str], ...]
    """Event's id, and why nobody is told, for a person."""
    kept: tuple[int, ...]
    """Events that a silence or an inhibition holds back for now."""


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """What one message is about; events of one topic are told together."""

    channel_id: int
    event: AlertEvent
    rule_id: int
    rule: str
    text: str | None
    link: str | None


Telling = dict[int, tuple[Alert, list[int]]]
"""Alert's id → the alert, and the events that one message tells of it."""


def decide(events: Sequence[OutboxEvent], surroundings: Surroundings, now: datetime) -> Decided:
    """What becomes of `events`, all of one tenant and in order; the same for the same arguments."""
    withholding = Withholding(surroundings, now)
    channels = {channel.id: channel for channel in surroundings.channels}
    topics: dict[Topic, Telling] = {}
    suppressed: list[tuple[int, str]] = []
    kept: list[int] = []
    for event in events:
        reason = outdated(event)
        recipients, nobody = _recipients(event, surroundings)
        if reason is not None or not recipients:
            suppressed.append((event.id, reason or nobody))
            continue
        withheld = withholding.reason(event.alert)
        if withheld is not None and _keeps(event):
            kept.append(event.id)
        elif withheld is not None:
            suppressed.append((event.id, withheld))
        else:
            for channel in recipients:
                telling = topics.setdefault(_topic(event, channel, surroundings.told), {})
                telling.setdefault(event.alert.id, (event.alert, []))[1].append(event.id)
    messages = [
        message
        for topic, telling in topics.items()
        for message in _messages(topic, telling, channels[topic.channel_id], events[0], now)
    ]
    return Decided(messages=tuple(messages), suppressed=tuple(suppressed), kept=tuple(kept))


def outdated(event: OutboxEvent) -> str | None:
    """Why nobody is to be told of the event any more, whoever they are; None where somebody may be."""
    alert, kind = event.alert, event.event
    if alert.shadow:
        return "the rule is in shadow mode"
    if not alert.announced:
        return "it was too old to be told when it was found"
    if alert.state is EpisodeState.RESOLVED and kind in FIRING:
        return "resolved before anybody was told"
    if alert.state is EpisodeState.RESOLVED and kind is AlertEvent.ACKNOWLEDGED:
        return "resolved meanwhile"
    if alert.acknowledged_at is None or kind not in FIRING:
        return None
    # A person who acknowledged before it became worse has not seen that.
    unseen = kind is AlertEvent.ESCALATED and event.created_at > alert.acknowledged_at
    return None if unseen else f"acknowledged by {alert.acknowledged_by}"


def _keeps(event: OutboxEvent) -> bool:
    """Whether the event is still worth telling once nothing holds it back any more."""
    match event.event:
        case AlertEvent.FIRED | AlertEvent.ESCALATED | AlertEvent.RESOLVED:
            return True
        case AlertEvent.REMEDIATION:
            return event.alert.state is not EpisodeState.RESOLVED
        case AlertEvent.ACKNOWLEDGED | AlertEvent.TEST:
            return False


def _recipients(event: OutboxEvent, surroundings: Surroundings) -> tuple[list[Channel], str]:
    """The channels that are to tell of the event, or an empty list and why there is none."""
    alert_id = event.alert.id
    if event.event in FOLLOWING:
        heard = [channel for channel in surroundings.channels if (alert_id, channel.id) in surroundings.told]
        return _enabled(heard, "nobody was told that it fired")
    if event.channels is None:
        chosen = [channel for channel in surroundings.channels if channel.config.default]
    else:
        chosen = [channel for channel in surroundings.channels if channel.config.name in event.channels]
    named = f" named {event.channels[0]!r}" if event.channels else ""
    enabled, nobody = _enabled(chosen, f"no channel{named}")
    if event.event is not AlertEvent.FIRED or not enabled:
        return enabled, nobody
    unheard = [channel for channel in enabled if (alert_id, channel.id) not in surroundings.told]
    return unheard, "told already"


def _enabled(channels: Sequence[Channel], nobody: str) -> tuple[list[Channel], str]:
    """Those that may be used, and why there are none where there are none."""
    enabled = [channel for channel in channels if channel.config.enabled and channel.disabled_reason is None]
    if channels and not enabled:
        nobody = f"the channel {channels[0].config.name!r} is disabled"
        why = channels[0].disabled_reason
        if why is not None:
            nobody += f": {why}"
    return enabled, nobody


def _topic(event: OutboxEvent, channel: Channel, told: Collection[tuple[int, int]]) -> Topic:
    kind = event.event
    if kind in FIRING:
        kind = AlertEvent.ESCALATED if (event.alert.id, channel.id) in told else AlertEvent.FIRED
    return Topic(
        channel_id=channel.id,
        event=kind,
        rule_id=event.alert.rule_id,
        rule=event.alert.rule,
        text=event.text,
        link=event.link,
    )


def _messages(
    topic: Topic, telling: Telling, channel: Channel, any_event: OutboxEvent, now: datetime
) -> Iterable[OutgoingMessage]:
    """The messages of one topic, the worst alerts first."""
    ordered = sorted(telling.values(), key=lambda told: (told[0].severity is not Severity.CRITICAL, told[0].id))
    size = _alerts_per_message(channel, len(ordered))
    for start in range(0, len(ordered), size):
        part = ordered[start : start + size]
        event_ids = sorted(event_id for _, ids in part for event_id in ids)
        name = f"{topic.channel_id}:{topic.event.value}:{','.join(map(str, event_ids))}"
        message = Message(
            id=uuid5(MESSAGE_IDS, name),
            event=topic.event,
            tenant=any_event.tenant,
            rule=topic.rule,
            alerts=tuple(alert for alert, _ in part[:ALERTS_PER_MESSAGE_MAX]),
            alerts_total=len(part),
            created_at=now,
            text=topic.text,
            link=topic.link,
        )
        yield OutgoingMessage(
            tenant_id=any_event.tenant_id,
            channel_id=topic.channel_id,
            message=message,
            alert_ids=tuple(alert.id for alert, _ in part),
        )


def _alerts_per_message(channel: Channel, alerts: int) -> int:
    match channel.config:
        case PagerDutyConfig():
            return 1  # an incident is one alert's, found again by its key
        case WebhookConfig():
            return ALERTS_PER_MESSAGE_MAX  # a program reads every line, so none may be left out
        case _:
            return alerts  # a person reads the first ones and the count
