"""Capacity snapshots, forecasts, headroom and right-sizing, over the in-memory store."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from adapters.driven.memory.clock import FakeClock
from adapters.driven.memory.storage import memory_storage
from core.detection.forecast import Outlook
from core.domain.capacity import CapacityPlan, CapacitySnapshot, NodeType, Resources
from core.domain.errors import Forbidden, InvalidInput, NotFound, TooLarge
from core.domain.telemetry import CPU_REQUEST, CPU_USAGE, MEMORY_REQUEST, MEMORY_USAGE
from core.domain.tenants import Scope
from core.domain.times import DAY_US, EPOCH, HOUR_US
from core.services.capacity import CapacityService
from core.services.drift_declared import look_at_capacity
from core.services.policies import Policies
from core.services.telemetry_reading import PodSeries, TelemetryReading
from tests.support.callers import database, principal, recorded
from tests.support.cluster_telemetry import CLUSTER_ID, pod_samples, write_pods
from tests.support.storages import LIMITS

TENANT_ID = 2
NOW_US = FakeClock().now_us()
NOW = EPOCH + timedelta(microseconds=NOW_US)
DAY = timedelta(days=1)
MIB = float(1 << 20)
GIB = float(1 << 30)


def snapshot(hours_ago: float = 0.0, **changes: Any) -> CapacitySnapshot:
    """Ten nodes of 10 cores, 40 GiB and 20 pods each, half used, for 7.3 dollars an hour."""
    usual: dict[str, Any] = {
        "cluster_id": CLUSTER_ID,
        "ts": NOW - timedelta(hours=hours_ago),
        "nodes": (NodeType(instance_type="m7g.4xlarge", count=10, cost_usd_per_hour=0.73),),
        "allocatable": Resources(cpu_cores=100.0, memory_bytes=400.0 * GIB, pods=200.0),
        "used": Resources(cpu_cores=50.0, memory_bytes=200.0 * GIB, pods=100.0),
    }
    return CapacitySnapshot(**{**usual, **changes})


def used(cores: float) -> Resources:
    """So many cores, a tenth of everything else."""
    return Resources(cpu_cores=cores, memory_bytes=40.0 * GIB, pods=20.0)


class World:
    """The service over its store."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.tables = database(self.clock)
        self.storage = memory_storage(self.tables)
        policies = Policies(self.storage.tenants, LIMITS, self.clock)
        reading = TelemetryReading(self.storage.reader, policies, self.clock)
        self.service = CapacityService(self.storage.capacity, reading, self.storage.audit_log, self.clock)

    async def posted(self, *snapshots: CapacitySnapshot) -> int:
        """Posts snapshots as a sender does."""
        return await self.service.post(principal(Scope.INGEST), snapshots)

    async def told(self, *samples: PodSeries) -> None:
        """Writes pods' samples."""
        await write_pods(self.storage, TENANT_ID, samples)

    @property
    def trail(self) -> list[str]:
        """What the audit trail says."""
        return [entry.record.summary for entry in recorded(self.tables)]


@pytest.fixture
def world() -> World:
    """A new one."""
    return World()


async def test_snapshots_come_back_in_the_order_of_time(world: World) -> None:
    """One that comes again replaces the first; other tenants see none of it."""
    assert await world.posted(snapshot(2), snapshot(1), snapshot()) == 3
    assert await world.posted(snapshot(1, used=used(9.0))) == 0
    reader = principal(Scope.QUERY)
    listed = await world.service.list(reader, CLUSTER_ID, start=None, end=None, limit=10)
    assert [one.used.cpu_cores for one in listed] == [50.0, 9.0, 50.0]
    newest = await world.service.list(reader, CLUSTER_ID, start=NOW - DAY, end=NOW, limit=1)
    assert [one.used.cpu_cores for one in newest] == [9.0]
    assert (await world.service.latest(reader, CLUSTER_ID)).ts == NOW
    with pytest.raises(NotFound):
        await world.service.latest(principal(tenant_id=3), CLUSTER_ID)


