"""A cluster is read through kubernetes-asyncio from a double of its API server, and from its Prometheus."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from adapters.driven.sources.eks import open_eks
from adapters.driven.sources.surroundings import RESPONSE_BYTES_MAX, Surroundings
from core.domain.capacity import NodeType, Resources
from core.domain.collection import ProblemKind
from core.domain.configurations import ConfigKind, Document
from core.domain.source_configs import EksConfig, PromQuery
from core.domain.times import DAY_US, HOUR_US, MINUTE_US, TimeRange
from ports.driven.metric_source import Collected, ItemWindow, ListedWorkloads, MetricSource, SourceError
from tests.support.vendors.cluster_api import (
    METRICS,
    ClusterApi,
    autoscaler,
    deployment,
    node,
    node_use,
    pod,
    pod_use,
)
from tests.support.vendors.cluster_prometheus import ClusterPrometheus
from tests.support.vendors.gathered import Gathered, collect_into, gather
from tests.support.vendors.opened import World, spec_of

NOW_US = World().clock.now_us()
HOUR = TimeRange(NOW_US - HOUR_US, NOW_US)
LAST_MINUTE = NOW_US - MINUTE_US
MEASURED = NOW_US - 15_000_000
MIB = 1 << 20
WEB = "web-7d9f8c6b5-x2x4z"
CONFIG = EksConfig(cluster_id="prod")


class ClusterWorld(World):
    """A cluster with a kubeconfig file, and sources that read it."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory

    def open(
        self,
        api: ClusterApi,
        config: EksConfig = CONFIG,
        *,
        token: str | None = None,
        trusted: bool = True,
        cluster_id: str | None = None,
        namespaces: Sequence[str] = (),
    ) -> AbstractAsyncContextManager[MetricSource]:
        """The shipped source."""
        surroundings = msgspec.structs.replace(self.surroundings, kubeconfig=api.kubeconfig(self.directory / "config"))
        credentials = {} if token is None else {"metrics_token": token}
        return open_eks(
            spec_of(config),
            credentials,
            surroundings,
            trusted=trusted,
            cluster_id=cluster_id,
            namespaces=namespaces,
        )

    async def gathered(
        self,
        api: ClusterApi,
        config: EksConfig = CONFIG,
        time_range: TimeRange = HOUR,
        *,
        cluster_id: str | None = None,
        namespaces: Sequence[str] = (),
    ) -> Gathered:
        """All that it gives."""
        async with self.open(api, config, cluster_id=cluster_id, namespaces=namespaces) as source:
            return await gather(source, time_range)


@pytest.fixture
def world(tmp_path: Path) -> ClusterWorld:
    """Return a clock, a network, and a place for kubeconfig files."""
    return ClusterWorld(tmp_path)


@pytest.fixture
async def api() -> AsyncIterator[ClusterApi]:
    """Yield a cluster of two nodes with a Deployment, a StatefulSet and a Job that is over."""
    api = ClusterApi()
    api.add("nodes", node("node-1"), node("node-2", "m5.xlarge", cpu="3920m", memory="15Gi", pods="58"))
    api.add("nodes", node("node-3", ready="False"))
    api.add("deployments", deployment("shop", "web"), group="apps")
    api.add("statefulsets", deployment("shop", "db", replicas=1, image="postgres:16"), group="apps")
    template = {"pod-template-hash": "7d9f8c6b5"}
    api.add("pods", pod("shop", WEB, owner=("ReplicaSet", "web-7d9f8c6b5"), labels=template))
    api.add("pods", pod("shop", "db-0", node="node-2", owner=("StatefulSet", "db")))
    ended = {"phase": "Succeeded"}
    api.add("pods", pod("jobs", "report-29000000-abcde", owner=("Job", "report-29000000"), status=ended))
    api.add("nodes", node_use("node-1", "250m", "1Gi"), node_use("node-2", "1", "2Gi"), group=METRICS)
    api.add("pods", pod_use("shop", WEB, "12345678n", "131072Ki"), pod_use("shop", "db-0", "0", "1Gi"), group=METRICS)
    async with api.served():
        yield api


