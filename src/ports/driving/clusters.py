"""What may be asked about clusters: telemetry, capacity, configuration.

Reading needs scope ``query`` or ``alerts``, posting snapshots and changes ``ingest``, declaring plans and baselines
``alerts``. All raise `Forbidden`, `InvalidInput`, `Unavailable`, and `NotFound` for what is not there.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from core.detection.forecast import Outlook
from core.domain.capacity import CapacityPlan, CapacitySnapshot
from core.domain.configurations import (
    ConfigBaseline,
    ConfigChange,
    ConfigChangeSpec,
    ConfigFilter,
    ConfigKind,
    ConfigState,
    StoredBaseline,
)
from core.domain.tenants import Principal
from core.domain.times import TimeRange


class TelemetryScope(msgspec.Struct, frozen=True, kw_only=True):
    """Whose telemetry: a cluster, or a namespace, a workload or a pod in it."""

    cluster_id: str
    namespace: str | None = None
    workload: str | None = None
    pod: str | None = None


class SignalSeries(msgspec.Struct, frozen=True, kw_only=True):
    """One standard metric over time; absent buckets are left out, never 0."""

    metric: str
    unit: str
    combine: str
    """How the values of several pods became one. A sum counts each pod as far as it was there: one that ran for a fifth
    of a bucket counts a fifth."""
    pods: int
    """How many pods with it there usually are at a time: the median over the buckets, rounded up."""
    points: Sequence[tuple[datetime, float]]
    latest: float
    avg: float
    min: float
    max: float
    p95: float
    """Over the buckets."""


class TelemetryReply(msgspec.Struct, frozen=True, kw_only=True):
    """The standard metrics of a scope, by signal; a signal that has no samples is absent."""

    scope: TelemetryScope
    start: datetime
    end: datetime
    bucket: str
    metrics: dict[str, SignalSeries]
    pods: Sequence[str] = ()
    """All pods with samples, at whatever time, ascending (the first 1,000)."""


class GoldenSignals(msgspec.Struct, frozen=True, kw_only=True):
    """One workload's golden signals over the range; None where it has no samples of that."""

    namespace: str
    workload: str
    pods: int
    """How many there usually are at a time: the median over the buckets, rounded up. Pods that came after each other,
    in a rollout or as the runs of a CronJob, count as far as each was there, as they do in the sums below; 0 where
    pods are not told apart."""
    latency_p50_seconds: float | None
    latency_p95_seconds: float | None
    latency_p99_seconds: float | None
    throughput_per_second: float | None
    error_ratio: float | None
    cpu_cores: float | None
    cpu_saturation: float | None
    """Use ÷ request."""
    memory_bytes: float | None
    memory_saturation: float | None


