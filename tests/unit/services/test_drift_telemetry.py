"""What telemetry is looked at for drift, and how far: the made-up cluster, and sources that tell less."""

from collections.abc import Sequence

import numpy as np
import pytest

from adapters.driven.memory.clock import FakeClock
from adapters.driven.memory.storage import memory_storage
from adapters.driven.sources.synthetic_cluster import Cluster
from adapters.driven.sources.synthetic_values import ANCHOR_US
from adapters.runtime.pause import AsyncioPause
from core.domain.drift import DriftFilter
from core.domain.telemetry import (
    CPU_LIMIT,
    CPU_REQUEST,
    CPU_USAGE,
    LATENCY_P95,
    MEMORY_REQUEST,
    MEMORY_USAGE,
    STANDARD_METRICS,
)
from core.domain.times import DAY_US, HOUR_US, MINUTE_US, TimeRange
from core.services import telemetry_reading
from core.services.drift_telemetry import look_at_telemetry
from core.services.telemetry_reading import PodSeries
from tests.support.callers import database
from tests.support.cluster_telemetry import CLUSTER_ID, pod_samples, write_pods
from tests.support.drifting import looking_over, reading_over

TENANT_ID = 2
NOW_US = FakeClock().now_us()


class World:
    """A cluster, and what is found in it."""

    def __init__(self, now_us: int = NOW_US) -> None:
        self.clock = FakeClock(now_us)
        self.storage = memory_storage(database(self.clock))
        self.looking = looking_over(self.storage, self.clock)

    async def told(self, *samples: PodSeries) -> None:
        """Writes pods' samples."""
        await write_pods(self.storage, TENANT_ID, samples)

    async def found(self) -> set[str]:
        """Looks, and says what is there."""
        await self.looking.look(TENANT_ID, CLUSTER_ID)
        events = await self.storage.drift.list(TENANT_ID, DriftFilter(), limit=1_000, before=None)
        return {event.evidence["key"] for event in events}

    async def skipped(self) -> Sequence[str]:
        """Looks, and says of what telemetry it could not."""
        found = await self.looking.look(TENANT_ID, CLUSTER_ID)
        return [line for line in found.skipped if line.startswith("telemetry")]


@pytest.mark.parametrize(("into_cycle_days", "days"), [(2.4, 2), (7.6, 8), (9.5, 8)])
async def test_the_made_up_cluster_drifts_where_it_should(into_cycle_days: float, days: int) -> None:
    """`checkout` leaks and `search` is far too large, after a first collection as after a week; the others, which
    follow their users through the day, are well."""
    now_us = ANCHOR_US + round((300 + into_cycle_days) * DAY_US)
    world = World(now_us)
    made_up = Cluster(cluster_id=CLUSTER_ID, seed=1, step_us=10 * MINUTE_US, namespaces=())
    time_range = TimeRange(now_us - days * DAY_US, now_us)
    for metric in STANDARD_METRICS:
        await world.told(
            *(
                PodSeries(
                    one.name,
                    one.labels["namespace"],
                    one.labels["workload"],
                    one.labels["pod"],
                    one.labels["node"],
                    one.ts_us,
                    one.values,
                    np.ones(len(one.values)),
                )
                for one in made_up.series(metric.name, time_range)
            )
        )
    await world.storage.capacity.put(TENANT_ID, made_up.snapshots(TimeRange(now_us - HOUR_US, now_us)))
    found = await world.found()
    assert {key.partition("/")[2] for key in found} == {"shop/checkout", "shop/search"}
    assert found >= {
        "oversized/shop/search",
        "cpu-over-request/shop/checkout",
        "memory-over-request/shop/checkout",
        "cpu-shift/shop/checkout",
        "memory-shift/shop/checkout",
    }
    events = await world.storage.drift.list(TENANT_ID, DriftFilter(), limit=1_000, before=None)
    assert all(event.synthetic for event in events)


