"""The service graph on PostgreSQL."""

from collections.abc import Sequence
from typing import Final

from adapters.driven.postgres.database import Database, Role
from adapters.driven.postgres.queries import load_queries
from core.domain.dependencies import Dependency

TIMEOUT_S: Final = 10.0
"""A whole graph is written in under a second; longer means that the database is in trouble."""

SQL = load_queries(__package__, "dependencies.sql")


class PostgresDependencyStore:
    """Implements `ports.driven.event_store.DependencyStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, tenant_id: int) -> Sequence[Dependency]:
        """See `DependencyStore.list`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            rows = await connection.fetch(SQL["list"], tenant_id)
        return [Dependency(row["client"], row["server"]) for row in rows]

    async def replace(self, tenant_id: int, dependencies: Sequence[Dependency]) -> None:
        """See `DependencyStore.replace`."""
        clients = [dependency.client for dependency in dependencies]
        servers = [dependency.server for dependency in dependencies]
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            await connection.execute(SQL["lock"], tenant_id)
            await connection.execute(SQL["remove"], tenant_id, clients, servers)
            await connection.execute(SQL["add"], tenant_id, clients, servers)
