"""Alert and audit routes."""

from typing import Any

import httpx
import msgspec
import pytest

from core.domain.alerts import AlertFilter, EpisodeState
from core.domain.errors import Unavailable
from core.domain.rules import Severity
from tests.unit.http.alert_fakes import ALERT, ENTRY
from tests.unit.http.conftest import World
from tests.unit.http.fakes import raised_by
from tests.unit.http.problems import problem_of

PATH = "/api/v1/alerts"
SHOWN = {
    "id": 1,
    "rule": "busy",
    "rule_id": 1,
    "metric": "cpu",
    "labels": {"host": "web-1"},
    "state": "firing",
    "severity": "critical",
    "value": 97.5,
    "threshold": 95.0,
    "started_at": "2026-01-31T12:00:00Z",
    "fired_at": "2026-01-31T12:00:00Z",
    "resolved_at": None,
    "resolution": None,
    "episode": 1,
    "no_data": False,
    "shadow": False,
    "announced": True,
    "acknowledged_at": None,
    "acknowledged_by": None,
    "annotations": {"summary": "web-1 is busy"},
    "runbook_url": None,
    "remediation": 1,
}
LINK = {
    "sequence": 1,
    "at": "2026-01-31T12:00:00Z",
    "kind": "decision",
    "actor": "sextant",
    "summary": "it began",
    "alert_id": 1,
    "remediation_id": None,
    "details": {"a": [1]},
    "previous": "00" * 32,
    "hash": ENTRY.hash.hex(),
}


async def test_alerts_are_listed_as_they_are(world: World, client: httpx.AsyncClient) -> None:
    """Without filters, all of them; the page says where the next one begins."""
    response = await client.get(PATH)
    assert response.json() == {"data": [SHOWN], "next_cursor": "next"}
    assert world.alerts.asked == [(AlertFilter(), 100, None)]


async def test_every_filter_reaches_the_core(world: World, client: httpx.AsyncClient) -> None:
    """Each as the value that it stands for; matchers stay texts, which have been read."""
    params: list[tuple[str, str | int | float | bool | None]] = [
        ("state", "firing"),
        ("severity", "warning"),
        ("rule", "busy ones"),
        ("metric", "cpu"),
        ("label", "host=~web-.*"),
        ("label", "env!=test"),
        ("acknowledged", "false"),
        ("shadow", "true"),
        ("start", "1970-01-01T00:00:01Z"),
        ("end", "1970-01-01T01:00:02+01:00"),
        ("limit", "7"),
        ("cursor", "next"),
    ]
    assert (await client.get(PATH, params=params)).status_code == 200
    wanted = AlertFilter(
        state=EpisodeState.FIRING,
        severity=Severity.WARNING,
        rule="busy ones",
        metric="cpu",
        matchers=("host=~web-.*", "env!=test"),
        acknowledged=False,
        shadow=True,
        start_us=1_000_000,
        end_us=2_000_000,
    )
    assert world.alerts.asked == [(wanted, 7, "next")]


@pytest.mark.parametrize(
    ("query", "field", "reason"),
    [
        ("state=burning", "state", "'burning' is not one of pending, firing, resolved"),
        ("severity=bad", "severity", "'bad' is not one of warning, critical"),
        ("acknowledged=maybe", "acknowledged", "must be true or false"),
        ("label=host", "label", "is not a matcher"),
        ("label=host=~(", "label", "is not an RE2 pattern"),
        ("start=yesterday", "start", "is not an RFC 3339 timestamp"),
        ("start=2026-01-31T12:00:00Z&end=2026-01-31T12:00:00Z", "end", "is not after start"),
        ("limit=0", "limit", "at least 1"),
        ("limit=1001", "limit", "at most 1000"),
        ("limit=all", "limit", "must be a whole number"),
        ("status=firing", "status", "is not a query parameter of this route; it knows: acknowledged"),
        ("state=firing&state=pending", "state", "is given more than once"),
    ],
)
async def test_a_wrong_filter_is_named(
    world: World, client: httpx.AsyncClient, query: str, field: str, reason: str
) -> None:
    """With what it may be."""
    problem = problem_of(await client.get(f"{PATH}?{query}"), 400)
    assert problem["field"] == field
    assert reason in problem["detail"]
    assert world.alerts.asked == []


async def test_one_alert_comes_with_its_story(client: httpx.AsyncClient) -> None:
    """The alert's own members, then what was said and done."""
    reply = (await client.get(f"{PATH}/1")).json()
    assert {name: reply[name] for name in SHOWN} == SHOWN
    assert [sent["last_error"] for sent in reply["notifications"]] == ["the receiver answered 500"]
    assert reply["timeline"] == [LINK]


