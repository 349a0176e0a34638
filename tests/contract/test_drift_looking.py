"""Looking for drift over every store: telemetry, capacity and configuration, followed from look to look."""

from datetime import timedelta

import numpy as np

from adapters.driven.memory.clock import FakeClock
from core.domain.capacity import CapacityPlan
from core.domain.configurations import ConfigBaseline, ConfigKind, ObservedConfiguration
from core.domain.drift import DriftEvent, DriftFilter, DriftSeverity, DriftStatus
from core.domain.recommendations import RecommendationFilter
from core.domain.telemetry import CPU_REQUEST, CPU_USAGE, LATENCY_P95, MEMORY_LIMIT, MEMORY_USAGE
from core.domain.times import DAY_US, EPOCH, HOUR_US, MINUTE_US
from core.services.scheduled_drift import ScheduledDrift
from tests.support.cluster_rows import snapshot
from tests.support.cluster_telemetry import CLUSTER_ID, pod_samples, write_pods
from tests.support.drifting import looking_over
from tests.support.storages import RECENT_US, Storage, Tenancy, settle_all

NOW_US = RECENT_US + 2 * DAY_US
NOW = EPOCH + timedelta(microseconds=NOW_US)
EVERY_US = 10 * MINUTE_US
SAMPLES = 26 * 6
START_US = NOW_US - SAMPLES * EVERY_US
QUARTER_US = 15 * MINUTE_US
IMAGE = {"containers": {"api": {"image": "shop/api:v1"}}}


async def tell(storage: Storage, tenancy: Tenancy) -> None:
    """A day and two hours of a pod that uses too much cpu and answers more slowly of late, in a full cluster, with
    another image than the one declared."""
    late = np.arange(SAMPLES) >= SAMPLES - 15
    told = (
        (CPU_USAGE, np.where(late, 0.6, 0.55)),
        (CPU_REQUEST, np.full(SAMPLES, 0.5)),
        (MEMORY_USAGE, np.full(SAMPLES, 97.0 * (1 << 20))),
        (MEMORY_LIMIT, np.full(SAMPLES, 100.0 * (1 << 20))),
        (LATENCY_P95, np.where(late, 0.3, 0.1)),
    )
    await write_pods(
        storage, tenancy.id, [pod_samples(name, values, START_US, every_us=EVERY_US) for name, values in told]
    )
    full = snapshot(cluster_id=CLUSTER_ID, ts=NOW - timedelta(minutes=5))
    await storage.capacity.put(tenancy.id, [full])
    await storage.capacity.put_plan(tenancy.id, CLUSTER_ID, CapacityPlan(nodes_min=9))
    baseline = ConfigBaseline(
        cluster_id=CLUSTER_ID, namespace="shop", workload="api", kind=ConfigKind.IMAGE, document=IMAGE
    )
    await storage.configurations.put_baseline(tenancy.id, baseline, by="alice", now=NOW - timedelta(days=1))
    await observe(storage, tenancy, "shop/api:v2")


async def observe(storage: Storage, tenancy: Tenancy, image: str) -> None:
    """The workload's image, as it is now."""
    observed = ObservedConfiguration(
        cluster_id=CLUSTER_ID,
        namespace="shop",
        workload="api",
        kind=ConfigKind.IMAGE,
        document={"containers": {"api": {"image": image, "pull": "Always"}}},
    )
    await storage.configurations.observe(tenancy.id, [observed], source="eks", now=NOW - timedelta(hours=1))


async def events(storage: Storage, tenancy: Tenancy, *status: DriftStatus) -> dict[str, DriftEvent]:
    """By key, those that stand so, or all."""
    found = await storage.drift.list(tenancy.id, DriftFilter(), limit=1_000, before=None)
    return {event.evidence["key"]: event for event in found if not status or event.status in status}


