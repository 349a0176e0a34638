"""Channel and notification routes: secrets go in under the names that people know, and never come out."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from core.domain.notifications import EmailConfig, NotificationState, PagerDutyConfig, SlackConfig, WebhookConfig
from tests.unit.http.alert_fakes import NOTIFICATION_ID
from tests.unit.http.conftest import World
from tests.unit.http.problems import problem_of
from tests.unit.http.test_alerts import IDS_OF_NOTHING

PATH = "/api/v1/alerts/channels"
NOTIFICATIONS = "/api/v1/alerts/notifications"
HOOK = "https://hooks.slack.com/services/T0/B0/secret"
SLACK = {"type": "slack", "name": "chat"}
PAGER = {"type": "pagerduty", "name": "pager"}
WEBHOOK = {"type": "webhook", "name": "hook", "url": "https://example.com/hook"}
EMAIL = {
    "type": "email",
    "name": "mail",
    "host": "smtp.example.com",
    "sender": "a@example.com",
    "to": ["b@example.com"],
}


@pytest.mark.parametrize(
    ("body", "secret", "kind", "secrets"),
    [
        (SLACK, {"url": HOOK}, SlackConfig, (HOOK,)),
        (SLACK, {"secret": HOOK}, SlackConfig, (HOOK,)),
        (PAGER, {"routing_key": "r-secret"}, PagerDutyConfig, ("r-secret",)),
        (PAGER, {"secret": "r-secret"}, PagerDutyConfig, ("r-secret",)),
        (WEBHOOK, {}, WebhookConfig, ()),
        (WEBHOOK, {"secret": "s-secret"}, WebhookConfig, ("s-secret",)),
        (WEBHOOK, {"secrets": ["new-secret", "old-secret"]}, WebhookConfig, ("new-secret", "old-secret")),
        (EMAIL, {}, EmailConfig, ()),
        (EMAIL, {"username": "u", "password": "p-secret"}, EmailConfig, ("p-secret",)),
        (EMAIL, {"secret": "p-secret"}, EmailConfig, ("p-secret",)),
    ],
)
async def test_a_channel_takes_its_secret_and_never_shows_it(
    world: World,
    client: httpx.AsyncClient,
    body: dict[str, Any],
    secret: dict[str, Any],
    kind: type,
    secrets: tuple[str, ...],
) -> None:
    """Created, read, listed, replaced: the secret reaches the core, replies say how many there are; PUT without one
    keeps it."""
    created = await client.post(PATH, json={**body, **secret})
    assert created.status_code == 201, created.text
    assert created.headers["location"] == f"{PATH}/1"
    shown = created.json()
    assert {name: shown[name] for name in body} == body
    assert (shown["id"], shown["secrets_set"], shown["disabled_reason"], shown["enabled"]) == (
        1,
        len(secrets),
        None,
        True,
    )
    assert type(world.channels.by_id[1].config) is kind
    assert world.channels.secrets_by_id[1] == secrets
    one, every = await client.get(f"{PATH}/1"), await client.get(PATH)
    assert one.json() == shown
    assert every.json() == {"data": [shown]}
    replaced = await client.put(f"{PATH}/1", json={**body, "default": False})
    assert world.channels.secrets_by_id[1] == secrets
    assert (replaced.status_code, replaced.json()["default"]) == (200, False)
    for reply in (created, one, every, replaced):
        assert "secret" not in reply.text.replace("secrets_set", "")
    assert (await client.delete(f"{PATH}/1")).status_code == 204
    problem_of(await client.get(f"{PATH}/1"), 404)


async def test_a_webhooks_secrets_are_rotated_and_removed(world: World, client: httpx.AsyncClient) -> None:
    """A list replaces all; an empty one removes them."""
    await client.post(PATH, json={**WEBHOOK, "secret": "one"})
    for secrets in (["two", "one"], ["two"], []):
        replaced = await client.put(f"{PATH}/1", json={**WEBHOOK, "secrets": secrets})
        assert replaced.json()["secrets_set"] == len(secrets)
        assert world.channels.secrets_by_id[1] == tuple(secrets)


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({"name": "a"}, "type", "is missing; give one of slack, pagerduty, webhook, email"),
        ({"name": "a", "type": "sms"}, "type", "'sms' is not one of slack, pagerduty, webhook, email"),
        ({"name": "a", "type": 5}, "type", "must be one of slack, pagerduty, webhook, email"),
        ([], "body", "must be an object, not a list"),
        (SLACK, "url", "is missing: the incoming webhook's address"),
        ({**SLACK, "url": HOOK, "secret": HOOK}, "secret", "give either url or secret"),
        (PAGER, "routing_key", "is missing: the integration's routing key"),
        ({**WEBHOOK, "secret": "a", "secrets": ["b"]}, "secrets", "give either secret or secrets"),
        ({**WEBHOOK, "secrets": ["1", "2", "3", "4"]}, "secret", "at most 3"),
        ({**WEBHOOK, "secret": ""}, "secret", "must have 1 to"),
        ({**WEBHOOK, "format": "xml"}, "format", "'xml' is not one of sextant, alertmanager"),
        ({**WEBHOOK, "token": "a"}, "token", "is not a field that is known here"),
        ({"type": "webhook", "name": "a"}, "url", "is missing"),
        ({**EMAIL, "to": "b@example.com"}, "to", "must be a list, not a string"),
        ({**EMAIL, "to": ["nobody"]}, "to", "is not an e-mail address"),
        ({**EMAIL, "port": 0}, "port", "must be from 1 to 65535"),
        ({**EMAIL, "password": "\n"}, "password", "printable"),
        ({**EMAIL, "name": "a\nb"}, "name", "printable"),
    ],
)
async def test_a_bad_channel_is_refused_by_field(
    world: World, client: httpx.AsyncClient, body: Any, field: str, reason: str
) -> None:
    """By the name that the caller used, with the choices where there are some."""
    problem = problem_of(await client.post(PATH, json=body), 400)
    assert problem["field"] == field
    assert reason in problem["detail"]
    assert HOOK not in str(problem)
    assert world.channels.by_id == {}


async def test_a_channel_is_tested(client: httpx.AsyncClient) -> None:
    """The reply is what became of the message."""
    await client.post(PATH, json=WEBHOOK)
    tested = await client.post(f"{PATH}/1/test")
    assert (tested.status_code, tested.json()["event"], tested.json()["attempts"]) == (200, "test", 3)


@pytest.mark.parametrize("number", [*IDS_OF_NOTHING, str(2**31)])
async def test_ids_of_nothing_are_not_found(client: httpx.AsyncClient, number: str) -> None:
    """However large or odd, by every method."""
    for method, path in (("GET", PATH), ("PUT", PATH), ("DELETE", PATH)):
        problem_of(await client.request(method, f"{path}/{number}", json=WEBHOOK if method == "PUT" else None), 404)
    problem_of(await client.post(f"{PATH}/{number}/test"), 404)


async def test_dead_notifications_are_listed_and_resent(world: World, client: httpx.AsyncClient) -> None:
    """The dead-letter list is a filter; what is not dead is not sent again."""
    listed = await client.get(NOTIFICATIONS, params={"state": "dead", "limit": 5})
    assert listed.json() == {
        "data": [
            {
                "id": str(NOTIFICATION_ID),
                "channel_id": 1,
                "channel": "on call",
                "event": "fired",
                "rule": "busy",
                "alert_ids": [1],
                "state": "dead",
                "attempts": 3,
                "created_at": "2026-01-31T12:00:00Z",
                "next_attempt_at": None,
                "delivered_at": None,
                "last_error": "the receiver answered 500",
            }
        ],
        "next_cursor": None,
    }
    assert world.channels.asked == [(NotificationState.DEAD, 5, None)]
    resent = await client.post(f"{NOTIFICATIONS}/{NOTIFICATION_ID}/resend")
    assert (resent.status_code, resent.json()["id"], resent.json()["state"]) == (200, str(NOTIFICATION_ID), "waiting")
    problem_of(await client.post(f"{NOTIFICATIONS}/{NOTIFICATION_ID}/resend"), 409)
    for missing in (uuid4(), "1", "x" * 36, "0" * 5_000):
        problem_of(await client.post(f"{NOTIFICATIONS}/{missing}/resend"), 404)
    wrong = problem_of(await client.get(NOTIFICATIONS, params={"state": "lost"}), 400)
    assert wrong["detail"] == "state: 'lost' is not one of waiting, delivered, dead"
