"""Every answer over HTTP equals numpy's at every moment of a sample's life, late samples included.

In the head, settled, in stored aggregates, compressed, overridden by late samples in the head, those settled into
compressed chunks, refreshed and compressed again: the numbers never change but with the samples.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx
import numpy as np
import pytest

from adapters.runtime.clock import SystemClock
from core.domain.times import DAY_US, HOUR_US, MINUTE_US, SECOND_US, day_start, format_time, parse_time
from tests.integration.in_process import InProcess, in_process
from tests.support import oracle
from tests.support.storages import Store, settle_all

METRIC = "moments"
HOSTS = 4
STEP_US = 150 * SECOND_US
START_US = day_start(SystemClock().now_us()) - 5 * DAY_US + 7 * HOUR_US + 90 * SECOND_US
END_US = START_US + 3 * DAY_US
WHOLE = (START_US - HOUR_US, END_US + HOUR_US)
AWKWARD = (START_US + 5 * HOUR_US + 17 * SECOND_US, END_US - 3 * HOUR_US - 1)
"""A range whose ends fall inside buckets."""

AGGREGATIONS = {
    "5m": ("avg", "sum", "last"),
    "1h": ("avg", "min", "max", "sum", "count", "first", "last", "increase", "rate", "p95"),
    "1d": ("avg", "first"),
    "7m": ("avg", "max"),
}
"""By bucket: 5m, 1h and 1d are stored where there are stored aggregates, 7m never is."""

Samples = dict[tuple[int, int], float]
"""(host, ts_us) → value."""


@pytest.fixture
async def server(store: Store) -> AsyncIterator[InProcess]:
    """Yield the application over each storage in turn, the in-memory one and the WebAssembly lane included."""
    async with store.open() as storage:
        yield in_process(storage)


async def test_answers_equal_numpy_at_every_moment(server: InProcess) -> None:
    """One life of samples, looked at nine times."""
    keeping = server.storage.keeping
    now_us = SystemClock().now_us()
    random = np.random.default_rng(7)
    samples: Samples = {}
    tenant = await server.new_tenant()
    async with server.client(await server.new_key(tenant)) as client:

        async def ingest(points: Samples) -> None:
            await send(client, points)
            samples.update(points)

        async def upkeep() -> None:
            await keeping.refresh_aggregates(now_us=now_us)
            await keeping.compress(older_than_us=now_us - DAY_US)

        # Six hours stay empty, so that there are buckets without samples.
        await ingest(walk(random, START_US, START_US + DAY_US))
        await ingest(walk(random, START_US + DAY_US + 6 * HOUR_US, END_US))
        await check_all(client, samples)  # in the head
        await settle_all(server.storage)
        await check_all(client, samples)
        await keeping.refresh_aggregates(now_us=now_us)
        await check_all(client, samples)  # from stored aggregates
        await keeping.compress(older_than_us=now_us - DAY_US)
        await check_all(client, samples)
        await ingest(late(random, samples))
        await check_all(client, samples)  # the head overrides compressed samples
        await settle_all(server.storage)
        await check_all(client, samples)  # aggregates are stale where late samples went
        await ingest(late(random, samples))
        await keeping.refresh_aggregates(now_us=now_us)
        await check_all(client, samples)
        await settle_all(server.storage)
        await upkeep()
        await check_all(client, samples)  # compressed again
        await ingest(late(random, samples))
        await settle_all(server.storage, points_max=100)
        await upkeep()
        await upkeep()
        await check_all(client, samples)


def walk(random: np.random.Generator, start_us: int, end_us: int) -> Samples:
    """A counter with resets on every host, one sample a step with some jitter."""
    points: Samples = {}
    for host in range(HOSTS):
        level = 0.0
        for ts_us in range(start_us, end_us, STEP_US):
            level = 0.0 if random.random() < 0.005 else level + float(random.exponential(3.0))
            points[host, ts_us + int(random.integers(0, STEP_US))] = level
    return points


def late(random: np.random.Generator, samples: Mapping[tuple[int, int], float]) -> Samples:
    """Samples not newer than what is there: a third overwrite, the others fall between, some before all."""
    known = list(samples)
    overwritten = [known[place] for place in random.integers(0, len(known), 40)]
    between = [(host, ts_us + 1) for host, ts_us in (known[place] for place in random.integers(0, len(known), 70))]
    first = [(host, START_US - 20 * MINUTE_US) for host in range(HOSTS)]
    return {place: float(random.normal(50.0, 20.0)) for place in [*overwritten, *between, *first]}


async def send(client: httpx.AsyncClient, points: Samples) -> None:
    """Ingests all points, in batches."""
    metrics = [
        {"name": METRIC, "value": value, "labels": {"host": str(host)}, "timestamp": format_time(ts_us)}
        for (host, ts_us), value in points.items()
    ]
    for first in range(0, len(metrics), 5_000):
        batch = metrics[first : first + 5_000]
        reply = await client.post("/ingest/batch", json={"metrics": batch})
        assert reply.status_code == 200, reply.text
        assert reply.json()["accepted"] == len(batch)


async def check_all(client: httpx.AsyncClient, samples: Samples) -> None:
    """Asserts every kind of answer."""
    await check_raw(client, samples)
    for (start_us, end_us), by_host in ((WHOLE, True), (AWKWARD, False)):
        await check_statistics(client, samples, start_us, end_us, by_host=by_host)
        for bucket, aggs in AGGREGATIONS.items():
            for agg in aggs:
                await check_buckets(client, samples, start_us, end_us, bucket, agg, by_host=by_host)


async def check_raw(client: httpx.AsyncClient, samples: Samples) -> None:
    """Asserts that paging shows every sample once, in order, with its last value; and the latest of each."""
    shown: list[tuple[int, int, float]] = []
    cursor: dict[str, str] = {}
    while True:
        params = {"name": METRIC, "limit": "3000", **time_params(*WHOLE), **cursor}
        page = (await client.get("/api/v1/metrics", params=params)).json()
        shown += [(parse_time(row["timestamp"], ""), int(row["labels"]["host"]), row["value"]) for row in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert [row[0] for row in shown] == sorted(row[0] for row in shown)
    assert {(host, ts_us): value for ts_us, host, value in shown} == samples
    assert len(shown) == len(samples)
    latest = (await client.get(f"/api/v1/metrics/latest/{METRIC}")).json()["data"]
    assert {
        int(row["labels"]["host"]): (parse_time(row["timestamp"], ""), row["value"]) for row in latest
    } == oracle.latest(samples)


async def check_statistics(
    client: httpx.AsyncClient, samples: Samples, start_us: int, end_us: int, *, by_host: bool
) -> None:
    """Asserts `aggregate`."""
    chosen = oracle.narrowed(samples, range(HOSTS), start_us, end_us)
    params = {**time_params(start_us, end_us), **({"group_by": "host"} if by_host else {})}
    rows = (await client.get(f"/api/v1/metrics/aggregate/{METRIC}", params=params)).json()["data"]
    for host, row in zip(range(HOSTS) if by_host else [None], rows, strict=True):
        values = np.array([value for (one, _), value in chosen.items() if host in (None, one)])
        assert row["labels"] == ({} if host is None else {"host": str(host)})
        assert (row["count"], row["min"], row["max"]) == (len(values), values.min(), values.max())
        expected = [values.mean(), values.sum(), *np.percentile(values, [50, 95, 99])]
        np.testing.assert_allclose([row["avg"], row["sum"], row["p50"], row["p95"], row["p99"]], expected, rtol=1e-12)


async def check_buckets(
    client: httpx.AsyncClient, samples: Samples, start_us: int, end_us: int, bucket: str, agg: str, *, by_host: bool
) -> None:
    """Asserts `series`."""
    step_us = {"5m": 5 * MINUTE_US, "7m": 7 * MINUTE_US, "1h": HOUR_US, "1d": DAY_US}[bucket]

    def line_of(host: int) -> int:
        return host if by_host else 0

    grouping = {"group_by": "host"} if by_host else {}
    params = {"bucket": bucket, "agg": agg, **time_params(start_us, end_us), **grouping}
    reply = await client.get(f"/api/v1/metrics/series/{METRIC}", params=params)
    assert reply.status_code == 200, reply.text
    shown = {
        (int(line["labels"].get("host", 0)), parse_time(point["bucket"], "")): point["value"]
        for line in reply.json()["data"]
        for point in line["points"]
    }
    expected = expected_buckets(samples, start_us, end_us, step_us, agg, line_of)
    assert shown.keys() == expected.keys(), (bucket, agg)
    np.testing.assert_allclose(
        [shown[place] for place in expected], list(expected.values()), rtol=1e-9, atol=1e-9, err_msg=f"{bucket} {agg}"
    )


def expected_buckets(
    samples: Samples, start_us: int, end_us: int, step_us: int, agg: str, line_of: Callable[[int], int]
) -> dict[tuple[int, int], float]:
    """(line, bucket) → the value, from the plain definition of each aggregation."""
    if agg in ("increase", "rate"):
        per_us = step_us / SECOND_US if agg == "rate" else 1.0
        deltas = oracle.increases(samples, line_of, step_us, start_us, end_us)
        return {place: sum(values) / per_us for place, values in deltas.items()}
    chosen = oracle.narrowed(samples, range(HOSTS), start_us, end_us)
    if agg == "p95":
        return oracle.percentiles(chosen, line_of, step_us, 95)
    summaries = oracle.summaries(chosen, line_of, step_us)
    if agg == "avg":
        return {place: one.sum / one.count for place, one in summaries.items()}
    return {place: float(getattr(one, agg)) for place, one in summaries.items()}


def time_params(start_us: int, end_us: int) -> dict[str, Any]:
    """A range as parameters."""
    return {"start": format_time(start_us), "end": format_time(end_us)}
