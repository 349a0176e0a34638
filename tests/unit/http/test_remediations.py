"""Policy, kill switch and remediation routes."""

from typing import Any

import httpx
import pytest

from core.domain.actions import HttpAction
from core.domain.remediation import RemediationState
from tests.unit.http.conftest import World
from tests.unit.http.problems import problem_of
from tests.unit.http.test_alerts import IDS_OF_NOTHING, LINK

POLICIES = "/api/v1/remediation/policies"
SWITCH = "/api/v1/remediation/kill-switch"
PATH = "/api/v1/remediations"
STEP = {"name": "call", "action": {"type": "http", "url": "https://example.com/restart"}}
POLICY: dict[str, Any] = {"name": "restart", "steps": [STEP]}


def policy_with(**action: Any) -> dict[str, Any]:
    """A policy of one step with this action."""
    return {**POLICY, "steps": [{"name": "call", "action": action}]}


async def test_a_policy_lives_its_life(world: World, client: httpx.AsyncClient) -> None:
    """Created a dry run, read, listed, replaced, deleted; secrets go in and only their names come out."""
    created = await client.post(POLICIES, json={**POLICY, "secrets": {"token": "s3cr3t"}})
    assert (created.status_code, created.headers["location"]) == (201, f"{POLICIES}/1")
    shown = created.json()
    assert (shown["id"], shown["name"], shown["dry_run"], shown["secret_names"]) == (1, "restart", True, ["token"])
    assert shown["steps"][0]["action"] == {
        "type": "http",
        "url": "https://example.com/restart",
        "method": "POST",
        "headers": {},
        "secret_headers": {},
        "body": None,
    }
    assert isinstance(world.policies.by_id[1].policy.steps[0].action, HttpAction)
    assert (await client.get(f"{POLICIES}/1")).json() == shown
    assert (await client.get(POLICIES)).json() == {"data": [shown]}
    kept = await client.put(f"{POLICIES}/1", json={**POLICY, "dry_run": False})
    assert (kept.json()["dry_run"], kept.json()["secret_names"]) == (False, ["token"])
    assert world.policies.secrets_by_id[1] == {"token": "s3cr3t"}
    emptied = await client.put(f"{POLICIES}/1", json={**POLICY, "secrets": {}})
    assert emptied.json()["secret_names"] == []
    for reply in (created, kept, emptied):
        assert "s3cr3t" not in reply.text
    assert (await client.delete(f"{POLICIES}/1")).status_code == 204
    problem_of(await client.get(f"{POLICIES}/1"), 404)


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({"name": "a"}, "steps", "is missing"),
        ({"name": "a", "steps": []}, "steps", "give 1 to 20 steps"),
        (
            policy_with(url="https://example.com"),
            "steps[0].action.type",
            "is missing; give one of http, kubernetes_scale",
        ),
        (policy_with(type="ssh"), "steps[0].action.type", "'ssh' is not one of http, kubernetes_scale"),
        (policy_with(type="http"), "steps[0].action.url", "is missing"),
        (policy_with(type="http", url="https://a", method="BREW"), "steps[0].action.method", "must be GET"),
        (
            policy_with(type="http", url="https://a", headers={"a": 1}),
            "steps[0].action.headers[...]",
            "must be a string",
        ),
        (policy_with(type="http", url="https://a", verify=False), "steps[0].action.verify", "is not a field"),
        (policy_with(type="wait", duration="soon"), "steps[0].action.duration", "is not a duration"),
        (policy_with(type="command", command="reboot", arguments="-f"), "steps[0].action.arguments", "must be a list"),
        (policy_with(type="kubernetes_scale", namespace="a", deployment="b"), "steps[0].action", "replicas or delta"),
        ({**POLICY, "steps": [{**STEP, "risk": "huge"}]}, "steps[0].risk", "'huge' is not one of low, medium, high"),
        ({**POLICY, "approval": "maybe"}, "approval", "'maybe' is not one of none, above_risk, always"),
        ({**POLICY, "verification": {"check": {}}}, "verification.check.metric", "is missing"),
        (
            {**POLICY, "verification": {"check": {"metric": "a", "condition": "~"}}},
            "verification.check.condition",
            ">=",
        ),
        ({**POLICY, "cooldown": "2d"}, "cooldown", "longer than a day"),
        ({**POLICY, "secrets": {"token": 5}}, "secrets[...]", "must be a string"),
        ({**POLICY, "secret_names": []}, "secret_names", "is not a field"),
    ],
)
async def test_a_bad_policy_is_refused_by_field(
    world: World, client: httpx.AsyncClient, body: dict[str, Any], field: str, reason: str
) -> None:
    """By its place in the body, with the choices where there are some."""
    for method, path in (("POST", POLICIES), ("PUT", f"{POLICIES}/1")):
        problem = problem_of(await client.request(method, path, json=body), 400)
        assert problem["field"] == field
        assert reason in problem["detail"]
    assert world.policies.by_id == {}


