"""Rule, silence and inhibition routes."""

from typing import Any

import httpx
import pytest

from core.domain.rules import Condition
from core.domain.times import HOUR_US, TimeRange
from tests.unit.http.conftest import World
from tests.unit.http.fakes import FixedClock
from tests.unit.http.problems import problem_of
from tests.unit.http.test_alerts import IDS_OF_NOTHING

RULES = "/api/v1/alerts/rules"
SILENCES = "/api/v1/alerts/silences"
INHIBITIONS = "/api/v1/alerts/inhibitions"
RULE = {"name": "busy", "metric": "cpu", "warning": 80, "for": "5m"}
SILENCE = {"matchers": ["host=a"], "ends_at": "2030-01-01T00:00:00Z", "reason": "update"}
INHIBITION = {"name": "down", "source": ["alertname=down"], "target": ["severity=warning"], "equal": ["host"]}


async def test_a_rule_lives_its_life(world: World, client: httpx.AsyncClient) -> None:
    """Created, read, listed, replaced, deleted; every reply shows all fields, `for` among them."""
    created = await client.post(RULES, json=RULE)
    assert created.status_code == 201
    assert created.headers["location"] == f"{RULES}/1"
    shown = created.json()
    assert (shown["id"], shown["origin"], shown["revision"]) == (1, "api", 1)
    assert {name: shown[name] for name in RULE} == RULE
    assert (shown["condition"], shown["no_data"], shown["mode"], shown["channels"]) == (">", "keep", "live", None)
    assert "for_" not in shown
    assert world.rules.by_id[1].rule.for_ == "5m"
    assert (await client.get(f"{RULES}/1")).json() == shown
    assert (await client.get(RULES)).json() == {"data": [shown]}
    band = {"name": "busy", "metric": "cpu", "condition": "outside", "critical": [1, 5.5]}
    replaced = await client.put(f"{RULES}/1", json=band)
    assert (replaced.status_code, replaced.json()["critical"], replaced.json()["revision"]) == (200, [1.0, 5.5], 2)
    assert world.rules.by_id[1].rule.condition is Condition.OUTSIDE
    deleted = await client.delete(f"{RULES}/1")
    assert (deleted.status_code, deleted.content) == (204, b"")
    problem_of(await client.get(f"{RULES}/1"), 404)


async def test_a_name_that_is_taken_is_a_conflict(client: httpx.AsyncClient) -> None:
    """409, and in words that fit."""
    await client.post(RULES, json=RULE)
    assert "'busy' already" in problem_of(await client.post(RULES, json=RULE), 409)["detail"]


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"name": ""}, "name", "must have 1 to 200 characters"),
        ({"metric": "a b"}, "metric", ""),
        ({"warning": None}, "warning", "give a threshold"),
        ({"warning": "80"}, "warning", "must be a number or a list or null, not a string"),
        ({"warning": [1]}, "warning", "must be a list of 2"),
        ({"warning": [1, "b"]}, "warning[1]", "must be a number, not a string"),
        ({"warning": [1, 2]}, "warning", "needs one number; bands are for outside and inside"),
        ({"condition": "=>"}, "condition", "'=>' is not one of >, >=, <, <=, ==, !=, outside, inside"),
        ({"aggregation": "median"}, "aggregation", "'median' is not one of avg, min"),
        ({"no_data": "panic"}, "no_data", "'panic' is not one of ok, keep, alert"),
        ({"mode": "off"}, "mode", "'off' is not one of live, shadow"),
        ({"for": 5}, "for", "must be a string or null, not a whole number"),
        ({"for": "5 minutes"}, "for", "is not a duration"),
        ({"for_": "5m"}, "for_", "is not a field that is known here"),
        ({"matchers": ["host"]}, "matchers", "is not a matcher"),
        ({"matchers": "host=a"}, "matchers", "must be a list, not a string"),
        ({"group_by": ["host"]}, "window", "needs a window such as 5m"),
        ({"labels": {"a": 1}}, "labels[...]", "must be a string"),
        ({"annotations": {"a": "{% for x in y %}"}}, "annotations.a", ""),
        ({"runbook_url": "javascript:alert(1)"}, "runbook_url", "must begin with https:// or http://"),
        ({"severity": "warning"}, "severity", "is not a field that is known here"),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", RULES), ("PUT", f"{RULES}/1"), ("POST", f"{RULES}/backtest")])
async def test_a_bad_rule_is_refused_by_field(
    world: World, client: httpx.AsyncClient, method: str, path: str, change: dict[str, Any], field: str, reason: str
) -> None:
    """Wherever a rule is sent; where there are choices, they are named."""
    problem = problem_of(await client.request(method, path, json={**RULE, **change}), 400)
    assert problem["field"] == field
    assert reason in problem["detail"]
    assert world.rules.by_id == {}