async def test_pods_tell_what_they_use_and_ask_for(world: ClusterWorld, api: ClusterApi) -> None:
    """By the standard names and labels; what is not set is absent; a pod that is over has no series."""
    gathered = await world.gathered(api)
    labels = {"cluster_id": "prod", "namespace": "shop", "workload": "web", "pod": WEB, "node": "node-1"}
    assert {name for name, has in gathered.points if has == frozenset(labels.items())} == {
        "pod_cpu_usage_cores",
        "pod_cpu_request_cores",
        "pod_memory_working_set_bytes",
        "pod_memory_request_bytes",
        "pod_memory_limit_bytes",
        "pod_restarts_total",
    }
    assert gathered.of("pod_cpu_usage_cores", pod=WEB) == {MEASURED: 0.012345678}
    assert gathered.of("pod_memory_working_set_bytes", pod=WEB) == {MEASURED: 128 * MIB}
    assert gathered.of("pod_cpu_request_cores", pod=WEB) == {LAST_MINUTE: 0.1}
    assert gathered.of("pod_memory_limit_bytes", pod=WEB) == {LAST_MINUTE: 256 * MIB}
    assert gathered.of("pod_restarts_total", pod="db-0", workload="db", node="node-2") == {LAST_MINUTE: 2.0}
    assert not [has for _, has in gathered.points if ("namespace", "jobs") in has]
    assert gathered.problems == {}
    assert gathered.discovery.problems == []
    again = await world.gathered(api)
    assert again.points == gathered.points


async def test_nodes_and_capacity(world: ClusterWorld, api: ClusterApi) -> None:
    """Nodes are instances; those that are ready make the capacity, of which pods that are not over ask for a part."""
    discovery = (await world.gathered(api)).discovery
    first = discovery.instances[0]
    assert (first.external_id, first.kind, first.region) == ("node-1", "node", "eu-central-1")
    assert first.tags["instance_type"] == "m5.large"
    assert len(discovery.instances) == 3
    (snapshot,) = discovery.snapshots
    assert snapshot.cluster_id == "prod"
    assert snapshot.ts == datetime(2025, 12, 31, 23, 59, tzinfo=UTC)
    assert snapshot.nodes == (
        NodeType(instance_type="m5.large", count=1),
        NodeType(instance_type="m5.xlarge", count=1),
    )
    assert snapshot.allocatable == Resources(cpu_cores=5.85, memory_bytes=22 * 1024 * MIB, pods=87)
    assert snapshot.used == Resources(cpu_cores=1.25, memory_bytes=3 * 1024 * MIB, pods=2)
    assert snapshot.requested == Resources(cpu_cores=0.2, memory_bytes=256 * MIB, pods=2)
    assert snapshot.source == "eks"


async def test_the_cost_of_a_cluster(world: ClusterWorld, api: ClusterApi) -> None:
    """Known with the prices of all its nodes; where one is missing, that is said."""
    config = msgspec.structs.replace(CONFIG, node_prices_usd_per_hour={"m5.large": 0.1, "m5.xlarge": 0.25})
    priced = (await world.gathered(api, config)).discovery
    assert [each.hourly_cost_usd for each in priced.snapshots] == [0.35]
    assert priced.problems == []
    config = msgspec.structs.replace(CONFIG, node_prices_usd_per_hour={"m5.large": 0.1})
    partly = (await world.gathered(api, config)).discovery
    assert [each.hourly_cost_usd for each in partly.snapshots] == [None]
    assert "m5.xlarge" in dict(partly.problems)["costs"].message


def documents(gathered: Gathered, workload: str) -> dict[ConfigKind, Document]:
    """By kind."""
    return {each.kind: each.document or {} for each in gathered.discovery.configurations if each.workload == workload}


