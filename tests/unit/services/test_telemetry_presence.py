"""Pods that are there for a part of a bucket count for that part, whoever else is there."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from adapters.driven.memory.clock import FakeClock
from adapters.driven.memory.storage import memory_storage
from core.domain.capacity import CapacitySnapshot, NodeType, Resources
from core.domain.telemetry import CPU_REQUEST, CPU_USAGE, ERROR_RATE, LATENCY_P95, RESTARTS, THROUGHPUT
from core.domain.times import DAY_US, EPOCH, HOUR_US, MINUTE_US, SECOND_US, TimeRange
from core.services.capacity import CapacityService
from core.services.policies import Policies
from core.services.telemetry import TelemetryService
from core.services.telemetry_combining import usual_pods
from core.services.telemetry_reading import PodSeries, TelemetryReading
from ports.driving.clusters import GoldenSignals, RightSizing, SignalSeries, TelemetryScope
from tests.support.callers import database, principal
from tests.support.cluster_telemetry import CLUSTER_ID, pod_samples, write_pods
from tests.support.storages import LIMITS, settle_all

TENANT_ID = 2
NOW_US = FakeClock().now_us()
DAY = TimeRange(NOW_US - DAY_US, NOW_US)
HOUR = TimeRange(NOW_US - HOUR_US, NOW_US)
GIB = float(1 << 30)


class World:
    """Telemetry and capacity over one store."""

    def __init__(self) -> None:
        clock = FakeClock()
        self.storage = memory_storage(database(clock))
        reading = TelemetryReading(self.storage.reader, Policies(self.storage.tenants, LIMITS, clock), clock)
        self.telemetry = TelemetryService(reading, self.storage.reader, self.storage.capacity)
        self.capacity = CapacityService(self.storage.capacity, reading, self.storage.audit_log, clock)

    async def told(self, *samples: PodSeries, settled: bool = False) -> None:
        """Writes samples."""
        await write_pods(self.storage, TENANT_ID, samples)
        if settled:
            await settle_all(self.storage)

    async def golden(self, time_range: TimeRange = DAY) -> Mapping[str, GoldenSignals]:
        """By workload."""
        reply = await self.telemetry.golden_signals(principal(), CLUSTER_ID, time_range, namespace=None)
        return {one.workload: one for one in reply.workloads}

    async def signal(self, signal: str, time_range: TimeRange = DAY, **scope: str) -> SignalSeries:
        """Over time."""
        wanted = TelemetryScope(cluster_id=CLUSTER_ID, **scope)
        return (await self.telemetry.metrics(principal(), wanted, time_range)).metrics[signal]

    async def sized(self, days: float) -> RightSizing:
        """The only workload."""
        [one] = (await self.capacity.right_sizing(principal(), CLUSTER_ID, days=days)).workloads
        return one


@pytest.fixture
def world() -> World:
    """A new one."""
    return World()


def runs(
    metric: str = CPU_USAGE, *, value: float = 1.0, samples: int = 4, every_us: int = 15 * SECOND_US, days: float = 1.0
) -> list[PodSeries]:
    """A CronJob's pods: one every five minutes for a minute."""
    start_us = NOW_US - round(days * DAY_US)
    return [
        pod_samples(metric, [value] * samples, at_us, workload="cron", pod=f"cron-{at_us}", every_us=every_us)
        for at_us in range(start_us, NOW_US, 5 * MINUTE_US)
    ]


