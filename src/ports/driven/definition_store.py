"""Where metric definitions are kept, per tenant."""

from collections.abc import Sequence
from typing import Protocol

from core.domain.definitions import MetricDefinition


class DefinitionStore(Protocol):
    """Definitions by name. Each method is one transaction; all raise `Unavailable`."""

    async def list(self, tenant_id: int) -> Sequence[MetricDefinition]:
        """All of the tenant's, by name."""
        ...

    async def get(self, tenant_id: int, name: str) -> MetricDefinition:
        """One of them; raises `NotFound`."""
        ...

    async def create(self, tenant_id: int, definition: MetricDefinition) -> None:
        """Adds one; raises `Conflict` where the name is taken."""
        ...

    async def put(self, tenant_id: int, definition: MetricDefinition) -> bool:
        """Creates or replaces it; says whether it was created."""
        ...

    async def delete(self, tenant_id: int, name: str) -> None:
        """Removes it, samples stay; raises `NotFound`."""
        ...
