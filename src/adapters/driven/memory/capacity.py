"""Capacity snapshots and plans in memory."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from adapters.driven.memory.database import MemoryDatabase
from core.domain.capacity import CapacityPlan, CapacitySnapshot
from core.domain.errors import NotFound


class MemoryCapacityStore:
    """Implements `CapacityStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._tables = database.clusters

    async def put(self, tenant_id: int, snapshots: Sequence[CapacitySnapshot]) -> int:
        """Adds or replaces, with the cost worked out."""
        stored = self._tables.snapshots.setdefault(tenant_id, {})
        before = len(stored)
        for snapshot in snapshots:
            stored[snapshot.cluster_id, snapshot.ts] = msgspec.structs.replace(
                snapshot, cost_usd_per_hour=snapshot.hourly_cost_usd
            )
        return len(stored) - before

    async def latest(self, tenant_id: int, cluster_id: str) -> CapacitySnapshot:
        """The newest, or `NotFound`."""
        newest = self._newest(tenant_id, cluster_id)
        if not newest:
            raise NotFound("capacity snapshot of cluster", cluster_id)
        return newest[0]

    async def list(
        self, tenant_id: int, cluster_id: str, *, start: datetime | None, end: datetime | None, limit: int
    ) -> Sequence[CapacitySnapshot]:
        """The newest of a range, ascending."""
        found = [
            snapshot
            for snapshot in self._newest(tenant_id, cluster_id)
            if (start is None or snapshot.ts >= start) and (end is None or snapshot.ts < end)
        ]
        return found[:limit][::-1]

    async def clusters(self, tenant_id: int) -> Sequence[str]:
        """Those with a snapshot or a plan."""
        seen = {cluster_id for cluster_id, _ in self._tables.snapshots.get(tenant_id, {})}
        return sorted(seen | self._tables.plans.get(tenant_id, {}).keys())

    async def plan(self, tenant_id: int, cluster_id: str) -> CapacityPlan | None:
        """The declared plan, if there is one."""
        return self._tables.plans.get(tenant_id, {}).get(cluster_id)

    async def put_plan(self, tenant_id: int, cluster_id: str, plan: CapacityPlan | None) -> None:
        """Declares or removes one."""
        plans = self._tables.plans.setdefault(tenant_id, {})
        if plan is None:
            plans.pop(cluster_id, None)
        else:
            plans[cluster_id] = plan

    def _newest(self, tenant_id: int, cluster_id: str) -> Sequence[CapacitySnapshot]:
        """A cluster's snapshots, newest first."""
        stored = self._tables.snapshots.get(tenant_id, {}).values()
        found = [snapshot for snapshot in stored if snapshot.cluster_id == cluster_id]
        return sorted(found, key=lambda snapshot: snapshot.ts, reverse=True)