def steady(metric: str = CPU_USAGE, *, every_us: int = MINUTE_US, pod: str = "api-1", value: float = 2.0) -> PodSeries:
    """A pod that was there all day."""
    return pod_samples(metric, [value] * (DAY_US // every_us), NOW_US - DAY_US, pod=pod, every_us=every_us)


@pytest.mark.parametrize("settled", [False, True])
async def test_the_runs_of_a_cron_job_use_what_they_use_at_a_time(world: World, settled: bool) -> None:
    """One core a fifth of the time is a fifth of a core, and less than one pod, though six ran in each half hour."""
    await world.told(*runs(), settled=settled)
    cron = (await world.golden())["cron"]
    assert cron.cpu_cores == pytest.approx(0.2, rel=0.02)
    assert cron.pods == 1
    line = await world.signal("cpu", workload="cron")
    assert [value for _, value in line.points] == pytest.approx([0.2] * len(line.points))
    assert line.max == pytest.approx(0.2)
    one = await world.signal("cpu", namespace="shop", pod=f"cron-{NOW_US - HOUR_US}")
    assert [value for _, value in one.points] == [1.0]  # what it used while it was there


@pytest.mark.parametrize("settled", [False, True])
async def test_one_sample_of_a_pod_is_as_long_as_those_of_others(world: World, settled: bool) -> None:
    """By itself it says nothing of how long its pod was there; alone in the cluster its pods count whole. Whoever asks
    for the workload alone is told the same."""
    await world.told(*runs(samples=1), settled=settled)
    assert (await world.golden())["cron"].cpu_cores == pytest.approx(6.0, rel=0.02)
    await world.told(steady(), settled=settled)
    line = await world.signal("cpu", namespace="shop", workload="cron")
    assert [value for _, value in line.points] == pytest.approx([0.2] * len(line.points))
    found = await world.golden()
    assert found["cron"].cpu_cores == pytest.approx(0.2, rel=0.02)
    assert (found["api"].cpu_cores, found["api"].pods) == (2.0, 1)


async def test_a_rollout_is_not_twice_the_workload(world: World) -> None:
    """Three replicas are three before, within and after; in a chart of a month a bucket has hours of both."""
    half = DAY_US // 2 + 7 * MINUTE_US
    before = [
        pod_samples(name, [1.0] * (half // MINUTE_US), NOW_US - DAY_US, pod=f"old-{pod}")
        for pod in range(3)
        for name in (CPU_USAGE, THROUGHPUT)
    ]
    after = [
        pod_samples(name, [1.0] * ((DAY_US - half) // MINUTE_US), NOW_US - DAY_US + half, pod=f"new-{pod}")
        for pod in range(3)
        for name in (CPU_USAGE, THROUGHPUT)
    ]
    await world.told(*before, *after)
    api = (await world.golden())["api"]
    assert api.pods == 3
    assert (api.cpu_cores, api.throughput_per_second) == pytest.approx((3.0, 3.0))
    line = await world.signal("cpu")
    assert (line.pods, line.min, line.max, line.p95) == pytest.approx((3, 3.0, 3.0, 3.0))


async def test_savings_are_those_of_the_pods_at_a_time(world: World) -> None:
    """A CronJob's pods that ask for far too much for a minute in five cost a fifth of one that always does."""
    ts = EPOCH + np.timedelta64(NOW_US, "us").item()
    room = Resources(cpu_cores=100.0, memory_bytes=400.0 * GIB, pods=200.0)
    nodes = (NodeType(instance_type="m", count=1, cost_usd_per_hour=7.3),)
    snapshot = CapacitySnapshot(cluster_id=CLUSTER_ID, ts=ts, nodes=nodes, allocatable=room, used=room)
    await world.storage.capacity.put(TENANT_ID, [snapshot])
    await world.told(*runs(value=0.4, days=7.0), *runs(CPU_REQUEST, days=7.0))
    cron = await world.sized(7.0)
    assert cron.pods == 1
    assert cron.pods_mean == pytest.approx(0.2, rel=0.02)
    assert cron.savings_usd_per_month == pytest.approx(0.2 * (1.0 - 0.46) * 0.0365 * 730.0, rel=0.02)


async def test_latency_is_of_the_slowest_and_errors_of_requests(world: World) -> None:
    """However short a pod's life; but its requests are only those of that time."""
    start_us = NOW_US - HOUR_US + 30 * MINUTE_US
    short = {LATENCY_P95: 9.0, ERROR_RATE: 1.0, THROUGHPUT: 10.0}
    await world.told(
        *(steady(name, value=value) for name, value in ((LATENCY_P95, 1.0), (ERROR_RATE, 0.0), (THROUGHPUT, 10.0))),
        *(pod_samples(name, [value] * 6, start_us, pod="api-2") for name, value in short.items()),
    )
    day = await world.golden(DAY)
    assert day["api"].latency_p95_seconds == pytest.approx((47 * 1.0 + 9.0) / 48)
    assert day["api"].error_ratio == pytest.approx(6.0 / (24 * 60 + 6))
    assert (await world.signal("latency_p95")).max == 9.0


async def test_restarts_of_a_short_life_are_whole_ones(world: World) -> None:
    """What happened did."""
    counted = pod_samples(RESTARTS, [0.0, 0.0, 3.0], NOW_US - HOUR_US + 3 * MINUTE_US, pod="api-2")
    await world.told(steady(RESTARTS), counted)
    assert sum(value for _, value in (await world.signal("restarts")).points) == pytest.approx(3.0)


async def test_gaps_of_a_source_are_not_those_of_pods(world: World) -> None:
    """Neither within a bucket, nor over several, nor where collecting began or has got to; one pod is asked of by two
    sources, at twice the pace."""
    samples = DAY_US // MINUTE_US
    minute = np.arange(samples)
    told = (minute > 37) & (minute < samples - 11) & ~((minute > 400) & (minute < 413))
    told &= ~((minute > 700) & (minute < 911))
    use = np.where(told, 1.0, np.nan)
    await world.told(*(pod_samples(CPU_USAGE, use, NOW_US - DAY_US, pod=f"api-{pod}") for pod in range(2)))
    await write_pods(world.storage, TENANT_ID, [pod_samples(CPU_USAGE, use, NOW_US - DAY_US)], source="other")
    line = await world.signal("cpu")
    assert {value for _, value in line.points} == {2.0}
    api = (await world.golden())["api"]
    assert (api.cpu_cores, api.pods) == (2.0, 2)


async def test_pods_of_a_source_that_has_just_begun_are_whole(world: World) -> None:
    """Two buckets of which both are begun or broken off."""
    start_us = NOW_US - 40 * MINUTE_US
    await world.told(*(pod_samples(CPU_USAGE, [1.0] * 40, start_us, pod=f"api-{pod}") for pod in range(3)))
    api = (await world.golden())["api"]
    assert (api.cpu_cores, api.pods) == (3.0, 3)


@pytest.mark.parametrize("every_us", [7 * MINUTE_US, 61 * MINUTE_US])
async def test_pods_that_report_seldom_count_whole(world: World, every_us: int) -> None:
    """Fewer samples than buckets, at other instants each: what there is of them is as it was, and all are counted."""
    await world.told(
        *(
            pod_samples(CPU_USAGE, [1.0] * 20, NOW_US - 20 * every_us + pod * MINUTE_US, pod=f"api-{pod}",
                        every_us=every_us)
            for pod in range(3)
        )
    )  # fmt: skip
    line = await world.signal("cpu")
    assert {value for _, value in line.points} <= {1.0, 2.0, 3.0}
    assert line.pods == 3


def expected(pods: Sequence[PodSeries], every_us: Mapping[str, int], step_us: int) -> dict[int, float]:
    """Each bucket's sum, slowly: every sample stands for the interval that follows it."""
    sums: dict[int, float] = defaultdict(float)
    for pod in pods:
        for ts_us, value in zip(pod.ts_us.tolist(), pod.values.tolist(), strict=True):
            sums[ts_us // step_us * step_us] += value * every_us[pod.workload] / step_us
    return sums


async def test_sums_are_those_of_the_samples(world: World) -> None:
    """Pods of two sources with other intervals, which come and go: within a few samples of a bucket, and over the day
    within some percent."""
    rng = np.random.default_rng(3)
    every_us = {"fast": 15 * SECOND_US, "slow": MINUTE_US}
    pods = [steady(pod=f"always-{each}", every_us=step_us, value=1.0) for each, step_us in every_us.items()]
    pods = [
        pod_samples(CPU_USAGE, one.values, NOW_US - DAY_US, workload=name, pod=one.pod, every_us=every_us[name])
        for one, name in zip(pods, every_us, strict=True)
    ]
    for index in range(120):
        name = ("fast", "slow")[index % 2]
        begin_us = NOW_US - DAY_US + int(rng.integers(0, DAY_US - 5 * HOUR_US)) // MINUTE_US * MINUTE_US
        lasting = int(rng.choice([3 * MINUTE_US, 20 * MINUTE_US, 4 * HOUR_US])) // every_us[name]
        use = rng.uniform(0.5, 1.5, lasting)
        pods.append(pod_samples(CPU_USAGE, use, begin_us, workload=name, pod=f"p{index}", every_us=every_us[name]))
    await world.told(*pods)
    line = await world.signal("cpu")
    truth = expected(pods, every_us, 5 * MINUTE_US)
    found = {int((ts - EPOCH) / np.timedelta64(1, "us").item()): value for ts, value in line.points}
    assert found.keys() == truth.keys()
    of_long = [abs(found[ts] - truth[ts]) / truth[ts] for ts in truth]
    assert np.median(of_long) < 1e-9
    assert np.mean(list(found.values())) == pytest.approx(np.mean(list(truth.values())), rel=0.03)


def test_pods_at_a_time_are_the_median_rounded_up() -> None:
    """Over gaps too; nobody is none."""
    shares = np.array([[1.0, 0.0, 1.0, 1.0, 0.3, 0.0], [0.0, 1.0, 0.5, 1.0, 0.0, 0.0], [0.0] * 6])
    assert usual_pods(shares, np.array([0, 2], np.int64)) == [2, 0]  # of 1, 2, 1.5, 2 and 0.3 the median is 1.5
    assert usual_pods(shares[:1], np.zeros(1, np.int64)) == [1]
