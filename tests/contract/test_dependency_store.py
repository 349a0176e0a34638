"""The dependency store port: the declared service graph."""

import asyncio
import secrets

import pytest

from core.domain.dependencies import DEPENDENCIES_MAX, NAME_BYTES_MAX, Dependency
from core.domain.errors import InvalidInput
from tests.support.storages import Storage, Tenancy

GRAPH = [Dependency("shop", "payment"), Dependency("Größe ✓", "a"), Dependency("shop", "cart"), Dependency("Z", "b")]


async def test_replaced_whole(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """What was declared last is all there is, ascending by code point, each edge once, in any process."""
    assert list(await storage.dependencies.list(tenancy.id)) == []
    await storage.dependencies.replace(tenancy.id, [*GRAPH, *GRAPH])
    assert list(await other_storage.dependencies.list(tenancy.id)) == sorted(GRAPH)
    fewer = [GRAPH[2], Dependency("cart", "shop")]
    await other_storage.dependencies.replace(tenancy.id, fewer)
    assert list(await storage.dependencies.list(tenancy.id)) == sorted(fewer)
    await storage.dependencies.replace(tenancy.id, [])
    assert list(await storage.dependencies.list(tenancy.id)) == []


async def test_the_longest_names(storage: Storage, tenancy: Tenancy) -> None:
    """Two names of the greatest length that does not compress are an edge like any other; longer ones are refused."""
    longest = Dependency(*(secrets.token_hex(NAME_BYTES_MAX // 2) for _ in range(2)))
    await storage.dependencies.replace(tenancy.id, [longest])
    assert list(await storage.dependencies.list(tenancy.id)) == [longest]
    with pytest.raises(InvalidInput, match="1024"):
        Dependency("ä" * (NAME_BYTES_MAX // 2) + "a", "b")


async def test_tenants_apart(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Replacing one tenant's graph leaves its neighbour's."""
    await storage.dependencies.replace(tenancy.id, GRAPH)
    await storage.dependencies.replace(neighbour.id, GRAPH[:1])
    await storage.dependencies.replace(tenancy.id, GRAPH[1:])
    assert list(await storage.dependencies.list(neighbour.id)) == GRAPH[:1]
    assert list(await storage.dependencies.list(tenancy.id)) == sorted(GRAPH[1:])


async def test_two_at_once(storage: Storage, tenancy: Tenancy) -> None:
    """Two declarations at the same time leave one of them, never a mixture; the largest graph fits."""
    large = [Dependency(f"client-{n}", f"server-{n}") for n in range(DEPENDENCIES_MAX)]
    await asyncio.gather(
        storage.dependencies.replace(tenancy.id, large), storage.dependencies.replace(tenancy.id, GRAPH)
    )
    assert list(await storage.dependencies.list(tenancy.id)) in (sorted(large), sorted(GRAPH))
