"""Collecting on demand: runs are put in line, waited for, and what came of them stands in the reply."""

import asyncio
from typing import Any

import httpx
import pytest
import structlog

from core.domain.collection import CollectionState, Counts, ItemResult, Problem, ProblemKind
from core.domain.tenants import Scope
from tests.unit.http.memory_server import MemoryServer
from tests.unit.http.problems import problem_of

PATH = "/api/v1/ingest"
SOURCES = "/api/v1/sources"
CANARY = "canary-91ab77"
SYNTHETIC = {"type": "synthetic", "instances": 2}
STORED = Counts(fetched=5, stored=3, revised=1, unchanged=1, created=1)


async def with_sources(api: httpx.AsyncClient, *names: str, **more: Any) -> None:
    """Adds synthetic sources."""
    for name in names:
        body = {"name": name, "config": SYNTHETIC, "interval": None, **more}
        added = await api.post(SOURCES, json=body)
        assert added.status_code == 201, added.text


async def test_without_a_body_everything_new_is_collected(memory_server: MemoryServer, api: httpx.AsyncClient) -> None:
    """A plain POST waits until the runs have ended: 200 with their items, the sums and the errors by source."""
    await with_sources(api, "one", "two")
    asked = asyncio.create_task(api.post(f"{PATH}/all", params={"wait": "20s"}))
    denied = Problem(kind=ProblemKind.PERMISSION, message="needs cloudwatch:GetMetricData")
    for _ in range(2):
        claim = await memory_server.claim()
        results = [ItemResult(item="cpu", counts=STORED)]
        if claim.run.source == "two":
            results.append(ItemResult(item="net", problem=denied))
        state = CollectionState.PARTIAL if claim.run.source == "two" else CollectionState.DONE
        await memory_server.finish(claim, state, results=results)
    reply = await asked
    assert reply.status_code == 200, reply.text
    shown = reply.json()
    assert {detail["run"]["source"]: detail["run"]["state"] for detail in shown["runs"]} == {
        "one": "done",
        "two": "partial",
    }
    assert [len(detail["items"]) for detail in sorted(shown["runs"], key=lambda one: one["run"]["source"])] == [1, 2]
    assert shown["totals"] == {
        "fetched": 10, "stored": 6, "revised": 2, "unchanged": 2, "refused": 0, "created": 2
    }  # fmt: skip
    assert shown["errors"] == {
        "two": {"kind": "permission", "message": "failed items: 1; net: needs cloudwatch:GetMetricData"}
    }


async def test_what_takes_longer_is_answered_as_it_stands(memory_server: MemoryServer, api: httpx.AsyncClient) -> None:
    """202 with the run that waits, at once or when the wait is over; the run is there to be looked at."""
    await with_sources(api, "one")
    for wait in ("0", "0s", "20ms"):
        reply = await api.post(f"{PATH}/one", params={"wait": wait})
        assert reply.status_code == 202, reply.text
        [detail] = reply.json()["runs"]
        assert detail["run"]["state"] == "waiting"
        assert detail["items"] == []
        assert (await api.get(f"{SOURCES}/runs/{detail['run']['id']}")).json() == detail


async def test_a_run_that_failed_as_a_whole_says_why(memory_server: MemoryServer, api: httpx.AsyncClient) -> None:
    """Its own problem stands in the errors."""
    await with_sources(api, "one")
    asked = asyncio.create_task(api.post(f"{PATH}/one", params={"wait": "20s"}))
    claim = await memory_server.claim()
    wrong = Problem(kind=ProblemKind.CREDENTIALS, message="the key is not known")
    await memory_server.finish(claim, CollectionState.FAILED, problem=wrong)
    shown = (await asked).json()
    assert shown["errors"] == {"one": {"kind": "credentials", "message": "the key is not known"}}


async def test_the_stretch_reaches_the_run(memory_server: MemoryServer, api: httpx.AsyncClient) -> None:
    """Cluster, start, end and namespaces are what the collector is asked for; a kind means all of its sources."""
    await with_sources(api, "one", "two")
    body = {
        "cluster_id": "prod",
        "start_time": "2026-01-31T10:00:00+01:00",
        "end_time": "2026-01-31T12:00:00Z",
        "namespaces": ["shop", "päy"],
    }
    reply = await api.post(f"{PATH}/synthetic", params={"wait": "0"}, json=body)
    assert reply.status_code == 202, reply.text
    assert {detail["run"]["source"] for detail in reply.json()["runs"]} == {"one", "two"}
    asked = (await memory_server.claim()).run.request
    assert (asked.cluster_id, asked.namespaces) == ("prod", ("shop", "päy"))
    assert asked.start_time is not None
    assert asked.start_time.isoformat() in ("2026-01-31T10:00:00+01:00", "2026-01-31T09:00:00+00:00")


