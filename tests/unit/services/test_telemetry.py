"""Pod metrics read, combined and shown, over the in-memory store."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from adapters.driven.memory.capacity import MemoryCapacityStore
from adapters.driven.memory.clock import FakeClock
from adapters.driven.memory.storage import memory_storage
from core.domain.capacity import CapacityPlan
from core.domain.definitions import MetricDefinition
from core.domain.errors import Forbidden, InvalidInput, NotFound, TooExpensive
from core.domain.telemetry import (
    CPU_REQUEST,
    CPU_USAGE,
    ERROR_RATE,
    LATENCY_P95,
    MEMORY_USAGE,
    RESTARTS,
    THROUGHPUT,
)
from core.domain.tenants import Scope
from core.domain.times import DAY_US, EPOCH, HOUR_US, MINUTE_US, TimeRange
from core.services.policies import Policies
from core.services.telemetry import TelemetryService
from core.services.telemetry_combining import bucket_starts_us, bucket_width_us, combined, increases, means_of
from core.services.telemetry_reading import PodSeries, TelemetryReading
from ports.driving.clusters import SignalSeries, TelemetryScope
from tests.support.callers import database, principal
from tests.support.cluster_telemetry import CLUSTER_ID, pod_samples, write_pods
from tests.support.storages import LIMITS, settle_all

TENANT_ID = 2
GAP = float("nan")
NOW_US = FakeClock().now_us()
START_US = NOW_US - HOUR_US
HOUR = TimeRange(START_US, NOW_US)
CLUSTER = TelemetryScope(cluster_id=CLUSTER_ID)
ALL_PODS = np.zeros(1, np.int64)


class World:
    """The service over its store, an hour's range before now."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.tables = database(self.clock)
        self.storage = memory_storage(self.tables)
        self.capacity = MemoryCapacityStore(self.tables)
        self.reading = TelemetryReading(
            self.storage.reader, Policies(self.storage.tenants, LIMITS, self.clock), self.clock
        )
        self.service = TelemetryService(self.reading, self.storage.reader, self.capacity)

    async def told(self, *samples: PodSeries, source: str = "test", **labels: str) -> None:
        """Writes samples."""
        await write_pods(self.storage, TENANT_ID, samples, source=source, labels=labels)

    async def read(self, *names: str, **wanted: Any) -> Sequence[PodSeries]:
        """Reads the hour."""
        return await self.reading.read(TENANT_ID, CLUSTER_ID, names, HOUR, 5 * MINUTE_US, **wanted)

    async def signal(self, signal: str, **scope: str) -> SignalSeries:
        """One signal of the hour."""
        wanted = TelemetryScope(cluster_id=CLUSTER_ID, **scope)
        return (await self.service.metrics(principal(Scope.QUERY), wanted, HOUR)).metrics[signal]


@pytest.fixture
def world() -> World:
    """A new one."""
    return World()


def values(signal: SignalSeries) -> list[float]:
    """Of its points."""
    return [value for _, value in signal.points]


async def test_bucket_averages_are_numpys_and_gaps_stay_gaps(world: World) -> None:
    """Half of the samples settled, half in the journal; pods come in order, other clusters and tenants not at all."""
    rng = np.random.default_rng(1)
    use = rng.uniform(0.0, 2.0, (3, 60))
    use[1, 20:30] = np.nan
    await world.told(*(pod_samples(CPU_USAGE, use[row, :37], START_US, pod=f"api-{3 - row}") for row in range(3)))
    await settle_all(world.storage)
    later_us = START_US + 37 * MINUTE_US
    await world.told(*(pod_samples(CPU_USAGE, use[row, 37:], later_us, pod=f"api-{3 - row}") for row in range(3)))
    elsewhere = [pod_samples(CPU_USAGE, [9.0] * 60, START_US, pod="api-1")]
    await write_pods(world.storage, TENANT_ID, elsewhere, cluster_id="other")
    await write_pods(world.storage, 3, elsewhere)
    found = await world.read(CPU_USAGE, MEMORY_USAGE)
    assert [(one.metric, one.pod, one.node) for one in found] == [
        (CPU_USAGE, f"api-{row}", "node-1") for row in (1, 2, 3)
    ]
    for one, row in zip(found, (2, 1, 0), strict=True):
        buckets = use[row].reshape(12, 5)
        there = ~np.isnan(buckets).all(axis=1)
        assert one.ts_us.tolist() == [START_US + index * 5 * MINUTE_US for index in np.flatnonzero(there)]
        assert one.values == pytest.approx(buckets[there].mean(axis=1), rel=1e-12)


