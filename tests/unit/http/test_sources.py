"""Source routes: what is stored, what is shown of it, and that credentials are not."""

from typing import Any

import httpx
import pytest
import structlog

from core.domain.collection import CollectionState, Counts, ItemResult, Problem, ProblemKind
from core.domain.tenants import Scope
from tests.unit.http.memory_server import MemoryServer
from tests.unit.http.problems import problem_of
from tests.unit.http.test_auth import API

PATH = "/api/v1/sources"
CANARY = "canary-6f1d0c"
DATADOG = {
    "name": "dd",
    "config": {"type": "datadog", "queries": ["avg:system.load.1{*} by {host}"]},
    "credentials": {"api_key": f"{CANARY}-1", "app_key": f"{CANARY}-2"},
}
SYNTHETIC = {"name": "made-up", "config": {"type": "synthetic"}, "interval": None}


async def test_a_source_is_kept_without_showing_its_credentials(api: httpx.AsyncClient) -> None:
    """Created, read, listed, replaced, renamed, deleted; replies name the credentials and no more."""
    created = await api.post(PATH, json=DATADOG)
    assert created.status_code == 201, created.text
    assert created.headers["location"] == f"{PATH}/dd"
    shown = created.json()
    assert shown["spec"]["config"] == {"site": "datadoghq.com", **DATADOG["config"]}  # type: ignore[dict-item]  # a dict
    assert (shown["spec"]["interval"], shown["revision"]) == ("5m", 1)
    assert sorted(shown["credential_names"]) == ["api_key", "app_key"]
    assert shown["next_run_at"] is not None
    assert (await api.get(f"{PATH}/dd")).json() == shown
    assert (await api.get(PATH)).json() == {"data": [shown]}
    kept = await api.put(f"{PATH}/dd", json={"config": DATADOG["config"], "interval": "1h"})
    assert kept.status_code == 200, kept.text
    assert (kept.json()["spec"]["name"], kept.json()["spec"]["interval"]) == ("dd", "1h")
    assert sorted(kept.json()["credential_names"]) == ["api_key", "app_key"]
    renamed = await api.put(f"{PATH}/dd", json={**DATADOG, "name": "datadog"})
    assert renamed.json()["spec"]["name"] == "datadog"
    problem_of(await api.get(f"{PATH}/dd"), 404)
    assert (await api.delete(f"{PATH}/datadog")).status_code == 204
    problem_of(await api.delete(f"{PATH}/datadog"), 404)
    for reply in (created, kept, renamed):
        assert CANARY not in reply.text


async def test_a_name_is_taken_once(api: httpx.AsyncClient) -> None:
    """By creating and by renaming."""
    assert (await api.post(PATH, json=SYNTHETIC)).status_code == 201
    problem_of(await api.post(PATH, json=SYNTHETIC), 409)
    assert (await api.post(PATH, json={**SYNTHETIC, "name": "other"})).status_code == 201
    problem_of(await api.put(f"{PATH}/other", json=SYNTHETIC), 409)


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"name": "DD"}, "name", "is not a source's name"),
        ({"name": ""}, "name", "is not a source's name"),
        ({"name": "all"}, "name", "means something else in paths"),
        ({"name": "runs"}, "name", "means something else in paths"),
        ({"name": "prometheus"}, "name", "means something else in paths"),
        (
            {"config": {"type": "graphite"}},
            "config.type",
            "'graphite' is not one of datadog, cloudwatch, newrelic, hawkeye, eks, prometheus, synthetic",
        ),
        ({"config": {"type": "datadog", "site": "evil"}}, "config.site", "must be a Datadog site"),
        ({"config": {"type": "datadog", "queries": []}}, "config.queries", "1 to 200"),
        ({"config": {"type": "datadog", "api_key": CANARY}}, "config.api_key", "is not a field"),
        ({"credentials": {}}, "credentials.api_key", "is missing"),
        ({"credentials": {**DATADOG["credentials"], "token": CANARY}}, "credentials.token", "no such credential"),  # type: ignore[dict-item]  # a dict
        ({"credentials": {**DATADOG["credentials"], "api_key": f"{CANARY}\n"}}, "credentials.api_key", "printable"),  # type: ignore[dict-item]  # a dict
        ({"credentials": {"api_key": [CANARY]}}, "credentials[...]", "must be a string"),
        ({"interval": "1s"}, "interval", "from 1m to 1d"),
        ({"lookback": "400d"}, "lookback", "at most 35d"),
        ({"calls_per_minute": 0}, "calls_per_minute", "from 1 to 60000"),
        ({"enabled": "yes"}, "enabled", "must be true or false"),
    ],
)
async def test_a_bad_source_is_refused_by_field(
    api: httpx.AsyncClient, change: dict[str, Any], field: str, reason: str
) -> None:
    """And not stored; the refusal repeats no credential, wherever it stood."""
    refused = await api.post(PATH, json={**DATADOG, **change})
    problem = problem_of(refused, 400)
    assert problem["field"] == field
    assert reason in problem["detail"]
    assert CANARY not in refused.text
    assert (await api.get(PATH)).json() == {"data": []}


async def test_kept_credentials_go_nowhere_else(api: httpx.AsyncClient) -> None:
    """Another type or address needs them again: who may change a source must not learn its credentials."""
    here = {"type": "prometheus", "url": "https://93.184.215.14/", "queries": [{"metric": "up", "promql": "up"}]}
    source = {"name": "prom", "config": here, "credentials": {"bearer_token": CANARY}}
    assert (await api.post(PATH, json=source)).status_code == 201
    moved = {"config": {**here, "url": "https://93.184.215.15/"}}
    problem_of(await api.put(f"{PATH}/prom", json=moved), 400)
    again = await api.put(f"{PATH}/prom", json={**moved, "credentials": {"bearer_token": "new"}})
    assert again.status_code == 200, again.text


