"""The ingest routes over HTTP: what a sender gets back, for good and for bad input."""

import gzip
import hashlib
import json
import re
from collections.abc import Callable

import httpx
import pytest
import structlog
from structlog.testing import LogCapture

from adapters.driving.http import ingest
from adapters.driving.http.inflate import zstd
from core.domain.errors import Conflict, InvalidInput, RateLimited, Unavailable
from core.domain.points import POINTS_PER_REQUEST_MAX
from tests.unit.http.conftest import World
from tests.unit.http.problems import problem_of

ROUTES = ["/api/v1/metrics/ingest", "/ingest"]
BATCH_ROUTES = ["/api/v1/metrics/ingest/batch", "/ingest/batch"]
METRIC = {"name": "cpu.usage", "value": 1.5, "labels": {"host": "a"}, "timestamp": "2026-01-31T12:00:00Z"}
BAD = {"name": "cpu.usage", "value": "x"}


@pytest.mark.parametrize("route", ROUTES)
async def test_one_metric_is_taken(world: World, client: httpx.AsyncClient, route: str) -> None:
    """The metric reaches the core as it was sent, and the reply names its receipt."""
    response = await client.post(route, json=METRIC)
    assert response.status_code == 200
    assert response.json() == {"accepted": 1, "rejected": 0, "errors": [], "receipt": "1-1"}
    (request,) = world.ingestion.requests
    (point,) = request.points
    assert (point.name, point.value, point.timestamp, point.source) == ("cpu.usage", 1.5, METRIC["timestamp"], None)
    assert json.loads(bytes(point.labels)) == {"host": "a"}
    assert (request.principal.tenant, request.atomic, request.idempotency_key) == ("default", False, None)


@pytest.mark.parametrize("route", BATCH_ROUTES)
async def test_a_batch_keeps_its_good_metrics(world: World, client: httpx.AsyncClient, route: str) -> None:
    """Bad metrics are answered by index, field and reason; the others are stored."""
    response = await client.post(route, json={"metrics": [BAD, METRIC, {"value": 1}]})
    assert response.status_code == 200
    assert response.json() == {
        "accepted": 1,
        "rejected": 2,
        "errors": [
            {"index": 0, "field": "value", "reason": "must be a number, not a string"},
            {"index": 2, "field": "name", "reason": "is missing"},
        ],
        "receipt": "1-1",
    }
    assert world.ingestion.requests[0].indexes == [1]


async def test_all_refused_is_a_problem_with_the_reply_in_it(client: httpx.AsyncClient) -> None:
    """Nothing stored is a 422 that carries the counts and the first refusals."""
    problem = problem_of(await client.post("/ingest/batch", json={"metrics": [BAD] * 30}), 422)
    assert (problem["accepted"], problem["rejected"], len(problem["errors"])) == (0, 30, 20)
    assert problem["errors"][19] == {"index": 19, "field": "value", "reason": "must be a number, not a string"}


async def test_atomic_is_all_or_nothing(world: World, client: httpx.AsyncClient) -> None:
    """With `atomic` one refused metric refuses all; its word is checked."""
    body = {"metrics": [METRIC, BAD]}
    problem = problem_of(await client.post("/ingest/batch?atomic=true", json=body), 422)
    assert (problem["accepted"], problem["rejected"]) == (0, 1)
    assert world.ingestion.requests[0].atomic
    assert (await client.post("/ingest/batch?atomic=false", json=body)).status_code == 200
    assert problem_of(await client.post("/ingest/batch?atomic=maybe", json=body), 400)["field"] == "atomic"


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("zstd", zstd.compress), ("identity", bytes)]
)
async def test_compressed_bodies_are_taken(
    client: httpx.AsyncClient, encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    """gzip, zstd and none at all."""
    response = await client.post(
        "/ingest", content=compress(json.dumps(METRIC).encode()), headers={"content-encoding": encoding}
    )
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        'Application/JSON;charset="UTF-8"',
        "application/x+json",
        None,
    ],
)
async def test_json_media_types_are_taken(client: httpx.AsyncClient, content_type: str | None) -> None:
    """JSON under any of its names, or under none."""
    headers = {} if content_type is None else {"content-type": content_type}
    assert (await client.post("/ingest", content=json.dumps(METRIC), headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "", "\xff"]
)
async def test_other_media_types_are_refused(world: World, client: httpx.AsyncClient, content_type: str) -> None:
    """The refusal says what would be read."""
    headers = httpx.Headers([(b"content-type", content_type.encode("latin-1"))])
    response = await client.post("/ingest", content=json.dumps(METRIC), headers=headers)
    problem_of(response, 415)
    assert response.headers["accept-post"] == "application/json"
    assert world.ingestion.requests == []


