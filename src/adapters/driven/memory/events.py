"""Signal events in memory."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from adapters.driven.memory.database import MemoryDatabase
from core.domain.definitions import RETENTION_DAYS_DEFAULT, retention_cutoff
from core.domain.errors import NotFound
from core.domain.events import EventFilter, SignalEvent
from core.domain.times import EPOCH


class MemoryEventStore:
    """Implements `EventStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def append(self, tenant_id: int, events: Sequence[SignalEvent]) -> int:
        """Adds those whose id the tenant does not have yet."""
        return self._database.events.add(tenant_id, events)

    async def list(
        self, tenant_id: int, wanted: EventFilter, *, limit: int, before: tuple[datetime, UUID] | None
    ) -> Sequence[SignalEvent]:
        """Newest first, by (ts, id)."""
        found = [
            row.event
            for (owner, _), row in self._database.events.events.items()
            if owner == tenant_id
            and (before is None or (row.event.ts, row.event.id) < before)
            and _is_wanted(row.event, wanted)
        ]
        return sorted(found, key=lambda event: (event.ts, event.id), reverse=True)[:limit]

    async def get(self, tenant_id: int, event_id: UUID) -> SignalEvent:
        """One, or `NotFound`."""
        row = self._database.events.events.get((tenant_id, event_id))
        if row is None:
            raise NotFound("event", str(event_id))
        return row.event

    async def forget(self, *, now_us: int, limit: int) -> int:
        """Deletes events past the retention of their metric."""
        events = self._database.events.events
        old = [
            (tenant_id, event_id)
            for (tenant_id, event_id), row in events.items()
            if _us(row.event.ts) < retention_cutoff(now_us, self._retention_days(tenant_id, row.event.metric))
        ]
        for key in old[:limit]:
            del events[key]
        return len(old[:limit])

    def _retention_days(self, tenant_id: int, metric: str) -> int:
        definition = self._database.definitions.get((tenant_id, metric))
        return RETENTION_DAYS_DEFAULT if definition is None else definition.retention_days


def _is_wanted(event: SignalEvent, wanted: EventFilter) -> bool:
    """Whether all holds that `wanted` names."""
    ts_us = _us(event.ts)
    return (
        (wanted.start_us is None or wanted.start_us <= ts_us)
        and (wanted.end_us is None or ts_us < wanted.end_us)
        and wanted.severity in (None, event.severity)
        and wanted.host in (None, event.host)
        and wanted.service in (None, event.service)
        and wanted.metric in (None, event.metric)
        and wanted.fingerprint in (None, event.fingerprint)
        and wanted.synthetic in (None, event.synthetic)
        and wanted.anomalies in (None, event.anomaly_id is not None)
    )


def _us(instant: datetime) -> int:
    return (instant - EPOCH) // timedelta(microseconds=1)
