"""What a cluster tells, collected over a store: read twice it is stored once, and what changes is recorded."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from adapters.driven.sources.opening import VendorSources
from core.domain.collection import CollectionRequest, CollectionState, InstanceFilter
from core.domain.configurations import ConfigFilter, ConfigKind
from core.domain.source_configs import EksConfig
from core.domain.sources import SourceSpec
from core.domain.telemetry import CPU_REQUEST, CPU_USAGE
from core.domain.times import EPOCH, SECOND_US, format_time
from tests.support.collecting import Collecting
from tests.support.storages import Tenancy, memory_store, new_tenancy
from tests.support.vendors.cluster_api import METRICS, ClusterApi, deployment, node, node_use, pod, pod_use
from tests.support.vendors.cluster_prometheus import ClusterPrometheus
from tests.support.vendors.passing import loopback_surroundings

SPEC = SourceSpec(name="eks", config=EksConfig(cluster_id="prod"), interval=None)


@pytest.fixture
async def tenancy() -> AsyncIterator[Tenancy]:
    async with memory_store().open() as storage:
        yield await new_tenancy(storage)


@pytest.fixture
async def api() -> AsyncIterator[ClusterApi]:
    async with ClusterApi().served() as api:
        yield api


async def test_a_cluster_is_collected(tenancy: Tenancy, api: ClusterApi, tmp_path: Path) -> None:
    """Nodes become instances, pods series, capacity a snapshot, and a new image a change with its author; the same
    window again adds nothing, and a tenant that is not trusted gets nothing."""
    collecting = Collecting(tenancy)
    measured = format_time(collecting.now_us - 20 * SECOND_US)
    api.add("nodes", node("node-1"))
    api.add("nodes", node_use("node-1", "250m", "1Gi"), group=METRICS)
    api.add("deployments", deployment("shop", "web"), group="apps")
    api.add("pods", pod("shop", "web-1", owner=("StatefulSet", "web")))
    api.add("pods", pod_use("shop", "web-1", "50m", "64Mi", timestamp=measured), group=METRICS)
    surroundings = loopback_surroundings(collecting.clock, collecting.pause)
    kubeconfig = api.kubeconfig(tmp_path / "config")
    opener = VendorSources(msgspec.structs.replace(surroundings, kubeconfig=kubeconfig))
    service = collecting.service(opener=opener)
    refused = await collecting.run(service=service, spec=SPEC)
    assert refused.run.state is CollectionState.FAILED
    assert api.requests == []

    collecting.trusted = (tenancy.tenant.name,)
    service = collecting.service(opener=opener)
    now = EPOCH + timedelta(microseconds=collecting.now_us)
    window = CollectionRequest(start_time=now - timedelta(hours=1), end_time=now)
    first = (await collecting.run(window, service, spec=SPEC)).run
    assert (first.state, first.problem) == (CollectionState.DONE, None)
    assert first.progress.counts.stored == first.progress.counts.fetched == 6
    assert (first.progress.instances_created, first.progress.snapshots_stored) == (1, 1)
    again = (await collecting.run(window, service, spec=SPEC)).run
    assert (again.progress.counts.stored, again.progress.counts.unchanged) == (0, 6)
    assert again.progress.changes_recorded == 0

    api.objects["apps", "deployments"] = [deployment("shop", "web", image="shop:2", changed=measured)]
    collecting.pass_time(300)
    third = (await collecting.run(None, service, spec=SPEC)).run
    assert third.progress.changes_recorded == 1
    storage = tenancy.storage
    wanted = ConfigFilter(cluster_id="prod", workload="web", kind=ConfigKind.IMAGE)
    changes = await storage.configurations.list(tenancy.id, wanted, limit=10, before=None)
    assert [change.actor for change in changes] == ["kubectl", "kubectl"]
    assert changes[0].after == {"containers": {"app": "shop:2"}}
    assert format_time((changes[0].ts - EPOCH) // timedelta(microseconds=1)) == measured
    latest = await storage.capacity.latest(tenancy.id, "prod")
    assert latest.used.cpu_cores == 0.25
    [instance] = await storage.instances.list(tenancy.id, InstanceFilter(), limit=10, after_id=0)
    assert (instance.external_id, instance.kind) == ("node-1", "node")
    stored = {name for name, _ in await stored_series(tenancy)}
    assert {CPU_USAGE, CPU_REQUEST} <= stored


async def test_history_is_stored_once_whatever_becomes_of_its_pods(
    tenancy: Tenancy, api: ClusterApi, tmp_path: Path
) -> None:
    """A pod moves to another node, another is deleted: the same window of their Prometheus adds nothing."""
    collecting = Collecting(tenancy)
    collecting.trusted = (tenancy.tenant.name,)
    web, report = "web-7d9f8c6b5-x2x4z", "report-29000000-abcde"
    template = {"pod-template-hash": "7d9f8c6b5"}
    api.add("deployments", deployment("shop", "web"), group="apps")
    api.add("pods", pod("shop", web, node="node-1", owner=("ReplicaSet", "web-7d9f8c6b5"), labels=template))
    api.add("pods", pod("shop", report, owner=("Job", "report-29000000")))
    prometheus = ClusterPrometheus(collecting.clock)
    for name in (web, report):
        prometheus.series.append(("container_cpu_usage_seconds_total", {"namespace": "shop", "pod": name}, 0.5))
    surroundings = loopback_surroundings(collecting.clock, collecting.pause)
    opener = VendorSources(msgspec.structs.replace(surroundings, kubeconfig=api.kubeconfig(tmp_path / "config")))
    service = collecting.service(opener=opener)
    now = EPOCH + timedelta(microseconds=collecting.now_us)
    window = CollectionRequest(start_time=now - timedelta(hours=1), end_time=now - timedelta(minutes=30))
    async with prometheus.serving():
        spec = msgspec.structs.replace(SPEC, config=EksConfig(cluster_id="prod", metrics_url=prometheus.url))
        first = (await collecting.run(window, service, spec=spec)).run
        assert first.progress.counts.stored == 60
        api.objects["", "pods"] = [pod("shop", web, node="node-2", owner=("ReplicaSet", web[:-6]), labels=template)]
        again = (await collecting.run(window, service, spec=spec)).run
    assert (again.progress.counts.stored, again.progress.counts.unchanged) == (0, 60)


async def stored_series(tenancy: Tenancy) -> list[tuple[str, dict[str, str]]]:
    """Names and labels of all series."""
    names = await tenancy.storage.reader.names(tenancy.id, "", 1_000)
    async with tenancy.snapshot() as snapshot:
        found = [await snapshot.find(name, ()) for name in names]
    return [(series.name, series.labels) for table in found for series in table.series]
