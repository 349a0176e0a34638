"""Signals as storage makes them of the rows behind them: events, and alerts that fired."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from core.domain.alerts import Alert
from core.domain.events import (
    CHANGE_METRIC,
    EventSeverity,
    SignalEvent,
    fingerprint_of,
    host_of,
    is_synthetic,
    service_of,
)
from core.domain.incidents import Signal, SignalKind
from core.domain.rules import Severity
from core.domain.times import EPOCH

_EVENT: Final = "event:"
_ALERT: Final = "alert:"


def signal_of_event(event: SignalEvent) -> Signal:
    """The signal that an event is."""
    if event.anomaly_id is not None:
        kind = SignalKind.ANOMALY
    else:
        kind = SignalKind.CHANGE if event.metric == CHANGE_METRIC else SignalKind.ERROR
    return Signal(
        key=f"{_EVENT}{event.id}",
        kind=kind,
        at_us=microseconds(event.ts),
        host=event.host,
        service=event.service,
        metric=event.metric,
        value=event.value,
        text=event.message or f"{fingerprint_of(event.host, event.service, event.metric)} {_measured(event.value)}",
        labels=event.labels,
        severe=event.severity is EventSeverity.ERROR,
        synthetic=event.synthetic,
        seen_us=microseconds(event.created_at),
        anomaly_id=event.anomaly_id,
    )


def signal_of_alert(alert: Alert) -> Signal:
    """The signal that an alert is, at its episode's beginning: when things turned bad, not when that was certain."""
    host, service = host_of(alert.labels), service_of(alert.labels)
    place = fingerprint_of(host, service, alert.metric)
    what = "has no samples" if alert.no_data else _measured(alert.value)
    return Signal(
        key=f"{_ALERT}{alert.id}",
        kind=SignalKind.ALERT,
        at_us=microseconds(alert.started_at),
        host=host,
        service=service,
        metric=alert.metric,
        value=alert.value,
        text=alert.annotations.get("summary") or f"{alert.rule}: {place} {what}",
        labels=alert.labels,
        severe=alert.severity is Severity.CRITICAL,
        synthetic=is_synthetic(alert.labels),
        seen_us=microseconds(alert.fired_at) if alert.fired_at is not None else None,
    )


def split_keys(keys: Iterable[str]) -> tuple[list[UUID], list[int]]:
    """Ids of the events and of the alerts behind signals."""
    events: list[UUID] = []
    alerts: list[int] = []
    for key in keys:
        if key.startswith(_EVENT):
            events.append(UUID(key.removeprefix(_EVENT)))
        else:
            alerts.append(int(key.removeprefix(_ALERT)))
    return events, alerts


def joined_keys(events: Iterable[UUID], alerts: Iterable[int]) -> set[str]:
    """The keys of the signals that these events and alerts are."""
    return {f"{_EVENT}{event_id}" for event_id in events} | {f"{_ALERT}{alert_id}" for alert_id in alerts}


def microseconds(instant: datetime) -> int:
    """An instant as signals have it."""
    return (instant - EPOCH) // timedelta(microseconds=1)


def instant_of(at_us: int) -> datetime:
    """The other way round."""
    return EPOCH + timedelta(microseconds=at_us)


def _measured(value: float | None) -> str:
    return f"at {value:g}" if value is not None else "was reported"
