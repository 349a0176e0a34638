"""Instances on PostgreSQL."""

from collections.abc import Sequence
from typing import Final

from adapters.driven.postgres.collection_rows import instance_of, json_of
from adapters.driven.postgres.database import Database, Role
from adapters.driven.postgres.queries import load_queries
from core.domain.collection import Instance, InstanceFilter
from core.domain.errors import NotFound

TIMEOUT_S: Final = 10.0
"""Every statement here touches a page of rows; longer means that the database is in trouble."""

SQL = load_queries(__package__, "instances.sql")


class PostgresInstanceStore:
    """Implements `ports.driven.source_store.InstanceStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(
        self, tenant_id: int, wanted: InstanceFilter, *, limit: int, after_id: int | None
    ) -> Sequence[Instance]:
        """See `InstanceStore.list`."""
        # As a snapshot it is planned for the filters that are there.
        async with self._database.transaction(
            Role.READER, tenant_id=tenant_id, snapshot=True, timeout_s=TIMEOUT_S
        ) as connection:
            rows = await connection.fetch(
                SQL["list"],
                tenant_id,
                after_id,
                wanted.provider.value if wanted.provider is not None else None,
                wanted.kind,
                wanted.region,
                json_of(dict([wanted.tag])) if wanted.tag is not None else None,
                wanted.seen_since,
                limit,
            )
        return [instance_of(row) for row in rows]

    async def get(self, tenant_id: int, instance_id: int) -> Instance:
        """See `InstanceStore.get`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            row = await connection.fetchrow(SQL["get"], tenant_id, instance_id)
        if row is None:
            raise NotFound("instance", str(instance_id))
        return instance_of(row)
