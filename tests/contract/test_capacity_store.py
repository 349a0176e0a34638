"""The capacity store port: snapshots and plans."""

import asyncio
from datetime import timedelta

import msgspec
import pytest

from core.domain.capacity import CapacityPlan, NodeType, Resources
from core.domain.errors import NotFound
from tests.support.cluster_rows import NOON, SNAPSHOT, snapshot
from tests.support.storages import Storage, Tenancy

TICK = timedelta(microseconds=1)


async def test_kept_as_given(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """Every field comes back as it was given, in any process; the cost is that of the nodes where none was given."""
    full = SNAPSHOT
    nodes = (NodeType(instance_type="a", count=3, cost_usd_per_hour=0.1), NodeType(instance_type="b", count=0))
    unknown = snapshot(ts=NOON + TICK, nodes=nodes, requested=None, cost_usd_per_hour=None, synthetic=True)
    known = snapshot(ts=NOON + 2 * TICK, nodes=nodes[:1], cost_usd_per_hour=None)
    empty = snapshot(ts=NOON + 3 * TICK, nodes=(), allocatable=Resources(cpu_cores=0.0, memory_bytes=1e18, pods=0.0))
    assert await storage.capacity.put(tenancy.id, [full, unknown, known, empty]) == 4
    kept = await other_storage.capacity.list(tenancy.id, "prod", start=None, end=None, limit=10)
    costly = msgspec.structs.replace(known, cost_usd_per_hour=known.hourly_cost_usd)
    assert costly.cost_usd_per_hour == pytest.approx(0.3)
    assert list(kept) == [full, unknown, costly, empty]
    assert await other_storage.capacity.latest(tenancy.id, "prod") == empty


async def test_one_that_comes_again_replaces_the_first(storage: Storage, tenancy: Tenancy) -> None:
    """Of a cluster and an instant there is one, the last; within one call as well."""
    first, again = SNAPSHOT, snapshot(used=SNAPSHOT.allocatable, requested=None, source="api")
    assert await storage.capacity.put(tenancy.id, [first]) == 1
    assert (
        await storage.capacity.put(tenancy.id, [first, again, snapshot(cluster_id="b"), snapshot(cluster_id="b")]) == 1
    )
    assert list(await storage.capacity.list(tenancy.id, "prod", start=None, end=None, limit=10)) == [again]
    assert await storage.capacity.put(tenancy.id, []) == 0


async def test_at_the_same_time(storage: Storage, tenancy: Tenancy) -> None:
    """Two collectors with the same snapshots, in opposite orders, add each once."""
    given = [snapshot(cluster_id=cluster, ts=NOON + n * TICK) for cluster in "abc" for n in range(20)]
    added = await asyncio.gather(storage.capacity.put(tenancy.id, given), storage.capacity.put(tenancy.id, given[::-1]))
    assert sum(added) == len(given)


async def test_a_range(storage: Storage, tenancy: Tenancy) -> None:
    """Half-open, ascending, and the newest where there are too many."""
    given = [snapshot(ts=NOON + n * TICK) for n in range(6)]
    await storage.capacity.put(tenancy.id, [given[n] for n in (3, 0, 5, 1, 4, 2)])
    await storage.capacity.put(tenancy.id, [snapshot(cluster_id="other", ts=NOON + 9 * TICK)])
    capacity = storage.capacity
    start, end = NOON + TICK, NOON + 4 * TICK
    assert list(await capacity.list(tenancy.id, "prod", start=start, end=end, limit=10)) == given[1:4]
    assert list(await capacity.list(tenancy.id, "prod", start=start, end=None, limit=2)) == given[4:]
    assert list(await capacity.list(tenancy.id, "prod", start=None, end=end, limit=2)) == given[2:4]
    assert list(await capacity.list(tenancy.id, "prod", start=end, end=end, limit=2)) == []


async def test_clusters(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """All that have a snapshot or a plan, in the order of their code points, the tenant's alone."""
    assert list(await storage.capacity.clusters(tenancy.id)) == []
    names = ["b", "B", "a", "ä", "Z-1", "Z1"]
    await storage.capacity.put(
        tenancy.id, [snapshot(cluster_id=name, ts=NOON + n * TICK) for name in names for n in (1, 2)]
    )
    await storage.capacity.put_plan(tenancy.id, "planned", CapacityPlan())
    await storage.capacity.put_plan(tenancy.id, "a", CapacityPlan())
    await storage.capacity.put_plan(neighbour.id, "theirs", CapacityPlan())
    assert list(await storage.capacity.clusters(tenancy.id)) == sorted([*names, "planned"])
    assert list(await storage.capacity.clusters(neighbour.id)) == ["theirs"]


async def test_plans(storage: Storage, other_storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Declared, replaced and removed; removing one that is not there is nothing."""
    plan = CapacityPlan(utilisation_max={"memory": 0.1 + 0.2}, nodes_min=0, nodes_max=5, runway_days_min=None)
    assert await storage.capacity.plan(tenancy.id, "prod") is None
    for each in (CapacityPlan(), plan):
        await storage.capacity.put_plan(tenancy.id, "prod", each)
        assert await other_storage.capacity.plan(tenancy.id, "prod") == each
    assert await storage.capacity.plan(tenancy.id, "other") is None
    assert await storage.capacity.plan(neighbour.id, "prod") is None
    await storage.capacity.put_plan(neighbour.id, "prod", None)
    for _ in range(2):
        await storage.capacity.put_plan(tenancy.id, "prod", None)
        assert await other_storage.capacity.plan(tenancy.id, "prod") is None


async def test_tenants_apart(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """The neighbour neither sees nor replaces a tenant's snapshots."""
    await storage.capacity.put(tenancy.id, [SNAPSHOT])
    with pytest.raises(NotFound):
        await storage.capacity.latest(neighbour.id, "prod")
    with pytest.raises(NotFound):
        await storage.capacity.latest(tenancy.id, "none")
    assert list(await storage.capacity.list(neighbour.id, "prod", start=None, end=None, limit=10)) == []
    assert await storage.capacity.put(neighbour.id, [snapshot(source="theirs")]) == 1
    assert await storage.capacity.latest(tenancy.id, "prod") == SNAPSHOT