@pytest.mark.parametrize("url", ["http://127.0.0.1:9090/", "https://169.254.169.254/", "https://u:pw@93.184.215.14/"])
async def test_addresses_of_others_are_public(api: httpx.AsyncClient, url: str) -> None:
    """A tenant that the operator does not trust reaches nothing inside, and no credentials stand in an address."""
    config = {"type": "prometheus", "url": url, "queries": [{"metric": "up", "promql": "up"}]}
    assert problem_of(await api.post(PATH, json={"name": "p", "config": config}), 400)["field"] == "config.url"


async def test_no_route_and_no_log_shows_a_credential(
    memory_server: MemoryServer, api: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a stored source and of one for one run only: in no reply to anything that can be asked, in no refusal, in no
    line of a log."""
    texts = []
    one_off = {"config": DATADOG["config"], "credentials": DATADOG["credentials"]}
    wrong = {"api_key": f"{CANARY}-3", "app_key": f"{CANARY}-ü"}
    with caplog.at_level("DEBUG"), structlog.testing.capture_logs() as logged:
        for method, path, body in (
            ("POST", PATH, DATADOG),
            ("POST", PATH, DATADOG),
            ("PUT", f"{PATH}/dd", DATADOG),
            ("PUT", f"{PATH}/dd", {**DATADOG, "credentials": wrong}),
            ("PUT", f"{PATH}/absent", DATADOG),
            ("POST", "/api/v1/ingest/datadog?wait=0", one_off),
            ("POST", "/api/v1/ingest/datadog?wait=0", {**one_off, "credentials": wrong}),
            ("POST", "/api/v1/ingest/dd?wait=0", {}),
            ("POST", "/api/v1/ingest/all?wait=0", one_off),
        ):
            texts.append((await api.request(method, path, json=body)).text)
        for _ in range(2):
            await memory_server.finish(await memory_server.claim(), CollectionState.DONE)
        for method, path in API:
            if method == "GET":
                there = path.replace("production-aws", "dd")
                texts.append((await api.get(there)).text)
        runs = (await api.get(f"{PATH}/runs")).json()["data"]
        texts += [(await api.get(f"{PATH}/runs/{run['id']}")).text for run in runs]
    assert len(runs) == 2
    assert sum('"dd"' in text for text in texts) >= 4, "the source is there to be shown"
    assert [text for text in (*texts, str(logged), caplog.text) if CANARY in text] == []


@pytest.mark.parametrize("name", ["absent", "a" * 64, "%F0%9F%92%A5", "a%2Fb", "a%25b"])
async def test_names_of_nothing_are_not_found(api: httpx.AsyncClient, name: str) -> None:
    """However long or odd, by every method."""
    for method, body in (("GET", None), ("PUT", {"config": {"type": "synthetic"}}), ("DELETE", None)):
        reply = await api.request(method, f"{PATH}/{name}", json=body)
        assert reply.status_code in ((400, 404) if method == "PUT" else (404,)), reply.text


async def test_runs_are_listed_and_read(memory_server: MemoryServer, api: httpx.AsyncClient) -> None:
    """Newest first, by source and state, a page at a time; one with its items."""
    await api.post(PATH, json=SYNTHETIC)
    for _ in range(2):
        started = await api.post("/api/v1/ingest/made-up", params={"wait": "0"})
        assert started.status_code == 202, started.text
        claim = await memory_server.claim()
        problem = Problem(kind=ProblemKind.BAD_QUERY, message="no")
        failed = ItemResult(item="cpu of i-1", counts=Counts(fetched=2), problem=problem)
        await memory_server.finish(claim, CollectionState.PARTIAL, results=[failed])
    page = (await api.get(f"{PATH}/runs", params={"limit": 1})).json()
    [newest] = page["data"]
    assert (newest["source"], newest["kind"], newest["state"]) == ("made-up", "synthetic", "partial")
    assert newest["progress"]["counts"]["fetched"] == 2
    rest = (await api.get(f"{PATH}/runs", params={"limit": 1, "cursor": page["next_cursor"]})).json()
    assert rest["data"][0]["id"] < newest["id"]
    for params, count in (
        ({"source": "made-up"}, 2),
        ({"source": "other"}, 0),
        ({"state": "partial"}, 2),
        ({"state": "failed"}, 0),
    ):
        assert len((await api.get(f"{PATH}/runs", params=params)).json()["data"]) == count
    one = (await api.get(f"{PATH}/runs/{newest['id']}")).json()
    assert one["run"] == newest
    assert [(item["item"], item["problem"]["kind"]) for item in one["items"]] == [("cpu of i-1", "bad_query")]


@pytest.mark.parametrize("number", ["0", "-1", str(2**63), "9" * 400, "x", "1.0"])
async def test_runs_of_nobody_are_not_found(api: httpx.AsyncClient, number: str) -> None:
    """However large or odd the id."""
    problem_of(await api.get(f"{PATH}/runs/{number}"), 404)


@pytest.mark.parametrize(
    ("scope", "read", "change"),
    [
        (Scope.ADMIN, 200, 201),
        (Scope.INGEST, 200, 403),
        (Scope.QUERY, 200, 403),
        (Scope.ALERTS, 403, 403),
        (Scope.REMEDIATE, 403, 403),
    ],
)
async def test_scopes(memory_server: MemoryServer, scope: Scope, read: int, change: int) -> None:
    """Who collects or queries may see the sources; who administers may change them."""
    async with memory_server.client([scope]) as client:
        assert (await client.get(PATH)).status_code == read
        assert (await client.post(PATH, json=SYNTHETIC)).status_code == change
