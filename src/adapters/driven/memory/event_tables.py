"""Signal events, the service graph and purges, in memory."""

from collections.abc import Iterable
from uuid import UUID

import msgspec

from core.domain.dependencies import Dependency
from core.domain.events import SignalEvent, may_join_incident
from ports.driven.synthetic_store import Purge


class SignalEventRow(msgspec.Struct, eq=False, kw_only=True):
    """One event."""

    event: SignalEvent
    waiting: bool
    """It may become part of an incident, and the correlator has not looked at it yet."""


class PurgeRow(msgspec.Struct, eq=False, kw_only=True):
    """One purge."""

    tenant_id: int
    purge: Purge


class EventTables:
    """Signal events, the service graph and purges; all by tenant."""

    def __init__(self) -> None:
        self.events: dict[tuple[int, UUID], SignalEventRow] = {}  # by tenant and id
        self.dependencies: dict[int, tuple[Dependency, ...]] = {}  # by tenant, ascending
        self.purges: dict[int, PurgeRow] = {}  # by id

    def awaiting_purge(self) -> set[int]:
        """The tenants with a purge that is not done yet."""
        return {row.tenant_id for row in self.purges.values() if row.purge.finished_at is None}

    def add(self, tenant_id: int, events: Iterable[SignalEvent]) -> int:
        """Adds those whose id the tenant does not have yet; returns how many."""
        before = len(self.events)
        for event in events:
            waiting = may_join_incident(event.severity, event.metric)
            self.events.setdefault((tenant_id, event.id), SignalEventRow(event=event, waiting=waiting))
        return len(self.events) - before
