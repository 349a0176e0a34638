"""Tenant, key and limit routes."""

from typing import Any

import httpx
import pytest

from core.domain.tenants import Scope
from tests.unit.http.conftest import World
from tests.unit.http.problems import problem_of

TENANTS, KEYS = "/api/v1/tenants", "/api/v1/keys"


async def test_a_tenant_is_created_with_limits_of_its_own(world: World, client: httpx.AsyncClient) -> None:
    """The reply has the id; limits that are absent stay the server's."""
    response = await client.post(TENANTS, json={"name": "acme", "limits": {"series_max": 10}})
    assert (response.status_code, response.json()) == (
        201,
        {"id": 2, "name": "acme", "created_at": "2026-01-31T12:00:00Z"},
    )
    limits = world.administration.limits_by_tenant["acme"]
    assert (limits.series_max, limits.samples_per_s) == (10, None)
    assert [tenant["name"] for tenant in (await client.get(TENANTS)).json()["data"]] == ["default", "acme"]


async def test_limits_are_replaced(world: World, client: httpx.AsyncClient) -> None:
    """By the tenant's name or its id."""
    response = await client.put(f"{TENANTS}/1/limits", json={"samples_per_s": 5})
    assert (response.status_code, response.json()["name"]) == (200, "default")
    assert world.administration.limits_by_tenant["1"].samples_per_s == 5
    problem_of(await client.put(f"{TENANTS}/nobody/limits", json={}), 404)


@pytest.mark.parametrize("tenant", ["default", "1", 1, None])
async def test_a_key_is_shown_once(world: World, client: httpx.AsyncClient, tenant: object) -> None:
    """In the reply that creates it, which no cache may keep; never in the list."""
    body = {"scopes": ["ingest", "query"], "name": "web", "expires_at": "2027-01-01T00:00:00+01:00"}
    response = await client.post(KEYS, json=body if tenant is None else {**body, "tenant": tenant})
    assert response.status_code == 201
    assert response.headers["cache-control"] == "no-store"
    created = response.json()
    assert (created["id"], created["key"], created["prefix"]) == (1, "sx_abc123secret", "abc123")
    assert (created["tenant"], sorted(created["scopes"])) == ("default", ["ingest", "query"])
    made = world.administration.keys_by_id[1]
    assert made.scopes == {Scope.INGEST, Scope.QUERY}
    assert made.expires_at is not None
    assert made.expires_at.isoformat() == "2027-01-01T00:00:00+01:00"
    listed = await client.get(KEYS, params={"tenant": "1"})
    assert [key["id"] for key in listed.json()["data"]] == [1]
    assert "secret" not in listed.text


async def test_a_key_is_revoked(world: World, client: httpx.AsyncClient) -> None:
    """Twice is as good as once; an id that no key has is not found, however large."""
    await client.post(KEYS, json={"scopes": ["ingest"]})
    for _ in range(2):
        assert (await client.delete(f"{KEYS}/1")).status_code == 204
    assert world.administration.keys_by_id[1].revoked_at is not None
    for missing in ("2", "0", str(2**31), "9" * 200, "abc", "-1"):
        problem_of(await client.delete(f"{KEYS}/{missing}"), 404)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (TENANTS, {}, "name"),
        (TENANTS, {"name": 5}, "name"),
        (TENANTS, {"name": "acme", "plan": "gold"}, "plan"),
        (TENANTS, {"name": "acme", "limits": {"series": 1}}, "limits.series"),
        (TENANTS, {"name": "acme", "limits": {"series_max": 0}}, "limits.series_max"),
        (TENANTS, {"name": "acme", "limits": {"samples_per_s": -1}}, "limits.samples_per_s"),
        (KEYS, {}, "scopes"),
        (KEYS, {"scopes": []}, "scopes"),
        (KEYS, {"scopes": ["root"]}, "scopes[0]"),
        (KEYS, {"scopes": ["ingest"], "expires_at": "2027-01-01T00:00:00"}, "expires_at"),
        (KEYS, {"scopes": ["ingest"], "expires_at": "tomorrow"}, "expires_at"),
        (KEYS, {"scopes": ["ingest"], "tenant": 1.5}, "tenant"),
        (KEYS, {"scopes": ["ingest"], "name": "a\x00b"}, "name"),
        (KEYS, {"scopes": ["ingest"], "name": "a" * 201}, "name"),
    ],
)
async def test_bad_bodies_are_refused_by_field(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], field: str
) -> None:
    """What is missing, wrong or unknown is named."""
    assert problem_of(await client.post(path, json=body), 400)["field"] == field


async def test_only_the_operator_creates_tenants(client: httpx.AsyncClient) -> None:
    """The core says who may; HTTP says 403."""
    response = await client.post(TENANTS, json={"name": "x"}, headers={"x-api-key": "admin-key"})
    problem_of(response, 403)


async def test_limits_and_use(client: httpx.AsyncClient) -> None:
    """The tenant's limits, and how near it is to them."""
    assert (await client.get("/api/v1/limits")).json() == {
        "tenant": "default",
        "limits": {
            "samples_per_s": 1e6,
            "samples_burst": 2e6,
            "series_max": 1_000,
            "query_points_max": 10_000,
            "query_timeout_s": 30.0,
        },
        "series_active": 3,
        "samples_available": 2e6,
    }
