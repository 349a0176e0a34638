"""Metric definitions in memory."""

from collections.abc import Sequence

from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.rules import check_free, follow_definition
from core.domain.definitions import MetricDefinition
from core.domain.errors import Conflict, NotFound


class MemoryDefinitionStore:
    """Implements `DefinitionStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def list(self, tenant_id: int) -> Sequence[MetricDefinition]:
        """All of the tenant's, by name."""
        definitions = self._database.definitions
        return [definitions[key] for key in sorted(definitions) if key[0] == tenant_id]

    async def get(self, tenant_id: int, name: str) -> MetricDefinition:
        """One of them, or `NotFound`."""
        definition = self._database.definitions.get((tenant_id, name))
        if definition is None:
            raise NotFound("metric definition", name)
        return definition

    async def create(self, tenant_id: int, definition: MetricDefinition) -> None:
        """Adds one, or raises `Conflict`."""
        if (tenant_id, definition.name) in self._database.definitions:
            raise Conflict(f"the metric {definition.name!r} has a definition already")
        self._write(tenant_id, definition)

    async def put(self, tenant_id: int, definition: MetricDefinition) -> bool:
        """Creates or replaces it; says whether it was created."""
        created = (tenant_id, definition.name) not in self._database.definitions
        self._write(tenant_id, definition)
        return created

    async def delete(self, tenant_id: int, name: str) -> None:
        """Removes it, or raises `NotFound`."""
        await self.get(tenant_id, name)
        del self._database.definitions[tenant_id, name]
        follow_definition(self._database, tenant_id, name, None)
        self._database.tenants[tenant_id].revision += 1

    def _write(self, tenant_id: int, definition: MetricDefinition) -> None:
        check_free(self._database, tenant_id, definition.name, definition.alert_threshold)
        self._database.definitions[tenant_id, definition.name] = definition
        follow_definition(self._database, tenant_id, definition.name, definition.alert_threshold)
        self._database.tenants[tenant_id].revision += 1
