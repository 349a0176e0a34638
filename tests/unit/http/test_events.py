"""Event, service graph and purge routes."""

import gzip
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from adapters.driving.http.event_body import EVENT_BYTES_MAX
from adapters.driving.http.inflate import zstd
from core.domain.dependencies import Dependency
from core.domain.events import EVENTS_PER_REQUEST_MAX, EventFilter, EventSeverity, EventSpec
from core.domain.points import Rejection
from tests.unit.http.conftest import World
from tests.unit.http.detection_fakes import EVENT_ID
from tests.unit.http.problems import problem_of
from tests.unit.http.test_alerts import IDS_OF_NOTHING

PATH = "/api/v1/events"
EVENT = {"metric": "error", "host": "a", "severity": "error", "value": 13}
SPEC = EventSpec(metric="error", host="a", severity=EventSeverity.ERROR, value=13.0)
BAD = {"metric": "error", "host": "a", "severity": "fatal"}
SHOWN = {
    "id": str(EVENT_ID),
    "ts": "2026-01-31T12:00:00Z",
    "host": "a",
    "service": None,
    "fingerprint": "a:error",
    "severity": "error",
    "metric": "error",
    "value": 13.0,
    "message": "pool exhausted",
    "labels": {"region": "eu"},
    "synthetic": False,
    "anomaly_id": None,
    "created_at": "2026-01-31T12:00:00Z",
}


@pytest.mark.parametrize("body", [EVENT, [EVENT], {"events": [EVENT]}], ids=["one", "list", "batch"])
async def test_events_are_taken_in_every_shape(world: World, client: httpx.AsyncClient, body: Any) -> None:
    """One event, a list of them, and a list under `events` reach the core alike."""
    response = await client.post(PATH, json=body)
    assert response.status_code == 200, response.text
    assert response.json() == {"accepted": 1, "rejected": 0, "errors": [], "ids": [str(EVENT_ID)]}
    assert world.events.posted == [SPEC]


async def test_a_batch_keeps_its_good_events(world: World, client: httpx.AsyncClient) -> None:
    """Bad events are passed on as refusals in their places, by field and reason; the others are stored."""
    response = await client.post(PATH, json=[BAD, EVENT, {"metric": "a b", "host": "a"}, 5, {"metric": "up"}])
    assert response.status_code == 200
    assert response.json()["accepted"] == 1
    assert [refused["index"] for refused in response.json()["errors"]] == [0, 2, 3, 4]
    assert world.events.posted[1] == SPEC
    assert world.events.posted[0] == Rejection(0, "severity", "'fatal' is not one of info, warn, error")
    assert world.events.posted[3] == Rejection(3, "event", "must be an object, not a whole number")
    assert world.events.posted[4] == Rejection(4, "host", "name a host, a service or both")


async def test_all_refused_is_a_problem_with_the_refusals_in_it(client: httpx.AsyncClient) -> None:
    """Nothing stored is a 422 that carries the counts and the first refusals."""
    problem = problem_of(await client.post(PATH, json={"events": [BAD] * 30}), 422)
    assert problem["type"] == "urn:sextant:problem:all-events-refused"
    assert (problem["accepted"], problem["rejected"], len(problem["errors"])) == (0, 30, 20)
    assert problem["errors"][19] == {
        "index": 19,
        "field": "severity",
        "reason": "'fatal' is not one of info, warn, error",
    }