@pytest.mark.parametrize("late_us", [0, HOUR_US, 2 * HOUR_US])
async def test_a_source_that_reports_by_the_hour_is_judged_by_what_it_last_said(late_us: int) -> None:
    """As a cron line collects it."""
    world = World()
    start_us = NOW_US - late_us - 30 * HOUR_US
    await world.told(
        *(
            pod_samples(metric, np.full(30, value), start_us, every_us=HOUR_US)
            for metric, value in ((CPU_USAGE, 2.0), (CPU_REQUEST, 1.0))
        )
    )
    assert await world.found() == {"cpu-over-request/shop/api"}


async def test_what_has_just_begun_is_not_judged() -> None:
    """Two samples, or one hour of them, show nothing that lasts."""
    for minutes in (2, 55):
        world = World()
        start_us = NOW_US - minutes * MINUTE_US
        told = ((CPU_USAGE, 2.0), (CPU_REQUEST, 1.0), (MEMORY_USAGE, 1e6), (MEMORY_REQUEST, 1e9), (LATENCY_P95, 9.0))
        await world.told(*(pod_samples(metric, np.full(minutes, value), start_us) for metric, value in told))
        assert (await world.found(), await world.skipped()) == (set(), [])


async def test_whole_workloads_that_are_told_of_twice_count_once() -> None:
    """By a source that does not tell pods apart, beside one that does."""
    world = World()
    start_us = NOW_US - 3 * HOUR_US
    await world.told(
        pod_samples(CPU_USAGE, np.full(180, 0.6), start_us),
        pod_samples(CPU_USAGE, np.full(180, 0.6), start_us, pod=""),
        pod_samples(CPU_REQUEST, np.full(180, 1.0), start_us),
    )
    assert await world.found() == set()


async def test_pods_that_follow_each_other_use_no_more() -> None:
    """Of a workload that gets a new pod every ten minutes of the last hours."""
    world = World()
    use = (CPU_USAGE, 1.0), (CPU_REQUEST, 2.0)
    await world.told(
        *(pod_samples(name, np.full(8 * 1_440 - 180, value), NOW_US - 8 * DAY_US) for name, value in use),
        *(
            pod_samples(name, np.full(10, value), NOW_US - ago * MINUTE_US, pod=f"api-{ago}")
            for name, value in use
            for ago in range(180, 0, -10)
        ),
    )
    assert await world.found() == set()


async def test_what_cannot_be_looked_at_is_said() -> None:
    """Nothing at all, nothing of late, names that nothing can have, and too much to read."""
    world = World()
    assert await world.skipped() == ["telemetry: there is none of the last 8 days"]
    await world.told(pod_samples(CPU_USAGE, [1.0], NOW_US - 5 * HOUR_US))
    assert await world.skipped() == ["telemetry: the newest is of 2025-12-31T19:00:00Z"]
    await world.told(pod_samples(CPU_USAGE, [1.0], NOW_US - MINUTE_US, workload="", pod="p"))
    (line,) = await world.skipped()
    assert line == "telemetry: workloads without a namespace, or with names that cannot be shown: 1"


@pytest.mark.parametrize(("buckets_max", "hours"), [(1_000, []), (100, [192]), (10, [30, 192])])
async def test_what_is_too_much_to_read_is_read_of_a_day(
    buckets_max: int, hours: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or not at all, and either is said."""
    world = World()
    start_us = NOW_US - 8 * DAY_US
    await world.told(
        *(
            pod_samples(metric, np.full(1_152, value), start_us, every_us=10 * MINUTE_US)
            for metric, value in ((CPU_USAGE, 2.0), (CPU_REQUEST, 1.0), (CPU_LIMIT, 4.0))
        )
    )
    monkeypatch.setattr(telemetry_reading, "BUCKETS_READ_MAX", buckets_max)
    reading = reading_over(world.storage, world.clock)
    part = await look_at_telemetry(reading, AsyncioPause(), TENANT_ID, CLUSTER_ID, NOW_US, None)
    assert bool(part.judged) is (len(hours) < 2)
    assert sorted(int(line.split()[2]) for line in part.skipped) == hours
