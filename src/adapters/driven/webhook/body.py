"""The body of a webhook: Sextant's own JSON, or Alertmanager's.

Sextant's is `SextantBody`: what happened (`event`: fired, escalated, resolved, acknowledged, remediation, test), to
which alerts (shaped as ``GET /api/v1/alerts`` shows them), and the same in words (`text`).
"""

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from adapters.driven.notification_text import sentences
from core.domain.alerts import Alert, EpisodeState
from core.domain.notifications import ALERTS_PER_MESSAGE_MAX, AlertEvent, Message, WebhookFormat

_NO_END: Final = datetime(1, 1, 1, tzinfo=UTC)
"""Go's zero time, by which Alertmanager's receivers know that an alert lasts."""


class SextantBody(msgspec.Struct, frozen=True, kw_only=True):
    """One message; `id` is the same however often it is sent."""

    id: UUID
    event: AlertEvent
    created_at: datetime
    tenant: str
    rule: str
    alerts: tuple[Alert, ...]
    alerts_total: int
    """How many the event is about; `alerts` lists the first of them."""
    text: str
    """For a person, a line for each alert."""
    link: str | None


def body(message: Message, webhook_format: WebhookFormat, *, receiver: str, public_url: str) -> bytes:
    """The bytes to send, and to sign."""
    match webhook_format:
        case WebhookFormat.SEXTANT:
            return msgspec.json.encode(_sextant(message))
        case WebhookFormat.ALERTMANAGER:
            return msgspec.json.encode(_alertmanager(message, receiver, public_url))


def _sextant(message: Message) -> SextantBody:
    return SextantBody(
        id=message.id,
        event=message.event,
        created_at=message.created_at,
        tenant=message.tenant,
        rule=message.rule,
        alerts=message.alerts,
        alerts_total=message.alerts_total,
        text="\n".join(sentences(message, ALERTS_PER_MESSAGE_MAX)),
        link=message.link,
    )


def _alertmanager(message: Message, receiver: str, public_url: str) -> dict[str, Any]:
    """Version 4 (https://prometheus.io/docs/alerting/latest/configuration/#webhook_config).

    What has no place of its own there (the event, its words, its link) stands in `commonAnnotations`. A message without
    alerts is shown as one, named by the rule or as a test, because receivers loop over alerts.
    """
    alerts = [_alert(alert, message, public_url) for alert in message.alerts] or [_stand_in(message, public_url)]
    lasting = any(alert["status"] == "firing" for alert in alerts)
    common = {"sextant_event": message.event.value, "sextant_text": "\n".join(sentences(message, len(alerts)))}
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{_go_quoted(message.rule)}", tenant="{message.tenant}"}}',
        "truncatedAlerts": max(0, message.alerts_total - len(message.alerts)),
        "status": "firing" if lasting else "resolved",
        "receiver": receiver,
        "groupLabels": {"alertname": message.rule, "tenant": message.tenant},
        "commonLabels": _common([alert["labels"] for alert in alerts]),
        "commonAnnotations": _common([alert["annotations"] for alert in alerts])
        | common
        | ({"sextant_link": message.link} if message.link is not None else {}),
        "externalURL": public_url,
        "alerts": alerts,
    }


def _alert(alert: Alert, message: Message, public_url: str) -> dict[str, Any]:
    resolved = alert.state is EpisodeState.RESOLVED
    runbook = {"runbook_url": alert.runbook_url} if alert.runbook_url is not None else {}
    return {
        "status": "resolved" if resolved else "firing",
        "labels": {**alert.matched_labels, "tenant": message.tenant},
        "annotations": {**alert.annotations, **runbook},
        "startsAt": alert.started_at,
        "endsAt": alert.resolved_at if resolved and alert.resolved_at is not None else _NO_END,
        "generatorURL": f"{public_url}/api/v1/alerts/{alert.id}",
        "fingerprint": f"{alert.id:016x}",
    }


def _stand_in(message: Message, public_url: str) -> dict[str, Any]:
    return {
        "status": "resolved",
        "labels": {"alertname": message.rule, "tenant": message.tenant, "sextant_event": message.event.value},
        "annotations": {},
        "startsAt": message.created_at,
        "endsAt": message.created_at,
        "generatorURL": public_url,
        "fingerprint": message.id.hex[:16],
    }


def _common(of_all: list[dict[str, str]]) -> dict[str, str]:
    """What is in every one of them with the same value."""
    return {name: value for name, value in of_all[0].items() if all(each.get(name) == value for each in of_all)}


def _go_quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
