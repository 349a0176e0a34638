"""A Kubernetes cluster, on EKS or anywhere: its objects, what they use now, and the Prometheus that scrapes it.

The API server and metrics.k8s.io know the present only: their values stand at the last whole minute of the window, so
that the same window gives the same points, and a window that ended some time ago gives none. With a Prometheus the use
of cpu and memory comes from it alone, with its history; without one from metrics.k8s.io.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Final

from adapters.driven.actions.kubernetes_api import ApiCaller
from adapters.driven.actions.kubernetes_connection import in_cluster_client, kubeconfig_client
from adapters.driven.sources.call_budget import CallBudget
from adapters.driven.sources.eks_api import ClusterLists, check_namespaces
from adapters.driven.sources.eks_capacity import instance_of, snapshot_of
from adapters.driven.sources.eks_cluster import Cluster, look_at
from adapters.driven.sources.eks_configurations import observed
from adapters.driven.sources.eks_pods import KnownPods
from adapters.driven.sources.eks_present import uses, wishes
from adapters.driven.sources.eks_signals import golden_signals
from adapters.driven.sources.naming import item_key, label_set
from adapters.driven.sources.points import in_parts, series_points
from adapters.driven.sources.prometheus_query import Answered, RangeQueries, prometheus_vendor
from adapters.driven.sources.surroundings import Surroundings
from adapters.driven.sources.turns import in_turn
from adapters.driven.sources.vendor_http import VendorHttp, base_address
from core.domain.capacity import CapacitySnapshot
from core.domain.collection import Problem, ProblemKind
from core.domain.source_configs import EksConfig
from core.domain.sources import SourceSpec
from core.domain.telemetry import CLUSTER, NAMESPACE, NODE, POD
from core.domain.times import EPOCH, MINUTE_US, TimeRange
from ports.driven.action_runner import ActionError
from ports.driven.clock import Clock
from ports.driven.metric_source import (
    Collected,
    Discovery,
    ItemWindow,
    ListedWorkloads,
    MetricSource,
    SeriesPoints,
    SourceError,
    SourceItem,
    Usage,
)

PRESENT_US: Final = 10 * MINUTE_US
"""A window that ended longer ago is about the past."""
METRICS_STEP_US: Final = MINUTE_US
"""Kubelets and applications are scraped about as often."""
_NO_PODS: Final = "there are no pods in these namespaces, or metrics-server has not measured them yet"


@asynccontextmanager
async def open_eks(
    spec: SourceSpec,
    credentials: Mapping[str, str],
    surroundings: Surroundings,
    *,
    trusted: bool,
    cluster_id: str | None,
    namespaces: Sequence[str],
) -> AsyncIterator[MetricSource]:
    """The cluster that the server's own environment names, for tenants that the operator trusts."""
    config = spec.config
    assert isinstance(config, EksConfig)
    if not trusted:
        message = "only tenants that the operator trusts (SEXTANT_WORKER_TENANTS) may read the server's cluster"
        raise SourceError(ProblemKind.PERMISSION, message)
    namespaces = sorted(set(namespaces or config.namespaces))
    check_namespaces(namespaces)
    budget = CallBudget(spec, surroundings.clock, surroundings.pause)
    http = None
    if config.metrics_url is not None:
        token = credentials.get("metrics_token")
        vendor = prometheus_vendor(
            base_address(config.metrics_url),
            {} if token is None else {"bearer_token": token},
            name="the cluster's Prometheus",
        )
        http = VendorHttp(vendor, surroundings.trusted_client, budget, surroundings.clock, surroundings.pause)
    async with _connected(surroundings) as client:
        lists = ClusterLists(client, budget, surroundings.clock, surroundings.pause)
        yield EksSource(
            config,
            lists,
            http,
            budget,
            surroundings.clock,
            cluster_id=cluster_id or config.cluster_id,
            namespaces=namespaces,
        )