async def test_an_alert_is_acknowledged_and_closed(world: World, client: httpx.AsyncClient) -> None:
    """Each answers with the alert; what has resolved is a conflict."""
    acknowledged = await client.post(f"{PATH}/1/acknowledge")
    assert (acknowledged.status_code, acknowledged.json()["acknowledged_by"]) == (200, "key:abc123")
    assert (await client.post(f"{PATH}/1/close")).status_code == 200
    world.alerts.by_id[1] = msgspec.structs.replace(ALERT, state=EpisodeState.RESOLVED)
    for action in ("acknowledge", "close"):
        assert "resolved" in problem_of(await client.post(f"{PATH}/1/{action}"), 409)["detail"]


IDS_OF_NOTHING = ["2", "0", "-1", str(2**63), "9" * 5_000, "abc", "1.0", "%31x"]


@pytest.mark.parametrize("number", IDS_OF_NOTHING)
async def test_what_is_no_alerts_id_is_not_found(client: httpx.AsyncClient, number: str) -> None:
    """However large or odd."""
    problem_of(await client.get(f"{PATH}/{number}"), 404)
    problem_of(await client.post(f"{PATH}/{number}/acknowledge"), 404)


async def test_the_audit_trail_is_listed_and_verified(world: World, client: httpx.AsyncClient) -> None:
    """Entries flat, hashes hexadecimal; filters go to the core."""
    assert (await client.get("/api/v1/audit")).json() == {"data": [LINK], "next_cursor": None}
    await client.get("/api/v1/audit", params={"alert": 1, "remediation": 2, "limit": 3, "cursor": "c"})
    assert world.audit.asked == [(None, None, 100, None), (1, 2, 3, "c")]
    verdict = (await client.get("/api/v1/audit/verify")).json()
    assert verdict == {"tenant": "default", "entries": 1, "head": ENTRY.hash.hex(), "broken": None}


@pytest.mark.parametrize("query", ["alert=0", "alert=x", f"alert={2**63}", "remediation=-1", "rule=1"])
async def test_a_wrong_filter_of_the_audit_trail_is_named(client: httpx.AsyncClient, query: str) -> None:
    """400, by name."""
    problem = problem_of(await client.get(f"/api/v1/audit?{query}"), 400)
    assert problem["field"] == query.partition("=")[0]


@pytest.mark.parametrize(
    ("key", "method", "path", "body", "status"),
    [
        ("query-key", "GET", PATH, None, 200),
        ("alerts-key", "GET", PATH, None, 200),
        ("remediate-key", "GET", PATH, None, 403),
        ("ingest-key", "GET", PATH, None, 403),
        ("query-key", "POST", f"{PATH}/1/acknowledge", None, 403),
        ("alerts-key", "POST", f"{PATH}/1/acknowledge", None, 200),
        (
            "query-key",
            "POST",
            f"{PATH}/silences",
            {"matchers": ["a=b"], "ends_at": "2030-01-01T00:00:00Z", "reason": "r"},
            403,
        ),
        ("query-key", "GET", "/api/v1/remediations", None, 200),
        ("alerts-key", "POST", "/api/v1/remediations/1/approve", None, 403),
        ("remediate-key", "POST", "/api/v1/remediations/1/approve", None, 200),
        ("admin-key", "GET", "/api/v1/audit", None, 403),
        ("remediate-key", "GET", "/api/v1/audit", None, 200),
    ],
)
async def test_the_callers_scopes_reach_the_core(
    client: httpx.AsyncClient, key: str, method: str, path: str, body: dict[str, Any] | None, status: int
) -> None:
    """Who may what is the core's to say; HTTP passes on who asks."""
    response = await client.request(method, path, json=body, headers={"x-api-key": key})
    assert response.status_code == status, response.text


async def test_a_database_that_is_away_is_503(world: World, client: httpx.AsyncClient) -> None:
    """On every part of alerting and remediation, with Retry-After."""
    fakes = (world.alerts, world.rules, world.silences, world.channels, world.policies, world.remediations, world.audit)
    raised_by(*fakes, error=Unavailable("the database is away", retry_after_s=2))
    for path in (
        PATH,
        f"{PATH}/rules",
        f"{PATH}/silences",
        f"{PATH}/inhibitions",
        f"{PATH}/channels",
        f"{PATH}/notifications",
        "/api/v1/remediation/policies",
        "/api/v1/remediation/kill-switch",
        "/api/v1/remediations",
        "/api/v1/audit",
        "/api/v1/audit/verify",
    ):
        response = await client.get(path)
        problem_of(response, 503)
        assert response.headers["retry-after"] == "2"