async def test_what_cannot_be_a_snapshot_is_refused(world: World) -> None:
    """One of next year would be the latest until then; nothing of such a request is kept."""
    with pytest.raises(InvalidInput, match="more than a day ahead"):
        await world.posted(snapshot(), snapshot(-25))
    with pytest.raises(TooLarge):
        await world.posted(*[snapshot()] * 1_001)
    assert await world.posted() == 0
    assert await world.posted(snapshot(-23)) == 1
    with pytest.raises(InvalidInput, match="end_date"):
        await world.service.list(principal(), CLUSTER_ID, start=NOW, end=NOW, limit=10)
    with pytest.raises(InvalidInput, match="limit"):
        await world.service.list(principal(), CLUSTER_ID, start=None, end=None, limit=1_001)
    with pytest.raises(InvalidInput, match="cluster_id"):
        await world.service.latest(principal(), "a\x00b")


async def test_a_forecast_is_of_each_resource(world: World) -> None:
    """One core in a hundred more a day, 71 now, and three quarters are the plan: that is in four days."""
    await world.posted(*(snapshot(24 * ago, used=used(71.0 - ago)) for ago in range(20, -1, -1)))
    await world.posted(snapshot(24 * 100, used=used(99.0)))  # longer ago than asked for
    await world.service.put_plan(principal(), CLUSTER_ID, CapacityPlan(utilisation_max={"cpu": 0.75}))
    found = await world.service.forecast(principal(Scope.QUERY), CLUSTER_ID, days=30.0, horizon_days=90.0)
    assert (found.snapshots, found.start, found.end, found.horizon_days) == (21, NOW - 20 * DAY, NOW, 90.0)
    cpu, memory, pods = found.resources
    assert (cpu.resource, cpu.utilisation, cpu.limit, cpu.outlook) == ("cpu", 0.71, 0.75, Outlook.WITHIN)
    assert cpu.slope_per_day == pytest.approx(0.01)
    assert cpu.at is not None
    assert abs(cpu.at - (NOW + 4 * DAY)) < timedelta(minutes=1)
    assert cpu.words.startswith("cpu reaches 75 % on 2026-01-0")
    assert (memory.outlook, memory.limit, pods.outlook, pods.at) == (Outlook.NEVER, 1.0, Outlook.NEVER, None)


async def test_a_forecast_is_of_requests_too(world: World) -> None:
    """Beside use, as far as snapshots tell; a cluster that is full by requests is full."""
    asked = Resources(cpu_cores=99.0, memory_bytes=40.0 * GIB, pods=20.0)
    await world.posted(*(snapshot(24 * ago, used=used(40.0), requested=asked) for ago in range(9, -1, -1)))
    found = await world.service.forecast(principal(), CLUSTER_ID, days=30.0, horizon_days=90.0)
    assert [one.outlook for one in found.resources] == [Outlook.NEVER] * 3
    assert [(one.resource, one.utilisation, one.limit, one.outlook) for one in found.requested] == [
        ("cpu", 0.99, 0.95, Outlook.REACHED),
        ("memory", 0.1, 0.95, Outlook.NEVER),
    ]
    assert found.requested[0].words == "requested cpu is at 99 % and has reached 95 %"
    await world.posted(snapshot(-1))
    assert (await world.service.forecast(principal(), CLUSTER_ID, days=30.0, horizon_days=90.0)).requested == []


async def test_drift_and_forecast_tell_the_same(world: World) -> None:
    """Of a month of snapshots by the ten minutes that bends, of which the newest is some hours old."""
    levels = [min(40.0 + 0.5 * day, 46.0 + 0.2 * day) for day in np.linspace(0.0, 31.0, 31 * 144).tolist()]
    ago = np.linspace(31.0 * 24.0, 3.0, len(levels)).tolist()
    shots = [snapshot(hours, used=used(cores)) for hours, cores in zip(ago, levels, strict=True)]
    await world.storage.capacity.put(TENANT_ID, shots)
    plan = CapacityPlan(utilisation_max={"cpu": 0.55}, runway_days_min=90.0)
    await world.service.put_plan(principal(), CLUSTER_ID, plan)
    cpu = (await world.service.forecast(principal(), CLUSTER_ID, days=30.0, horizon_days=90.0)).resources[0]
    looked = await look_at_capacity(world.storage.capacity, TENANT_ID, CLUSTER_ID, shots[-1], NOW)
    found = looked.judged["runway-cpu"]
    assert found is not None
    evidence = found.drift.evidence
    assert cpu.at is not None
    assert (evidence["at"], evidence["slope_per_day"]) == (cpu.at.isoformat(), cpu.slope_per_day)