class EksSource:
    """Implements `MetricSource`. Items are the pods' use, what they ask for, and each query of the Prometheus."""

    def __init__(
        self,
        config: EksConfig,
        lists: ClusterLists,
        http: VendorHttp | None,
        budget: CallBudget,
        clock: Clock,
        *,
        cluster_id: str,
        namespaces: Sequence[str],
    ) -> None:
        self._lists = lists
        self._http = http
        self._budget = budget
        self._clock = clock
        self._cluster_id = cluster_id
        self._namespaces = namespaces
        self._prices = config.node_prices_usd_per_hour
        # Of other namespaces it is another item: what was asked of a few must not move the checkpoint of all.
        self._use_key = item_key("use", cluster_id, *namespaces)
        self._wish_key = item_key("wishes", cluster_id, *namespaces)
        self._queries = {
            item_key("promql", cluster_id, metric, promql, *namespaces): (metric, promql)
            for metric, promql in ([] if http is None else _queries(config, namespaces))
        }
        self._cluster: Cluster | None = None
        self._known = KnownPods(cluster_id, (), ())

    async def discover(self, time_range: TimeRange) -> Discovery:
        """See `MetricSource.discover`."""
        cluster = self._cluster = await look_at(self._lists, self._namespaces, pod_uses=self._http is None)
        self._known = KnownPods(
            self._cluster_id,
            cluster.pods or (),
            ((each.workload.metadata.namespace, each.workload.metadata.name) for each in cluster.workloads),
        )
        problems = list(cluster.problems)
        seen = observed(self._cluster_id, cluster.workloads, cluster.autoscalers)
        if seen.refused:
            message = f"{seen.refused} of them are too large or too deep, or have names that cannot be stored"
            problems.append(("configurations", Problem(kind=ProblemKind.REFUSED, message=message)))
        return Discovery(
            items=self._items(cluster),
            instances=[instance_of(node, self._cluster_id) for node in cluster.nodes or ()],
            snapshots=self._snapshots(cluster, time_range, problems),
            configurations=seen.configurations,
            workloads=self._workloads(seen.names) if cluster.has_all_workloads else None,
            problems=problems,
        )

    async def collect(self, wanted: Sequence[ItemWindow]) -> AsyncIterator[Collected]:
        """See `MetricSource.collect`; gives what `discover` saw."""
        asked = []
        for window in wanted:
            if window.item.key in self._queries:
                asked.append(window)
                continue
            series = self._present(window)
            for part in in_parts(window.item.key, series):
                yield part
            problem = None if series else self._nothing(window.time_range)
            yield Collected(key=window.item.key, complete=True, problem=problem)
        async for part in in_turn(asked, self._fetch, self._no_series):
            yield part

    def usage(self) -> Usage:
        """See `MetricSource.usage`."""
        return self._budget.usage()

    def _items(self, cluster: Cluster) -> Sequence[SourceItem]:
        items = []
        if cluster.pods is not None:
            items.append(SourceItem(self._wish_key, "requests, limits and restarts of pods"))
        if cluster.pod_uses is not None:
            items.append(SourceItem(self._use_key, "use of pods by metrics.k8s.io"))
        return [*items, *(SourceItem(key, metric) for key, (metric, _) in self._queries.items())]

    def _workloads(self, names: frozenset[tuple[str, str]]) -> ListedWorkloads:
        return ListedWorkloads(cluster_id=self._cluster_id, namespaces=self._namespaces, names=names)

    def _snapshots(
        self, cluster: Cluster, time_range: TimeRange, problems: list[tuple[str, Problem]]
    ) -> Sequence[CapacitySnapshot]:
        """The cluster's capacity now, if the range is about now and pods of all namespaces were asked for."""
        nodes, node_uses, pods = cluster.nodes, cluster.node_uses, cluster.pods
        if self._namespaces or not self._is_present(time_range) or nodes is None or node_uses is None or pods is None:
            return ()
        ts = EPOCH + timedelta(microseconds=_minute(time_range))
        snapshot = snapshot_of(self._cluster_id, ts, nodes, node_uses, pods, self._prices)
        if snapshot is None:
            message = "metrics.k8s.io has measured none of the nodes that are ready"
            problems.append(("capacity", Problem(kind=ProblemKind.NO_DATA, message=message)))
            return ()
        unpriced = [each.instance_type for each in snapshot.nodes if each.cost_usd_per_hour is None]
        if self._prices and unpriced:
            message = f"what the cluster costs is not known: node_prices_usd_per_hour has no {', '.join(unpriced[:5])}"
            problems.append(("costs", Problem(kind=ProblemKind.NO_DATA, message=message)))
        return (snapshot,)

    def _present(self, window: ItemWindow) -> Sequence[SeriesPoints]:
        """Values that are true now, if the window is about now."""
        cluster = self._cluster
        if cluster is None or not self._is_present(window.time_range):
            return ()
        if window.item.key == self._wish_key:
            return wishes(cluster.pods or (), self._known, _minute(window.time_range))
        return uses(cluster.pod_uses or (), self._known) if window.item.key == self._use_key else ()

    def _fetch(self, window: ItemWindow) -> AsyncGenerator[Collected, None]:
        assert self._http is not None
        metric, promql = self._queries[window.item.key]

        def named(answered: Answered) -> SeriesPoints | None:
            if not self._is_wanted(answered.labels.get(NAMESPACE)):
                return None
            return series_points(metric, self._labels(answered), answered.points)

        ranges = RangeQueries(self._http, step_us=METRICS_STEP_US)
        return ranges.parts(window.item.key, promql, window.time_range, named)

    def _labels(self, answered: Answered) -> dict[str, str]:
        found = {name: value for name, value in answered.labels.items() if name != "__name__"}
        known: Mapping[str, str] = {CLUSTER: self._cluster_id}
        if found.get(NAMESPACE) and found.get(POD):
            # Where a pod is now says nothing of where it was: without a node of Prometheus' own there is none.
            known = self._known.labels(found[NAMESPACE], found[POD], found.get(NODE, ""))
        return {**label_set(found), **known}

    def _is_wanted(self, namespace: str | None) -> bool:
        return namespace is None or not self._namespaces or namespace in self._namespaces

    def _is_present(self, time_range: TimeRange) -> bool:
        return time_range.end_us > self._clock.now_us() - PRESENT_US

    def _nothing(self, time_range: TimeRange) -> Problem:
        message = "the Kubernetes API knows the present only; for the past give a Prometheus (metrics_url)"
        return Problem(kind=ProblemKind.NO_DATA, message=_NO_PODS if self._is_present(time_range) else message)

    def _no_series(self, time_range: TimeRange) -> str:  # noqa: ARG002 (the same in any range)
        return (
            "the cluster's Prometheus has no such series in that range: is it scraped, by these names and with the "
            "labels namespace and pod?"
        )


