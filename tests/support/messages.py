"""Messages to send, ordinary and hostile ones."""

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from core.domain.alerts import Alert, EpisodeState, Resolution
from core.domain.notifications import AlertEvent, Channel, ChannelConfig, Message
from core.domain.rules import Severity

NOON: Final = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
HOSTILE_TEXT: Final = (
    '<!channel> <@U1> <http://evil.example|Sextant> &lt; *bold* _it_ `code` ~x~ </p><script>alert("1")</script> '
    "\r\nBcc: victim@example.com\r\n\r\nRESOLVED everything\u202e\u2028 @here #general [x](http://evil.example) "
    "\x1b[31m"
)
"""Tries to mention, to link, to format, to end an element, to add a header and to begin a line."""


def alert(**changes: Any) -> Alert:
    """A critical alert that fired at noon; `changes` replace its fields."""
    ordinary = Alert(
        id=7,
        rule="cpu high",
        rule_id=3,
        metric="cpu.usage",
        labels={"host": "a"},
        state=EpisodeState.FIRING,
        severity=Severity.CRITICAL,
        value=97.2,
        threshold=90.0,
        started_at=NOON,
        fired_at=NOON,
        resolved_at=None,
        resolution=None,
        episode=1,
        no_data=False,
        shadow=False,
        announced=True,
        acknowledged_at=None,
        acknowledged_by=None,
        annotations={"summary": "the processor is busy"},
        runbook_url="https://runbooks.example/cpu?a=1&b=2",
        remediation=None,
    )
    return msgspec.structs.replace(ordinary, **changes)


def resolved_alert(**changes: Any) -> Alert:
    """The same, over after half an hour."""
    ending: dict[str, Any] = {
        "state": EpisodeState.RESOLVED,
        "value": 12.0,
        "resolved_at": NOON.replace(minute=30),
        "resolution": Resolution.RECOVERED,
    }
    return alert(**(ending | changes))


def message(event: AlertEvent = AlertEvent.FIRED, **changes: Any) -> Message:
    """One event of one alert; a test's has none."""
    alerts: tuple[Alert, ...] = (alert(),)
    if event is AlertEvent.RESOLVED:
        alerts = (resolved_alert(),)
    elif event is AlertEvent.ACKNOWLEDGED:
        alerts = (alert(acknowledged_at=NOON, acknowledged_by="ada"),)
    elif event is AlertEvent.TEST:
        alerts = ()
    fields: dict[str, Any] = {
        "id": UUID("0190c7a2-7c1e-7d5e-9a3b-1f2e3d4c5b6a"),
        "event": event,
        "tenant": "acme",
        "rule": "cpu high",
        "alerts": alerts,
        "created_at": NOON.replace(minute=31),
        "text": "restart web asks for approval" if event is AlertEvent.REMEDIATION else None,
        "link": "https://sextant.example/remediations/5?token=a&b=c" if event is AlertEvent.REMEDIATION else None,
    }
    fields |= changes
    return Message(**{"alerts_total": len(fields["alerts"]), **fields})


def hostile_message(event: AlertEvent = AlertEvent.FIRED) -> Message:
    """Everything that a user may choose is `HOSTILE_TEXT`."""
    hostile = alert(
        rule=HOSTILE_TEXT,
        labels={"host": HOSTILE_TEXT, "disk": 'C:, host="b"'},
        annotations={"summary": HOSTILE_TEXT},
        acknowledged_by=HOSTILE_TEXT,
        runbook_url="https://x.example/>|<!channel>\"'><script>&",
    )
    return message(event, rule=HOSTILE_TEXT, alerts=(hostile,), text=HOSTILE_TEXT, link="https://x.example/<!here>|a")


def channel(config: ChannelConfig, *, secrets_set: int = 1) -> Channel:
    """A stored channel."""
    return Channel(id=1, config=config, secrets_set=secrets_set, disabled_reason=None, created_at=NOON, updated_at=NOON)