@pytest.mark.parametrize(
    ("route", "body", "status"),
    [
        ("/ingest", b"", 400),
        ("/ingest", b"{", 400),
        ("/ingest", b'{"name":"a","value":NaN}', 400),
        ("/ingest", b'{"name":"a","value":Infinity}', 400),
        ("/ingest", b'{"name":"a","value":1e400}', 422),
        ("/ingest", b'{"name":"a\xff","value":1}', 400),
        ("/ingest", b'{"name":"a\x00","value":1}', 400),
        ("/ingest", b'{"name":"a","value":1,"value":2}', 422),
        ("/ingest", b'{"name":"a","value":1,"labels":' + b'{"a":' * 100_000, 400),
        ("/ingest/batch", b"[]", 400),
        ("/ingest/batch", b'{"metrics":[]}', 422),
        ("/ingest/batch", b'{"metrics":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
        ("/ingest/batch", b'{"metrics":[' + b",".join([b"1"] * (POINTS_PER_REQUEST_MAX + 1)) + b"]}", 413),
        ("/ingest", b" " * (8 * 1024 * 1024 + 1), 413),
    ],
    ids=lambda value: f"{value[:24]!r}" if isinstance(value, bytes) else str(value),
)
async def test_bad_bodies_are_refused(
    world: World, client: httpx.AsyncClient, route: str, body: bytes, status: int
) -> None:
    """Every one gets a 4xx problem, and nothing is stored."""
    problem_of(await client.post(route, content=body), status)
    assert all(len(request.points) == 0 for request in world.ingestion.requests)


async def test_a_compression_bomb_is_refused(client: httpx.AsyncClient) -> None:
    """A megabyte that would become a gigabyte stops at the limit, which the problem names."""
    bomb = gzip.compress(b"\0" * (40 << 20), compresslevel=1)
    problem = problem_of(await client.post("/ingest", content=bomb, headers={"content-encoding": "gzip"}), 413)
    assert problem["limit"] == 32 << 20


@pytest.mark.parametrize("query", ["?atmoic=true", "?atomic=true&atomic=true", "?%ff", "?atomic=%00", "?x=%zz"])
async def test_bad_query_strings_are_refused(client: httpx.AsyncClient, query: str) -> None:
    """A parameter that is misspelt, repeated or unreadable is a mistake, not noise."""
    problem_of(await client.post(f"/ingest{query}", json=METRIC), 400)


@pytest.mark.parametrize("route", [*ROUTES, *BATCH_ROUTES])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "HEAD"])
async def test_other_methods_are_refused(client: httpx.AsyncClient, route: str, method: str) -> None:
    """The refusal says which method is taken."""
    response = await client.request(method, route)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


async def test_an_idempotency_key_reaches_the_core_with_the_bodys_hash(world: World, client: httpx.AsyncClient) -> None:
    """The hash is of the inflated body, so that a retry may compress it otherwise."""
    body = json.dumps(METRIC).encode()
    headers = {"idempotency-key": "batch-17", "content-encoding": "gzip"}
    assert (await client.post("/ingest", content=gzip.compress(body), headers=headers)).status_code == 200
    (request,) = world.ingestion.requests
    assert (request.idempotency_key, request.body_sha256) == ("batch-17", hashlib.sha256(body).digest())


@pytest.mark.parametrize("key", ["", "a" * 256, "a b", "\xe9"])
async def test_an_unusable_idempotency_key_is_refused(client: httpx.AsyncClient, key: str) -> None:
    """A key that would be cut or changed on its way could stand for two requests."""
    headers = httpx.Headers([(b"idempotency-key", key.encode("latin-1"))])
    assert problem_of(await client.post("/ingest", json=METRIC, headers=headers), 400)["field"] == "Idempotency-Key"


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (RateLimited("over the rate", retry_after_s=0.2), 429, "1"),
        (RateLimited("over the rate", retry_after_s=2.1), 429, "3"),
        (Unavailable("the database is away"), 503, "1"),
        (Conflict("another body"), 409, None),
        (InvalidInput("value", "is odd"), 400, None),
    ],
)
async def test_errors_of_the_core_become_problems(
    world: World, client: httpx.AsyncClient, error: Exception, status: int, retry_after: str | None
) -> None:
    """Each with its status, its data, and when to come back in whole seconds."""
    world.ingestion.error = error
    response = await client.post("/ingest", json=METRIC)
    problem = problem_of(response, status)
    assert response.headers.get("retry-after") == retry_after
    assert problem.get("retry_after_s") == getattr(error, "retry_after_s", None)


async def test_a_bug_is_logged_once_and_answered(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client learns the request id and nothing of our insides; the log has the rest under that id."""
    logged = LogCapture()
    monkeypatch.setattr(ingest, "log", structlog.wrap_logger(None, processors=[logged]))
    world.ingestion.error = ZeroDivisionError("secret detail")
    response = await client.post("/ingest", json=METRIC, headers={"x-request-id": "bug-1"})
    assert "secret" not in response.text
    assert problem_of(response, 500)["request_id"] == "bug-1"
    (event,) = logged.entries
    assert (event["event"], event["request_id"], event["exc_info"]) == ("http_request_failed", "bug-1", True)


async def test_requests_are_counted_by_route_and_status(client: httpx.AsyncClient) -> None:
    """Under the route's template, and under one label where there is no such route."""
    before = await requests_counted(client)
    await client.post("/ingest", json=METRIC)
    await client.post("/api/v1/metrics/ingest", json=BAD)
    await client.get("/api/v1/metrics/latest/cpu")
    await client.get("/no/such/route")
    after = await requests_counted(client)
    for counted in (
        'route="/api/v1/metrics/ingest",status="200"',
        'route="/api/v1/metrics/ingest",status="422"',
        'route="/api/v1/metrics/latest/{name}",status="200"',
        'route="unknown",status="404"',
    ):
        assert after[counted] - before.get(counted, 0.0) == 1.0, counted


async def requests_counted(client: httpx.AsyncClient) -> dict[str, float]:
    """Requests by route and status, since the application was made."""
    text = (await client.get("/metrics")).text
    lines = re.findall(r"^sextant_http_requests_total\{(.*)\} (\S+)$", text, re.MULTILINE)
    return {labels: float(count) for labels, count in lines}
