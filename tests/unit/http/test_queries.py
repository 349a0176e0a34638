"""Query routes: parameters become questions, answers become JSON."""

import math
from typing import Any

import httpx
import pytest

from core.domain.definitions import Aggregation
from core.domain.errors import TooExpensive
from core.domain.matchers import LabelMatcher, MatchOp
from core.domain.queries import LIMIT_DEFAULT, Fill
from core.domain.times import HOUR_US, MINUTE_US, SECOND_US, TimeRange
from ports.driving.querying import Selector
from tests.unit.http.conftest import World
from tests.unit.http.fakes import FixedClock, line
from tests.unit.http.problems import problem_of

NOW_US = FixedClock().now_us()
LAST_HOUR = TimeRange(NOW_US - HOUR_US, NOW_US)
RANGE = "start=2026-01-31T10:00:00Z&end=2026-01-31T11:00:00%2B00:00"
ASKED_RANGE = TimeRange(NOW_US - 2 * HOUR_US, NOW_US - HOUR_US)


async def answer(client: httpx.AsyncClient, path: str) -> Any:
    """The JSON that the query is answered with."""
    response = await client.get(f"/api/v1/metrics{path}")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


async def test_raw_samples(world: World, client: httpx.AsyncClient) -> None:
    """Without a range the last hour is meant; a page has a thousand samples."""
    assert await answer(client, "?name=cpu") == {
        "data": [
            {"timestamp": "2026-01-31T12:00:00Z", "name": "cpu", "labels": {"host": "a"}, "source": None, "value": 1.5}
        ],
        "next_cursor": "next",
    }
    await answer(client, f"?name=cpu&{RANGE}&limit=7&cursor=abc&label=host=~a.*&label=dc!=b")
    matchers = (LabelMatcher("host", MatchOp.MATCHES, "a.*"), LabelMatcher("dc", MatchOp.NOT_EQUAL, "b"))
    assert world.querying.asked == [
        (Selector("cpu"), LAST_HOUR, LIMIT_DEFAULT, None),
        (Selector("cpu", matchers), ASKED_RANGE, 7, "abc"),
    ]


async def test_an_end_alone_means_the_hour_before_it(world: World, client: httpx.AsyncClient) -> None:
    """The default start depends on the end, not on now; it is never before the epoch."""
    await answer(client, "?name=cpu&end=2026-01-31T11:00:00Z")
    await answer(client, "?name=cpu&end=1970-01-01T00:00:10Z")
    assert [question[1] for question in world.querying.asked] == [ASKED_RANGE, TimeRange(0, 10 * SECOND_US)]


async def test_names_and_labels(world: World, client: httpx.AsyncClient) -> None:
    """Lists under `data`; a label's name may hold a slash, which is sent encoded."""
    assert await answer(client, "/names?prefix=c") == {"data": ["cpu", "mem"]}
    assert await answer(client, "/labels") == {"data": ["host"]}
    assert await answer(client, "/labels/app.kubernetes.io%2Fname/values") == {"data": ["a", "b"]}
    assert world.querying.asked == [("c",), (), ("app.kubernetes.io/name",)]


async def test_latest(world: World, client: httpx.AsyncClient) -> None:
    """One sample a series, with its own time."""
    assert await answer(client, "/latest/cpu.usage?label=host=a") == {
        "data": [
            {
                "name": "cpu.usage",
                "labels": {"host": "a"},
                "source": "agent",
                "timestamp": "2026-01-31T12:00:00Z",
                "value": 1.5,
            }
        ]
    }
    assert world.querying.asked == [(Selector("cpu.usage", (LabelMatcher("host", MatchOp.EQUAL, "a"),)),)]


async def test_aggregate(world: World, client: httpx.AsyncClient) -> None:
    """Labels to group by may repeat or be separated by commas."""
    assert await answer(client, f"/aggregate/cpu?{RANGE}&group_by=host,dc&group_by=rack") == {
        "name": "cpu",
        "data": [
            {"labels": {}, "count": 2, "avg": 1.5, "min": 1, "max": 2, "sum": 3, "p50": 1.5, "p95": 1.95, "p99": 1.99}
        ],
    }
    assert world.querying.asked == [(Selector("cpu"), ASKED_RANGE, ["host", "dc", "rack"])]


async def test_series(world: World, client: httpx.AsyncClient) -> None:
    """Buckets are RFC 3339, an empty one that was asked for is null, infinities cannot come in."""
    world.querying.lines = [
        line({"host": "a"}, [NOW_US, NOW_US + MINUTE_US], [1.5, math.nan]),
        line({"host": "b"}, [NOW_US + MINUTE_US, NOW_US + MINUTE_US + 500_000], [0.1, -2e300]),
        line({"host": "c"}, [], []),
    ]
    assert await answer(client, f"/series/cpu?{RANGE}&bucket=1m&agg=max&fill=null&group_by=host") == {
        "name": "cpu",
        "bucket": "1m",
        "agg": "max",
        "data": [
            {
                "labels": {"host": "a"},
                "points": [
                    {"bucket": "2026-01-31T12:00:00Z", "value": 1.5},
                    {"bucket": "2026-01-31T12:01:00Z", "value": None},
                ],
            },
            {
                "labels": {"host": "b"},
                "points": [
                    {"bucket": "2026-01-31T12:01:00Z", "value": 0.1},
                    {"bucket": "2026-01-31T12:01:00.500000Z", "value": -2e300},
                ],
            },
            {"labels": {"host": "c"}, "points": []},
        ],
    }
    assert world.querying.asked == [(Selector("cpu"), ASKED_RANGE, MINUTE_US, ["host"], Aggregation.MAX, Fill.NULL)]


