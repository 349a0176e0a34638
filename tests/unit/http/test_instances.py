"""Instance routes: what was seen, by what it is, where and with which tags."""

import httpx
import pytest

from core.domain.collection import CollectionState
from core.domain.tenants import Scope
from ports.driven.metric_source import SeenInstance
from tests.unit.http.memory_server import MemoryServer
from tests.unit.http.problems import problem_of

PATH = "/api/v1/instances"
SEEN = (
    SeenInstance(
        external_id="i-1", kind="ec2", region="eu-central-1", name="web-1", tags={"env": "prod", "aws:a": "1"}
    ),
    SeenInstance(external_id="i-2", kind="ec2", region="us-east-1", tags={"env": "test", "url": "http://x:1"}),
    SeenInstance(external_id="n-1", kind="node", region="eu-central-1"),
)


@pytest.fixture
async def seen(memory_server: MemoryServer, api: httpx.AsyncClient) -> httpx.AsyncClient:
    """Return a client of a tenant that has instances."""
    started = await api.post("/api/v1/ingest/synthetic", params={"wait": "0"}, json={"config": {"type": "synthetic"}})
    assert started.status_code == 202, started.text
    await memory_server.finish(await memory_server.claim(), CollectionState.DONE, instances=SEEN)
    return api


async def names(client: httpx.AsyncClient, **params: str) -> list[str]:
    """External ids of what a list shows."""
    reply = await client.get(PATH, params=params)
    assert reply.status_code == 200, reply.text
    return [one["external_id"] for one in reply.json()["data"]]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, ["i-1", "i-2", "n-1"]),
        ({"kind": "ec2"}, ["i-1", "i-2"]),
        ({"region": "eu-central-1"}, ["i-1", "n-1"]),
        ({"provider": "synthetic"}, ["i-1", "i-2", "n-1"]),
        ({"provider": "cloudwatch"}, []),
        ({"tag": "env:prod"}, ["i-1"]),
        ({"tag": "url:http://x:1"}, ["i-2"]),
        ({"tag": "aws\\:a:1"}, ["i-1"]),
        ({"tag": "env:"}, []),
        ({"seen_since": "2000-01-01T00:00:00Z", "kind": "node"}, ["n-1"]),
        ({"seen_since": "2199-01-01T00:00:00Z"}, []),
    ],
)
async def test_instances_are_listed_by_what_they_are(
    seen: httpx.AsyncClient, params: dict[str, str], expected: list[str]
) -> None:
    """All filters must hold."""
    assert await names(seen, **params) == expected


async def test_pages_and_single_instances(seen: httpx.AsyncClient) -> None:
    """A cursor leads on; each instance is at its id."""
    first = (await seen.get(PATH, params={"limit": 2})).json()
    second = (await seen.get(PATH, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [one["external_id"] for one in (*first["data"], *second["data"])] == ["i-1", "i-2", "n-1"]
    assert second["next_cursor"] is None
    shown = first["data"][0]
    assert (shown["name"], shown["tags"]) == ("web-1", {"env": "prod", "aws:a": "1"})
    assert (await seen.get(f"{PATH}/{shown['id']}")).json() == shown


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"provider": "graphite"}, "provider"),
        ({"tag": "env"}, "tag"),
        ({"tag": ":prod"}, "tag"),
        ({"seen_since": "yesterday"}, "seen_since"),
        ({"limit": "0"}, "limit"),
        ({"name": "a"}, "name"),
        ({"cursor": "x"}, "cursor"),
    ],
)
async def test_a_bad_filter_is_refused_by_name(api: httpx.AsyncClient, params: dict[str, str], field: str) -> None:
    """By the name that the caller knows."""
    assert problem_of(await api.get(PATH, params=params), 400)["field"] == field


@pytest.mark.parametrize("number", ["1", "0", "-1", str(2**63), "9" * 400, "x"])
async def test_instances_of_nobody_are_not_found(api: httpx.AsyncClient, number: str) -> None:
    """However large or odd the id."""
    problem_of(await api.get(f"{PATH}/{number}"), 404)


async def test_scopes(memory_server: MemoryServer) -> None:
    """Who queries, collects or administers may look."""
    for scope in Scope:
        async with memory_server.client([scope]) as client:
            allowed = scope in (Scope.QUERY, Scope.INGEST, Scope.ADMIN)
            assert (await client.get(PATH)).status_code == (200 if allowed else 403)