async def test_old_snapshots_are_better_than_none(world: World) -> None:
    """The newest stands, though it tells nothing of what comes; without any there is nothing to tell."""
    with pytest.raises(NotFound):
        await world.service.forecast(principal(), CLUSTER_ID, days=30.0, horizon_days=90.0)
    nothing = Resources(cpu_cores=1.0, memory_bytes=0.0, pods=0.0)
    await world.posted(snapshot(24 * 50, allocatable=nothing))
    found = await world.service.forecast(principal(), CLUSTER_ID, days=30.0, horizon_days=90.0)
    assert [(one.resource, one.utilisation, one.outlook) for one in found.resources] == [("cpu", 50.0, Outlook.REACHED)]


@pytest.mark.parametrize("days", [0.0, -1.0, float("nan"), 3_651.0, float("inf")])
async def test_days_have_bounds(world: World, days: float) -> None:
    """Of the past, and of the horizon."""
    await world.posted(snapshot())
    with pytest.raises(InvalidInput, match="days"):
        await world.service.forecast(principal(), CLUSTER_ID, days=days, horizon_days=90.0)
    with pytest.raises(InvalidInput, match="horizon_days"):
        await world.service.forecast(principal(), CLUSTER_ID, days=9.0, horizon_days=days)
    with pytest.raises(InvalidInput, match="days"):
        await world.service.headroom(principal(), CLUSTER_ID, days=days)
    with pytest.raises(InvalidInput, match="days"):
        await world.service.right_sizing(principal(), CLUSTER_ID, days=days)


async def test_headroom_is_what_peaks_leave(world: World) -> None:
    """By the 95th percentile of use and what the newest snapshot has; pods fit by requests."""
    cores = np.random.default_rng(5).uniform(20.0, 40.0, 48)
    await world.posted(*(snapshot(ago + 1, used=used(each)) for ago, each in enumerate(cores.tolist())))
    await world.posted(
        snapshot(requested=Resources(cpu_cores=60.0, memory_bytes=100.0 * GIB, pods=20.0), used=used(30.0))
    )
    found = await world.service.headroom(principal(Scope.QUERY), CLUSTER_ID, days=7.0)
    cpu, memory, pods = found.resources
    p95 = np.percentile([*cores, 30.0], 95.0)
    assert (found.ts, cpu.allocatable, cpu.requested) == (NOW, 100.0, 60.0)
    assert (cpu.used_p95, cpu.free, cpu.free_share) == pytest.approx((p95, 100.0 - p95, 1.0 - p95 / 100.0))
    assert (cpu.pods_fit, memory.pods_fit, pods.pods_fit) == (13, 60, 180)  # 40 cores left, 3 a pod, and so on
    assert found.nodes_spare == 4  # 60 requested cores need six nodes
    await world.service.put_plan(principal(), CLUSTER_ID, CapacityPlan(nodes_min=9))
    assert (await world.service.headroom(principal(), CLUSTER_ID, days=7.0)).nodes_spare == 1