@pytest.mark.parametrize(
    ("event", "field", "reason"),
    [
        ('{"host":"a"}', "metric", "is missing"),
        ('{"metric":"up","host":"a","value":1e400}', "value", "64-bit"),
        ('{"metric":"up","host":"a","value":"1"}', "value", "must be a number or null, not a string"),
        ('{"metric":"up","host":"a","value":true}', "value", "must be a number or null"),
        ('{"metric":"up","host":"a","id":"7"}', "id", "UUID"),
        ('{"metric":"up","host":"a","ts":1769860800}', "ts", "must be a string or null"),
        ('{"metric":"up","host":5}', "host", "must be a string or null"),
        ('{"metric":"up","host":"a\\u0000"}', "host", "NUL"),
        ('{"metric":"up","host":"' + "h" * 3_000 + '"}', "host", "at most 2048"),
        ('{"metric":"up","host":"a","message":""}', "message", "1 to 4000"),
        ('{"metric":"up","host":"a","labels":{"a":1}}', "labels[...]", "must be a string"),
        ('{"metric":"up","host":"a","labels":{"a b":"c"}}', "labels", ""),
        ('{"metric":"up","host":"a","labels":["a"]}', "labels", "must be an object"),
        ('{"metric":"up","host":"a","lables":{}}', "lables", "is not a field that is known here"),
        ('{"metric":"up","host":"a","host":"b"}', "host", "appears more than once"),
        ('{"metric":"up","host":"a","h\\u006fst":"b"}', "host", "appears more than once"),
        ('{"metric":"up","host":"a","message":"' + "m" * EVENT_BYTES_MAX + '"}', "event", "at most 1048576"),
    ],
)
async def test_a_bad_event_is_refused_by_field(client: httpx.AsyncClient, event: str, field: str, reason: str) -> None:
    """Alone it is a 422; among others the refusal stands in its place."""
    problem = problem_of(await client.post(PATH, content=event), 422)
    reply = await client.post(PATH, content=f"[{json.dumps(EVENT)},{event}]")
    assert (reply.status_code, reply.json()["accepted"]) == (200, 1)
    for refused in (problem["errors"][0], reply.json()["errors"][0]):
        assert refused["field"] == field or field in refused["field"] + refused["reason"]
        assert reason in refused["reason"]
    assert (problem["errors"][0]["index"], reply.json()["errors"][0]["index"]) == (0, 1)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "the body is empty"),
        (b"{", 400, "ends too early"),
        (b"errors=13", 400, "JSON"),
        (b'{"metric":"up","host":"a","value":NaN}', 400, "NaN"),
        (b'{"metric":"up\xff","host":"a"}', 400, "UTF-8"),
        (b'{"metric":"up","host":"\\ud800"}', 400, "surrogate pair"),
        (b'[{"metric":"up","host":"\\ud800"}]', 400, "surrogate pair"),
        (b"5", 400, "send one event"),
        (b'"events"', 400, "send one event"),
        (b"[]", 422, "at least one"),
        (b'{"events":[]}', 422, "at least one"),
        (b'{"events":{}}', 400, "send one event"),
        (b'{"events":null}', 400, "send one event"),
        (b'{"events":[],"events":[]}', 400, "more than once"),
        (b'{"events":[{"metric":"up","host":"a"}],"atomic":true}', 400, "atomic"),
        (b"[" * 100_000 + b"]" * 100_000, 400, "nested"),
        (b"[" * 100_000, 400, "nested"),
        (b'{"events":' * 100_000, 400, "nested"),
        (b"[" + b",".join([b"1"] * (EVENTS_PER_REQUEST_MAX + 1)) + b"]", 413, "10000"),
        (b'{"events":[' + b",".join([b"1"] * 600_000) + b"]}", 413, "10000"),
        (b" " * (8 * 1024 * 1024 + 1), 413, "8388608"),
    ],
    ids=lambda value: f"{value[:24]!r}" if isinstance(value, bytes) else str(value)[:20],
)
async def test_bad_bodies_are_refused(
    world: World, client: httpx.AsyncClient, body: bytes, status: int, says: str
) -> None:
    """Every one gets a 4xx problem that says what is wrong, and nothing is stored."""
    problem = problem_of(await client.post(PATH, content=body), status)
    assert says in problem["detail"]
    assert [event for event in world.events.posted if isinstance(event, EventSpec)] == []


