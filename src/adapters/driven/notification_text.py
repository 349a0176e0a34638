"""A notification in plain words, for every channel that a person reads.

    CRITICAL cpu high: cpu.usage 97.2 > 90 on host=a since 12:00 UTC

What users chose (names, label values, annotations) is one line without control or invisible characters here, so that
it can neither begin a line that looks like Sextant's own nor turn the reading direction. Markup is the channel's to
escape.
"""

import re
from datetime import UTC, datetime
from typing import Final

from core.domain.alerts import Alert, EpisodeState
from core.domain.notifications import AlertEvent, Message
from core.domain.rules import Severity

LABELS_SHOWN: Final = 12
"""More labels than anybody reads in a sentence."""
VALUE_CHARS_MAX: Final = 100
"""Of a label's value; the whole one is in Sextant."""
TEXT_CHARS_MAX: Final = 2_000
"""Of an annotation or a remediation's sentence, in places that hold little."""

_PLAIN = re.compile(r"[^\s\"'=,]+\Z")


def one_line(text: str, chars_max: int = TEXT_CHARS_MAX) -> str:
    """`text` on one line, cut to `chars_max`, with a space for every run of what is no printable character."""
    cleaned = " ".join("".join(each if each.isprintable() else " " for each in text[: 2 * chars_max]).split())
    return cleaned if len(cleaned) <= chars_max else cleaned[: chars_max - 1] + "…"


def title(message: Message) -> str:
    """What it is about, in a few words, with the worst severity: ``CRITICAL cpu high``, ``RESOLVED cpu high``."""
    severities = {alert.severity for alert in message.alerts}
    worst = next((severity for severity in (Severity.CRITICAL, Severity.WARNING) if severity in severities), None)
    return _heading(message, worst)


def sentences(message: Message, alerts_max: int) -> list[str]:
    """The whole notification, a line each: what `text` says, up to `alerts_max` alerts, how many more there are."""
    lines = [] if message.text is None else [f"{title(message)}: {one_line(message.text)}"]
    if message.event is AlertEvent.TEST and not lines:
        lines = [f"{title(message)}: this channel works. Nothing is wrong."]
    shown = message.alerts[:alerts_max]
    lines += [alert_line(message, alert) for alert in shown]
    if message.alerts_total > len(shown) > 0:
        lines.append(f"… and {message.alerts_total - len(shown)} more")
    return lines or [title(message)]


def alert_line(message: Message, alert: Alert) -> str:
    """One alert by itself: ``CRITICAL cpu high: cpu.usage 97.2 > 90 on host=a since 12:00 UTC``."""
    line = f"{_heading(message, alert.severity)}: {alert_sentence(alert, message.created_at)}"
    if message.event is AlertEvent.ACKNOWLEDGED and alert.acknowledged_by is not None:
        line += f", by {one_line(alert.acknowledged_by, VALUE_CHARS_MAX)}"
    return line


def alert_sentence(alert: Alert, at: datetime) -> str:
    """``cpu.usage 97.2 > 90 on host=a since 12:00 UTC``; days are named where they differ from that of `at`."""
    where = f" on {labels_text(alert.labels)}" if alert.labels else ""
    return f"{reading(alert)}{where} {span(alert, at)}"


def reading(alert: Alert) -> str:
    """The metric and how its value compares with the threshold: ``cpu.usage 97.2 > 90``."""
    metric = one_line(alert.metric)
    if alert.value is None:
        return f"{metric} reports nothing" if alert.no_data else metric
    value, threshold = alert.value, alert.threshold
    if threshold is None:
        return f"{metric} {number(value)}"
    if isinstance(threshold, tuple):
        low, high = threshold
        how = "within" if low <= value <= high else "outside"
        return f"{metric} {number(value)} {how} {number(low)} to {number(high)}"
    sign = ">" if value > threshold else "<" if value < threshold else "="
    stays_away = ", reports nothing since" if alert.no_data else ""
    return f"{metric} {number(value)} {sign} {number(threshold)}{stays_away}"


def span(alert: Alert, at: datetime) -> str:
    """``since 12:00 UTC``, or ``from 12:00 to 12:30 UTC`` of what has resolved."""
    if alert.state is EpisodeState.RESOLVED and alert.resolved_at is not None:
        return f"from {_clock(alert.started_at, at)} to {_clock(alert.resolved_at, at)} UTC"
    return f"since {_clock(alert.started_at, at)} UTC"


def labels_text(labels: dict[str, str]) -> str:
    """``host=a, disk="C: drive"``: in order, values quoted where they could be read as more labels."""
    shown = [f"{one_line(name)}={_quoted(one_line(value, VALUE_CHARS_MAX))}" for name, value in sorted(labels.items())]
    more = len(shown) - LABELS_SHOWN
    return ", ".join(shown[:LABELS_SHOWN]) + (f" and {more} more" if more > 0 else "")


def severity_word(severity: Severity | None) -> str:
    """``CRITICAL``, ``WARNING``; ``ALERT`` where there is none."""
    match severity:
        case Severity.CRITICAL:
            return "CRITICAL"
        case Severity.WARNING:
            return "WARNING"
        case None:
            return "ALERT"


def number(value: float) -> str:
    """At most ten significant digits: 0.1 + 0.2 is 0.3 to a person."""
    return f"{value:.10g}"


def web_link(url: str | None) -> str | None:
    """`url` where it is one that a person can safely be offered to click: http or https, printable, no spaces."""
    if url is None or not url.startswith(("https://", "http://")) or not url.isprintable() or " " in url:
        return None
    return url


def _heading(message: Message, severity: Severity | None) -> str:
    rule = one_line(message.rule)
    match message.event:
        case AlertEvent.TEST:
            return "TEST of Sextant's notifications"
        case AlertEvent.FIRED:
            return f"{severity_word(severity)} {rule}"
        case AlertEvent.ESCALATED:
            return f"{severity_word(severity)} (escalated) {rule}"
        case AlertEvent.RESOLVED | AlertEvent.ACKNOWLEDGED | AlertEvent.REMEDIATION:
            return f"{message.event.value.upper()} {rule}"


def _clock(instant: datetime, at: datetime) -> str:
    instant, at = instant.astimezone(UTC), at.astimezone(UTC)
    return instant.strftime("%H:%M" if instant.date() == at.date() else "%Y-%m-%d %H:%M")


def _quoted(value: str) -> str:
    if _PLAIN.match(value):
        return value
    return '"' + value.replace('"', "'") + '"'
