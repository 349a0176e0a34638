"""Pod metrics out of every store are numpy's, wherever their samples stand."""

from collections.abc import Sequence

import numpy as np
import pytest

from adapters.driven.memory.clock import FakeClock
from core.domain.definitions import Aggregation
from core.domain.telemetry import CPU_USAGE, ERROR_RATE, RESTARTS, THROUGHPUT
from core.domain.tenants import Principal, Scope
from core.domain.times import HOUR_US, MINUTE_US, SECOND_US, TimeRange
from core.services.policies import Policies
from core.services.telemetry import TelemetryService
from core.services.telemetry_reading import PodSeries, TelemetryReading
from ports.driving.clusters import TelemetryScope
from tests.support.cluster_telemetry import CLUSTER_ID, pod_samples, write_pods
from tests.support.storages import LIMITS, RECENT_US, Storage, Tenancy, settle_all

PODS, SAMPLES = 40, 120
RANGE = TimeRange(RECENT_US, RECENT_US + SAMPLES * MINUTE_US)
CLOCK = FakeClock(RANGE.end_us)
METRICS = (CPU_USAGE, ERROR_RATE, THROUGHPUT)


def reading_of(storage: Storage) -> TelemetryReading:
    """Over a store, with its tenants' limits and retention."""
    return TelemetryReading(storage.reader, Policies(storage.tenants, LIMITS, CLOCK), CLOCK)


def made_up() -> dict[str, "np.ndarray[tuple[int, int], np.dtype[np.float64]]"]:
    """A row per pod of each metric, with gaps."""
    rng = np.random.default_rng(11)
    grids = {name: rng.uniform(0.0, 1.0, (PODS, SAMPLES)) for name in METRICS}
    for grid in grids.values():
        grid[rng.uniform(size=grid.shape) < 0.2] = np.nan
        grid[3, 20:60] = np.nan
    grids[RESTARTS] = np.cumsum(rng.uniform(size=(PODS, SAMPLES)) < 0.02, axis=1).astype(np.float64)
    return grids


def samples_of(grids: "dict[str, np.ndarray[tuple[int, int], np.dtype[np.float64]]]", part: slice) -> list[PodSeries]:
    """Some columns of them, as pods of two workloads."""
    start_us = RECENT_US + part.start * MINUTE_US
    return [
        pod_samples(name, grid[row, part], start_us, workload=f"w{row % 2}", pod=f"pod-{row:02}")
        for name, grid in grids.items()
        for row in range(PODS)
    ]


async def test_what_every_pod_did_is_numpys(storage: Storage, tenancy: Tenancy) -> None:
    """Averages, maxima and their combinations; half settled, half in the journal, some of it revised there."""
    grids = made_up()
    wrong = {name: grid + (np.arange(SAMPLES) == 50) for name, grid in grids.items()}
    await write_pods(storage, tenancy.id, samples_of(wrong, slice(0, 70)))
    await settle_all(storage)
    await write_pods(storage, tenancy.id, samples_of(grids, slice(50, 51)))
    await write_pods(storage, tenancy.id, samples_of(grids, slice(70, SAMPLES)))
    await write_pods(storage, tenancy.id, samples_of(grids, slice(0, 9)), cluster_id="other")
    step_us = 5 * MINUTE_US
    for aggregation, function in ((Aggregation.AVG, np.nanmean), (Aggregation.MAX, np.nanmax)):
        found = await reading_of(storage).read(
            tenancy.id, CLUSTER_ID, METRICS, RANGE, step_us, workload="w1", aggregation=aggregation
        )
        assert [(one.metric, one.pod) for one in found] == [
            (name, f"pod-{row:02}") for name in METRICS for row in range(1, PODS, 2)
        ]
        for one in found:
            row = grids[one.metric][int(one.pod[4:])]
            expected = {
                RECENT_US + bucket * step_us: function(values)
                for bucket, values in enumerate(row.reshape(-1, 5))
                if not np.isnan(values).all()
            }
            assert one.ts_us.tolist() == list(expected)
            assert one.values == pytest.approx(list(expected.values()), rel=1e-9)
    await check_combined(storage, tenancy, grids)


async def check_combined(
    storage: Storage, tenancy: Tenancy, grids: "dict[str, np.ndarray[tuple[int, int], np.dtype[np.float64]]]"
) -> None:
    """The service combines what the pods did, minute by minute."""
    service = TelemetryService(reading_of(storage), storage.reader, storage.capacity)
    reader = Principal(tenant_id=tenancy.id, tenant=tenancy.tenant.name, key_id=1, scopes=frozenset({Scope.QUERY}))
    reply = await service.metrics(reader, TelemetryScope(cluster_id=CLUSTER_ID), RANGE)
    weights = np.where(np.isnan(grids[ERROR_RATE]), np.nan, grids[THROUGHPUT])
    expected: dict[str, Sequence[float]] = {
        "cpu": np.nansum(grids[CPU_USAGE], axis=0).tolist(),
        "throughput": np.nansum(grids[THROUGHPUT], axis=0).tolist(),
        "error_rate": (np.nansum(grids[ERROR_RATE] * weights, axis=0) / np.nansum(weights, axis=0)).tolist(),
        "restarts": np.diff(grids[RESTARTS], axis=1).sum(axis=0).tolist(),
    }
    assert (reply.bucket, len(reply.pods)) == ("1m", PODS)
    assert {signal: [value for _, value in one.points] for signal, one in reply.metrics.items()} == {
        signal: pytest.approx(values, rel=1e-9) for signal, values in expected.items()
    }
    assert CLUSTER_ID in await service.clusters(reader)
    golden = await service.golden_signals(reader, CLUSTER_ID, RANGE, namespace="shop")
    assert sorted((one.workload, one.pods) for one in golden.workloads) == [("w0", PODS // 2), ("w1", PODS // 2)]


async def test_pods_that_come_after_each_other_count_as_far_as_each_was_there(
    storage: Storage, tenancy: Tenancy
) -> None:
    """A pod of every five minutes that lives for one; some settled, some in the journal, and none that lives longer."""
    runs = [
        pod_samples(CPU_USAGE, [1.0] * 4, at_us, pod=f"run-{at_us}", every_us=15 * SECOND_US)
        for at_us in range(RANGE.start_us, RANGE.end_us, 5 * MINUTE_US)
    ]
    await write_pods(storage, tenancy.id, runs[:-7])
    await settle_all(storage)
    await write_pods(storage, tenancy.id, runs[-7:])
    found = await reading_of(storage).read(tenancy.id, CLUSTER_ID, [CPU_USAGE], RANGE, 30 * MINUTE_US)
    assert len(found) == len(runs)
    assert np.concatenate([one.shares for one in found]) == pytest.approx([1.0 / 30.0] * len(runs))


async def test_a_neighbours_pods_are_not_seen(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Though cluster, namespace and pod are called alike."""
    await write_pods(storage, neighbour.id, [pod_samples(CPU_USAGE, [1.0], RECENT_US)])
    reading = reading_of(storage)
    assert await reading.read(tenancy.id, CLUSTER_ID, [CPU_USAGE], RANGE, HOUR_US) == []
    assert not await reading.known(tenancy.id, CLUSTER_ID)
    assert await reading.known(neighbour.id, CLUSTER_ID, pod="api-1")
