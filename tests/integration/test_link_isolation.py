"""Signed links and the server's kill switch: what reaches past a tenant's own key reaches no further than it says."""

import re

import httpx
import pytest

from tests.integration.alerting_things import link_token, remediation_of
from tests.integration.in_process import InProcess
from tests.integration.isolation_kinds import Linked, Route
from tests.integration.isolation_matrix import MATRIX
from tests.integration.owners import Owner, assert_problem, everything_of, new_owner
from tests.support.storages import Tenancy

linked = pytest.mark.parametrize(
    "route", [route for route in MATRIX if isinstance(MATRIX[route], Linked)], ids=" ".join
)


@linked
async def test_a_link_opens_one_thing_of_one_tenant(server: InProcess, route: Route) -> None:
    """A token is good for the remediation that it was made for; made for another tenant's, or changed, it opens
    nothing, and the answer is that for what exists nowhere."""
    owner = await new_owner(server)
    before = await everything_of(server, owner)
    stranger = await server.new_tenant()
    _, others = await remediation_of(server, Tenancy(server.storage, stranger), "another")
    good = await link_token(server, owner.tenant.id, owner.things.remediation_id)
    refused = [
        await link_token(server, owner.tenant.id, others),
        await link_token(server, stranger.id, owner.things.remediation_id),
        await link_token(server, owner.tenant.id, 2_000_000_009),
        ("B" if good[0] != "B" else "C") + good[1:],
        good[:-2],
        owner.key,
    ]
    async with server.client() as client:
        replies = {scrubbed_page(await follow(client, route, token)) for token in refused}
        assert len(replies) == 1, replies
        [(status, page)] = replies
        assert status == 404
        assert owner.things.value not in page
        assert await everything_of(server, owner) == before
        opened = await follow(client, route, good)
        # Without Temporal an answer cannot be passed on; that is not for isolation to judge.
        assert opened.status_code == 200 if route[0] == "GET" else opened.status_code in (200, 503), opened.text
        assert (owner.things.value in opened.text) is (opened.status_code == 200)


async def follow(client: httpx.AsyncClient, route: Route, token: str) -> httpx.Response:
    """What a browser sends that opens a link, or whose user answers there."""
    if route[0] == "GET":
        return await client.get(route[1], params={"token": token})
    return await client.post(route[1], data={"token": token, "answer": "reject"})


def scrubbed_page(reply: httpx.Response) -> tuple[int, str]:
    """A page without what differs from one request to the next."""
    return reply.status_code, re.sub(r"Request [0-9a-f]+", "REQUEST", reply.text)


async def test_only_the_operator_stops_the_whole_server(server: InProcess, owner: Owner) -> None:
    """A tenant's own switch stops its own actions; that of the server is refused, and stays as it is."""
    path = "/api/v1/remediation/kill-switch"
    async with server.client(owner.key) as client:
        before = (await client.get(path)).json()["server"]
        body = {"engaged": True, "reason": "a test", "whole_server": True}
        assert_problem(await client.put(path, json=body), 403, "forbidden")
        assert (await client.get(path)).json()["server"] == before
