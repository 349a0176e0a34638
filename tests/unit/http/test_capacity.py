"""Capacity routes: snapshots in and out, plans, and what follows from them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from core.domain.tenants import Scope
from tests.unit.http.memory_server import MemoryServer
from tests.unit.http.problems import problem_of

PATH = "/api/v1/capacity"
SNAPSHOT: dict[str, Any] = {
    "cluster_id": "prod",
    "ts": "2026-01-31T12:00:00Z",
    "nodes": [{"instance_type": "m6i.xlarge", "count": 3, "cost_usd_per_hour": 0.25}],
    "allocatable": {"cpu_cores": 12, "memory_bytes": 48e9, "pods": 0},
    "used": {"cpu_cores": 6, "memory_bytes": 12e9, "pods": 20},
}


def at(ts: str, **more: Any) -> dict[str, Any]:
    """A snapshot of that instant."""
    return {**SNAPSHOT, "ts": ts, **more}


async def test_a_snapshot_is_stored_and_replaced(api: httpx.AsyncClient) -> None:
    """201 where any is new, else 200; replies say how full each resource is."""
    created = await api.post(f"{PATH}/snapshots", json=SNAPSHOT)
    assert (created.status_code, created.json()) == (201, {"stored": 1, "new": 1})
    used = {**SNAPSHOT["used"], "cpu_cores": 9}
    replaced = await api.post(f"{PATH}/snapshots", json={**SNAPSHOT, "used": used})
    assert (replaced.status_code, replaced.json()) == (200, {"stored": 1, "new": 0})
    both = await api.post(f"{PATH}/snapshots", json=[SNAPSHOT, at("2026-01-31T13:00:00Z")])
    assert (both.status_code, both.json()) == (201, {"stored": 2, "new": 1})
    latest = (await api.get(f"{PATH}/snapshots/latest/prod")).json()
    assert latest["ts"] == "2026-01-31T13:00:00Z"
    assert latest["utilisation"] == {"cpu": 0.5, "memory": 0.25, "pods": None}
    assert (latest["node_count"], latest["cost_usd_per_hour"], latest["requested"]) == (3, 0.75, None)
    everything = (await api.get(f"{PATH}/snapshots/prod")).json()["data"]
    assert [one["ts"] for one in everything] == ["2026-01-31T12:00:00Z", "2026-01-31T13:00:00Z"]
    assert everything[-1] == latest


@pytest.mark.parametrize(
    ("params", "days"),
    [
        ({}, [1, 2, 3]),
        ({"start_date": "2026-01-02"}, [2, 3]),
        ({"end_date": "2026-01-02"}, [1, 2]),
        ({"start_date": "2026-01-02", "end_date": "2026-01-02"}, [2]),
        ({"start_date": "2026-01-02T12:00:00Z"}, [2, 3]),
        ({"end_date": "2026-01-02T12:00:00Z"}, [1]),
        ({"start_date": "2026-01-02T14:00:00+02:00", "end_date": "2026-01-03"}, [2, 3]),
        ({"limit": "2"}, [2, 3]),
        ({"start_date": "2199-12-31", "end_date": "2199-12-31"}, []),
    ],
)
async def test_snapshots_are_listed_by_dates(api: httpx.AsyncClient, params: dict[str, str], days: list[int]) -> None:
    """A date is a whole day in UTC, at either end; an instant is itself, and the end is not in the range."""
    await api.post(f"{PATH}/snapshots", json=[at(f"2026-01-0{day}T12:00:00Z") for day in (1, 2, 3)])
    found = await api.get(f"{PATH}/snapshots/prod", params=params)
    assert found.status_code == 200, found.text
    assert [int(one["ts"][8:10]) for one in found.json()["data"]] == days


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"start_date": "2026-02-30"}, "start_date"),
        ({"start_date": "2026-W05-1"}, "start_date"),
        ({"start_date": "yesterday!"}, "start_date"),
        ({"end_date": "2026-01-31T12:00:00"}, "end_date"),
        ({"end_date": "0001-01-01"}, "end_date"),
        ({"end_date": "9999-12-31"}, "end_date"),
        ({"start_date": "2026-01-02", "end_date": "2026-01-01"}, "end_date"),
        ({"limit": "1001"}, "limit"),
    ],
)
async def test_bad_ranges_are_refused_by_name(api: httpx.AsyncClient, params: dict[str, str], field: str) -> None:
    """With what is wrong."""
    assert problem_of(await api.get(f"{PATH}/snapshots/prod", params=params), 400)["field"] == field


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ([], "body", "the list is empty"),
        ([SNAPSHOT, {}], "[1].cluster_id", "is missing"),
        ([SNAPSHOT, 5], "[1]", "must be an object"),
        ([SNAPSHOT, at("2026-01-31T12:00:00")], "[1].ts", "time zone"),
        (at("1969-12-31T23:59:59Z"), "ts", "outside the years"),
        (at("2026-01-31"), "ts", ""),
        ({**SNAPSHOT, "used": {**SNAPSHOT["used"], "pods": -1}}, "used.pods", "at least 0"),
        ({**SNAPSHOT, "used": {**SNAPSHOT["used"], "gpus": 1}}, "used.gpus", "is not a field"),
        ({**SNAPSHOT, "nodes": [{"instance_type": "", "count": 1}]}, "nodes.instance_type", "1 to 253"),
        ({**SNAPSHOT, "cluster_id": "a\nb"}, "cluster_id", "printable"),
        ("prod", "body", "must be an object"),
    ],
)
async def test_a_bad_snapshot_is_refused_by_place_and_field(
    api: httpx.AsyncClient, body: Any, field: str, reason: str
) -> None:
    """And nothing of the request is stored."""
    problem = problem_of(await api.post(f"{PATH}/snapshots", json=body), 400)
    assert problem["field"] == field
    assert reason in problem["detail"]
    problem_of(await api.get(f"{PATH}/snapshots/latest/prod"), 404)


async def test_too_many_at_once_are_refused(api: httpx.AsyncClient) -> None:
    """With the limit."""
    assert problem_of(await api.post(f"{PATH}/snapshots", json=[1] * 1_001), 413)["limit"] == 1_000


@pytest.mark.parametrize("body", [b"[", b"[1,]", b"", b"[\xff]", b'[{"cluster_id": "\\ud800"}]'])
async def test_what_is_no_json_is_told(api: httpx.AsyncClient, body: bytes) -> None:
    """As everywhere else."""
    problem = problem_of(await api.post(f"{PATH}/snapshots", content=body), 400)
    assert problem["type"] == "urn:sextant:problem:malformed-body"


async def test_a_plan_is_declared_and_removed(api: httpx.AsyncClient) -> None:
    """What is left out gets its default; what was removed is gone."""
    problem_of(await api.get(f"{PATH}/plan/prod"), 404)
    declared = await api.put(f"{PATH}/plan/prod", json={"nodes_max": 9})
    assert declared.status_code == 200, declared.text
    expected = {"cpu": 0.75, "memory": 0.8, "pods": 0.85}
    assert declared.json() == {
        "utilisation_max": expected, "nodes_min": None, "nodes_max": 9, "runway_days_min": 14.0
    }  # fmt: skip
    assert (await api.get(f"{PATH}/plan/prod")).json() == declared.json()
    refused = problem_of(await api.put(f"{PATH}/plan/prod", json={"utilisation_max": {"disk": 0.5}}), 400)
    assert refused["field"] == "utilisation_max"
    assert (await api.delete(f"{PATH}/plan/prod")).status_code == 204
    problem_of(await api.delete(f"{PATH}/plan/prod"), 404)
    problem_of(await api.get(f"{PATH}/plan/prod"), 404)


async def test_what_follows_from_snapshots(api: httpx.AsyncClient) -> None:
    """When cpu runs out, and what is left, over hours of rising use."""
    now = datetime.now(UTC)
    rising = [
        at((now - timedelta(hours=hour)).isoformat(), used={**SNAPSHOT["used"], "cpu_cores": 9 - hour / 24})
        for hour in range(1, 97)
    ]
    assert (await api.post(f"{PATH}/snapshots", json=rising)).status_code == 201
    forecast = (await api.get(f"{PATH}/forecast/prod", params={"days": 10, "horizon_days": 30})).json()
    assert (forecast["cluster_id"], forecast["snapshots"], forecast["horizon_days"]) == ("prod", 96, 30.0)
    [cpu] = [one for one in forecast["resources"] if one["resource"] == "cpu"]
    assert cpu["outlook"] == "within"
    assert now < datetime.fromisoformat(cpu["earliest"]) <= datetime.fromisoformat(cpu["at"])
    headroom = (await api.get(f"{PATH}/headroom/prod")).json()
    assert {one["resource"] for one in headroom["resources"]} >= {"cpu", "memory"}
    problem_of(await api.get(f"{PATH}/right-sizing/prod"), 404)


@pytest.mark.parametrize("route", ["forecast", "headroom", "right-sizing", "snapshots/latest"])
async def test_a_cluster_that_nothing_is_known_of(api: httpx.AsyncClient, route: str) -> None:
    """404, and odd numbers of days are refused before."""
    problem_of(await api.get(f"{PATH}/{route}/absent"), 404)
    if route != "snapshots/latest":
        for days in ("0", "-1", "nan", "1e300", "x"):
            assert problem_of(await api.get(f"{PATH}/{route}/absent", params={"days": days}), 400)["field"] == "days"


async def test_scopes(memory_server: MemoryServer) -> None:
    """Collectors post, alert keepers plan, both who queries and they look."""
    for scope in Scope:
        async with memory_server.client([scope]) as client:
            posted = await client.post(f"{PATH}/snapshots", json=SNAPSHOT)
            assert (posted.status_code != 403) is (scope is Scope.INGEST)
            planned = await client.put(f"{PATH}/plan/prod", json={})
            assert (planned.status_code != 403) is (scope is Scope.ALERTS)
            looked = await client.get(f"{PATH}/snapshots/prod")
            assert (looked.status_code != 403) is (scope in (Scope.QUERY, Scope.ALERTS))
