"""Bad input through real HTTP: each a clear 4xx that says what is wrong, and nothing else disturbed."""

import gzip
import http.client
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.e2e.program import KEY, Program

INGEST = "/api/v1/metrics/ingest"
BATCH = "/api/v1/metrics/ingest/batch"
JSON = {"content-type": "application/json"}
SAID_CHARS_MAX = 600
"""An explanation is read by a person; it repeats no payload."""


def batch_of(*metrics: str) -> bytes:
    """A batch body of metrics given as JSON."""
    return b'{"metrics":[' + ",".join(metrics).encode() + b"]}"


@dataclass(frozen=True)
class Body:
    """A body that is refused whole."""

    content: bytes
    status: int
    says: str
    path: str = BATCH
    headers: dict[str, str] = field(default_factory=dict)


GOOD = '{"name":"good","value":1}'
DEEP = 100_000
BODIES: dict[str, Body] = {
    "empty": Body(b"", 400, "body"),
    "not JSON": Body(b"cpu 1.5\n", 400, "JSON"),
    "truncated": Body(b'{"metrics":[{"name":"x"', 400, "JSON"),
    "not UTF-8": Body(b'{"metrics":[{"name":"x","value":1,"labels":{"a":"\xff\xfe"}}]}', 400, "UTF-8"),
    "UTF-16": Body('{"name":"x","value":1}'.encode("utf-16"), 400, "UTF-8", INGEST),
    "raw NUL": Body(b'{"name":"x","value":1,"labels":{"a":"b\x00c"}}', 400, "JSON", INGEST),
    "half a surrogate pair": Body(
        b'{"name":"x","value":1,"labels":{"a":"\\ud800"}}', 400, "surrogate pair", INGEST
    ),
    "NaN": Body(batch_of('{"name":"x","value":NaN}'), 400, "NaN"),
    "Infinity": Body(batch_of('{"name":"x","value":-Infinity}'), 400, "Infinity"),
    "deep arrays": Body(b"[" * DEEP + b"]" * DEEP, 400, "must be an object"),
    "deep objects": Body(b'{"a":' * DEEP + b"1" + b"}" * DEEP, 400, "nested"),
    "deep labels": Body(
        batch_of('{"name":"x","value":1,"labels":' + '{"a":' * DEEP + "1" + "}" * (DEEP + 1)), 400, "nested"
    ),
    "deep and open": Body(b"[" * DEEP, 400, "must be an object"),
    "10,001 metrics": Body(batch_of(*[GOOD] * 10_001), 413, "10000"),
    "no metrics": Body(b'{"metrics":[]}', 422, "metrics"),
    "metrics missing": Body(b'{"metric":[]}', 400, "metrics"),
    "metrics no list": Body(b'{"metrics":{"name":"x"}}', 400, "metrics"),
    "a list": Body(b'[{"name":"x","value":1}]', 400, "metrics"),
    "metrics twice": Body(
        b'{"metrics":[' + GOOD.encode() + b'],"metrics":[' + GOOD.encode() + b"]}", 400, "more than once"
    ),
    "too large": Body(b" " * ((8 << 20) + 1), 413, "8388608"),
    "gzip bomb": Body(gzip.compress(b" " * (33 << 20)), 413, "33554432", BATCH, {"content-encoding": "gzip"}),
    "no gzip": Body(b"{}", 400, "decompress", BATCH, {"content-encoding": "gzip"}),
    "truncated gzip": Body(gzip.compress(b"{}" * 999)[:-9], 400, "truncated", BATCH, {"content-encoding": "gzip"}),
    "brotli": Body(b"{}", 415, "gzip, zstd", BATCH, {"content-encoding": "br"}),
    "form": Body(b"name=x", 415, "application/json", INGEST, {"content-type": "application/x-www-form-urlencoded"}),
    "text": Body(GOOD.encode(), 415, "application/json", INGEST, {"content-type": "text/plain"}),
    "other charset": Body(GOOD.encode(), 415, "UTF-8", INGEST, {"content-type": "application/json; charset=latin-1"}),
    "long idempotency key": Body(GOOD.encode(), 400, "255", INGEST, {"idempotency-key": "k" * 256}),
}