async def test_headroom_without_requests_goes_by_use(world: World) -> None:
    """And by the plan's usual limits where none is declared: 50 cores at 75 % need 6.67 nodes."""
    await world.posted(snapshot(used=Resources(cpu_cores=50.0, memory_bytes=GIB, pods=1.0)))
    found = await world.service.headroom(principal(), CLUSTER_ID, days=7.0)
    assert (found.nodes_spare, [one.pods_fit for one in found.resources]) == (3, [None, None, None])
    await world.posted(snapshot(used=used(120.0), nodes=()))
    cpu = (await world.service.headroom(principal(), CLUSTER_ID, days=0.5)).resources[0]
    assert cpu.free < 0.0
    nothing = Resources(cpu_cores=0.0, memory_bytes=0.0, pods=0.0)
    await world.posted(snapshot(allocatable=nothing, requested=nothing))
    found = await world.service.headroom(principal(), CLUSTER_ID, days=7.0)
    assert [one.free_share for one in found.resources] == [0.0, 0.0, 0.0]


async def test_right_sizing_follows_from_percentiles_of_use(world: World) -> None:
    """Exactly numpy's, over the half hours of both pods: averages of cpu, the worst moments of memory."""
    rng = np.random.default_rng(7)
    start_us = NOW_US - 14 * DAY_US
    cpu, memory = rng.uniform(0.1, 0.4, (2, 14 * 48)), rng.uniform(0.5, 1.0, (2, 14 * 48)) * GIB
    every_us = HOUR_US // 4
    for row, pod in enumerate(("api-1", "api-2")):
        await world.told(
            pod_samples(CPU_USAGE, np.repeat(cpu[row], 2) * np.tile([0.5, 1.5], 14 * 48), start_us, pod=pod,
                        every_us=every_us),
            pod_samples(MEMORY_USAGE, np.repeat(memory[row], 2) * np.tile([0.5, 1.0], 14 * 48), start_us, pod=pod,
                        every_us=every_us),
            pod_samples(CPU_REQUEST, [1.0, 2.0], NOW_US - 3 * HOUR_US, pod=pod, every_us=HOUR_US),
            pod_samples(MEMORY_REQUEST, [2.0 * GIB], NOW_US - 2 * HOUR_US, pod=pod),
        )  # fmt: skip
    await world.posted(snapshot())
    reply = await world.service.right_sizing(principal(Scope.QUERY), CLUSTER_ID, days=14.0)
    [api] = reply.workloads
    assert (reply.start, reply.end) == (NOW - 14 * DAY, NOW)
    assert (api.namespace, api.workload, api.pods, api.verdict) == ("shop", "api", 2, "oversized")
    assert (api.cpu_request_cores, api.memory_request_bytes) == (2.0, 2.0 * GIB)
    cpu_p95, memory_p99 = np.percentile(cpu, 95.0), np.percentile(memory, 99.0)
    assert (api.cpu_p95_cores, api.memory_p99_bytes) == pytest.approx((cpu_p95, memory_p99))
    assert api.cpu_proposed_cores == pytest.approx(np.ceil(cpu_p95 * 115.0) / 100.0)
    assert api.memory_proposed_bytes == np.ceil(memory_p99 * 1.2 / (4.0 * MIB)) * 4.0 * MIB
    assert api.memory_proposed_bytes is not None
    assert api.cpu_proposed_cores is not None
    # Half of 7.3 dollars for 100 cores, half for 400 GiB, 730 hours.
    saved = 0.0365 * (2.0 - api.cpu_proposed_cores) + 0.009125 * (2.0 - api.memory_proposed_bytes / GIB)
    assert api.savings_usd_per_month == pytest.approx(2 * 730.0 * saved)