async def test_a_cluster_is_looked_at(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """All that is there is found, once, with what to do about it; and is over when it is no longer found."""
    await tell(storage, tenancy)
    await settle_all(storage)
    clock = FakeClock(NOW_US)
    looking = looking_over(storage, clock)
    found = await looking.look(tenancy.id, CLUSTER_ID)
    assert (found.found, found.opened, found.resolved, found.skipped) == (5, 5, 0, [])
    first = await events(storage, tenancy)
    assert {key: event.severity for key, event in first.items()} == {
        "cpu-over-request/shop/api": DriftSeverity.MAJOR,
        "memory-near-limit/shop/api": DriftSeverity.CRITICAL,
        "latency-shift/shop/api": DriftSeverity.CRITICAL,
        "nodes": DriftSeverity.MAJOR,
        "config-image/shop/api": DriftSeverity.MAJOR,
    }
    recommended = await storage.recommendations.list(tenancy.id, RecommendationFilter(), limit=9, before=None)
    assert {one.drift_id: one.recommendation_type for one in recommended} == {
        first["cpu-over-request/shop/api"].drift_id: "right_size",
        first["nodes"].drift_id: "scale_nodes",
        first["config-image/shop/api"].drift_id: "rollback_config",
    }

    clock.advance(QUARTER_US)
    await observe(storage, tenancy, "shop/api:v1")
    again = await looking.look(tenancy.id, CLUSTER_ID)
    assert (again.found, again.opened, again.resolved) == (4, 0, 1)
    second = await events(storage, tenancy)
    assert second.keys() == first.keys()
    assert second["config-image/shop/api"].status is DriftStatus.RESOLVED
    cpu = second["cpu-over-request/shop/api"]
    assert (cpu.drift_id, cpu.start_ts) == (first[cpu.evidence["key"]].drift_id, first[cpu.evidence["key"]].start_ts)
    assert cpu.last_seen_at == NOW + timedelta(microseconds=QUARTER_US)
    assert await events(storage, neighbour) == {}
    assert not await looking.is_known(neighbour.id, CLUSTER_ID)


async def test_what_cannot_be_looked_at_is_not_over(storage: Storage, tenancy: Tenancy) -> None:
    """Nor is it said to be seen; after a day without anybody being able to look it counts as ended."""
    await tell(storage, tenancy)
    clock = FakeClock(NOW_US)
    looking = looking_over(storage, clock)
    await looking.look(tenancy.id, CLUSTER_ID)
    clock.advance(6 * HOUR_US)
    silent = await looking.look(tenancy.id, CLUSTER_ID)
    assert (silent.found, silent.resolved) == (2, 0)
    assert [line.partition(":")[0] for line in silent.skipped] == ["telemetry"]
    kept = await events(storage, tenancy, DriftStatus.OPEN)
    assert len(kept) == 5
    assert kept["latency-shift/shop/api"].last_seen_at == NOW
    clock.advance(19 * HOUR_US)
    late = await looking.look(tenancy.id, CLUSTER_ID)
    assert (late.found, late.resolved) == (1, 3)
    assert late.skipped[-1].startswith("capacity: the newest snapshot")
    assert (await events(storage, tenancy, DriftStatus.OPEN)).keys() == {"nodes", "config-image/shop/api"}


async def test_what_people_say_of_it_holds(storage: Storage, tenancy: Tenancy) -> None:
    """Ignored drift stays ignored while it lasts; what is resolved by hand is not opened again at once; a baseline
    that is taken back takes its drift with it."""
    await tell(storage, tenancy)
    clock = FakeClock(NOW_US)
    looking = looking_over(storage, clock)
    await looking.look(tenancy.id, CLUSTER_ID)
    first = await events(storage, tenancy)
    for key, status in (("nodes", DriftStatus.IGNORED), ("cpu-over-request/shop/api", DriftStatus.RESOLVED)):
        await storage.drift.set_status(tenancy.id, first[key].drift_id, status, by="key:5", note=None, now=NOW)
    await storage.configurations.delete_baseline(tenancy.id, CLUSTER_ID, "shop", "api", ConfigKind.IMAGE)
    clock.advance(QUARTER_US)
    found = await looking.look(tenancy.id, CLUSTER_ID)
    assert (found.opened, found.resolved) == (0, 1)
    second = await events(storage, tenancy)
    assert second["nodes"].status is DriftStatus.IGNORED
    assert second["nodes"].last_seen_at == NOW + timedelta(microseconds=QUARTER_US)
    assert second["config-image/shop/api"].status is DriftStatus.RESOLVED
    assert second["cpu-over-request/shop/api"].status is DriftStatus.RESOLVED


async def test_clusters_are_those_that_anything_is_known_of(
    storage: Storage, tenancy: Tenancy, neighbour: Tenancy
) -> None:
    """Telemetry, snapshots, or a baseline alone; each is looked at in the tenant's turn."""
    await write_pods(storage, tenancy.id, [pod_samples(CPU_USAGE, [1.0], NOW_US)], cluster_id="telling")
    await storage.capacity.put(tenancy.id, [snapshot(cluster_id="measured", ts=NOW)])
    await storage.capacity.put(neighbour.id, [snapshot(cluster_id="theirs", ts=NOW)])
    baseline = ConfigBaseline(cluster_id="declared", workload="w", kind=ConfigKind.IMAGE, document=IMAGE)
    await storage.configurations.put_baseline(tenancy.id, baseline, by="alice", now=NOW)
    clock = FakeClock(NOW_US + DAY_US)
    looking = looking_over(storage, clock)
    wanted = ["declared", "measured", "telling"]
    assert await looking.clusters(tenancy.id) == wanted
    assert [await looking.is_known(tenancy.id, name) for name in (*wanted, "theirs")] == [True, True, True, False]
    work = ScheduledDrift(storage.drift_schedule, looking, clock, interval_s=900.0)
    rounds = []
    while (done := await work.round()).tenant is not None:
        rounds.append(done)
    (own,) = (done for done in rounds if done.tenant == tenancy.tenant.name)
    assert [one.cluster_id for one in own.clusters] == wanted
