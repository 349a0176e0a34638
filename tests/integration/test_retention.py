"""Retention is honoured per definition and to the day: in answers at once, in the tables after upkeep."""

from collections.abc import AsyncIterator
from typing import cast

import httpx
import msgspec
import pytest

from adapters.runtime.clock import SystemClock
from adapters.runtime.telemetry import PrometheusTelemetry
from core.domain.times import DAY_US, HOUR_US, day_start, format_time, parse_time
from core.services.keeper import KeeperPlan, KeeperService
from tests.integration.in_process import InProcess, in_process
from tests.support.storages import Storage, Store, settle_all

MIDNIGHT_US = day_start(SystemClock().now_us())
AGES_DAYS = (0.25, 1, 3, 10, 29, 30, 45, 90)
"""Ages of samples, in days before the last midnight: whole ones are just what a retention of as many days keeps."""
TIMES_US = sorted({MIDNIGHT_US - round(age * DAY_US) + by for age in AGES_DAYS for by in (-1, 0, HOUR_US)})
START = "2000-01-01T00:00:00Z"


class Today(SystemClock):
    """Stands still at the end of the day that these tests began on."""

    def now_us(self) -> int:
        return min(super().now_us(), MIDNIGHT_US + DAY_US - 1)


@pytest.fixture
async def server(store: Store) -> AsyncIterator[InProcess]:
    """Yield the application over each storage in turn."""
    clock = Today()
    async with store.open() as storage:
        opened = cast("msgspec.Struct", storage)
        yield in_process(cast("Storage", msgspec.structs.replace(opened, clock=clock)), clock)


def kept(days: int) -> list[int]:
    """The times of samples that a retention keeps."""
    return [ts_us for ts_us in TIMES_US if ts_us >= MIDNIGHT_US - days * DAY_US]


async def define(client: httpx.AsyncClient, name: str, days: int) -> None:
    """Sets a metric's retention."""
    reply = await client.put(f"/api/v1/metrics/definitions/{name}", json={"retention_days": days})
    assert reply.status_code in (200, 201), reply.text
    assert reply.json()["effective_retention_days"] == days
    assert parse_time(reply.json()["retained_since"], "") == MIDNIGHT_US - days * DAY_US


async def ingest(client: httpx.AsyncClient, name: str) -> tuple[list[int], list[dict[str, str]]]:
    """Sends a sample at each time, its value the time's place; returns which were stored, and the refusals."""
    metrics = [
        {"name": name, "value": float(place), "timestamp": format_time(ts_us)} for place, ts_us in enumerate(TIMES_US)
    ]
    answer = (await client.post("/ingest/batch", json={"metrics": metrics})).json()
    refused = {error["index"] for error in answer["errors"]}
    return [ts_us for place, ts_us in enumerate(TIMES_US) if place not in refused], answer["errors"]


async def shown(client: httpx.AsyncClient, name: str) -> list[int]:
    """The times that every kind of query agrees on."""
    raw = (await client.get("/api/v1/metrics", params={"name": name, "start": START})).json()["data"]
    times = [parse_time(row["timestamp"], "") for row in raw]
    assert [row["value"] for row in raw] == [float(TIMES_US.index(ts_us)) for ts_us in times]
    statistics = (await client.get(f"/api/v1/metrics/aggregate/{name}", params={"start": START})).json()["data"]
    assert sum(row["count"] for row in statistics) == len(times)
    params = {"start": START, "bucket": "1d", "agg": "sum"}
    lines = (await client.get(f"/api/v1/metrics/series/{name}", params=params)).json()["data"]
    sums = {parse_time(point["bucket"], ""): point["value"] for line in lines for point in line["points"]}
    expected: dict[int, float] = {}
    for ts_us in times:
        expected[day_start(ts_us)] = expected.get(day_start(ts_us), 0.0) + TIMES_US.index(ts_us)
    assert sums == expected
    latest = (await client.get(f"/api/v1/metrics/latest/{name}")).json()["data"]
    assert [parse_time(row["timestamp"], "") for row in latest] == times[-1:]
    return times


async def upkeep(server: InProcess) -> None:
    """What the keeper does by the hour."""
    now_us = Today().now_us()
    await server.storage.keeping.refresh_aggregates(now_us=now_us)
    await server.storage.keeping.drop_expired(now_us=now_us)
    await server.storage.keeping.compress(older_than_us=now_us - 7 * DAY_US)