async def test_a_rule_is_backtested(world: World, client: httpx.AsyncClient) -> None:
    """A stored one by its id, another as the body; over the range asked for, or the last hour."""
    await client.post(RULES, json=RULE)
    world.rules.asked.clear()
    params = {"start": "1970-01-01T00:00:01Z", "end": "1970-01-01T00:00:02Z"}
    stored = await client.post(f"{RULES}/1/backtest", params=params)
    unsaved = await client.post(f"{RULES}/backtest", json={**RULE, "name": "busier"})
    assert (stored.status_code, stored.json()["rule"]) == (200, "busy")
    assert (unsaved.status_code, unsaved.json()["rule"]) == (200, "busier")
    assert unsaved.json()["episodes"] == []
    now_us = FixedClock().now_us()
    ranges = [question[1] for question in world.rules.asked if question]
    assert ranges == [TimeRange(1_000_000, 2_000_000), TimeRange(now_us - HOUR_US, now_us)]
    problem_of(await client.post(f"{RULES}/2/backtest"), 404)
    assert problem_of(await client.post(f"{RULES}/1/backtest?days=7"), 400)["field"] == "days"


async def test_a_silence_lives_its_life(client: httpx.AsyncClient) -> None:
    """Created from now on, changed, ended; ended ones are listed only if asked for."""
    created = await client.post(SILENCES, json=SILENCE)
    assert (created.status_code, created.headers["location"]) == (201, f"{SILENCES}/1")
    shown = created.json()
    assert shown == {
        **SILENCE,
        "id": 1,
        "starts_at": "2026-01-31T12:00:00Z",
        "author": "key:abc123",
        "created_at": "2026-01-31T12:00:00Z",
    }
    assert (await client.get(f"{SILENCES}/1")).json() == shown
    changed = await client.put(f"{SILENCES}/1", json={**SILENCE, "reason": "longer"})
    assert changed.json()["reason"] == "longer"
    for _ in range(2):
        assert (await client.delete(f"{SILENCES}/1")).status_code == 204
    assert (await client.get(SILENCES)).json() == {"data": []}
    assert [one["id"] for one in (await client.get(SILENCES, params={"ended": "true"})).json()["data"]] == [1]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"matchers": []}, "matchers"),
        ({"matchers": ["host=~("]}, "matchers"),
        ({"ends_at": "2030-01-01T00:00:00"}, "ends_at"),
        ({"ends_at": "tomorrow"}, "ends_at"),
        ({"starts_at": "2031-01-01T00:00:00Z"}, "ends_at"),
        ({"reason": ""}, "reason"),
        ({"author": "me"}, "author"),
    ],
)
async def test_a_bad_silence_is_refused_by_field(client: httpx.AsyncClient, change: dict[str, Any], field: str) -> None:
    """The author is who calls, not who is named."""
    assert problem_of(await client.post(SILENCES, json={**SILENCE, **change}), 400)["field"] == field


async def test_an_inhibition_lives_its_life(client: httpx.AsyncClient) -> None:
    """Created, listed, deleted."""
    created = await client.post(INHIBITIONS, json=INHIBITION)
    shown = {**INHIBITION, "id": 1, "created_at": "2026-01-31T12:00:00Z"}
    assert (created.status_code, created.json()) == (201, shown)
    assert (await client.get(INHIBITIONS)).json() == {"data": [shown]}
    assert (await client.delete(f"{INHIBITIONS}/1")).status_code == 204
    problem_of(await client.delete(f"{INHIBITIONS}/1"), 404)
    bad = {**INHIBITION, "equal": ["a b"]}
    assert problem_of(await client.post(INHIBITIONS, json=bad), 400)["field"] == "equal"


@pytest.mark.parametrize("number", [*IDS_OF_NOTHING, str(2**31)])
async def test_ids_of_nothing_are_not_found(client: httpx.AsyncClient, number: str) -> None:
    """However large or odd, by every method."""
    for method, path, body in (
        ("GET", f"{RULES}/{number}", None),
        ("PUT", f"{RULES}/{number}", RULE),
        ("DELETE", f"{RULES}/{number}", None),
        ("POST", f"{RULES}/{number}/backtest", None),
        ("GET", f"{SILENCES}/{number}", None),
        ("PUT", f"{SILENCES}/{number}", SILENCE),
        ("DELETE", f"{SILENCES}/{number}", None),
        ("DELETE", f"{INHIBITIONS}/{number}", None),
    ):
        problem_of(await client.request(method, path, json=body), 404)
