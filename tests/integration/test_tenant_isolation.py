"""Two tenants: no route lets one see, change, or even suspect what the other has."""

import re
from dataclasses import asdict

import httpx
import pytest

from core.domain.tenants import Scope
from tests.integration.in_process import ALL_SCOPES, InProcess
from tests.integration.isolation_kinds import Guarded, Public, Route, Subject
from tests.integration.isolation_matrix import MATRIX
from tests.integration.owners import Owner, assert_problem, everything_of, new_owner, of_nobody

GUARDED = {route: case for route, case in MATRIX.items() if isinstance(case, Guarded)}
PUBLIC = {route: case for route, case in MATRIX.items() if isinstance(case, Public)}
WORD_KEYS = (
    "request_id",
    "receipt",
    "key",
    "prefix",
    "created_at",
    "retained_since",
    "id",
    "author",
    "by",
    "requested_by",
)
"""Members of a reply that differ from one request to the next, whatever it names."""


def resource(route: Route) -> str:
    """What a route is about, by its path."""
    return route[1].removeprefix("/api/v1").split("/")[1]


RESOURCES = sorted({resource(route) for route in GUARDED})

of_each_resource = pytest.mark.parametrize("about", RESOURCES)
"""Routes of one resource share a server, which takes longer to start than a request to answer."""


def guarded(about: str) -> list[Route]:
    """The routes of a resource that need a key."""
    return [route for route in GUARDED if resource(route) == about]


async def send(client: httpx.AsyncClient, route: Route, subject: Subject, **headers: str) -> httpx.Response:
    """A request of the matrix that names `subject`."""
    request = GUARDED[route].request(route[1], subject)
    return await client.request(route[0], request.path, params=dict(request.params), json=request.json, headers=headers)


def without_names(reply: httpx.Response, subject: Subject) -> tuple[int, str]:
    """A reply's status and text with everything replaced that was in the request, or is different every time."""
    text = reply.text
    named = asdict(subject).values()
    for name in [name if isinstance(name, str) else f"'{name}'" for name in named]:
        text = text.replace(name, "NAMED")
    for key in WORD_KEYS:
        text = re.sub(rf'"{key}":("[^"]*"|\d+)', f'"{key}":0', text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "INSTANT", text)
    return reply.status_code, re.sub(r"\d+\.\d+", "FLOAT", text)


@of_each_resource
async def test_another_tenants_things_are_as_things_that_do_not_exist(
    server: InProcess, owner: Owner, about: str
) -> None:
    """A tenant that names what another has is answered as if nobody had it, and the other's is untouched."""
    before = await everything_of(server, owner)
    for route in guarded(about):
        replies = []
        for subject in (owner.things, of_nobody()):
            stranger = await server.new_tenant()
            async with server.client(await server.new_key(stranger)) as client:
                reply = await send(client, route, subject)
                assert reply.status_code < 500, f"{route}: {reply.text}"
                scrubbed = without_names(reply, subject)
                replies.append((scrubbed[0], scrubbed[1].replace(stranger.name, "CALLER")))
        assert replies[0] == replies[1], route
    assert await everything_of(server, owner) == before


@of_each_resource
async def test_what_a_stranger_stores_under_the_same_names_is_its_own(
    server: InProcess, owner: Owner, about: str
) -> None:
    """Two tenants with the very same names: each route answers each with its own things only."""
    for route in guarded(about):
        stranger = await server.new_tenant()
        async with server.client(await server.new_key(stranger)) as client:
            body = {"name": owner.things.metric, "value": 77.0, "labels": {owner.things.label: "own"}}
            assert (await client.post("/ingest", json=body)).status_code == 200
            reply = await send(client, route, owner.things)
        shown = reply.text
        assert owner.things.value not in shown or owner.things.value in (reply.request.content.decode()), route
        assert '"source":"secret"' not in shown, route
        assert "1.25" not in re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "INSTANT", shown), route
        if "_id}" in route[1] or (route[0] == "GET" and "definitions/" in route[1]):
            assert reply.status_code == 404, route


@of_each_resource
async def test_a_key_without_the_scope_is_refused(server: InProcess, about: str) -> None:
    """403 for every scope that does not open the route; not 403 for the one that does."""
    owner = await new_owner(server)
    for route in guarded(about):
        case = GUARDED[route]
        for scope in Scope:
            async with server.client(await server.new_key(owner.tenant, [scope])) as client:
                reply = await send(client, route, owner.things)
            refused = scope not in case.scopes or case.operator
            assert (reply.status_code == 403) is refused, f"{route} {scope}: {reply.status_code} {reply.text}"
            if scope not in case.scopes:
                assert_problem(reply, 403, "forbidden")
        if case.scopes != set(Scope):
            async with server.client(await server.new_key(owner.tenant, set(Scope) - case.scopes)) as client:
                assert_problem(await send(client, route, owner.things), 403, "forbidden")


