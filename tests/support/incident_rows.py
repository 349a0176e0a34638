"""Signals that wait, and incidents, as a store gets them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from core.domain.events import EventSeverity, SignalEvent
from core.domain.incidents import Signal, SignalEdge
from ports.driven.incident_store import CorrelationChanges, Growth, NewIncident
from tests.support.signal_events import signal_event
from tests.support.storages import Storage

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
NOON_US = int(NOON.timestamp()) * 1_000_000
WAITING_MAX = 100_000


def error_event(minute: float = 0, **changes: object) -> SignalEvent:
    """An error this many minutes after noon."""
    event = signal_event(NOON + timedelta(minutes=minute), severity=EventSeverity.WARN, metric="error", value=13.0)
    return msgspec.structs.replace(event, **{"created_at": event.ts, **changes})


async def add_signals(storage: Storage, tenant_id: int, *events: SignalEvent) -> list[Signal]:
    """Appends events, and returns the signals they are, ascending in time."""
    await storage.events.append(tenant_id, events)
    keys = {f"event:{event.id}" for event in events}
    waiting = await storage.incident_work.waiting(tenant_id, limit=WAITING_MAX)
    return [signal for signal in waiting if signal.key in keys]


async def add_errors(storage: Storage, tenant_id: int, count: int, **changes: object) -> list[Signal]:
    """Appends that many errors, a minute apart from noon on, and returns the signals they are."""
    return await add_signals(storage, tenant_id, *(error_event(minute, **changes) for minute in range(count)))


async def open_incident(
    storage: Storage,
    tenant_id: int,
    signals: Sequence[Signal],
    *,
    edges: Sequence[SignalEdge] = (),
    title: str = "trouble on host-a",
    now: datetime = NOON,
) -> int:
    """Opens an incident of signals that wait; returns its id."""
    new = NewIncident(title=title, signals=tuple(signals), edges=tuple(edges))
    [incident_id] = await storage.incident_work.apply(tenant_id, CorrelationChanges(opened=[new]), now=now)
    return incident_id


async def grow(
    storage: Storage,
    tenant_id: int,
    incident_id: int,
    signals: Sequence[Signal],
    *,
    edges: Sequence[SignalEdge] = (),
    reopen: bool = False,
    now: datetime = NOON,
) -> None:
    """Adds signals that wait to an incident."""
    growth = Growth(incident_id=incident_id, signals=tuple(signals), edges=tuple(edges), reopen=reopen)
    await storage.incident_work.apply(tenant_id, CorrelationChanges(grown=[growth]), now=now)
