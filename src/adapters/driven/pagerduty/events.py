"""A notification as PagerDuty's events.

An episode is one PagerDuty alert, by its `dedup_key`: firing triggers it, an escalation triggers it again with the new
severity, acknowledging and resolving follow. PagerDuty drops repeats by the same key.

A remediation's news is a trigger too while the episode lasts: PagerDuty adds it to the open incident, which pages
nobody a second time. Afterwards that would open a new incident, so it is a change event, which never pages.

A test triggers an alert of its own, at PagerDuty's lowest severity, and resolves it.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from adapters.driven.notification_text import alert_line, labels_text, one_line, reading, sentences, web_link
from core.domain.alerts import Alert, EpisodeState
from core.domain.notifications import AlertEvent, Message
from core.domain.rules import Severity

SUMMARY_CHARS_MAX: Final = 1_024
"""PagerDuty's limit."""
SOURCE_LABELS: Final = ("host", "instance", "pod", "service")
"""Where a label names the affected system, the most telling first."""
_SEVERITY: Final = {Severity.WARNING: "warning", Severity.CRITICAL: "critical", None: "info"}


class Event(msgspec.Struct, frozen=True):
    """One request to PagerDuty, without the routing key."""

    fields: dict[str, Any]
    is_change: bool = False
    """It is for the endpoint of change events."""


def dedup_key(tenant: str, alert: Alert) -> str:
    """What PagerDuty knows an episode by; the same for all that is said of it."""
    return f"sextant/{tenant}/{alert.id}"


def events(message: Message) -> Iterator[Event]:
    """What to send, in order."""
    match message.event:
        case AlertEvent.TEST:
            key = f"sextant/{message.tenant}/test/{message.id}"
            yield _trigger(message, key, None, sentences(message, 0)[0])
            yield _update("resolve", key)
        case AlertEvent.FIRED | AlertEvent.ESCALATED:
            for alert in message.alerts:
                yield _trigger(message, dedup_key(message.tenant, alert), alert, alert_line(message, alert))
        case AlertEvent.ACKNOWLEDGED:
            yield from (_update("acknowledge", dedup_key(message.tenant, alert)) for alert in message.alerts)
        case AlertEvent.RESOLVED:
            yield from (_update("resolve", dedup_key(message.tenant, alert)) for alert in message.alerts)
        case AlertEvent.REMEDIATION:
            yield from _remediation(message)


def _remediation(message: Message) -> Iterator[Event]:
    summary = sentences(message, 0)[0]
    lasting = [alert for alert in message.alerts if alert.state is EpisodeState.FIRING]
    for alert in lasting:
        yield _trigger(message, dedup_key(message.tenant, alert), alert, summary)
    if not lasting:
        payload = {
            "summary": one_line(summary, SUMMARY_CHARS_MAX),
            "timestamp": message.created_at,
            "source": _source(message, message.alerts[0] if message.alerts else None),
        }
        yield Event({"payload": payload, "links": _links(message, None)}, is_change=True)


def _trigger(message: Message, key: str, alert: Alert | None, summary: str) -> Event:
    payload: dict[str, Any] = {
        "summary": one_line(summary, SUMMARY_CHARS_MAX),
        "source": _source(message, alert),
        "severity": _SEVERITY[alert.severity if alert is not None else None],
        "timestamp": alert.started_at if alert is not None else message.created_at,
        "group": message.tenant,
        "class": message.rule,
        "custom_details": _details(message, alert),
    }
    fields = {
        "event_action": "trigger",
        "dedup_key": key,
        "client": "Sextant",
        "payload": payload,
        "links": _links(message, alert),
    }
    link = web_link(message.link)
    return Event({**fields, "client_url": link} if link is not None else fields)


def _update(action: str, key: str) -> Event:
    return Event({"event_action": action, "dedup_key": key})


def _details(message: Message, alert: Alert | None) -> dict[str, Any]:
    details: dict[str, Any] = {"event": message.event.value, "rule": message.rule}
    if message.text is not None:
        details["text"] = message.text
    if alert is not None:
        details |= {
            "metric": alert.metric,
            "reading": reading(alert),
            "value": alert.value,
            "threshold": alert.threshold,
            "labels": alert.labels,
            "annotations": alert.annotations,
            "episode": alert.episode,
            "alert": alert.id,
        }
    return details


def _source(message: Message, alert: Alert | None) -> str:
    if alert is None:
        return f"sextant/{message.tenant}"
    named = next((alert.labels[label] for label in SOURCE_LABELS if alert.labels.get(label)), None)
    return one_line(named or labels_text(alert.labels) or alert.metric, SUMMARY_CHARS_MAX)


def _links(message: Message, alert: Alert | None) -> list[dict[str, str]]:
    found = (("Open in Sextant", message.link), ("Runbook", alert.runbook_url if alert is not None else None))
    return [{"href": url, "text": text} for text, each in found if (url := web_link(each)) is not None]