async def test_a_selection_is_of_labels_that_can_be(world: World) -> None:
    """A namespace, a workload, a pod; what cannot name one is refused."""
    await world.told(
        pod_samples(CPU_USAGE, [1.0], START_US, namespace="shop", workload="api", pod="api-1"),
        pod_samples(CPU_USAGE, [2.0], START_US, namespace="shop", workload="db", pod="db-0"),
        pod_samples(CPU_USAGE, [3.0], START_US, namespace="bank", workload="db", pod="db-0"),
    )
    assert [one.values[0] for one in await world.read(CPU_USAGE, namespace="shop")] == [1.0, 2.0]
    assert [one.values[0] for one in await world.read(CPU_USAGE, workload="db")] == [3.0, 2.0]
    assert [one.values[0] for one in await world.read(CPU_USAGE, namespace="shop", pod="db-0")] == [2.0]
    assert await world.read(CPU_USAGE, workload="api", pod="db-0") == []
    with pytest.raises(InvalidInput, match="namespace"):
        await world.read(CPU_USAGE, namespace="")


async def test_two_series_of_a_pod_are_one(world: World) -> None:
    """A pod that two sources tell of, or that moved to another node, is not counted twice."""
    await world.told(pod_samples(CPU_USAGE, [1.0] * 60, START_US, workload="db", pod="db-0", node="a"))
    await world.told(pod_samples(CPU_USAGE, [3.0] * 60, START_US, workload="db", pod="db-0", node="b"), source="other")
    [one] = await world.read(CPU_USAGE)
    assert (one.node, set(one.values.tolist())) == ("b", {2.0})
    assert (await world.signal("cpu")).avg == 2.0


async def test_what_retention_no_longer_keeps_is_not_read(world: World) -> None:
    """The cut is at midnight, as for every query."""
    await world.storage.definitions.put(TENANT_ID, MetricDefinition(name=CPU_USAGE, retention_days=1))
    two_days = TimeRange(NOW_US - 2 * DAY_US, NOW_US)
    await world.told(pod_samples(CPU_USAGE, [1.0, 2.0], NOW_US - 2 * DAY_US, every_us=DAY_US))
    [one] = await world.reading.read(TENANT_ID, CLUSTER_ID, [CPU_USAGE], two_days, HOUR_US)
    assert (one.ts_us.tolist(), one.values.tolist()) == ([NOW_US - DAY_US], [2.0])


async def test_more_than_can_be_held_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pods times buckets of one metric."""
    monkeypatch.setattr("core.services.telemetry_reading.BUCKETS_READ_MAX", 24)
    pods = [pod_samples(CPU_USAGE, [1.0], START_US, pod=f"api-{index}") for index in range(3)]
    await world.told(*pods[:2])
    assert len(await world.read(CPU_USAGE)) == 2
    await world.told(pods[2])
    with pytest.raises(TooExpensive, match="3 pods in 12 buckets"):
        await world.read(CPU_USAGE)


async def test_a_sum_is_of_the_pods_that_were_heard_of(world: World) -> None:
    """A pod without samples in a bucket adds nothing, and a bucket without any pod is absent, not 0."""
    await world.told(
        pod_samples(CPU_USAGE, [1.0, 1.0, GAP, GAP], START_US, pod="api-1"),
        pod_samples(CPU_USAGE, [2.0, GAP, GAP, 4.0], START_US, pod="api-2"),
    )
    signal = await world.signal("cpu")
    instants = [EPOCH + timedelta(microseconds=START_US + minute * MINUTE_US) for minute in (0, 1, 3)]
    assert signal.points == list(zip(instants, [3.0, 1.0, 4.0], strict=True))
    assert (signal.pods, signal.combine, signal.unit, signal.metric) == (2, "sum", "cores", CPU_USAGE)
    assert (signal.latest, signal.avg, signal.min, signal.max) == (4.0, 8.0 / 3.0, 1.0, 4.0)
    assert signal.p95 == np.percentile([3.0, 1.0, 4.0], 95.0)


async def test_latencies_are_the_greatest_and_errors_weighted(world: World) -> None:
    """By throughput; without any, ratios count alike."""
    await world.told(
        pod_samples(LATENCY_P95, [0.1, 0.5], START_US, pod="api-1"),
        pod_samples(LATENCY_P95, [0.3, 0.2], START_US, pod="api-2"),
        pod_samples(ERROR_RATE, [0.1, 0.1, 0.1], START_US, pod="api-1"),
        pod_samples(ERROR_RATE, [0.5, 0.5, 0.5], START_US, pod="api-2"),
        pod_samples(THROUGHPUT, [30.0, GAP, 0.0], START_US, pod="api-1"),
        pod_samples(THROUGHPUT, [10.0, 7.0, 0.0], START_US, pod="api-2"),
    )
    assert values(await world.signal("latency_p95")) == [0.3, 0.5]
    assert values(await world.signal("error_rate")) == pytest.approx([0.2, 0.5, 0.3])


async def test_restarts_are_what_the_counters_grew_by(world: World) -> None:
    """A reset counts from zero, and a pod's first bucket has nothing to be compared with."""
    await world.told(
        pod_samples(RESTARTS, [5.0, 5.0, 6.0, 1.0], START_US, pod="api-1"),
        pod_samples(RESTARTS, [GAP, 0.0, 2.0, 2.0], START_US, pod="api-2"),
    )
    assert values(await world.signal("restarts")) == [0.0, 3.0, 1.0]
    assert values(await world.signal("restarts", pod="api-2")) == [2.0, 0.0]