@of_each_resource
async def test_without_a_valid_key_nothing_is_answered(server: InProcess, owner: Owner, about: str) -> None:
    """401, the same one, for no key, an unknown one, a malformed one and a revoked one."""
    revoked = await server.new_key(owner.tenant)
    newest = (await server.storage.keys.list(owner.tenant.id))[-1]
    await server.storage.keys.revoke(owner.tenant.id, newest.id)
    async with server.client() as client:
        for route in guarded(about):
            reply = await send(client, route, owner.things)
            assert_problem(reply, 401, "unauthenticated")
            assert reply.headers["www-authenticate"].startswith("Bearer")
            for headers in (
                {"x-api-key": "sx_nobody-has-this-key"},
                {"x-api-key": ""},
                {"authorization": "Basic dXNlcjpwYXNz"},
                {"authorization": "Bearer "},
                {"x-api-key": "x" * 10_000},
                {"x-api-key": revoked},
            ):
                assert_problem(await send(client, route, owner.things, **headers), 401, "unauthenticated")


@of_each_resource
async def test_a_header_cannot_name_another_tenant(server: InProcess, owner: Owner, about: str) -> None:
    """X-Scope-OrgID of another tenant, or of none, is 403, by name and by id, alike; one's own is let through."""
    before = await everything_of(server, owner)
    stranger = await server.new_tenant()
    async with server.client(await server.new_key(stranger)) as client:
        for route in guarded(about):
            replies = set()
            for named in (owner.tenant.name, str(owner.tenant.id), "absent-tenant", "", "*", f"{stranger.name}|x"):
                reply = await send(client, route, owner.things, **{"x-scope-orgid": named})
                assert_problem(reply, 403, "forbidden")
                assert owner.tenant.name not in reply.text
                replies.add(reply.json()["detail"])
            assert len(replies) == 1, f"{route}: the refusal tells tenants that exist from ones that do not"
            for named in (stranger.name, str(stranger.id)):
                plain = await send(client, route, of_nobody(), **{"x-scope-orgid": named})
                assert "X-Scope-OrgID" not in plain.text
    assert await everything_of(server, owner) == before


@pytest.mark.parametrize("route", PUBLIC, ids=" ".join)
async def test_what_needs_no_key_tells_of_no_tenant(server: InProcess, owner: Owner, route: Route) -> None:
    """Public routes answer without a key, and name nothing that a tenant has."""
    async with server.client() as client:
        reply = await client.request(route[0], PUBLIC[route].path, follow_redirects=True)
    assert reply.status_code == 200, reply.text
    for secret in (owner.tenant.name, owner.things.metric, owner.things.label, owner.things.value, owner.key):
        assert secret not in reply.text


async def test_the_operator_administers_every_tenant_and_reads_none(server: InProcess) -> None:
    """An admin key of the tenant default sees all tenants and their keys, and none of their samples."""
    owner = await new_owner(server)
    operator = await server.new_key(await server.operator_tenant(), ALL_SCOPES)
    async with server.client(operator) as client:
        tenants = (await client.get("/api/v1/tenants")).json()["data"]
        assert owner.tenant.name in {tenant["name"] for tenant in tenants}
        keys = await client.get("/api/v1/keys", params={"tenant": owner.tenant.name})
        assert [key["id"] for key in keys.json()["data"]] == [owner.things.key_id]
        assert owner.key not in keys.text
        raw = await client.get("/api/v1/metrics", params={"name": owner.things.metric})
        assert raw.json()["data"] == []
        assert owner.things.metric not in (await client.get("/api/v1/metrics/names")).text
        refused = await client.get("/api/v1/metrics/names", headers={"x-scope-orgid": owner.tenant.name})
        assert_problem(refused, 403, "forbidden")


async def test_a_cursor_of_one_tenant_opens_nothing_of_it_for_another(server: InProcess, owner: Owner) -> None:
    """A page's cursor is a position, no right: another tenant that presents it sees its own samples only."""
    params = {"name": owner.things.metric, "limit": "1"}
    async with server.client(owner.key) as client:
        page = (await client.get("/api/v1/metrics", params=params)).json()
    assert page["next_cursor"]
    async with server.client(await server.new_key(await server.new_tenant())) as client:
        reply = await client.get("/api/v1/metrics", params={**params, "cursor": page["next_cursor"]})
    assert reply.json() == {"data": [], "next_cursor": None}


async def test_idempotency_keys_are_apart(server: InProcess) -> None:
    """The same Idempotency-Key of two tenants is two keys: neither gets the other's reply, nor a conflict."""
    body = {"name": "shared", "value": 1.0}
    replies = []
    for value in (1.0, 2.0):
        tenant = await server.new_tenant()
        async with server.client(await server.new_key(tenant)) as client:
            headers = {"idempotency-key": "the-same-key"}
            reply = await client.post("/ingest", json={**body, "value": value}, headers=headers)
            assert reply.status_code == 200, reply.text
            latest = (await client.get("/api/v1/metrics/latest/shared")).json()
            replies.append(latest["data"][0]["value"])
    assert replies == [1.0, 2.0]