async def test_a_disabled_source_is_collected_by_name_only(api: httpx.AsyncClient) -> None:
    """Asking for all, or for its kind, passes over it."""
    await with_sources(api, "off", enabled=False)
    await with_sources(api, "on")
    everything = await api.post(f"{PATH}/all", params={"wait": "0"})
    assert [detail["run"]["source"] for detail in everything.json()["runs"]] == ["on"]
    by_name = await api.post(f"{PATH}/off", params={"wait": "0"})
    assert [detail["run"]["source"] for detail in by_name.json()["runs"]] == ["off"]


async def test_a_source_for_one_run(memory_server: MemoryServer, api: httpx.AsyncClient) -> None:
    """It is collected as it stands in the body, and neither it nor its credentials are kept or shown."""
    config = {"type": "datadog", "queries": ["avg:system.load.1{*} by {host}"]}
    body = {"config": config, "credentials": {"api_key": f"{CANARY}-1", "app_key": f"{CANARY}-2"}}
    with structlog.testing.capture_logs() as logged:
        reply = await api.post(f"{PATH}/datadog", params={"wait": "0"}, json=body)
        assert reply.status_code == 202, reply.text
        [detail] = reply.json()["runs"]
        assert (detail["run"]["source"], detail["run"]["kind"]) == ("datadog", "datadog")
        claim = await memory_server.claim()
        assert claim.sealed is not None
        assert CANARY.encode() not in claim.sealed
        await memory_server.finish(claim, CollectionState.DONE)
        paths = (SOURCES, f"{SOURCES}/runs", f"{SOURCES}/runs/{detail['run']['id']}", "/api/v1/audit")
        texts = [reply.text, str(logged), *[(await api.get(path)).text for path in paths]]
    assert (await api.get(SOURCES)).json() == {"data": []}
    assert [text for text in texts if CANARY in text] == []


@pytest.mark.parametrize(
    ("source", "body", "field", "reason"),
    [
        ("prometheus", {"config": SYNTHETIC}, "config", "is of type synthetic, and the path says 'prometheus'"),
        ("one", {"config": SYNTHETIC}, "config", "is of type synthetic, and the path says 'one'"),
        ("all", {"config": SYNTHETIC}, "config", "is not a field"),
        ("synthetic", {"credentials": {"api_key": CANARY}}, "config", "is missing"),
        ("synthetic", {"config": SYNTHETIC, "credentials": {"a": CANARY}}, "credentials.a", "no such credential"),
        ("synthetic", {"config": {"type": "synthetic", "instances": 0}}, "config.instances", "from 1 to 200"),
        ("synthetic", {"start_time": "2026-01-31"}, "start_time", ""),
        ("synthetic", {"start_time": "2026-01-31T10:00:00"}, "start_time", "time zone"),
        ("synthetic", {"start_time": "0001-01-01T00:00:00Z"}, "start_time", "outside the years"),
        (
            "synthetic",
            {"start_time": "2026-01-31T10:00:00Z", "end_time": "2026-01-31T10:00:00Z"},
            "end_time",
            "must be after",
        ),
        ("synthetic", {"cluster_id": ""}, "cluster_id", "1 to 253"),
        ("synthetic", {"namespaces": ["a\n"]}, "namespaces", "printable"),
        ("synthetic", {"since": "24h"}, "since", "is not a field"),
        ("datadog", {}, None, ""),
    ],
)
async def test_a_bad_request_is_refused_by_field(
    api: httpx.AsyncClient, source: str, body: dict[str, Any], field: str | None, reason: str
) -> None:
    """With what to set where nothing of the kind is there; no run is put in line, no credential repeated."""
    refused = await api.post(f"{PATH}/{source}", params={"wait": "0"}, json=body)
    problem = problem_of(refused, 400)
    assert field is None or problem["field"] == field
    assert reason in problem["detail"]
    assert CANARY not in refused.text
    assert (await api.get(f"{SOURCES}/runs")).json()["data"] == []


@pytest.mark.parametrize("wait", ["6m", "-1", "1", "abc", "", "5d"])
async def test_a_wait_is_a_duration_of_five_minutes_at_most(api: httpx.AsyncClient, wait: str) -> None:
    """Nothing is put in line where it is none."""
    await with_sources(api, "one")
    assert problem_of(await api.post(f"{PATH}/one", params={"wait": wait}), 400)["field"] == "wait"
    assert (await api.get(f"{SOURCES}/runs")).json()["data"] == []


async def test_a_source_of_nobody_is_not_found(api: httpx.AsyncClient) -> None:
    """Neither a kind nor a stored source."""
    for name in ("absent", "a%2Fb", "%25", "x" * 100):
        problem_of(await api.post(f"{PATH}/{name}", params={"wait": "0"}), 404)


async def test_collecting_needs_the_scope_ingest(memory_server: MemoryServer) -> None:
    """And no other opens it."""
    for scope in Scope:
        async with memory_server.client([scope]) as client:
            reply = await client.post(f"{PATH}/all", params={"wait": "0"})
            assert (reply.status_code == 403) is (scope is not Scope.INGEST), reply.text
