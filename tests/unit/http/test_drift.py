"""Drift routes: events reported once, listed, and where they stand; looking for drift now."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from core.domain.tenants import Scope
from tests.unit.http.memory_server import MemoryServer
from tests.unit.http.problems import problem_of

PATH = "/api/v1/drift/events"
DETECT = "/api/v1/drift/detect"
DRIFT: dict[str, Any] = {
    "cluster_id": "prod",
    "env": "staging",
    "drift_date": "2026-01-30",
    "drift_id": "d-1",
    "drift_category": "CPU_MEMORY_DRIFT",
    "severity": "major",
    "workload_name": "checkout",
    "namespace": "shop",
    "start_ts": "2026-01-31T12:00:00Z",
    "detection_method": "threshold",
    "confidence_score": 0.9,
    "evidence": {"metric": "pod_cpu_usage_cores", "observed": 1.8},
}


async def test_an_event_is_reported_once(api: httpx.AsyncClient) -> None:
    """201 for a new one with its place, 200 with the stored one for the same id."""
    created = await api.post(PATH, json=DRIFT)
    assert created.status_code == 201, created.text
    assert created.headers["location"] == f"{PATH}/d-1"
    stored = created.json()
    assert {name: stored[name] for name in DRIFT} == DRIFT
    assert (stored["status"], stored["automatic"], stored["end_ts"]) == ("open", False, None)
    again = await api.post(PATH, json={**DRIFT, "severity": "critical"})
    assert (again.status_code, again.json()) == (200, stored)
    assert (await api.get(f"{PATH}/d-1")).json() == stored
    assert (await api.get(PATH)).json() == {"data": [stored], "next_cursor": None}


async def test_what_is_left_out_is_made_up(api: httpx.AsyncClient) -> None:
    """An id of its own, the day of the start in UTC; ids that need encoding lead back to the event."""
    left = {name: value for name, value in DRIFT.items() if name not in ("drift_id", "drift_date", "env")}
    created = await api.post(PATH, json={**left, "start_ts": "2026-02-01T01:00:00+02:00"})
    assert created.status_code == 201, created.text
    assert (created.json()["drift_date"], created.json()["env"]) == ("2026-01-31", "production")
    assert created.json()["drift_id"]
    odd = await api.post(PATH, json={**DRIFT, "drift_id": "100% of cpu?#%2F"})
    assert (await api.get(odd.headers["location"])).json() == odd.json()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"drift_category": "WEATHER_DRIFT"}, "drift_category"),
        ({"severity": "bad"}, "severity"),
        ({"detection_method": "guess"}, "detection_method"),
        ({"confidence_score": 1.5}, "confidence_score"),
        ({"start_ts": "2026-01-31T12:00:00"}, "start_ts"),
        ({"start_ts": "9999-12-31T23:59:59Z"}, "start_ts"),
        ({"end_ts": "2026-01-31T11:00:00Z"}, "end_ts"),
        ({"drift_date": "2026-02-30"}, "drift_date"),
        ({"drift_id": "a/b"}, "drift_id"),
        ({"drift_id": ""}, "drift_id"),
        ({"cluster_id": ""}, "cluster_id"),
        ({"message": "\x00"}, "message"),
        ({"evidence": [1]}, "evidence"),
        ({"owner": "me"}, "owner"),
    ],
)
async def test_a_bad_event_is_refused_by_field(api: httpx.AsyncClient, change: dict[str, Any], field: str) -> None:
    """And not stored."""
    assert problem_of(await api.post(PATH, json={**DRIFT, **change}), 400)["field"] == field
    assert (await api.get(PATH)).json()["data"] == []


async def test_events_are_filtered_and_paged(api: httpx.AsyncClient) -> None:
    """Newest first; each filter narrows."""
    for hour in range(3):
        change = {"drift_id": f"d-{hour}", "start_ts": f"2026-01-31T1{hour}:00:00Z", "namespace": f"ns-{hour % 2}"}
        assert (await api.post(PATH, json={**DRIFT, **change})).status_code == 201
    other = {"drift_id": "x", "cluster_id": "x", "env": "x", "severity": "minor", "drift_category": "COST_DRIFT"}
    await api.post(PATH, json={**DRIFT, **other, "status": "ignored", "workload_name": None})
    first = (await api.get(PATH, params={"cluster_id": "prod", "limit": 2})).json()
    second = (await api.get(PATH, params={"cluster_id": "prod", "cursor": first["next_cursor"]})).json()
    assert [one["drift_id"] for one in (*first["data"], *second["data"])] == ["d-2", "d-1", "d-0"]
    for params, count in (
        ({"env": "staging"}, 3),
        ({"drift_category": "COST_DRIFT"}, 1),
        ({"severity": "minor"}, 1),
        ({"status": "ignored"}, 1),
        ({"workload_name": "checkout"}, 3),
        ({"namespace": "ns-1"}, 1),
        ({"cluster_id": "prod", "start": "2026-01-31T11:00:00Z", "end": "2026-01-31T12:00:00Z"}, 1),
    ):
        assert len((await api.get(PATH, params=params)).json()["data"]) == count, params
    for name in ("drift_category", "severity", "status", "start", "end", "cursor"):
        assert problem_of(await api.get(PATH, params={name: "x"}), 400)["field"] == name


async def test_where_an_event_stands_is_changed(api: httpx.AsyncClient) -> None:
    """With who did it and why; a resolved one has an end."""
    await api.post(PATH, json=DRIFT)
    for status in ("acknowledged", "ignored", "open", "resolved"):
        changed = await api.patch(f"{PATH}/d-1", json={"status": status, "note": f"now {status}"})
        assert changed.status_code == 200, changed.text
        assert (changed.json()["status"], changed.json()["status_note"]) == (status, f"now {status}")
        assert changed.json()["status_by"]
    assert changed.json()["end_ts"] is not None
    for body, field in (({}, "status"), ({"status": "done"}, "status"), ({"status": "open", "note": ""}, "note")):
        assert problem_of(await api.patch(f"{PATH}/d-1", json=body), 400)["field"] == field


@pytest.mark.parametrize("drift_id", ["absent", "a%2Fb", "%C3%BC", "x" * 201, "%0A"])
async def test_events_of_nobody_are_not_found(api: httpx.AsyncClient, drift_id: str) -> None:
    """Whatever stands for the id."""
    problem_of(await api.get(f"{PATH}/{drift_id}"), 404)
    problem_of(await api.patch(f"{PATH}/{drift_id}", json={"status": "open"}), 404)


async def test_looking_now(api: httpx.AsyncClient) -> None:
    """It says what was found in a cluster that something is known of."""
    await api.put("/api/v1/capacity/plan/prod", json={"nodes_max": 2})
    snapshot = {
        "cluster_id": "prod",
        "nodes": [{"instance_type": "m", "count": 3}],
        "allocatable": {"cpu_cores": 12, "memory_bytes": 48e9, "pods": 100},
        "used": {"cpu_cores": 6, "memory_bytes": 12e9, "pods": 20},
    }
    await api.post("/api/v1/capacity/snapshots", json={**snapshot, "ts": datetime.now(UTC).isoformat()})
    found = await api.post(DETECT, json={"cluster_id": "prod"})
    assert found.status_code == 200, found.text
    assert found.json()["cluster_id"] == "prod"
    assert found.json()["found"] >= 1
    opened = (await api.get(PATH, params={"cluster_id": "prod"})).json()["data"]
    assert {one["drift_category"] for one in opened} == {"CAPACITY_DRIFT"}
    assert all(one["automatic"] for one in opened)
    for body, field in (({}, "cluster_id"), ({"cluster_id": ""}, "cluster_id"), ({"cluster_id": 5}, "cluster_id")):
        assert problem_of(await api.post(DETECT, json=body), 400)["field"] == field


async def test_scopes(memory_server: MemoryServer) -> None:
    """Who may look, report, and say where an event stands."""
    for scope in Scope:
        async with memory_server.client([scope]) as client:
            reported = await client.post(PATH, json=DRIFT)
            assert (reported.status_code != 403) is (scope in (Scope.INGEST, Scope.ALERTS))
            looked = await client.get(PATH)
            assert (looked.status_code != 403) is (scope in (Scope.QUERY, Scope.ALERTS, Scope.REMEDIATE))
            changed = await client.patch(f"{PATH}/d-1", json={"status": "open"})
            assert (changed.status_code != 403) is (scope is Scope.ALERTS)
