"""Signal events and declared dependencies of one tenant. All methods raise `Unavailable`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from core.domain.dependencies import Dependency
from core.domain.events import EventFilter, SignalEvent


class EventStore(Protocol):
    """Signal events."""

    async def append(self, tenant_id: int, events: Sequence[SignalEvent]) -> int:
        """Adds those whose id the tenant does not have yet, all or none; returns how many were added.

        An id that another tenant has is no obstacle.
        """
        ...

    async def list(
        self, tenant_id: int, wanted: EventFilter, *, limit: int, before: tuple[datetime, UUID] | None
    ) -> Sequence[SignalEvent]:
        """Newest first, by (ts, id), those below `before`; fewer than `limit` are all there are."""
        ...

    async def get(self, tenant_id: int, event_id: UUID) -> SignalEvent:
        """One; raises `NotFound`."""
        ...

    async def forget(self, *, now_us: int, limit: int) -> int:
        """Deletes up to `limit` events of any tenant that are past the retention of their metric's definition, to the
        day as samples; returns how many. Keeper's work."""
        ...


class DependencyStore(Protocol):
    """The service graph, as it was declared."""

    async def list(self, tenant_id: int) -> Sequence[Dependency]:
        """All, ascending."""
        ...

    async def replace(self, tenant_id: int, dependencies: Sequence[Dependency]) -> None:
        """Replaces all; repeats among them count once."""
        ...