async def test_the_largest_saving_comes_first(world: World) -> None:
    """Then what needs more, then what has no request; pods that came after each other are one at a time."""
    start_us = NOW_US - DAY_US
    half = start_us + DAY_US // 2
    await world.told(
        *(pod_samples(CPU_USAGE, [0.4] * 12, start, workload="api", pod=pod, every_us=HOUR_US)
          for pod, start in (("api-1", start_us), ("api-2", half))),
        pod_samples(CPU_REQUEST, [9.0], start_us, workload="api", pod="api-1"),
        pod_samples(CPU_REQUEST, [1.0], half, workload="api", pod="api-2"),
        pod_samples(CPU_USAGE, [2.0] * 24, start_us, workload="db", pod="db-0", every_us=HOUR_US),
        pod_samples(CPU_REQUEST, [1.0], start_us, workload="db", pod="db-0"),
        pod_samples(MEMORY_USAGE, [GIB], start_us, workload="job", pod="job-x"),
        pod_samples(CPU_REQUEST, [1.0], start_us, workload="unseen", pod="unseen-0"),
        pod_samples(CPU_USAGE, [1.0], start_us, workload="whole", pod=""),
    )  # fmt: skip
    await world.posted(snapshot())
    found = (await world.service.right_sizing(principal(), CLUSTER_ID, days=1.0)).workloads
    assert [(one.workload, one.pods, one.verdict) for one in found] == [
        ("api", 1, "oversized"),
        ("db", 1, "undersized"),
        ("job", 1, "no request"),
    ]
    assert found[0].savings_usd_per_month == pytest.approx((1.0 - 0.46) * 0.0365 * 730.0)
    assert found[1].savings_usd_per_month == pytest.approx((1.0 - 2.3) * 0.0365 * 730.0)
    assert found[2].savings_usd_per_month is None


async def test_without_a_price_nothing_is_said_of_savings(world: World) -> None:
    """No snapshot, or none with a cost; a cluster that nobody told of is not there."""
    await world.told(pod_samples(CPU_USAGE, [0.4], NOW_US - HOUR_US), pod_samples(CPU_REQUEST, [1.0], NOW_US - HOUR_US))
    for _ in range(2):
        [api] = (await world.service.right_sizing(principal(), CLUSTER_ID, days=1.0)).workloads
        assert (api.verdict, api.cpu_proposed_cores, api.savings_usd_per_month) == ("oversized", 0.46, None)
        await world.posted(snapshot(nodes=()))
    with pytest.raises(NotFound):
        await world.service.right_sizing(principal(), "other", days=1.0)
    world.clock.advance(5 * DAY_US)
    assert (await world.service.right_sizing(principal(), CLUSTER_ID, days=1.0)).workloads == []


async def test_a_plan_is_declared_and_removed_on_record(world: World) -> None:
    """Declaring the same again changes nothing."""
    plan = CapacityPlan(nodes_max=20)
    declarer = principal(Scope.ALERTS)
    with pytest.raises(NotFound):
        await world.service.plan(declarer, CLUSTER_ID)
    await world.service.put_plan(declarer, CLUSTER_ID, CapacityPlan())
    await world.service.put_plan(declarer, CLUSTER_ID, plan)
    await world.service.put_plan(declarer, CLUSTER_ID, plan)
    assert await world.service.plan(principal(Scope.QUERY), CLUSTER_ID) == plan
    assert recorded(world.tables)[-1].record.details == {"before": {"nodes_max": None}, "after": {"nodes_max": 20}}
    await world.service.put_plan(declarer, CLUSTER_ID, None)
    with pytest.raises(NotFound):
        await world.service.put_plan(declarer, CLUSTER_ID, None)
    assert world.trail == [
        "declared the capacity plan of 'prod-eu'",
        "declared the capacity plan of 'prod-eu'",
        "removed the capacity plan of 'prod-eu'",
    ]


async def test_scopes_are_asked_for(world: World) -> None:
    """Sending is not reading, reading is not declaring."""
    sender, reader = principal(Scope.INGEST), principal(Scope.QUERY)
    with pytest.raises(Forbidden):
        await world.service.post(reader, [])
    with pytest.raises(Forbidden):
        await world.service.put_plan(reader, CLUSTER_ID, CapacityPlan())
    for asked in (
        world.service.latest(sender, CLUSTER_ID),
        world.service.list(sender, CLUSTER_ID, start=None, end=None, limit=1),
        world.service.forecast(sender, CLUSTER_ID, days=1.0, horizon_days=1.0),
        world.service.headroom(sender, CLUSTER_ID, days=1.0),
        world.service.right_sizing(sender, CLUSTER_ID, days=1.0),
        world.service.plan(sender, CLUSTER_ID),
    ):
        with pytest.raises(Forbidden):
            await asked