REFUSED_METRICS: dict[str, tuple[str, str, str]] = {
    # what is wrong: the metric, the field named, what the reason says
    "1e400": ('{"name":"x","value":1e400}', "value", "64-bit"),
    "a string for a value": ('{"name":"x","value":"1"}', "value", "number"),
    "null for a value": ('{"name":"x","value":null}', "value", "number"),
    "no value": ('{"name":"x"}', "value", "missing"),
    "no name": ('{"value":1}', "name", "missing"),
    "an empty name": ('{"name":"","value":1}', "name", "metric name"),
    "a name with a space": ('{"name":"a b","value":1}', "name", "metric name"),
    "a long name": ('{"name":"' + "n" * 201 + '","value":1}', "name", "200"),
    "NUL in a name": ('{"name":"a\\u0000b","value":1}', "name", "metric name"),
    "NUL in a label": ('{"name":"x","value":1,"labels":{"a":"b\\u0000"}}', "labels.a", "NUL"),
    "NUL in a source": ('{"name":"x","value":1,"source":"\\u0000"}', "source", "NUL"),
    "a label of 1 MiB": ('{"name":"x","value":1,"labels":{"a":"' + "v" * (1 << 20) + '"}}', "labels.a", "2048"),
    "a label that is a number": ('{"name":"x","value":1,"labels":{"a":1}}', "labels.a", "string"),
    "a label name with a dash first": ('{"name":"x","value":1,"labels":{"-a":"1"}}', "labels", "label name"),
    "labels that are a list": ('{"name":"x","value":1,"labels":["a"]}', "labels", "object"),
    "41 labels": (
        json.dumps({"name": "x", "value": 1, "labels": {f"l{n}": "v" for n in range(41)}}), "labels", "40",
    ),
    "a naive timestamp": ('{"name":"x","value":1,"timestamp":"2026-01-31T12:00:00"}', "timestamp", "time zone"),
    "the year 1": ('{"name":"x","value":1,"timestamp":"0001-01-01T00:00:00Z"}', "timestamp", "1970"),
    "the year 9999": ('{"name":"x","value":1,"timestamp":"9999-12-31T23:59:59Z"}', "timestamp", "2200"),
    "before the year 1": ('{"name":"x","value":1,"timestamp":"0001-01-01T00:00:00+14:00"}', "timestamp", "1970"),
    "the 30th of February": ('{"name":"x","value":1,"timestamp":"2026-02-30T00:00:00Z"}', "timestamp", "exist"),
    "a number for a timestamp": ('{"name":"x","value":1,"timestamp":1700000000}', "timestamp", "RFC 3339"),
    "next year": ('{"name":"x","value":1,"timestamp":"2100-01-01T00:00:00Z"}', "timestamp", "ahead"),
    "past retention": ('{"name":"x","value":1,"timestamp":"2001-01-01T00:00:00Z"}', "timestamp", "retention"),
    "a value twice": ('{"name":"x","value":1,"value":2}', "value", "more than once"),
    "a name twice": ('{"name":"x","name":"y","value":2}', "name", "more than once"),
    "a name twice, once escaped": ('{"name":"x","n\\u0061me":"y","value":2}', "name", "more than once"),
    "a label twice": ('{"name":"x","value":1,"labels":{"a":"1","a":"2"}}', "labels", "twice"),
    "not an object": ("17", "metric", "object"),
}

