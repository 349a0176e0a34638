"""Where metric definitions are kept, per tenant.

A definition's `alert_threshold` is an alert rule, which changes with it: in the same transaction.
"""

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
        """Adds one; raises `Conflict` where the name is taken, or its rule's name by a rule of the tenant's own."""
        ...

    async def put(self, tenant_id: int, definition: MetricDefinition) -> bool:
        """Creates or replaces it; says whether it was created. Raises `Conflict` where its rule's name is taken."""
        ...

    async def delete(self, tenant_id: int, name: str) -> None:
        """Removes it, samples stay; raises `NotFound`."""
        ...
