"""Capacity snapshots and plans, configuration history and baselines of one tenant. All methods raise `Unavailable`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from core.domain.capacity import CapacityPlan, CapacitySnapshot
from core.domain.configurations import (
    ConfigBaseline,
    ConfigChange,
    ConfigFilter,
    ConfigKind,
    ObservedConfiguration,
    StoredBaseline,
)


class CapacityStore(Protocol):
    """Snapshots are identified by (cluster, ts): one that comes again replaces the first."""

    async def put(self, tenant_id: int, snapshots: Sequence[CapacitySnapshot]) -> int:
        """Adds or replaces; returns how many are new."""
        ...

    async def latest(self, tenant_id: int, cluster_id: str) -> CapacitySnapshot:
        """The newest by ts; raises `NotFound`."""
        ...

    async def list(
        self, tenant_id: int, cluster_id: str, *, start: datetime | None, end: datetime | None, limit: int
    ) -> Sequence[CapacitySnapshot]:
        """Ascending by ts, of [start, end): the newest `limit` of them."""
        ...

    async def clusters(self, tenant_id: int) -> Sequence[str]:
        """All clusters with a snapshot or a plan, ascending."""
        ...

    async def plan(self, tenant_id: int, cluster_id: str) -> CapacityPlan | None:
        """The declared plan, if there is one."""
        ...

    async def put_plan(self, tenant_id: int, cluster_id: str, plan: CapacityPlan | None) -> None:
        """Declares a plan, or (None) removes it."""
        ...


class ConfigStore(Protocol):
    """Changes, and baselines. A recorded change is also a signal event (`config_change`), in the same transaction."""

    async def append(self, tenant_id: int, changes: Sequence[ConfigChange]) -> int:
        """Adds those whose id is new, all or none; returns how many were added."""
        ...

    async def observe(
        self, tenant_id: int, observed: Sequence[ObservedConfiguration], *, source: str, now: datetime
    ) -> int:
        """Compares each with the newest recorded document of its (cluster, namespace, workload, kind) and records a
        change where it differs. The first sight of a workload is recorded (before None) without a signal event: it is
        no change. One at a time within a tenant, safe to repeat; returns how many changes (first sights not counted).
        """
        ...

    async def standing(
        self, tenant_id: int, cluster_id: str, namespaces: Sequence[str], *, source: str
    ) -> Sequence[tuple[str, str, ConfigKind]]:
        """What is recorded in these namespaces (none named: in all), was found there by `source` at some time, and is
        not recorded as removed: (namespace, workload, kind), ascending by the first two."""
        ...

    async def list(
        self, tenant_id: int, wanted: ConfigFilter, *, limit: int, before: tuple[datetime, UUID] | None
    ) -> Sequence[ConfigChange]:
        """Newest first, by (ts, id), those below `before`."""
        ...

    async def get(self, tenant_id: int, change_id: UUID) -> ConfigChange:
        """One; raises `NotFound`."""
        ...

    async def at(
        self, tenant_id: int, cluster_id: str, workload: str, *, namespace: str | None, ts: datetime
    ) -> Sequence[ConfigChange]:
        """The last change at or before `ts` of each (namespace, kind) of the workload."""
        ...

    async def baselines(
        self, tenant_id: int, *, cluster_id: str | None, workload: str | None
    ) -> Sequence[StoredBaseline]:
        """Ascending by (cluster, namespace, workload, kind)."""
        ...

    async def put_baseline(self, tenant_id: int, baseline: ConfigBaseline, *, by: str, now: datetime) -> None:
        """Declares or replaces one; raises `Conflict` where all together would take more than
        `BASELINES_SIZE_BYTES_MAX`."""
        ...

    async def delete_baseline(
        self, tenant_id: int, cluster_id: str, namespace: str, workload: str, kind: ConfigKind
    ) -> None:
        """Removes one; raises `NotFound`."""
        ...
