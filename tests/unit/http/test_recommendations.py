"""Recommendation routes: reported once, decided on, and applied by a remediation, first as a dry run."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from core.domain.tenants import Scope
from tests.unit.http.memory_server import MemoryServer
from tests.unit.http.problems import problem_of
from tests.unit.http.test_drift import DRIFT
from tests.unit.http.test_drift import PATH as EVENTS

PATH = "/api/v1/drift/recommendations"
DOCUMENT = {
    "namespace": "shop",
    "workload": "checkout",
    "current": {"cpu_request": "500m"},
    "proposed": {"cpu_request": "1"},
}
RECOMMENDATION: dict[str, Any] = {
    "cluster_id": "prod",
    "drift_id": "d-1",
    "rec_id": "r-1",
    "recommendation_type": "right_size",
    "recommendation_json": DOCUMENT,
    "estimated_savings_usd": 12.5,
}


@pytest.fixture
async def drifted(api: httpx.AsyncClient) -> httpx.AsyncClient:
    """Return a client of a tenant that has a drift event."""
    assert (await api.post(EVENTS, json=DRIFT)).status_code == 201
    return api


async def test_a_recommendation_is_reported_once(drifted: httpx.AsyncClient) -> None:
    """201 for a new one with its place, 200 with the stored one for the same id; a string serves as an object."""
    created = await drifted.post(PATH, json={**RECOMMENDATION, "recommendation_json": json.dumps(DOCUMENT)})
    assert created.status_code == 201, created.text
    assert created.headers["location"] == f"{PATH}/r-1"
    stored = created.json()
    assert {name: stored[name] for name in RECOMMENDATION} == RECOMMENDATION
    assert (stored["state"], stored["drift_date"], stored["auto_approved"]) == ("proposed", DRIFT["drift_date"], False)
    again = await drifted.post(PATH, json={**RECOMMENDATION, "estimated_savings_usd": 1})
    assert (again.status_code, again.json()) == (200, stored)
    detail = (await drifted.get(f"{PATH}/r-1")).json()
    assert detail["recommendation"] == stored
    assert any("500m" in line for line in detail["changes"])
    assert detail["outcome"]["predicted_savings_usd"] == 12.5
    assert (await drifted.get(PATH)).json() == {"data": [stored], "next_cursor": None}


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"drift_id": "absent"}, 404, None),
        ({"cluster_id": "other"}, 400, "cluster_id"),
        ({"recommendation_type": "right size"}, 400, "recommendation_type"),
        ({"recommendation_json": "not json"}, 400, "recommendation_json"),
        ({"recommendation_json": "[1]"}, 400, "recommendation_json"),
        ({"recommendation_json": 5}, 400, "recommendation_json"),
        ({"recommendation_json": {"proposed": {"replicas": "many"}}}, 400, "recommendation_json"),
        ({"recommendation_json": "[" * 10_000}, 400, "recommendation_json"),
        ({"estimated_savings_usd": 1e300}, 400, "estimated_savings_usd"),
        ({"rec_id": "a/b"}, 400, "rec_id"),
        ({"drift_date": "soon"}, 400, "drift_date"),
        ({"approved": True}, 400, "approved"),
    ],
)
async def test_a_bad_recommendation_is_refused_by_field(
    drifted: httpx.AsyncClient, change: dict[str, Any], status: int, field: str | None
) -> None:
    """And not stored."""
    problem = problem_of(await drifted.post(PATH, json={**RECOMMENDATION, **change}), status)
    assert problem.get("field") == field
    assert (await drifted.get(PATH)).json()["data"] == []


async def test_recommendations_are_filtered_and_paged(drifted: httpx.AsyncClient) -> None:
    """Newest first; each filter narrows."""
    for number in range(3):
        assert (await drifted.post(PATH, json={**RECOMMENDATION, "rec_id": f"r-{number}"})).status_code == 201
    other = {"rec_id": "x", "recommendation_type": "hpa_tune", "env": "x"}
    assert (await drifted.post(PATH, json={**RECOMMENDATION, **other})).status_code == 201
    await drifted.post(f"{PATH}/r-0/reject")
    first = (await drifted.get(PATH, params={"recommendation_type": "right_size", "limit": 2})).json()
    params = {"recommendation_type": "right_size", "cursor": first["next_cursor"]}
    second = (await drifted.get(PATH, params=params)).json()
    assert sorted(one["rec_id"] for one in (*first["data"], *second["data"])) == ["r-0", "r-1", "r-2"]
    for params, count in (
        ({"cluster_id": "prod"}, 4),
        ({"env": "x"}, 1),
        ({"drift_id": "d-1"}, 4),
        ({"drift_id": "d-2"}, 0),
        ({"state": "rejected"}, 1),
    ):
        assert len((await drifted.get(PATH, params=params)).json()["data"]) == count, params
    for name in ("state", "cursor", "limit"):
        assert problem_of(await drifted.get(PATH, params={name: "x"}), 400)["field"] == name


async def test_it_is_approved_or_rejected(drifted: httpx.AsyncClient) -> None:
    """With a reason or without a body."""
    await drifted.post(PATH, json=RECOMMENDATION)
    approved = await drifted.post(f"{PATH}/r-1/approve")
    assert (approved.status_code, approved.json()["state"], approved.json()["reason"]) == (200, "approved", None)
    rejected = await drifted.post(f"{PATH}/r-1/reject", json={"reason": "seasonal"})
    assert (rejected.json()["state"], rejected.json()["reason"]) == ("rejected", "seasonal")
    assert rejected.json()["decided_by"]
    for body, field in (({"reason": ""}, "reason"), ({"why": "x"}, "why")):
        assert problem_of(await drifted.post(f"{PATH}/r-1/reject", json=body), 400)["field"] == field


async def test_what_was_updated_since_it_was_read_is_a_conflict(drifted: httpx.AsyncClient) -> None:
    """In words; with what it shows now it is approved."""
    read = (await drifted.post(PATH, json=RECOMMENDATION)).json()["updated_at"]
    now = (await drifted.post(f"{PATH}/r-1/reject")).json()["updated_at"]
    for action in ("approve", "apply"):
        refused = problem_of(await drifted.post(f"{PATH}/r-1/{action}", json={"updated_at": read}), 409)
        assert "look at it again" in refused["detail"]
        body = {"updated_at": "2026-01-31T00:00:00"}
        assert problem_of(await drifted.post(f"{PATH}/r-1/{action}", json=body), 400)["field"] == "updated_at"
    approved = await drifted.post(f"{PATH}/r-1/approve", json={"updated_at": now, "reason": "fine"})
    assert (approved.status_code, approved.json()["reason"]) == (200, "fine")


async def test_applying_is_a_dry_run_unless_told(drifted: httpx.AsyncClient) -> None:
    """202 with the remediation that was put in line and what it says it would change; the real thing needs approval,
    samples to verify it by, and that no other one is under way."""
    await drifted.post(PATH, json=RECOMMENDATION)
    unverifiable = await drifted.post(f"{PATH}/r-1/apply", json={"dry_run": False})
    assert problem_of(unverifiable, 400)["field"] == "recommendation_json"
    labels = {"cluster_id": "prod", "namespace": "shop", "workload": "checkout", "pod": "checkout-1"}
    cpu = {"name": "pod_cpu_usage_cores", "value": 0.9, "labels": labels}
    now = datetime.now(UTC)
    every = [{**cpu, "timestamp": (now - timedelta(minutes=ago)).isoformat()} for ago in range(1, 60, 10)]
    await drifted.post("/ingest/batch", json={"metrics": every})
    problem_of(await drifted.post(f"{PATH}/r-1/apply", json={"dry_run": False}), 409)
    dry = await drifted.post(f"{PATH}/r-1/apply")
    assert dry.status_code == 202, dry.text
    applied = dry.json()
    assert (applied["remediation"]["dry_run"], applied["remediation"]["recommendation"]) == (True, "r-1")
    assert applied["policy"]["dry_run"] is True
    assert any("500m" in line for line in applied["changes"])
    number = applied["remediation"]["id"]
    assert (await drifted.get(f"/api/v1/remediations/{number}")).json()["alert_id"] is None
    await drifted.post(f"{PATH}/r-1/approve")
    problem_of(await drifted.post(f"{PATH}/r-1/apply", json={"dry_run": False}), 409)  # the dry run is under way
    assert problem_of(await drifted.post(f"{PATH}/r-1/apply", json={"dry_run": 1}), 400)["field"] == "dry_run"


@pytest.mark.parametrize("rec_id", ["absent", "a%2Fb", "%C3%BC", "x" * 201])
async def test_recommendations_of_nobody_are_not_found(api: httpx.AsyncClient, rec_id: str) -> None:
    """Whatever stands for the id, by every method."""
    problem_of(await api.get(f"{PATH}/{rec_id}"), 404)
    for action in ("approve", "reject", "apply"):
        problem_of(await api.post(f"{PATH}/{rec_id}/{action}"), 404)


async def test_scopes(memory_server: MemoryServer) -> None:
    """Who may look, report, decide and apply; approving what one reports takes both rights."""
    for scope in Scope:
        async with memory_server.client([scope]) as client:
            reported = await client.post(PATH, json=RECOMMENDATION)
            assert (reported.status_code != 403) is (scope in (Scope.INGEST, Scope.ALERTS))
            assert (await client.post(PATH, json={**RECOMMENDATION, "auto_approved": True})).status_code == 403
            looked = await client.get(PATH)
            assert (looked.status_code != 403) is (scope in (Scope.QUERY, Scope.ALERTS, Scope.REMEDIATE))
            for action in ("approve", "reject", "apply"):
                decided = await client.post(f"{PATH}/r-1/{action}")
                assert (decided.status_code != 403) is (scope is Scope.REMEDIATE)