class GoldenSignalsReply(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster's workloads, those with the highest error ratio first."""

    cluster_id: str
    start: datetime
    end: datetime
    workloads: Sequence[GoldenSignals]


class Telemetry(Protocol):
    """Pod metrics by their standard names."""

    async def metrics(self, principal: Principal, scope: TelemetryScope, time_range: TimeRange) -> TelemetryReply:
        """All standard metrics of a scope; raises `NotFound` where there is no such scope (no series at all)."""
        ...

    async def golden_signals(
        self, principal: Principal, cluster_id: str, time_range: TimeRange, *, namespace: str | None
    ) -> GoldenSignalsReply:
        """The golden signals of each workload; raises `NotFound` where the cluster has no series."""
        ...

    async def clusters(self, principal: Principal) -> Sequence[str]:
        """All clusters of which there is telemetry, a snapshot or a plan, ascending."""
        ...


class ResourceForecast(msgspec.Struct, frozen=True, kw_only=True):
    """When one resource of a cluster runs out."""

    resource: str
    utilisation: float
    """Now, used ÷ allocatable; among `requested` it is requested ÷ allocatable."""
    limit: float
    """The utilisation that counts as full: the plan's, or 1; among `requested` 0.95."""
    outlook: Outlook
    at: datetime | None
    earliest: datetime | None
    latest: datetime | None
    slope_per_day: float
    """Of the utilisation."""
    words: str
    """For a person: "cpu reaches 75 % on 2026-12-04 (from 2026-11-30 to 2026-12-15)"."""


class CapacityForecast(msgspec.Struct, frozen=True, kw_only=True):
    """When a cluster runs out, by the snapshots of the range."""

    cluster_id: str
    snapshots: int
    start: datetime
    end: datetime
    confidence: float
    """Of the bands."""
    horizon_days: float
    resources: Sequence[ResourceForecast]
    """By what is used."""
    requested: Sequence[ResourceForecast] = ()
    """Cpu and memory by what pods request, which is what the scheduler goes by: a cluster that uses 40 % of its cpu
    takes no more pods where all of it is requested. Absent where the newest snapshot does not tell requests."""


class Headroom(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of one resource."""

    resource: str
    allocatable: float
    used_p95: float
    requested: float | None
    free: float
    """Allocatable less the 95th percentile of use."""
    free_share: float
    pods_fit: int | None
    """How many more pods of the cluster's average request it holds; None where requests are not known."""


class HeadroomReply(msgspec.Struct, frozen=True, kw_only=True):
    """What is left in a cluster."""

    cluster_id: str
    ts: datetime
    nodes_spare: int
    """Nodes of the average size that could go while the 95th percentile of use stays within the plan."""
    resources: Sequence[Headroom]


class RightSizing(msgspec.Struct, frozen=True, kw_only=True):
    """One workload's requests against its use, for each pod."""

    namespace: str
    workload: str
    pods: int
    """`pods_mean` in whole ones, at least 1."""
    pods_mean: float
    """How many are there at a time, on the average of the buckets in which any is; one that ran for a fifth of a bucket
    counts a fifth. Savings are those of so many."""
    cpu_request_cores: float | None
    cpu_p95_cores: float | None
    cpu_proposed_cores: float | None
    memory_request_bytes: float | None
    memory_p99_bytes: float | None
    memory_proposed_bytes: float | None
    savings_usd_per_month: float | None
    """At the cluster's price; None where that is not known. Negative: it needs more."""
    verdict: str
    """`oversized`, `undersized`, `fits` or `no request`."""


class RightSizingReply(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster's workloads, the largest saving first."""

    cluster_id: str
    start: datetime
    end: datetime
    workloads: Sequence[RightSizing]


class Capacity(Protocol):
    """Capacity snapshots and what follows from them."""

    async def post(self, principal: Principal, snapshots: Sequence[CapacitySnapshot]) -> int:
        """Adds or replaces; returns how many are new."""
        ...

    async def latest(self, principal: Principal, cluster_id: str) -> CapacitySnapshot:
        """The newest."""
        ...

    async def list(
        self, principal: Principal, cluster_id: str, *, start: datetime | None, end: datetime | None, limit: int
    ) -> Sequence[CapacitySnapshot]:
        """Ascending by time: the newest `limit` of the range."""
        ...

    async def forecast(
        self, principal: Principal, cluster_id: str, *, days: float, horizon_days: float
    ) -> CapacityForecast:
        """When each resource runs out, by the snapshots of the last `days`."""
        ...

    async def headroom(self, principal: Principal, cluster_id: str, *, days: float) -> HeadroomReply:
        """What is left, by the use of the last `days`."""
        ...

    async def right_sizing(self, principal: Principal, cluster_id: str, *, days: float) -> RightSizingReply:
        """What each workload should ask for, by its use in the last `days`."""
        ...

    async def plan(self, principal: Principal, cluster_id: str) -> CapacityPlan:
        """The declared plan; raises `NotFound`."""
        ...

    async def put_plan(self, principal: Principal, cluster_id: str, plan: CapacityPlan | None) -> None:
        """Declares one, or (None) removes it."""
        ...


class ConfigPage(msgspec.Struct, frozen=True):
    """Changes, newest first, and the cursor of the next page where there is one."""

    data: Sequence[ConfigChange]
    next_cursor: str | None


class Configurations(Protocol):
    """Configuration history and baselines."""

    async def post(self, principal: Principal, changes: Sequence[ConfigChangeSpec]) -> Sequence[ConfigChange]:
        """Records changes, all or none; those whose id is known are left as they are. Returns them as stored."""
        ...

    async def list(self, principal: Principal, wanted: ConfigFilter, *, limit: int, cursor: str | None) -> ConfigPage:
        """Newest first."""
        ...

    async def get(self, principal: Principal, change_id: UUID) -> ConfigChange:
        """One."""
        ...

    async def at(
        self, principal: Principal, cluster_id: str, workload: str, *, namespace: str | None, ts: datetime | None
    ) -> ConfigState:
        """The configuration at an instant (None: now). Where `namespace` is None and several have a workload of that
        name it raises `Conflict` naming them."""
        ...

    async def baselines(
        self, principal: Principal, *, cluster_id: str | None, workload: str | None
    ) -> Sequence[StoredBaseline]:
        """What was declared."""
        ...

    async def put_baseline(self, principal: Principal, baseline: ConfigBaseline) -> None:
        """Declares or replaces one."""
        ...

    async def delete_baseline(
        self, principal: Principal, cluster_id: str, namespace: str, workload: str, kind: ConfigKind
    ) -> None:
        """Removes one."""
        ...