QUERIES: dict[str, tuple[str, str, str]] = {
    # what is wrong: path and query, the field named, what the reason says
    "unknown operator": ("/api/v1/metrics?name=x&label=host%3E5", "label", "host=~"),
    "no operator": ("/api/v1/metrics/latest/x?label=host", "label", "host="),
    "no label": ("/api/v1/metrics/latest/x?label==5", "label", "host="),
    "not RE2": ("/api/v1/metrics/latest/x?label=host=~(a", "label", "RE2"),
    "a look-ahead": ("/api/v1/metrics/latest/x?label=host=~(?=a)b", "label", "RE2"),
    "a pattern that explodes": ("/api/v1/metrics/latest/x?label=host=~((a{100}){100}){100}", "label", "RE2"),
    "21 matchers": ("/api/v1/metrics/latest/x?" + "&".join(f"label=a{n}=b" for n in range(21)), "label", "20"),
    "bucket of zero": ("/api/v1/metrics/series/x?bucket=0s", "bucket", "longer than zero"),
    "negative bucket": ("/api/v1/metrics/series/x?bucket=-5m", "bucket", "5m"),
    "bucket without unit": ("/api/v1/metrics/series/x?bucket=300", "bucket", "5m"),
    "bucket of ages": ("/api/v1/metrics/series/x?bucket=999999999w", "bucket", "longer"),
    "a billion buckets": (
        "/api/v1/metrics/series/x?bucket=1ms&fill=zero&start=2026-01-01T00:00:00Z&end=2026-01-13T00:00:00Z",
        "bucket",
        "at most 11,000",
    ),
    "end before start": (
        "/api/v1/metrics?name=x&start=2026-01-02T00:00:00Z&end=2026-01-01T00:00:00Z", "end", "not after start",
    ),
    "an empty range": (
        "/api/v1/metrics/aggregate/x?start=2026-01-02T00:00:00Z&end=2026-01-02T00:00:00Z", "end", "not after start",
    ),
    "naive start": ("/api/v1/metrics?name=x&start=2026-01-02T00:00:00", "start", "time zone"),
    "a plus that became a space": ("/api/v1/metrics?name=x&start=2026-01-02T00:00:00+02:00", "start", "%2B"),
    "no name": ("/api/v1/metrics", "name", "missing"),
    "limit of zero": ("/api/v1/metrics?name=x&limit=0", "limit", "1"),
    "limit past 10,000": ("/api/v1/metrics?name=x&limit=10001", "limit", "10000"),
    "limit in words": ("/api/v1/metrics?name=x&limit=many", "limit", ""),
    "another's cursor": ("/api/v1/metrics?name=x&cursor=bm90LWEtY3Vyc29y", "cursor", "next_cursor"),
    "unknown aggregation": ("/api/v1/metrics/series/x?agg=median", "agg", ""),
    "unknown fill": ("/api/v1/metrics/series/x?fill=guess", "fill", ""),
    "unknown parameter": ("/api/v1/metrics/series/x?step=5m", "step", "bucket"),
    "a parameter twice": ("/api/v1/metrics/series/x?bucket=5m&bucket=1m", "bucket", "more than once"),
    "a bad group": ("/api/v1/metrics/aggregate/x?group_by=a%20b", "group_by", "label name"),
    "11 groups": ("/api/v1/metrics/aggregate/x?group_by=" + ",".join(f"a{n}" for n in range(11)), "group_by", "10"),
}


def assert_clear(reply: httpx.Response, status: int, says: str) -> dict[str, Any]:
    """Asserts a problem+json that a person can act on."""
    assert reply.status_code == status, f"{reply.status_code} {reply.text[:500]}"
    assert reply.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = reply.json()
    assert (problem["status"], problem["request_id"]) == (status, reply.headers["x-request-id"])
    assert says in problem["detail"], problem["detail"]
    assert len(problem["detail"]) <= SAID_CHARS_MAX
    for word in ("Traceback", "msgspec", "asyncpg", "Error:", "0x"):
        assert word not in problem["detail"]
    return problem


@pytest.fixture
def neighbour(client: httpx.Client) -> Callable[[], None]:
    """Return a check that a good request of the same kind is stored as ever, and that nothing else was."""
    name = f"neighbour_{secrets.token_hex(6)}"

    def check() -> None:
        reply = client.post(BATCH, json={"metrics": [{"name": name, "value": 1.5}]})
        assert reply.status_code == 200, reply.text
        latest = client.get(f"/api/v1/metrics/latest/{name}")
        assert [row["value"] for row in latest.json()["data"]] == [1.5]

    return check