async def test_the_kill_switch_is_shown_and_set(client: httpx.AsyncClient) -> None:
    """The tenant's by default, the whole server's if asked for; either stops actions."""
    off = {"engaged": False, "by": None, "reason": None, "changed_at": None}
    shown = (await client.get(SWITCH)).json()
    assert shown == {"engaged": False, "tenant": {"tenant": "default", **off}, "server": {"tenant": None, **off}}
    mine = (await client.put(SWITCH, json={"engaged": True, "reason": "moving"})).json()
    assert (mine["engaged"], mine["tenant"]["reason"], mine["server"]["engaged"]) == (True, "moving", False)
    await client.put(SWITCH, json={"engaged": False, "reason": "moved"})
    every = (await client.put(SWITCH, json={"engaged": True, "reason": "fire", "whole_server": True})).json()
    assert (every["engaged"], every["tenant"]["engaged"], every["server"]["engaged"]) == (True, False, True)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"engaged": True}, "reason"),
        ({"engaged": True, "reason": ""}, "reason"),
        ({"engaged": True, "reason": "a\x00"}, "reason"),
        ({"engaged": True, "reason": "a" * 1_001}, "reason"),
        ({"engaged": "yes", "reason": "a"}, "engaged"),
        ({"reason": "a"}, "engaged"),
        ({"engaged": True, "reason": "a", "tenant": "other"}, "tenant"),
    ],
)
async def test_a_bad_switch_is_refused_by_field(client: httpx.AsyncClient, body: dict[str, Any], field: str) -> None:
    """A switch is not thrown without a reason."""
    assert problem_of(await client.put(SWITCH, json=body), 400)["field"] == field


async def test_remediations_are_listed_and_shown(world: World, client: httpx.AsyncClient) -> None:
    """Filters reach the core; one comes with its policy as it was, and its timeline."""
    await client.get(PATH, params={"state": "awaiting_approval", "alert": 1, "limit": 2, "cursor": "c"})
    assert world.remediations.asked == [(RemediationState.AWAITING_APPROVAL, 1, 2, "c")]
    page = (await client.get(PATH)).json()
    assert ([one["id"] for one in page["data"]], page["next_cursor"]) == ([1, 2, 3], None)
    one = (await client.get(f"{PATH}/1")).json()
    assert (one["id"], one["state"], one["policy"], one["alert_id"]) == (1, "awaiting_approval", "note", 1)
    assert one["policy_as_it_was"]["steps"][0]["action"] == {"type": "annotate", "text": "seen"}
    assert one["timeline"] == [LINK]
    wrong = problem_of(await client.get(PATH, params={"state": "done"}), 400)
    assert wrong["detail"].startswith("state: 'done' is not one of waiting, running, awaiting_approval")


@pytest.mark.parametrize(("action", "state"), [("approve", "running"), ("reject", "rejected"), ("cancel", "cancelled")])
@pytest.mark.parametrize("reason", [None, "it is known"])
async def test_a_remediation_is_decided_on(
    world: World, client: httpx.AsyncClient, action: str, state: str, reason: str | None
) -> None:
    """With or without a reason; a second answer that comes too late is a conflict."""
    body = {} if reason is None else {"json": {"reason": reason}}
    reply = await client.post(f"{PATH}/1/{action}", **body)  # type: ignore[arg-type]  # httpx takes them one by one
    assert (reply.status_code, reply.json()["state"]) == (200, state)
    assert world.remediations.asked[0][-1] == reason
    assert world.remediations.by_id[2].state is RemediationState.AWAITING_APPROVAL
    problem_of(await client.post(f"{PATH}/1/reject"), 409)


@pytest.mark.parametrize("action", ["approve", "reject", "cancel"])
@pytest.mark.parametrize(
    ("content", "status"),
    [(b"{", 400), (b"[]", 400), (b'{"reason":""}', 400), (b'{"why":"a"}', 400), (b'{"reason":"\\u0000"}', 400)],
)
async def test_a_bad_reason_decides_nothing(
    world: World, client: httpx.AsyncClient, action: str, content: bytes, status: int
) -> None:
    """A body that is there must be right."""
    problem_of(await client.post(f"{PATH}/1/{action}", content=content), status)
    assert world.remediations.by_id[1].state is RemediationState.AWAITING_APPROVAL


@pytest.mark.parametrize("number", IDS_OF_NOTHING)
async def test_ids_of_nothing_are_not_found(client: httpx.AsyncClient, number: str) -> None:
    """However large or odd, by every method."""
    if number == "2":
        number = "4"  # there are three remediations
    for method, path, body in (
        ("GET", f"{PATH}/{number}", None),
        ("POST", f"{PATH}/{number}/approve", None),
        ("POST", f"{PATH}/{number}/reject", None),
        ("POST", f"{PATH}/{number}/cancel", None),
        ("GET", f"{POLICIES}/{number}", None),
        ("PUT", f"{POLICIES}/{number}", POLICY),
        ("DELETE", f"{POLICIES}/{number}", None),
    ):
        problem_of(await client.request(method, path, json=body), 404)
