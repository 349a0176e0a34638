"""Addresses that a tenant gives over HTTP and Sextant must not connect to: refused by field, and never reached."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import httpx
import pytest

from tests.conftest import on_postgres
from tests.integration.in_process import InProcess
from tests.integration.isolation_matrix import HOOK
from tests.support.hostile_urls import Canary, hostile_hosts, hostile_urls

CHANNELS: Final = "/api/v1/alerts/channels"
POLICIES: Final = "/api/v1/remediation/policies"
SOURCES: Final = "/api/v1/sources"
SEVERAL: Final = 8
"""Requests at a time: some wait for a name to be looked up."""

Body = dict[str, Any]


def webhook(url: str) -> Body:
    """A channel to an HTTP receiver."""
    return {"type": "webhook", "name": "hook", "url": url}


def slack(url: str) -> Body:
    """A channel to Slack."""
    return {"type": "slack", "name": "chat", "url": url}


def pagerduty(url: str) -> Body:
    """A channel to PagerDuty."""
    return {"type": "pagerduty", "name": "pager", "url": url, "routing_key": "key"}


def email(host: str) -> Body:
    """A channel by mail."""
    return {"type": "email", "name": "mail", "host": host, "sender": "a@example.com", "to": ["b@example.com"]}


def acting(url: str) -> Body:
    """A policy that sends a request."""
    return {"name": "call", "steps": [{"name": "call", "action": {"type": "http", "url": url}}]}


def undoing(url: str) -> Body:
    """A policy that sends one to roll back."""
    return {**acting(HOOK), "rollback": acting(url)["steps"]}


def templated(url: str) -> Body:
    """A policy whose request is filled in at its end, when it is sent."""
    return acting(url + "/{{ labels.host }}")


def prometheus(url: str) -> Body:
    """A source that is asked by PromQL."""
    return {"name": "prom", "config": {"type": "prometheus", "url": url}, "credentials": {"bearer_token": "token"}}


def hawkeye(url: str) -> Body:
    """A source of an APM."""
    return {"name": "apm", "config": {"type": "hawkeye", "base_url": url}, "credentials": {"api_key": "key"}}


pytestmark = pytest.mark.parametrize("server_store", [on_postgres], indirect=True)


@pytest.mark.parametrize(
    ("body", "path", "field", "good"),
    [
        (webhook, CHANNELS, "url", HOOK),
        (slack, CHANNELS, "url", HOOK),
        (pagerduty, CHANNELS, "url", HOOK),
        (email, CHANNELS, "host", "93.184.215.14"),
        (acting, POLICIES, "steps[0].action.url", HOOK),
        (templated, POLICIES, "steps[0].action.url", HOOK),
        (undoing, POLICIES, "rollback[0].action.url", HOOK),
        (prometheus, SOURCES, "config.url", HOOK),
        (hawkeye, SOURCES, "config.base_url", HOOK),
    ],
)
async def test_no_hostile_address_is_taken(
    server: InProcess, body: Callable[[str], Body], path: str, field: str, good: str
) -> None:
    """Neither when something is made nor when it is changed, which then stays as it was; nothing is connected to."""
    tenant = await server.new_tenant()
    async with Canary().listening() as canary, server.client(await server.new_key(tenant)) as client:
        made = await client.post(path, json=body(good))
        assert made.status_code == 201, made.text
        changed = made.headers["location"]
        # Some 490 there are: the guard's and the notifiers' own suites take all of them, each of these every third.
        addresses = hostile_hosts() if field == "host" else hostile_urls(canary.port)[::3]
        assert len(addresses) >= 150
        limit = asyncio.Semaphore(SEVERAL)

        async def refuse(method: str, target: str, address: str) -> None:
            async with limit:
                reply = await client.request(method, target, json=body(address))
            assert (reply.status_code, field_of(reply)) == (400, field), (address, reply.text)

        async with asyncio.TaskGroup() as requests:
            for address in addresses:
                requests.create_task(refuse("POST", path, address))
                requests.create_task(refuse("PUT", changed, address))
        assert (await client.get(path)).json()["data"] == [made.json()]
        assert canary.connections == 0


def field_of(reply: httpx.Response) -> str | None:
    """Which field a problem is about."""
    field: str | None = reply.json().get("field")
    return field
