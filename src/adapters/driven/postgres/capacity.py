"""Capacity snapshots and plans on PostgreSQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from adapters.driven.postgres.database import Database, Role
from adapters.driven.postgres.queries import load_queries
from core.domain.capacity import RESOURCES, CapacityPlan, CapacitySnapshot, NodeType, Resources
from core.domain.errors import NotFound

TIMEOUT_S: Final = 10.0
"""Every statement here touches a page of rows; longer means that the database is in trouble."""

SQL = load_queries(__package__, "capacity.sql")

_NODES: Final = msgspec.json.Decoder(tuple[NodeType, ...])
_PLAN: Final = msgspec.json.Decoder(CapacityPlan)


class PostgresCapacityStore:
    """Implements `ports.driven.cluster_store.CapacityStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, tenant_id: int, snapshots: Sequence[CapacitySnapshot]) -> int:
        """See `CapacityStore.put`."""
        last = {(snapshot.cluster_id, snapshot.ts): snapshot for snapshot in snapshots}
        rows = msgspec.json.encode([_row(snapshot) for snapshot in last.values()]).decode()
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            return sum(row["added"] for row in await connection.fetch(SQL["put"], tenant_id, rows))

    async def latest(self, tenant_id: int, cluster_id: str) -> CapacitySnapshot:
        """See `CapacityStore.latest`."""
        newest = await self.list(tenant_id, cluster_id, start=None, end=None, limit=1)
        if not newest:
            raise NotFound("capacity snapshot of cluster", cluster_id)
        return newest[0]

    async def list(
        self, tenant_id: int, cluster_id: str, *, start: datetime | None, end: datetime | None, limit: int
    ) -> Sequence[CapacitySnapshot]:
        """See `CapacityStore.list`."""
        # A snapshot, so that it is planned for the bounds that are there.
        async with self._database.transaction(
            Role.READER, tenant_id=tenant_id, snapshot=True, timeout_s=TIMEOUT_S
        ) as connection:
            rows = await connection.fetch(SQL["newest"], tenant_id, cluster_id, start, end, limit)
        return [_snapshot(row) for row in reversed(rows)]

    async def clusters(self, tenant_id: int) -> Sequence[str]:
        """See `CapacityStore.clusters`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            return sorted(row["cluster_id"] for row in await connection.fetch(SQL["clusters"], tenant_id))

    async def plan(self, tenant_id: int, cluster_id: str) -> CapacityPlan | None:
        """See `CapacityStore.plan`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            text: str | None = await connection.fetchval(SQL["plan"], tenant_id, cluster_id)
        return _PLAN.decode(text) if text is not None else None

    async def put_plan(self, tenant_id: int, cluster_id: str, plan: CapacityPlan | None) -> None:
        """See `CapacityStore.put_plan`."""
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            if plan is None:
                await connection.execute(SQL["delete_plan"], tenant_id, cluster_id)
            else:
                text = msgspec.json.encode(plan).decode()
                await connection.execute(SQL["put_plan"], tenant_id, cluster_id, text)


def _row(snapshot: CapacitySnapshot) -> dict[str, Any]:
    return {
        "cluster_id": snapshot.cluster_id,
        "ts": snapshot.ts,
        "node_count": snapshot.node_count,
        "nodes": snapshot.nodes,
        **_amounts("allocatable", snapshot.allocatable),
        **_amounts("used", snapshot.used),
        **(_amounts("requested", snapshot.requested) if snapshot.requested is not None else {}),
        **{f"{resource}_utilisation": snapshot.utilisation(resource) for resource in RESOURCES},
        "cost_usd_per_hour": snapshot.hourly_cost_usd,
        "source": snapshot.source,
        "synthetic": snapshot.synthetic,
    }


def _amounts(prefix: str, resources: Resources) -> dict[str, float]:
    return {f"{prefix}_{name}": amount for name, amount in msgspec.structs.asdict(resources).items()}


def _snapshot(row: Mapping[str, Any]) -> CapacitySnapshot:
    return CapacitySnapshot(
        cluster_id=row["cluster_id"],
        ts=row["ts"],
        nodes=_NODES.decode(row["nodes"]),
        allocatable=_resources("allocatable", row),
        used=_resources("used", row),
        requested=_resources("requested", row) if row["requested_cpu_cores"] is not None else None,
        cost_usd_per_hour=row["cost_usd_per_hour"],
        source=row["source"],
        synthetic=row["synthetic"],
    )


def _resources(prefix: str, row: Mapping[str, Any]) -> Resources:
    return Resources(
        cpu_cores=row[f"{prefix}_cpu_cores"], memory_bytes=row[f"{prefix}_memory_bytes"], pods=row[f"{prefix}_pods"]
    )
