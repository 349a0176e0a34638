"""Definition routes."""

from typing import Any

import httpx
import pytest

from core.domain.definitions import AlertThreshold, MetricType
from core.domain.errors import Unavailable
from tests.unit.http.conftest import World
from tests.unit.http.fakes import raised_by
from tests.unit.http.problems import problem_of

PATH = "/api/v1/metrics/definitions"
FULL = {
    "name": "http.requests",
    "display_name": "Requests",
    "description": "Requests answered",
    "unit": "requests",
    "type": "counter",
    "aggregation": "increase",
    "retention_days": 7,
    "alert_threshold": {"warning": 1.0, "critical": None},
}


async def test_a_definition_lives_its_life(world: World, client: httpx.AsyncClient) -> None:
    """Created, read, listed, replaced, deleted; every reply shows all fields and what is in force."""
    created = await client.post(PATH, json=FULL)
    in_force = {
        "effective_aggregation": "increase",
        "effective_retention_days": 7,
        "retained_since": "2026-01-24T00:00:00Z",
    }
    assert (created.status_code, created.json()) == (201, {**FULL, **in_force})
    assert created.headers["location"] == f"{PATH}/http.requests"
    assert world.definitions.by_name["http.requests"].alert_threshold == AlertThreshold(warning=1.0)
    one = await client.get(f"{PATH}/http.requests")
    assert one.json() == created.json()
    assert (await client.get(PATH)).json() == {"data": [one.json()]}
    replaced = await client.put(f"{PATH}/http.requests", json={"type": "histogram"})
    assert replaced.status_code == 200
    assert (replaced.json()["effective_aggregation"], replaced.json()["retention_days"]) == ("p95", 30)
    assert replaced.json()["description"] is None
    deleted = await client.delete(f"{PATH}/http.requests")
    assert (deleted.status_code, deleted.content) == (204, b"")
    problem_of(await client.get(f"{PATH}/http.requests"), 404)
    problem_of(await client.delete(f"{PATH}/http.requests"), 404)


async def test_put_creates(world: World, client: httpx.AsyncClient) -> None:
    """The path names the metric; the body may agree."""
    assert (await client.put(f"{PATH}/cpu", json={})).status_code == 201
    assert (await client.put(f"{PATH}/mem", json={"name": "mem", "type": "gauge"})).status_code == 201
    assert {name: made.type for name, made in world.definitions.by_name.items()} == {
        "cpu": MetricType.GAUGE,
        "mem": MetricType.GAUGE,
    }


async def test_what_exists_is_not_created_again(client: httpx.AsyncClient) -> None:
    """POST of a taken name is a conflict."""
    await client.post(PATH, json={"name": "cpu"})
    problem_of(await client.post(PATH, json={"name": "cpu"}), 409)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "a b"}, "name"),
        ({"name": None}, "name"),
        ({"type": "guage"}, "type"),
        ({"aggregation": "median"}, "aggregation"),
        ({"retention_days": 0}, "retention_days"),
        ({"retention_days": 40_000}, "retention_days"),
        ({"retention_days": "7"}, "retention_days"),
        ({"retention_days": 10**30}, "retention_days"),
        ({"unit": "\x00"}, "unit"),
        ({"description": "x" * 2_001}, "description"),
        ({"alert_threshold": {"warning": "high"}}, "alert_threshold.warning"),
        ({"alert_threshold": {"severe": 1}}, "alert_threshold.severe"),
        ({"retention": 7}, "retention"),
    ],
)
async def test_bad_definitions_are_refused_by_field(
    world: World, client: httpx.AsyncClient, change: dict[str, Any], field: str
) -> None:
    """Whether by POST or by PUT; unknown fields are named, not ignored."""
    problem = problem_of(await client.post(PATH, json={**FULL, **change}), 400)
    assert problem["field"] == field
    if "name" not in change:
        assert problem_of(await client.put(f"{PATH}/cpu", json=change), 400)["field"] == field
    assert world.definitions.by_name == {}


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"name":"cpu","name":"mem"}', 400),
        (b'{"name":"\xff"}', 400),
        (b'{"name":' + b"[" * 100_000, 400),
        (b"[]", 400),
        (b'"cpu"', 400),
        (b" " * (1 << 20) + b" ", 413),
    ],
)
async def test_unreadable_bodies_are_refused(client: httpx.AsyncClient, content: bytes, status: int) -> None:
    """The same care as for metrics, with a smaller limit."""
    problem_of(await client.post(PATH, content=content), status)
    problem_of(await client.put(f"{PATH}/cpu", content=content), status)


async def test_another_name_than_the_paths_is_refused(client: httpx.AsyncClient) -> None:
    """A body that names another metric was meant for another path."""
    assert problem_of(await client.put(f"{PATH}/cpu", json={"name": "mem"}), 400)["field"] == "name"


async def test_other_media_types_are_refused(client: httpx.AsyncClient) -> None:
    """Forms are not JSON."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    problem_of(await client.post(PATH, content=b"name=cpu", headers=headers), 415)


async def test_a_store_that_is_away_asks_for_patience(world: World, client: httpx.AsyncClient) -> None:
    """503 with Retry-After."""
    raised_by(world.definitions, error=Unavailable("no database", retry_after_s=2))
    response = await client.get(PATH)
    problem_of(response, 503)
    assert response.headers["retry-after"] == "2"