async def test_the_door_knows_each_metrics_retention(server: InProcess) -> None:
    """Samples past their metric's retention are refused by name, others stored, to the microsecond of the cutoff."""
    async with server.client(await server.new_key(await server.new_tenant())) as client:
        await define(client, "short", 3)
        await define(client, "long", 60)
        for name, days in (("short", 3), ("undefined", 30), ("long", 60)):
            stored, refusals = await ingest(client, name)
            assert stored == kept(days) == await shown(client, name)
            for refusal in refusals:
                assert refusal["field"] == "timestamp"
                assert format_time(MIDNIGHT_US - days * DAY_US) in refusal["reason"]


@pytest.mark.parametrize("state", ["in the head", "settled", "compressed"])
async def test_a_shortened_retention_takes_effect_at_once_and_then_for_good(server: InProcess, state: str) -> None:
    """Old samples vanish from answers with the definition's change, from the tables with upkeep; others stay."""
    async with server.client(await server.new_key(await server.new_tenant())) as client:
        for name in ("shortened", "kept", "spared"):
            await define(client, name, 100)
            assert (await ingest(client, name))[0] == kept(100)
        if state != "in the head":
            await settle_all(server.storage)
        if state == "compressed":
            await upkeep(server)
        await define(client, "shortened", 10)
        assert await shown(client, "shortened") == kept(10)
        await define(client, "spared", 10)
        await define(client, "spared", 100)
        assert await shown(client, "spared") == kept(100)

        await settle_all(server.storage)
        await upkeep(server)
        await upkeep(server)
        for name, days in (("shortened", 10), ("kept", 100), ("spared", 100)):
            assert await shown(client, name) == kept(days)
        await define(client, "shortened", 100)
        assert await shown(client, "shortened") == kept(10), "expired samples were only hidden"

        # What a longer retention lets in again is stored as ever.
        assert (await ingest(client, "shortened"))[0] == kept(100)
        await settle_all(server.storage)
        await upkeep(server)
        assert await shown(client, "shortened") == kept(100)


async def test_a_deleted_definition_leaves_the_default(server: InProcess) -> None:
    """Without its definition a metric is kept for 30 days, in answers and tables."""
    async with server.client(await server.new_key(await server.new_tenant())) as client:
        await define(client, "orphan", 100)
        await ingest(client, "orphan")
        await settle_all(server.storage)
        assert (await client.delete("/api/v1/metrics/definitions/orphan")).status_code == 204
        assert await shown(client, "orphan") == kept(30)
        await upkeep(server)
        await define(client, "orphan", 100)
        assert await shown(client, "orphan") == kept(30)


async def test_the_history_of_a_cluster_is_kept_for_400_days(server: InProcess) -> None:
    """The keeper's upkeep takes older capacity and changes, but for what tells how things stood and stand."""
    storage = server.storage
    keeper = KeeperService(
        storage.keeping,
        storage.events,
        storage.detection_runs,
        storage.collection_work,
        storage.cluster_history,
        storage.synthetic_purger,
        KeeperPlan(settle_points=1_000, settle_age_s=300.0, compress_after_days=7),
        Today(),
        PrometheusTelemetry(),
    )
    times = [format_time(MIDNIGHT_US - days * DAY_US) for days in (500, 401, 300)]
    amounts = {"cpu_cores": 1, "memory_bytes": 1, "pods": 1}
    place = {"cluster_id": "old", "namespace": "shop", "workload": "checkout", "kind": "image"}
    async with server.client(await server.new_key(await server.new_tenant())) as client:
        for n, ts in enumerate(times):
            snapshot = {"cluster_id": "old", "ts": ts, "nodes": [], "allocatable": amounts, "used": amounts}
            posted = await client.post("/api/v1/capacity/snapshots", json=snapshot)
            assert posted.status_code in (200, 201), posted.text
            posted = await client.post("/api/v1/config/history", json={**place, "ts": ts, "after": {"n": n}})
            assert posted.status_code in (200, 201), posted.text

        assert (await keeper.upkeep()).forgotten >= 3

        kept = await client.get("/api/v1/capacity/snapshots/old")
        assert [parse_time(one["ts"], "") for one in kept.json()["data"]] == [MIDNIGHT_US - 300 * DAY_US]
        history = await client.get("/api/v1/config/history", params={"cluster_id": "old"})
        assert [one["after"]["n"] for one in history.json()["data"]] == [2, 1]
        then = format_time(MIDNIGHT_US - 399 * DAY_US)
        at = await client.get("/api/v1/config/at/old/checkout", params={"namespace": "shop", "ts": then})
        assert at.json()["configuration"]["image"]["document"] == {"n": 1}