@pytest.mark.parametrize("wrong", BODIES)
def test_a_bad_body_is_refused_and_the_next_request_is_served(
    client: httpx.Client, neighbour: Callable[[], None], wrong: str
) -> None:
    """One clear 4xx for the whole body; the neighbour on the same server notices nothing."""
    body = BODIES[wrong]
    reply = client.post(body.path, content=body.content, headers={**JSON, **body.headers})
    assert_clear(reply, body.status, body.says)
    neighbour()


@pytest.mark.parametrize("wrong", REFUSED_METRICS)
def test_a_bad_metric_is_refused_by_index_and_the_others_are_stored(client: httpx.Client, wrong: str) -> None:
    """In a batch: 200, the good ones stored, the bad one named by index, field and reason. Alone, and atomic: 422."""
    metric, field_name, says = REFUSED_METRICS[wrong]
    good = f"good_{secrets.token_hex(6)}"
    body = batch_of(f'{{"name":"{good}","value":1}}', metric, f'{{"name":"{good}","value":2,"labels":{{"a":"b"}}}}')
    atomic = client.post(BATCH, params={"atomic": "true"}, content=body, headers=JSON)
    problem = assert_clear(atomic, 422, "")
    assert (problem["accepted"], problem["rejected"]) == (0, 1)
    assert client.get(f"/api/v1/metrics/latest/{good}").json() == {"data": []}

    reply = client.post(BATCH, content=body, headers=JSON)
    assert reply.status_code == 200, reply.text
    answer = reply.json()
    assert (answer["accepted"], answer["rejected"]) == (2, 1)
    [error] = answer["errors"]
    assert (error["index"], error["field"]) == (1, field_name)
    assert says in error["reason"], error["reason"]
    assert len(error["reason"]) <= SAID_CHARS_MAX
    latest = client.get(f"/api/v1/metrics/latest/{good}").json()["data"]
    assert sorted(row["value"] for row in latest) == [1.0, 2.0]

    alone = assert_clear(client.post(INGEST, content=metric, headers=JSON), 422, field_name)
    assert [error["field"] for error in alone["errors"]] == [field_name]


@pytest.mark.parametrize("wrong", QUERIES)
def test_a_bad_query_is_refused_by_field(client: httpx.Client, wrong: str) -> None:
    """400 that names the parameter and says what to write instead."""
    path, field_name, says = QUERIES[wrong]
    problem = assert_clear(client.get(path), 400, says)
    assert problem["field"] == field_name


def test_only_the_first_20_errors_are_listed_and_all_are_counted(client: httpx.Client) -> None:
    """A batch of 10,000 bad metrics is answered in a few lines."""
    reply = client.post(BATCH, content=batch_of(*['{"name":"x"}'] * 10_000), headers=JSON)
    problem = assert_clear(reply, 422, "10000 refused")
    assert problem["rejected"] == 10_000
    assert [error["index"] for error in problem["errors"]] == list(range(20))


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/api/v1/metrics/latest/%ff", 400),
        ("/api/v1/metrics/latest/a%00b", 400),
        ("/api/v1/metrics/latest/..%2f..%2fetc", 400),
        ("/api/v1/metrics?name=%ff", 400),
        ("/api/v1/metrics?name=a%00", 400),
        ("/api/v1/metrics/" + "a" * 4_000, 404),
        ("/nowhere", 404),
        ("/api/v1/keys/99999999999999999999", 405),
    ],
)
def test_a_bad_target_is_refused(server: Program, target: str, status: int) -> None:
    """Paths and query strings that no client library would send: a problem+json, never a 5xx."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", target, headers={"x-api-key": KEY})
    reply = connection.getresponse()
    problem = json.loads(reply.read())
    connection.close()
    assert (reply.status, reply.headers["content-type"]) == (status, "application/problem+json")
    assert problem["detail"]