async def test_configurations(world: ClusterWorld, api: ClusterApi) -> None:
    """Of each workload image, resources, runtime and autoscaling, with who changed it last; nothing that is secret,
    and no replica count that an autoscaler moves."""
    secret = {"secretKeyRef": {"name": "db", "key": "password"}}
    env = [
        {"name": "LOG_LEVEL", "value": "debug"},
        {"name": "DB_PASSWORD", "valueFrom": secret},
        {"name": "API_TOKEN", "value": "hunter2"},
        {"name": "DB_URL", "value": "postgres://shop:hunter2@db/shop"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    ]
    arguments = ["--port=80", "--password=hunter2", "--api-key", "hunter2", "serve"]
    resources = {"requests": {"cpu": "100m"}, "limits": {"memory": "256Mi"}}
    api.objects["apps", "deployments"] = [
        deployment("shop", "web", args=arguments, env=env, resources=resources),
        deployment("shop", "db", replicas=7),
    ]
    api.add("horizontalpodautoscalers", autoscaler("shop", "web", "web", 2, 10), group="autoscaling")
    gathered = await world.gathered(api)
    found = documents(gathered, "web")
    assert found[ConfigKind.IMAGE] == {"containers": {"app": "shop:1"}}
    assert found[ConfigKind.RESOURCE] == {"containers": {"app": resources}}
    assert found[ConfigKind.RUNTIME] == {
        "kind": "Deployment",
        "containers": {
            "app": {
                "args": ["--port=80", "--password=…", "--api-key", "…", "serve"],
                "env": {
                    "LOG_LEVEL": "debug",
                    "DB_PASSWORD": {"from": "secret db", "key": "password"},
                    "API_TOKEN": "…",
                    "DB_URL": "postgres://shop:…@db/shop",
                    "NODE": {"from": "field", "key": "spec.nodeName"},
                },
            }
        },
    }
    assert found[ConfigKind.POLICY]["autoscalers"]["web"]["max_replicas"] == 10
    image = next(each for each in gathered.discovery.configurations if each.kind is ConfigKind.IMAGE)
    assert (image.actor, image.changed_at) == ("kubectl", datetime(2025, 12, 24, 18, tzinfo=UTC))
    assert documents(gathered, "db")[ConfigKind.RUNTIME]["replicas"] == 7
    assert documents(gathered, "statefulset/db")[ConfigKind.IMAGE] == {"containers": {"app": "postgres:16"}}
    assert "hunter2" not in str(gathered.discovery)


async def test_all_workloads_are_told_where_all_were_listed(world: ClusterWorld, api: ClusterApi) -> None:
    """Also those whose configuration cannot be recorded; none where a list is missing or has what cannot be read."""
    api.add("deployments", deployment("shop", "big", image="x" * 300_000), deployment("shop", "db"), group="apps")
    names = {("shop", name) for name in ("web", "big", "db", "statefulset/db")}
    whole = (await world.gathered(api)).discovery.workloads
    assert whole == ListedWorkloads(cluster_id="prod", namespaces=[], names=frozenset(names))
    part = (await world.gathered(api, namespaces=("jobs",))).discovery.workloads
    assert part == ListedWorkloads(cluster_id="prod", namespaces=["jobs"], names=frozenset())
    api.add("deployments", {"metadata": {"name": 7}}, group="apps")
    assert (await world.gathered(api)).discovery.workloads is None
    api.objects["apps", "deployments"].pop()
    api.forbidden = {("daemonsets.apps", None)}
    assert (await world.gathered(api)).discovery.workloads is None


async def test_some_autoscalers_are_not_all(world: ClusterWorld, api: ClusterApi) -> None:
    """Where one cannot be listed or read, nothing is said of what any workload there is scaled by, nor of its
    replicas; a namespace by itself concerns its own workloads only."""
    api.add("horizontalpodautoscalers", autoscaler("shop", "web", "web", 2, 10), group="autoscaling")
    api.add("deployments", deployment("other", "api"), group="apps")
    api.forbidden = {("horizontalpodautoscalers.autoscaling", "shop")}
    for namespaces, unknown in ((("other", "shop"), ["web"]), ((), ["web", "api"])):
        gathered = await world.gathered(api, namespaces=namespaces)
        assert [title for title, _ in gathered.discovery.problems if title.startswith("horizontal")]
        for workload in ("web", "api"):
            found = documents(gathered, workload)
            assert (ConfigKind.POLICY not in found) is (workload in unknown)
            assert ("replicas" not in found[ConfigKind.RUNTIME]) is (workload in unknown)
        api.forbidden = set()
        api.add("horizontalpodautoscalers", {"metadata": {"name": 7}}, group="autoscaling")


@pytest.mark.parametrize("failure", [503, 408, 520, b'{"items": [', b"<html>"])
async def test_autoscalers_that_come_again_change_nothing(
    world: ClusterWorld, api: ClusterApi, failure: int | bytes
) -> None:
    """While they cannot be listed nothing is said of replicas, so that they are neither gone nor there again; of
    namespaces by themselves only where they cannot."""
    api.add("deployments", deployment("other", "api"), group="apps")
    listing = "horizontalpodautoscalers.autoscaling"
    api.failing = {(listing, None): failure, (listing, "shop"): failure}
    gathered = await world.gathered(api)
    assert set(documents(gathered, "web")) == set(documents(gathered, "api")) == {ConfigKind.IMAGE, ConfigKind.RESOURCE}
    assert gathered.discovery.workloads is not None
    gathered = await world.gathered(api, namespaces=("other", "shop"))
    assert set(documents(gathered, "web")) == {ConfigKind.IMAGE, ConfigKind.RESOURCE}
    assert documents(gathered, "api")[ConfigKind.RUNTIME]["replicas"] == 3
    assert ConfigKind.POLICY in documents(gathered, "api")


async def test_lists_come_in_pages(world: ClusterWorld, api: ClusterApi) -> None:
    """Each object comes once, wherever the pages end; a list whose token has expired is begun anew, and one that
    expires every time is a problem."""
    api.objects["", "pods"] = [pod("shop", f"web-{number}") for number in range(23)]
    api.page_size_max = 5
    gathered = await world.gathered(api)
    assert len([1 for name, _ in gathered.points if name == "pod_restarts_total"]) == 23
    api.expiring = 2
    again = await world.gathered(api)
    assert len([1 for name, _ in again.points if name == "pod_restarts_total"]) == 23
    api.expiring = 9
    problems = dict((await world.gathered(api)).discovery.problems)
    assert problems["pods"].kind is ProblemKind.UNREACHABLE


async def test_rights_are_missed_apart(world: ClusterWorld, api: ClusterApi) -> None:
    """What one right is missing for is named; all else is there. Namespaces have rights of their own."""
    api.forbidden = {("horizontalpodautoscalers.autoscaling", None), ("pods.metrics.k8s.io", None)}
    gathered = await world.gathered(api)
    problems = dict(gathered.discovery.problems)
    assert {problem.kind for problem in problems.values()} == {ProblemKind.PERMISSION}
    message = problems["horizontalpodautoscalers of autoscaling"].message
    assert "list horizontalpodautoscalers of API group autoscaling" in message
    assert set(problems) == {"horizontalpodautoscalers of autoscaling", "pods of metrics.k8s.io"}
    assert ConfigKind.POLICY not in documents(gathered, "web")
    assert "replicas" not in documents(gathered, "web")[ConfigKind.RUNTIME]
    assert len(gathered.discovery.snapshots) == 1
    api.add("pods", pod("other", "lonely"))
    api.forbidden = {("pods", "shop"), ("pods", None)}
    gathered = await world.gathered(api, namespaces=("shop", "other"))
    assert gathered.of("pod_restarts_total", pod="lonely", workload="lonely")
    (problem,) = (problem for _, problem in gathered.discovery.problems)
    assert "list pods in namespace shop" in problem.message
    assert gathered.discovery.snapshots == ()


async def test_a_cluster_without_metrics_server(world: ClusterWorld, api: ClusterApi) -> None:
    """It says what to install; requests and configurations are there, and no capacity with a use of 0."""
    api.not_served = {METRICS}
    gathered = await world.gathered(api)
    problems = dict(gathered.discovery.problems)
    assert {problem.kind for problem in problems.values()} == {ProblemKind.NO_DATA}
    assert "metrics-server" in problems["nodes of metrics.k8s.io"].message
    assert gathered.of("pod_cpu_request_cores", pod=WEB)
    assert gathered.discovery.snapshots == ()
    assert not [name for name, _ in gathered.points if name == "pod_cpu_usage_cores"]


async def test_hostile_objects_are_left_out(world: ClusterWorld, api: ClusterApi) -> None:
    """Objects without names, with amounts that are none or texts of other kinds spoil no other; odd labels are kept
    as they can be stored."""
    api.add("pods", {"metadata": {}}, {"metadata": {"name": 7}}, {"metadata": {"name": "x", "labels": ["a"]}})
    api.add("pods", pod("shop", "greedy", spec={"overhead": {"cpu": "-1"}}))
    api.add("pods", pod("shop", "many", spec={"overhead": {"cpu": "1e99"}}))
    api.add("pods", pod("shop\x00", "odd" * 1_000, owner=("ReplicaSet", "'; DROP")))
    api.add("nodes", node("strange", "\x00" * 300), {"status": {}})
    api.add("deployments", deployment("shop", "big", image="x" * 300_000), group="apps")
    api.add("deployments", deployment("shop", "deep", env=[{"name": "A", "value": 3}]), group="apps")
    api.add("pods", {"metadata": {"name": "a"}, "timestamp": "yesterday"}, group=METRICS)
    gathered = await world.gathered(api)
    problems = dict(gathered.discovery.problems)
    assert problems["pods"].message.startswith("5 of them")
    assert problems["nodes"].message.startswith("1 of them")
    assert problems["pods of metrics.k8s.io"].message.startswith("1 of them")
    assert problems["deployments of apps"].message.startswith("1 of them")
    assert problems["configurations"].kind is ProblemKind.REFUSED
    assert gathered.of("pod_cpu_request_cores", pod=WEB)
    assert gathered.of("pod_cpu_request_cores", workload="'; DROP")
    assert "unknown" in {each.tags["instance_type"] for each in gathered.discovery.instances}
    assert set(documents(gathered, "big")) == {ConfigKind.RESOURCE, ConfigKind.RUNTIME, ConfigKind.POLICY}


async def test_the_past_is_not_made_up(world: ClusterWorld, api: ClusterApi) -> None:
    """A window that ended an hour ago has no values of now; configurations are seen all the same."""
    gathered = await world.gathered(api, time_range=TimeRange(NOW_US - DAY_US, NOW_US - HOUR_US))
    assert gathered.points == {}
    assert gathered.discovery.snapshots == ()
    assert {problem.kind for problem in gathered.problems.values()} == {ProblemKind.NO_DATA}
    assert all("metrics_url" in problem.message for problem in gathered.problems.values())
    assert documents(gathered, "web")


async def test_what_passes_is_asked_again(world: ClusterWorld, api: ClusterApi) -> None:
    """429 waits as long as it is asked to, 500 a while; a server that stays away ends all at once."""
    api.faults = [(429, {"Retry-After": "7"}), (500, {}), (503, {})]
    gathered = await world.gathered(api)
    assert gathered.discovery.problems == []
    assert world.pause.waits_s[-3:] == [7.0, 2.0, 4.0]
    api.faults = [(503, {})] * 99
    before = len(api.requests)
    with pytest.raises(SourceError) as failure:
        await world.gathered(api)
    assert failure.value.problem.kind is ProblemKind.UNREACHABLE
    assert len(api.requests) - before == 4


async def test_broken_answers_are_problems(world: ClusterWorld, api: ClusterApi) -> None:
    """A list that is none concerns that list only, also one that is larger than is read."""
    bodies = [b"", b"{}", b"[", b"[" * 100_000, b'{"items": 3}', b'{"items": [], "metadata": {"continue": 7}}', b"\xff"]
    for body in bodies:
        api.faults = [body]
        problems = dict((await world.gathered(api)).discovery.problems)
        assert {title: problem.kind for title, problem in problems.items()} == {"nodes": ProblemKind.BAD_ANSWER}
    api.flood_bytes = RESPONSE_BYTES_MAX + (8 << 20)
    async with world.open(api) as source:
        problems = dict((await source.discover(HOUR)).problems)
    assert {problem.kind for problem in problems.values()} == {ProblemKind.BAD_ANSWER}
    assert "32 MiB" in problems["nodes"].message


async def test_who_may_read_which_cluster(world: ClusterWorld, api: ClusterApi, tmp_path: Path) -> None:
    """Only trusted tenants, with credentials that the cluster knows, of a cluster that is there."""
    with pytest.raises(SourceError, match="trusts") as failure:
        await world.open(api, trusted=False).__aenter__()
    assert failure.value.problem.kind is ProblemKind.PERMISSION
    with pytest.raises(SourceError, match="is not a name"):
        await world.open(api, namespaces=('a"} or vector(1)',)).__aenter__()
    assert api.requests == []

    async def opened(surroundings: Surroundings) -> None:
        source = open_eks(spec_of(CONFIG), {}, surroundings, trusted=True, cluster_id=None, namespaces=())
        async with source as opened:
            await opened.discover(HOUR)

    with pytest.raises(SourceError, match="EKS_IN_CLUSTER"):
        await opened(world.surroundings)
    for text in ("", "not: [yaml", "a: b"):
        (tmp_path / "bad").write_text(text)
        with pytest.raises(SourceError, match="EKS_KUBECONFIG_PATH") as failure:
            await opened(msgspec.structs.replace(world.surroundings, kubeconfig=tmp_path / "bad"))
        assert failure.value.problem.kind is ProblemKind.CONFIGURATION
    wrong = api.kubeconfig(tmp_path / "wrong", token="wrong")
    with pytest.raises(SourceError) as failure:
        await opened(msgspec.structs.replace(world.surroundings, kubeconfig=wrong))
    assert failure.value.problem.kind is ProblemKind.CREDENTIALS


@pytest.fixture
async def prometheus(world: ClusterWorld) -> AsyncIterator[ClusterPrometheus]:
    """Yield the Prometheus of the cluster."""
    prometheus = ClusterPrometheus(world.clock)
    async with prometheus.serving():
        yield prometheus


async def test_golden_signals_come_with_their_history(
    world: ClusterWorld, api: ClusterApi, prometheus: ClusterPrometheus
) -> None:
    """Each minute of the window, by the standard names and labels; of a pod that is gone the workload is told from its
    name; the use of pods comes from here alone; an own query is stored by its own name and labels."""
    prometheus.token = "the-token"
    gone = {"namespace": "shop", "pod": "web-66f7d9f8c-zzzzz", "node": "node-9"}
    other = {"namespace": "elsewhere", "pod": "x"}
    here = {"namespace": "shop", "pod": WEB, "node": "node-1"}
    for labels, value in ((here, 0.5), (gone, 0.25), (other, 1.0)):
        prometheus.series.append(("container_cpu_usage_seconds_total", labels, value))
    prometheus.series.append((r"histogram_quantile\(0.99", {"namespace": "shop", "pod": WEB}, 1.5))
    prometheus.series.append(("^up$", {"__name__": "up", "namespace": "shop", "pod": WEB, "job": "api"}, 1.0))
    prometheus.series.append(("^up$", {"__name__": "up", "job": "the server itself"}, 1.0))
    config = EksConfig(
        cluster_id="prod",
        namespaces=("shop",),
        metrics_url=prometheus.url,
        queries=(
            PromQuery(metric="up", promql="up"),
            PromQuery(metric="up", promql='up{job="other"}'),
            PromQuery(metric="pod_io_write_bytes_per_second", promql="written"),
        ),
    )
    async with world.open(api, config, token="the-token", cluster_id="renamed") as source:
        gathered = await gather(source, HOUR)
    cpu = gathered.of(
        "pod_cpu_usage_cores", cluster_id="renamed", namespace="shop", workload="web", pod=WEB, node="node-1"
    )
    assert list(cpu) == [HOUR.start_us + minute * MINUTE_US for minute in range(60)]
    assert set(cpu.values()) == {0.5}
    assert gathered.of("pod_cpu_usage_cores", workload="web", node="node-9", pod="web-66f7d9f8c-zzzzz")
    [latency] = (dict(has) for name, has in gathered.points if name == "pod_request_latency_p99_seconds")
    assert latency == {"cluster_id": "renamed", "namespace": "shop", "workload": "web", "pod": WEB}
    assert gathered.of("up", job="api", workload="web", cluster_id="renamed")
    assert gathered.of("up", job="the server itself", cluster_id="renamed")
    assert not [1 for _, has in gathered.points if ("namespace", "elsewhere") in has]
    asked = {query for query in prometheus.queries if 'namespace=~"shop"' not in query}
    assert asked == {"up", 'up{job="other"}', "written"}
    assert not [query for query in prometheus.queries if "writes" in query], "the own query stands instead"
    assert gathered.problems["pod_io_read_bytes_per_second"].kind is ProblemKind.NO_DATA
    assert gathered.complete == set(gathered.titles.values())


async def test_a_prometheus_that_fails_leaves_the_rest(
    world: ClusterWorld, api: ClusterApi, prometheus: ClusterPrometheus
) -> None:
    """What the API server tells was given before."""
    prometheus.token = "another"
    config = EksConfig(cluster_id="prod", metrics_url=prometheus.url)
    parts: list[Collected] = []
    async with world.open(api, config) as source:
        items = (await source.discover(HOUR)).items
        with pytest.raises(SourceError) as failure:
            await collect_into(parts, source, [ItemWindow(item, HOUR) for item in items])
    assert failure.value.problem.kind is ProblemKind.CREDENTIALS
    assert [part for part in parts if part.complete]