async def test_a_workload_as_a_whole_counts_where_its_pods_are_not_told_apart(world: World) -> None:
    """Else it would be counted twice."""
    await world.told(
        pod_samples(THROUGHPUT, [10.0], START_US, workload="api", pod=""),
        pod_samples(THROUGHPUT, [4.0], START_US, workload="api", pod="api-1"),
        pod_samples(THROUGHPUT, [7.0], START_US, workload="db", pod=""),
    )
    signal = await world.signal("throughput")
    assert (signal.latest, signal.pods) == (11.0, 1)
    assert (await world.service.metrics(principal(), CLUSTER, HOUR)).pods == ["api-1"]


async def test_what_is_not_there_is_told_from_what_is_not_heard_of_now(world: World) -> None:
    """An unknown pod is not found; a known one without samples has no metrics."""
    await world.told(pod_samples(CPU_USAGE, [1.0], START_US - DAY_US))
    reply = await world.service.metrics(principal(), CLUSTER, HOUR)
    assert (reply.metrics, reply.pods, reply.bucket) == ({}, [], "1m")
    golden = await world.service.golden_signals(principal(), CLUSTER_ID, HOUR, namespace="shop")
    assert golden.workloads == []
    with pytest.raises(NotFound, match="no pod with telemetry named 'prod-eu/api-9'"):
        await world.service.metrics(principal(), TelemetryScope(cluster_id=CLUSTER_ID, pod="api-9"), HOUR)
    with pytest.raises(NotFound, match="no namespace with telemetry named 'prod-eu/bank'"):
        await world.service.golden_signals(principal(), CLUSTER_ID, HOUR, namespace="bank")


async def test_golden_signals_are_those_of_each_workload(world: World) -> None:
    """In order of their errors; what is not known is None, and saturation is over the pods of which both are known."""
    await world.told(
        pod_samples(LATENCY_P95, [0.1, 0.5], START_US, pod="api-1"),
        pod_samples(LATENCY_P95, [0.3, 0.2], START_US, pod="api-2"),
        pod_samples(THROUGHPUT, [30.0, 0.0], START_US, pod="api-1"),
        pod_samples(THROUGHPUT, [10.0, 10.0], START_US, pod="api-2"),
        pod_samples(ERROR_RATE, [0.1, 0.9], START_US, pod="api-1"),
        pod_samples(ERROR_RATE, [0.0, 0.2], START_US, pod="api-2"),
        pod_samples(CPU_USAGE, [1.0, 2.0], START_US, pod="api-1"),
        pod_samples(CPU_USAGE, [4.0, GAP], START_US, pod="api-2"),
        pod_samples(CPU_REQUEST, [3.0], START_US, pod="api-1"),
        pod_samples(ERROR_RATE, [0.4], START_US, workload="db", pod="db-0"),
        pod_samples(MEMORY_USAGE, [5e8], START_US, namespace="bank", workload="vault", pod="vault-0"),
    )
    reply = await world.service.golden_signals(principal(Scope.ALERTS), CLUSTER_ID, HOUR, namespace=None)
    assert [(one.namespace, one.workload, one.pods) for one in reply.workloads] == [
        ("shop", "db", 1),
        ("shop", "api", 2),
        ("bank", "vault", 1),
    ]
    api = reply.workloads[1]
    assert api.latency_p95_seconds == pytest.approx((0.3 + 0.5) / 2)
    assert api.throughput_per_second == pytest.approx((40.0 + 10.0) / 2)
    assert api.error_ratio == pytest.approx((0.1 * 30.0 + 0.2 * 10.0) / 50.0)
    assert api.cpu_cores == pytest.approx((5.0 + 2.0) / 2)
    assert api.cpu_saturation == pytest.approx(1.5 / 3.0)
    assert (api.latency_p50_seconds, api.memory_bytes, api.memory_saturation) == (None, None, None)
    assert reply.workloads[0].error_ratio == pytest.approx(0.4)
    assert reply.workloads[2].memory_bytes == 5e8


