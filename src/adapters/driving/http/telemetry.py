"""The routes of pod metrics by their standard names."""

from collections.abc import Sequence
from typing import Final

import msgspec
from litestar import Controller, get

from adapters.driving.http.cluster_parameters import (
    HOURS_DEFAULT,
    ClusterInPath,
    Hours,
    InNamespace,
    NamespaceInPath,
    PodInPath,
    WorkloadInPath,
    cluster_name,
    last_hours,
)
from adapters.driving.http.guards import ApiRequest, ClockDependency, ServicesDependency, authenticated
from core.domain.names import check_cluster_id
from ports.driving.clusters import GoldenSignalsReply, TelemetryReply, TelemetryScope

TAG: Final = "Telemetry"


class ClustersReply(msgspec.Struct, frozen=True):
    """Names of clusters, ascending."""

    data: Sequence[str]


class TelemetryController(Controller):
    """Needs scope ``query`` or ``alerts``."""

    path = "/api/v1/telemetry"
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @get("/clusters", operation_id="list_clusters", summary="Clusters")
    async def clusters(self, request: ApiRequest, services: ServicesDependency) -> ClustersReply:
        """All clusters that anything is known of: pod metrics, a capacity snapshot or a capacity plan."""
        return ClustersReply(await services.telemetry.clusters(request.user))

    @get("/golden-signals/{cluster:str}", operation_id="golden_signals", summary="Golden signals of a cluster")
    async def golden_signals(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        clock: ClockDependency,
        cluster: ClusterInPath,
        hours: Hours = HOURS_DEFAULT,
        namespace: InNamespace = None,
    ) -> GoldenSignalsReply:
        """Latency, throughput, errors and saturation of each workload over the range, the highest error ratio first. A
        number that nothing is known of is null, never 0. Throughput, cpu and memory are sums over the pods, each as far
        as it was there: runs of a CronJob that come after each other are not added up. `pods` is how many there usually
        are at a time: the median over the range's buckets, rounded up."""
        if namespace is not None:
            check_cluster_id("namespace", namespace)
        wanted, time_range = cluster_name("cluster", cluster), last_hours(hours, clock)
        return await services.telemetry.golden_signals(request.user, wanted, time_range, namespace=namespace)

    @get(
        "/metrics/pod/{cluster:str}/{namespace:str}/{pod:str}",
        operation_id="pod_telemetry",
        summary="A pod's metrics",
    )
    async def pod(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        clock: ClockDependency,
        cluster: ClusterInPath,
        namespace: NamespaceInPath,
        pod: PodInPath,
        hours: Hours = HOURS_DEFAULT,
    ) -> TelemetryReply:
        """Latency, throughput, error rate, cpu, memory, input and output, restarts of one pod, by bucket. What has no
        samples is left out: a metric, or a bucket of it."""
        scope = TelemetryScope(
            cluster_id=cluster_name("cluster", cluster),
            namespace=cluster_name("namespace", namespace),
            pod=cluster_name("pod", pod),
        )
        return await services.telemetry.metrics(request.user, scope, last_hours(hours, clock))

    @get(
        "/metrics/workload/{cluster:str}/{namespace:str}/{workload:str}",
        operation_id="workload_telemetry",
        summary="A workload's metrics",
    )
    async def workload(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        clock: ClockDependency,
        cluster: ClusterInPath,
        namespace: NamespaceInPath,
        workload: WorkloadInPath,
        hours: Hours = HOURS_DEFAULT,
    ) -> TelemetryReply:
        """The standard metrics of a workload by bucket, over all its pods. `combine` says how several pods became one
        number: amounts are sums, a latency is that of the slowest pod, an error rate is weighted by requests. In a sum
        a pod that was there for a fifth of a bucket counts a fifth. A metric's `pods` is how many with it there usually
        are at a time (the median over the buckets, rounded up); the reply's `pods` names all that there ever were."""
        scope = TelemetryScope(
            cluster_id=cluster_name("cluster", cluster),
            namespace=cluster_name("namespace", namespace),
            workload=cluster_name("workload", workload),
        )
        return await services.telemetry.metrics(request.user, scope, last_hours(hours, clock))

    @get(
        "/metrics/namespace/{cluster:str}/{namespace:str}",
        operation_id="namespace_telemetry",
        summary="A namespace's metrics",
    )
    async def in_namespace(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        clock: ClockDependency,
        cluster: ClusterInPath,
        namespace: NamespaceInPath,
        hours: Hours = HOURS_DEFAULT,
    ) -> TelemetryReply:
        """The standard metrics of a namespace by bucket, over all its pods, combined as a workload's are."""
        scope = TelemetryScope(
            cluster_id=cluster_name("cluster", cluster), namespace=cluster_name("namespace", namespace)
        )
        return await services.telemetry.metrics(request.user, scope, last_hours(hours, clock))

    @get("/metrics/cluster/{cluster:str}", operation_id="cluster_telemetry", summary="A cluster's metrics")
    async def in_cluster(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        clock: ClockDependency,
        cluster: ClusterInPath,
        hours: Hours = HOURS_DEFAULT,
    ) -> TelemetryReply:
        """The standard metrics of a whole cluster by bucket, over all its pods, combined as a workload's are."""
        scope = TelemetryScope(cluster_id=cluster_name("cluster", cluster))
        return await services.telemetry.metrics(request.user, scope, last_hours(hours, clock))