async def test_series_defaults(world: World, client: httpx.AsyncClient) -> None:
    """Five minutes, the definition's aggregation, nothing filled in."""
    assert await answer(client, "/series/cpu") == {"name": "cpu", "bucket": "5m", "agg": "avg", "data": []}
    assert world.querying.asked == [(Selector("cpu"), LAST_HOUR, 5 * MINUTE_US, [], None, Fill.NONE)]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("", "name"),
        ("?name=", "name"),
        ("?name=a%20b", "name"),
        ("?name=cpu&name=mem", "name"),
        ("?name=cpu&nmae=x", "nmae"),
        ("?name=cpu&start=2026-01-31T12:00:00", "start"),
        ("?name=cpu&start=yesterday", "start"),
        ("?name=cpu&start=0001-01-01T00:00:00Z", "start"),
        ("?name=cpu&start=2026-01-31T12:00:00+02:00", "start"),
        ("?name=cpu&start=2026-13-31T12:00:00Z", "start"),
        ("?name=cpu&end=", "end"),
        ("?name=cpu&start=2026-01-31T12:00:00Z&end=2026-01-31T11:00:00Z", "end"),
        ("?name=cpu&limit=0", "limit"),
        ("?name=cpu&limit=10001", "limit"),
        ("?name=cpu&limit=abc", "limit"),
        ("?name=cpu&limit=1.5", "limit"),
        ("?name=cpu&limit=-1", "limit"),
        ("?name=cpu&limit=" + "9" * 5_000, "limit"),
        ("?name=cpu&cursor=" + "x" * 600, "cursor"),
        ("?name=cpu&label=host", "label"),
        ("?name=cpu&label=host~a", "label"),
        ("?name=cpu&label==a", "label"),
        ("?name=cpu&label=host=~(", "label"),
        ("?name=cpu" + "&label=a=b" * 21, "label"),
        ("/names?prefix=" + "x" * 201, "prefix"),
        ("/names?limit=1", "limit"),
        ("/labels?x", "x"),
        ("/labels/a%20b/values", "label"),
        ("/latest/a%20b", "name"),
        ("/aggregate/cpu?group_by=", "group_by"),
        ("/aggregate/cpu?group_by=a,,b", "group_by"),
        ("/aggregate/cpu?group_by=" + ",".join(f"l{n}" for n in range(50)), "group_by"),
        ("/aggregate/cpu?bucket=5m", "bucket"),
        ("/series/cpu?bucket=0m", "bucket"),
        ("/series/cpu?bucket=5", "bucket"),
        ("/series/cpu?bucket=" + "9" * 400 + "d", "bucket"),
        ("/series/cpu?agg=median", "agg"),
        ("/series/cpu?agg=", "agg"),
        ("/series/cpu?fill=zeros", "fill"),
    ],
)
async def test_bad_parameters_are_named(world: World, client: httpx.AsyncClient, path: str, field: str) -> None:
    """Every mistake is a 400 that names the parameter; the core is not asked."""
    problem = problem_of(await client.get(f"/api/v1/metrics{path}"), 400)
    assert (problem["type"], problem["field"]) == ("urn:sextant:problem:invalid-input", field)
    assert problem["detail"].startswith(f"{field}: ")
    assert world.querying.asked == []


@pytest.mark.parametrize(
    "path",
    [
        "?name=%ff",
        "?name=%00",
        "?name=cpu&%00=1",
        "?name=%ed%a0%80",
        "?" + "label=a=b&" * 101,
        "/latest/%ff",
        "/latest/%00",
        "/latest/%ed%a0%80",
    ],
)
async def test_unreadable_targets_are_refused(client: httpx.AsyncClient, path: str) -> None:
    """Bytes that are not text, and NUL, stop before any route."""
    problem_of(await client.get(f"/api/v1/metrics{path}"), 400)


async def test_a_misspelt_parameter_is_told_the_known_ones(client: httpx.AsyncClient) -> None:
    """The problem lists what the route knows, and nothing that is only ours."""
    problem = problem_of(await client.get("/api/v1/metrics/series/cpu?buckets=5m"), 400)
    assert problem["detail"].endswith("it knows: agg, bucket, end, fill, group_by, label, start")


async def test_an_unknown_choice_is_told_the_known_ones(client: httpx.AsyncClient) -> None:
    """The problem lists the closed set."""
    problem = problem_of(await client.get("/api/v1/metrics/series/cpu?fill=zeros"), 400)
    assert problem["detail"] == "fill: 'zeros' is not one of none, null, previous, linear, zero"


async def test_a_query_too_expensive_names_its_limit(world: World, client: httpx.AsyncClient) -> None:
    """It is the query that must change, so it is not worth repeating."""
    world.querying.error = TooExpensive("a billion buckets", limit=11_000)
    response = await client.get("/api/v1/metrics/series/cpu")
    assert problem_of(response, 422)["limit"] == 11_000
    assert "retry-after" not in response.headers


async def test_long_answers_are_compressed_where_that_is_taken(world: World, client: httpx.AsyncClient) -> None:
    """gzip for who accepts it, plain for who does not."""
    world.querying.lines = [line({}, range(NOW_US, NOW_US + 100 * MINUTE_US, MINUTE_US), [1.0] * 100)]
    packed = await client.get("/api/v1/metrics/series/cpu", headers={"accept-encoding": "gzip"})
    plain = await client.get("/api/v1/metrics/series/cpu", headers={"accept-encoding": "identity"})
    assert (packed.headers["content-encoding"], plain.headers.get("content-encoding")) == ("gzip", None)
    assert packed.json() == plain.json()
