"""The service graph in memory."""

from collections.abc import Sequence

from adapters.driven.memory.database import MemoryDatabase
from core.domain.dependencies import Dependency


class MemoryDependencyStore:
    """Implements `DependencyStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def list(self, tenant_id: int) -> Sequence[Dependency]:
        """All, ascending."""
        return self._database.events.dependencies.get(tenant_id, ())

    async def replace(self, tenant_id: int, dependencies: Sequence[Dependency]) -> None:
        """Replaces all; repeats count once."""
        self._database.events.dependencies[tenant_id] = tuple(sorted(set(dependencies)))