async def test_numbers_stay_finite(world: World) -> None:
    """JSON has no infinity, and the greatest floats add up to more than there is."""
    await world.told(
        *(pod_samples(name, [1.7e308] * 3, START_US, pod=pod) for name in (CPU_USAGE, ERROR_RATE, THROUGHPUT)
          for pod in ("api-1", "api-2")),
        pod_samples(CPU_REQUEST, [5e-324], START_US, pod="api-1"),
    )  # fmt: skip
    greatest = np.finfo(np.float64).max
    signal = await world.signal("cpu")
    assert (signal.latest, signal.avg, signal.p95) == (greatest, greatest, greatest)
    [api] = (await world.service.golden_signals(principal(), CLUSTER_ID, HOUR, namespace=None)).workloads
    assert api.cpu_saturation == greatest
    assert api.throughput_per_second is not None
    assert api.error_ratio is not None
    assert np.isfinite([api.throughput_per_second, api.error_ratio]).all()


async def test_clusters_are_those_of_which_anything_is_known(world: World) -> None:
    """Telemetry, or capacity."""
    await world.told(pod_samples(CPU_USAGE, [1.0], START_US))
    await world.capacity.put_plan(TENANT_ID, "planned", CapacityPlan())
    assert await world.service.clusters(principal()) == ["planned", CLUSTER_ID]
    assert await world.service.clusters(principal(tenant_id=3)) == []


async def test_reading_needs_a_scope_that_reads(world: World) -> None:
    """Sending samples is not enough."""
    sender = principal(Scope.INGEST)
    with pytest.raises(Forbidden):
        await world.service.metrics(sender, CLUSTER, HOUR)
    with pytest.raises(Forbidden):
        await world.service.golden_signals(sender, CLUSTER_ID, HOUR, namespace=None)
    with pytest.raises(Forbidden):
        await world.service.clusters(sender)


@pytest.mark.parametrize(
    ("range_us", "width_us"),
    [
        (1, MINUTE_US),
        (HOUR_US, MINUTE_US),
        (DAY_US, 5 * MINUTE_US),
        (30 * DAY_US, 3 * HOUR_US),
        (250 * DAY_US, DAY_US),
        (365 * DAY_US, 2 * DAY_US),
        (70_000 * DAY_US, 235 * DAY_US),
    ],
)
def test_buckets_are_as_long_as_a_chart_needs(range_us: int, width_us: int) -> None:
    """Never more than asked for, wherever the range begins."""
    assert bucket_width_us(TimeRange(START_US, START_US + range_us), 300) == width_us
    for start_us in (0, 7, START_US + 59_999_999):
        shifted = TimeRange(start_us, start_us + range_us)
        assert len(bucket_starts_us(shifted, bucket_width_us(shifted, 300))) <= 300


maybe = st.one_of(st.just(GAP), st.floats(0.0, 1e6, allow_subnormal=False))


@given(
    arrays(np.float64, (6, 4), elements=maybe), arrays(np.float64, (6, 4), elements=maybe), st.permutations(range(6))
)
def test_the_order_of_pods_does_not_matter(grid: np.ndarray, weights: np.ndarray, order: list[int]) -> None:
    """Nor how they are combined."""
    for how in ("sum", "max", "weighted"):
        before = combined(grid, how, ALL_PODS, weights)
        after = combined(grid[order], how, ALL_PODS, weights[order])
        np.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-300)
        np.testing.assert_array_equal(np.isnan(before)[0], np.isnan(grid).all(axis=0))


@given(arrays(np.float64, (5, 3), elements=maybe))
def test_groups_are_combined_each_for_itself(grid: np.ndarray) -> None:
    """As if it were alone."""
    for how in ("sum", "max", "weighted"):
        together = combined(grid, how, np.array([0, 2], np.int64))
        np.testing.assert_array_equal(together[:1], combined(grid[:2], how, ALL_PODS))
        np.testing.assert_array_equal(together[1:], combined(grid[2:], how, ALL_PODS))


def test_a_mean_is_over_the_buckets_that_are_there() -> None:
    """And NaN where there are none."""
    assert means_of(np.array([[1.0, GAP, 3.0], [GAP, GAP, GAP]])).tolist() == [2.0, pytest.approx(GAP, nan_ok=True)]


def test_a_counter_with_one_bucket_has_no_increase() -> None:
    """There is nothing to compare it with."""
    assert increases([pod_samples(RESTARTS, [4.0], 0)]) == []