async def test_a_batch_may_be_as_large_as_one_of_metrics(world: World, client: httpx.AsyncClient) -> None:
    """Ten thousand events, several megabytes of them, in one request."""
    events = [{**EVENT, "message": f"{number:04} " * 60} for number in range(EVENTS_PER_REQUEST_MAX)]
    content = json.dumps(events).encode()
    assert len(content) > 3 << 20
    response = await client.post(PATH, content=content)
    assert (response.status_code, response.json()["accepted"]) == (200, EVENTS_PER_REQUEST_MAX)
    assert isinstance(world.events.posted[-1], EventSpec)
    assert world.events.posted[-1].message == "9999 " * 60


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("zstd", zstd.compress), ("identity", bytes)]
)
async def test_compressed_bodies_are_taken(
    client: httpx.AsyncClient, encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    """As ingest takes them, and no bomb either."""
    headers = {"content-encoding": encoding}
    sent = await client.post(PATH, content=compress(json.dumps(EVENT).encode()), headers=headers)
    assert sent.status_code == 200, sent.text
    bomb = gzip.compress(b" " * (33 << 20), compresslevel=1)
    problem = problem_of(await client.post(PATH, content=bomb, headers={"content-encoding": "gzip"}), 413)
    assert problem["limit"] == 32 << 20


async def test_only_json_is_read(client: httpx.AsyncClient) -> None:
    """The refusal says what would be read."""
    response = await client.post(PATH, content=json.dumps(EVENT), headers={"content-type": "text/plain"})
    problem_of(response, 415)
    assert response.headers["accept-post"] == "application/json"


async def test_events_are_listed_and_shown(world: World, client: httpx.AsyncClient) -> None:
    """As they are; the page says where the next one begins."""
    assert (await client.get(PATH)).json() == {"data": [SHOWN], "next_cursor": "next"}
    assert world.events.asked == [(EventFilter(), 100, None)]
    assert (await client.get(f"{PATH}/{EVENT_ID}")).json() == SHOWN


async def test_every_filter_of_events_reaches_the_core(world: World, client: httpx.AsyncClient) -> None:
    """Each as the value that it stands for."""
    params = {
        "start": "1970-01-01T00:00:01Z",
        "end": "1970-01-01T01:00:02+01:00",
        "severity": "warn",
        "host": "a b",
        "service": "shop",
        "metric": "cpu",
        "fingerprint": "a b:cpu",
        "synthetic": "false",
        "anomalies": "true",
        "limit": "7",
        "cursor": "next",
    }
    assert (await client.get(PATH, params=params)).status_code == 200
    wanted = EventFilter(
        start_us=1_000_000,
        end_us=2_000_000,
        severity=EventSeverity.WARN,
        host="a b",
        service="shop",
        metric="cpu",
        fingerprint="a b:cpu",
        synthetic=False,
        anomalies=True,
    )
    assert world.events.asked == [(wanted, 7, "next")]


@pytest.mark.parametrize(
    ("query", "field", "reason"),
    [
        ("severity=bad", "severity", "'bad' is not one of info, warn, error"),
        ("synthetic=maybe", "synthetic", "must be true or false"),
        ("anomalies=2", "anomalies", "must be true or false"),
        ("start=yesterday", "start", "is not an RFC 3339 timestamp"),
        ("start=2026-01-31T12:00:00Z&end=2026-01-31T12:00:00Z", "end", "is not after start"),
        ("limit=0", "limit", "at least 1"),
        ("limit=1001", "limit", "at most 1000"),
        (f"host={'h' * 2_049}", "host", "2048"),
        ("level=error", "level", "is not a query parameter of this route; it knows: anomalies"),
        ("host=a&host=b", "host", "is given more than once"),
    ],
)
async def test_a_wrong_filter_is_named(
    world: World, client: httpx.AsyncClient, query: str, field: str, reason: str
) -> None:
    """With what it may be."""
    problem = problem_of(await client.get(f"{PATH}?{query}"), 400)
    assert problem["field"] == field
    assert reason in problem["detail"]
    assert world.events.asked == []


@pytest.mark.parametrize("name", ["1", "x" * 5_000, "3f6c1a52-8f0b-4d3e-9c55-6f1f0e6d2b12", "%00", "%ff"])
async def test_what_is_no_events_id_is_not_found(client: httpx.AsyncClient, name: str) -> None:
    """However odd."""
    response = await client.get(f"{PATH}/{name}")
    problem_of(response, 400 if name in ("%00", "%ff") else 404)


async def test_the_service_graph_is_declared_and_read_in_one_shape(world: World, client: httpx.AsyncClient) -> None:
    """What comes back may be sent again; an empty list removes everything."""
    graph = {"data": [{"client": "web", "server": "shop"}, {"client": "shop", "server": "bank"}]}
    put = await client.put("/api/v1/dependencies", json=graph)
    assert put.status_code == 200
    assert world.events.graph == [Dependency("shop", "bank"), Dependency("web", "shop")]
    shown = (await client.get("/api/v1/dependencies")).json()
    assert shown == put.json() == {"data": [graph["data"][1], graph["data"][0]]}
    assert (await client.put("/api/v1/dependencies", json=shown)).json() == shown
    assert (await client.put("/api/v1/dependencies", json={"data": []})).json() == {"data": []}


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ([], "body", "must be an object, not a list"),
        ({}, "data", "is missing"),
        ({"dependencies": []}, "dependencies", "is not a field that is known here"),
        ({"data": [{"client": "a"}]}, "data[0].server", "is missing"),
        ({"data": [{"client": "a", "server": "a"}]}, "server", "calls itself"),
        ({"data": [{"client": "", "server": "a"}]}, "client", "must not be empty"),
        ({"data": [["a", "b"]]}, "data[0]", "must be an object, not a list"),
        ({"data": [{"client": "a", "server": f"b{n}"} for n in range(10_001)]}, "data", "10000"),
    ],
)
async def test_a_bad_service_graph_is_refused_by_field(
    client: httpx.AsyncClient, body: Any, field: str, reason: str
) -> None:
    """And nothing is changed."""
    problem = problem_of(await client.put("/api/v1/dependencies", json=body), 400)
    assert problem["field"] == field
    assert reason in problem["detail"]


