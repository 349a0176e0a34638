"""The routes of clusters' capacity: snapshots, plans, and what follows from them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
from litestar import Controller, Response, delete, get, post, put

from adapters.driving.http.alert_parameters import PAGE_MAX
from adapters.driving.http.cluster_parameters import (
    ClusterInPath,
    EndDate,
    ForecastDays,
    HorizonDays,
    SnapshotLimit,
    StartDate,
    UseDays,
    cluster_name,
    day_or_instant,
)
from adapters.driving.http.guards import ApiRequest, ServicesDependency, authenticated, json_body
from adapters.driving.http.json_list import one_or_many
from core.domain.capacity import RESOURCES, CapacityPlan, CapacitySnapshot, NodeType, Resources
from ports.driving.clusters import CapacityForecast, HeadroomReply, RightSizingReply

TAG: Final = "Capacity"


class StoredSnapshots(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the snapshots of a request."""

    stored: int
    """All of them."""
    new: int
    """Of these, those that there was none of for the same cluster and instant; the others replaced one."""


class SnapshotReply(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster's capacity at one instant."""

    cluster_id: str
    ts: datetime
    nodes: Sequence[NodeType]
    node_count: int
    """Of all types."""
    allocatable: Resources
    used: Resources
    requested: Resources | None
    """What pods ask for; null where it is not known."""
    utilisation: dict[str, float | None]
    """Used ÷ allocatable of `cpu`, `memory` and `pods`; null where nothing is allocatable."""
    cost_usd_per_hour: float | None
    """As it was sent, else the sum over the nodes; null where not all their costs are known."""
    source: str
    synthetic: bool


class SnapshotsReply(msgspec.Struct, frozen=True):
    """Snapshots of one cluster, oldest first."""

    data: Sequence[SnapshotReply]


_snapshot = msgspec.json.Decoder(CapacitySnapshot)
_plan = msgspec.json.Decoder(CapacityPlan)


class CapacityController(Controller):
    """Reading needs scope ``query`` or ``alerts``, posting snapshots ``ingest``, declaring plans ``alerts``."""

    path = "/api/v1/capacity"
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @post("/snapshots", operation_id="post_capacity_snapshots", summary="Send capacity snapshots")
    async def create(self, request: ApiRequest, services: ServicesDependency) -> Response[StoredSnapshots]:
        """Stores one snapshot, or a list of up to 1,000 (1 MiB), all or none: what nodes a cluster has, what of cpu,
        memory and pods can be handed out and what is used. Another one of the same cluster and instant replaces the
        first, and the answer is 200 where that is all that happened, else 201."""
        snapshots = await one_or_many(request, _snapshot)
        new = await services.capacity.post(request.user, snapshots)
        return Response(StoredSnapshots(stored=len(snapshots), new=new), status_code=201 if new else 200)

    @get(
        "/snapshots/latest/{cluster:str}",
        operation_id="latest_capacity_snapshot",
        summary="A cluster's newest snapshot",
    )
    async def latest(self, request: ApiRequest, services: ServicesDependency, cluster: ClusterInPath) -> SnapshotReply:
        """The newest snapshot of the cluster."""
        return _reply(await services.capacity.latest(request.user, cluster_name("cluster", cluster)))

    @get("/snapshots/{cluster:str}", operation_id="list_capacity_snapshots", summary="A cluster's snapshots")
    async def list_all(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        cluster: ClusterInPath,
        start_date: StartDate = None,
        end_date: EndDate = None,
        limit: SnapshotLimit = PAGE_MAX,
    ) -> SnapshotsReply:
        """The cluster's snapshots, oldest first; where there are more than `limit`, the newest of them."""
        wanted = cluster_name("cluster", cluster)
        start, end = day_or_instant("start_date", start_date), day_or_instant("end_date", end_date, ends=True)
        found = await services.capacity.list(request.user, wanted, start=start, end=end, limit=limit)
        return SnapshotsReply([_reply(snapshot) for snapshot in found])

    @get("/forecast/{cluster:str}", operation_id="forecast_capacity", summary="When does a cluster run out?")
    async def forecast(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        cluster: ClusterInPath,
        days: ForecastDays = 30.0,
        horizon_days: HorizonDays = 90.0,
    ) -> CapacityForecast:
        """When each resource reaches what the plan allows (without a plan: all that there is), by a robust line through
        the snapshots; under `requested` when requests reach 95 % of what there is, whatever is used of them: from there
        on pods may have to wait. `earliest` and `latest` are the band that the time lies in with the confidence shown,
        as long as use goes on as it did; where that cannot be said, they are null."""
        wanted = cluster_name("cluster", cluster)
        return await services.capacity.forecast(request.user, wanted, days=days, horizon_days=horizon_days)

    @get("/headroom/{cluster:str}", operation_id="capacity_headroom", summary="What is left in a cluster?")
    async def headroom(
        self, request: ApiRequest, services: ServicesDependency, cluster: ClusterInPath, days: UseDays = 7.0
    ) -> HeadroomReply:
        """What is left of each resource beyond the 95th percentile of its use, how many more pods of the average size
        fit, and how many nodes could go."""
        return await services.capacity.headroom(request.user, cluster_name("cluster", cluster), days=days)

    @get("/right-sizing/{cluster:str}", operation_id="right_sizing", summary="What should workloads ask for?")
    async def right_sizing(
        self, request: ApiRequest, services: ServicesDependency, cluster: ClusterInPath, days: UseDays = 7.0
    ) -> RightSizingReply:
        """Each workload's requests of cpu and memory against its use, what to ask for instead, and what that would save
        a month at the cluster's price, for as many pods as are there at a time (`pods_mean`); the largest saving
        first."""
        return await services.capacity.right_sizing(request.user, cluster_name("cluster", cluster), days=days)

    @get("/plan/{cluster:str}", operation_id="get_capacity_plan", summary="A cluster's plan")
    async def plan(self, request: ApiRequest, services: ServicesDependency, cluster: ClusterInPath) -> CapacityPlan:
        """How full the cluster is meant to be, as it was declared."""
        return await services.capacity.plan(request.user, cluster_name("cluster", cluster))

    @put("/plan/{cluster:str}", operation_id="put_capacity_plan", summary="Declare a cluster's plan")
    async def declare(self, request: ApiRequest, services: ServicesDependency, cluster: ClusterInPath) -> CapacityPlan:
        """Declares or replaces the plan whole; what is left out gets its default. What goes beyond it is found as
        drift, and forecasts say when it will be reached."""
        wanted, plan = cluster_name("cluster", cluster), await json_body(request, _plan)
        await services.capacity.put_plan(request.user, wanted, plan)
        return plan

    @delete("/plan/{cluster:str}", operation_id="delete_capacity_plan", summary="Remove a cluster's plan")
    async def forget(self, request: ApiRequest, services: ServicesDependency, cluster: ClusterInPath) -> None:
        """Removes the plan: the cluster may then be as full as it can."""
        await services.capacity.put_plan(request.user, cluster_name("cluster", cluster), None)


def _reply(snapshot: CapacitySnapshot) -> SnapshotReply:
    return SnapshotReply(
        cluster_id=snapshot.cluster_id,
        ts=snapshot.ts,
        nodes=snapshot.nodes,
        node_count=snapshot.node_count,
        allocatable=snapshot.allocatable,
        used=snapshot.used,
        requested=snapshot.requested,
        utilisation={resource: snapshot.utilisation(resource) for resource in RESOURCES},
        cost_usd_per_hour=snapshot.hourly_cost_usd,
        source=snapshot.source,
        synthetic=snapshot.synthetic,
    )