def _queries(config: EksConfig, namespaces: Sequence[str]) -> list[tuple[str, str]]:
    """Metrics and PromQL; an own query for a standard metric stands instead of the one that is usual."""
    own = [(query.metric, query.promql) for query in config.queries]
    named = {metric for metric, _ in own}
    return [*((metric, promql) for metric, promql in golden_signals(namespaces).items() if metric not in named), *own]


def _connected(surroundings: Surroundings) -> AbstractAsyncContextManager[ApiCaller]:
    if surroundings.kubeconfig is not None:
        return _told(kubeconfig_client(surroundings.kubeconfig), "EKS_KUBECONFIG_PATH")
    if surroundings.kubernetes_in_cluster:
        return _told(in_cluster_client(), "EKS_IN_CLUSTER")
    message = "the server has no cluster: its operator can set EKS_IN_CLUSTER=true or EKS_KUBECONFIG_PATH"
    raise SourceError(ProblemKind.CONFIGURATION, message)


@asynccontextmanager
async def _told(opened: AbstractAsyncContextManager[ApiCaller], variable: str) -> AsyncIterator[ApiCaller]:
    """The client; where it cannot be made, the variable is named that says how."""
    try:
        client = await opened.__aenter__()
    except ActionError as error:
        raise SourceError(ProblemKind.CONFIGURATION, f"{variable}: {error}") from None
    try:
        yield client
    finally:
        await opened.__aexit__(None, None, None)


def _minute(time_range: TimeRange) -> int:
    """The last whole minute in a range; of a shorter range its start."""
    last_us = time_range.end_us - 1
    return max(last_us - last_us % MINUTE_US, time_range.start_us)