async def test_a_purge_is_asked_for_and_followed(client: httpx.AsyncClient) -> None:
    """202 with the place to look; nothing is counted before it is done."""
    asked = await client.post("/api/v1/synthetic/purge")
    assert (asked.status_code, asked.headers["location"]) == (202, "/api/v1/synthetic/purge/1")
    shown = (await client.get(asked.headers["location"])).json()
    assert shown == asked.json()
    assert (shown["id"], shown["finished_at"], shown["samples"]) == (1, None, None)


@pytest.mark.parametrize("number", [*IDS_OF_NOTHING, str(2**31)])
async def test_what_is_no_purges_id_is_not_found(client: httpx.AsyncClient, number: str) -> None:
    """However large or odd."""
    problem_of(await client.get(f"/api/v1/synthetic/purge/{number}"), 404)


@pytest.mark.parametrize(
    ("key", "method", "path", "body", "status"),
    [
        ("ingest-key", "POST", PATH, EVENT, 200),
        ("alerts-key", "POST", PATH, EVENT, 403),
        ("query-key", "GET", PATH, None, 200),
        ("alerts-key", "GET", PATH, None, 200),
        ("ingest-key", "GET", PATH, None, 403),
        ("query-key", "GET", "/api/v1/dependencies", None, 200),
        ("query-key", "PUT", "/api/v1/dependencies", {"data": []}, 403),
        ("alerts-key", "PUT", "/api/v1/dependencies", {"data": []}, 200),
        ("alerts-key", "POST", "/api/v1/synthetic/purge", None, 403),
        ("admin-key", "POST", "/api/v1/synthetic/purge", None, 202),
    ],
)
async def test_the_callers_scopes_reach_the_core(
    client: httpx.AsyncClient, key: str, method: str, path: str, body: dict[str, Any] | None, status: int
) -> None:
    """Who may what is the core's to say; HTTP passes on who asks."""
    response = await client.request(method, path, json=body, headers={"x-api-key": key})
    assert response.status_code == status, response.text


async def test_a_body_is_not_read_for_who_may_not_send_it(client: httpx.AsyncClient) -> None:
    """The answer is 403, whatever the body would be."""
    problem_of(await client.post(PATH, content=b"{", headers={"x-api-key": "query-key"}), 403)
