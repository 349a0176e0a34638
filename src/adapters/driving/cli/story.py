"""What happened, in order: an alert's own turns, who was told, and the entries of the audit trail."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from adapters.driving.cli.display import clean, write_line
from adapters.driving.cli.output import date_text, write
from core.domain.alerts import Alert
from core.domain.audit import AuditKind
from core.domain.notifications import Notification, NotificationState

SAID_ALREADY: Final = frozenset({"step", "policy", "state", "action", "attempt", "key", "changed", "holds"})
"""Details that an entry's sentence tells in words, or that are for machines; --json has them."""
DETAIL_CHARS_MAX: Final = 2_000
"""Of one detail, such as the body of an answer; --json has all of it."""


class AuditLine(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the audit trail as the API gives it."""

    sequence: int
    at: datetime
    kind: AuditKind
    actor: str
    summary: str
    alert_id: int | None
    remediation_id: int | None
    details: dict[str, Any]
    previous: str
    hash: str


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a story."""

    at: datetime
    actor: str
    text: str
    details: Mapping[str, Any] = {}


def alert_events(alert: Alert, notifications: Sequence[Notification]) -> Iterator[Event]:
    """What became of an alert, and who was told."""
    yield Event(at=alert.started_at, actor="sextant", text="the condition began to hold")
    if alert.fired_at is not None:
        why = "fired: samples stayed away" if alert.no_data else "fired"
        yield Event(at=alert.fired_at, actor="sextant", text=why)
    if alert.resolved_at is not None:
        how = "" if alert.resolution is None else f": {alert.resolution.value.replace('_', ' ')}"
        yield Event(at=alert.resolved_at, actor="sextant", text=f"resolved{how}")
    for one in notifications:
        at = one.delivered_at or one.created_at
        yield Event(at=at, actor="sextant", text=f"told {one.channel}: {one.event.value}{_fate(one)}")


def audit_events(timeline: Sequence[AuditLine], *, detailed: bool) -> Iterator[Event]:
    """Entries of the audit trail."""
    for line in timeline:
        details = line.details if detailed else {}
        yield Event(at=line.at, actor=line.actor, text=line.summary, details=details)


def write_story(events: Sequence[Event]) -> None:
    """Prints what happened, oldest first."""
    events = sorted(events, key=lambda event: event.at)
    width = max((len(clean(event.actor)) for event in events), default=0)
    for event in events:
        head = f"  {date_text(event.at)}  {clean(event.actor).ljust(width)}  "
        write_line(head + clean(event.text), indent=len(head))
        for name, value in _flat(event.details):
            shown = clean(value)[:DETAIL_CHARS_MAX]
            write_line(f"{' ' * len(head)}{clean(name)}: {shown}", indent=len(head) + 2, style="dim")
    if not events:
        write("  nothing yet")


def _fate(notification: Notification) -> str:
    tries = f" after {notification.attempts} attempts" if notification.attempts > 1 else ""
    match notification.state:
        case NotificationState.DELIVERED:
            return f", delivered{tries}"
        case NotificationState.WAITING:
            return f", waiting{tries}{_because(notification)}"
        case NotificationState.DEAD:
            again = f"; to send it again: sextant alerts notifications resend {str(notification.id)[:8]}"
            return f", given up{tries}{_because(notification)}{again}"


def _because(notification: Notification) -> str:
    return f" ({notification.last_error})" if notification.last_error else ""


def _flat(details: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Details as names and texts, those within others by a dotted name, without what is said already."""
    for name, value in details.items():
        if not prefix and name in SAID_ALREADY:
            continue
        if isinstance(value, Mapping):
            within = "" if name in ("details", "facts") else f"{prefix}{name}."
            yield from _flat(value, within)
        elif value not in (None, "", [], {}):
            yield f"{prefix}{name}", value if isinstance(value, str) else msgspec.json.encode(value).decode()
