"""The cluster history port: what is old goes in batches, what tells how things stand stays."""

from datetime import UTC, datetime, timedelta

import pytest

from core.domain.collection import InstanceFilter
from core.domain.configurations import ConfigFilter, ConfigKind
from core.domain.drift import DriftFilter, DriftStatus
from core.domain.recommendations import RecommendationFilter
from core.domain.source_configs import SourceKind
from ports.driven.cluster_history import ClusterRecord
from ports.driven.metric_source import SeenInstance
from tests.support.cluster_rows import change, drift_event, recommendation, snapshot
from tests.support.collection_rows import claimed, forget_collection, order, request
from tests.support.storages import Storage, Store, Tenancy

BEFORE = datetime(2002, 2, 2, tzinfo=UTC)
"""Older than what any other test writes."""
TICK = timedelta(microseconds=1)
OLD = BEFORE - TICK


@pytest.fixture(autouse=True)
async def nothing_old(storage: Storage) -> None:
    """Leaves nothing from before that, of no other test."""
    for record in ClusterRecord:
        await forget_all(storage, record)


async def forget_all(storage: Storage, record: ClusterRecord) -> list[int]:
    """Forgets in batches of two; returns how many went with each."""
    went = [await storage.cluster_history.forget(record, before=BEFORE, limit=2)]
    while went[-1]:
        went.append(await storage.cluster_history.forget(record, before=BEFORE, limit=2))
    return went


async def test_snapshots(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Old ones go, but for each cluster's newest; where there are newer ones, all of them."""
    seen = [BEFORE - 3 * TICK, BEFORE - 2 * TICK, OLD, BEFORE, BEFORE + TICK]
    for owner in (tenancy, neighbour):
        await owner.storage.capacity.put(owner.id, [snapshot(ts=ts) for ts in seen])
    await storage.capacity.put(tenancy.id, [snapshot(cluster_id="gone", ts=ts) for ts in seen[:2]])
    assert await forget_all(storage, ClusterRecord.SNAPSHOTS) == [2, 2, 2, 1, 0]
    for tenant_id, cluster, expected in (
        (tenancy.id, "prod", seen[3:]),
        (neighbour.id, "prod", seen[3:]),
        (tenancy.id, "gone", seen[1:2]),
    ):
        kept = await storage.capacity.list(tenant_id, cluster, start=None, end=None, limit=10)
        assert [one.ts for one in kept] == expected


async def test_changes(storage: Storage, tenancy: Tenancy) -> None:
    """The state at each time since stays known: what stood then, and the newest, stay, of each configuration alone."""
    first, second = change(after={"n": 1}, ts=OLD - TICK), change(after={"n": 2}, ts=OLD)
    third = change(after={"n": 3}, ts=BEFORE)
    others = [
        change(after={"n": 4}, ts=OLD - TICK, **differs)
        for differs in ({"cluster_id": "b"}, {"namespace": "b"}, {"workload": "b"}, {"kind": ConfigKind.POLICY})
    ]
    removed = [change(after={"n": 5}, ts=OLD - TICK, workload="c"), change(after=None, ts=OLD, workload="c")]
    await storage.configurations.append(tenancy.id, [first, second, third, *others, *removed])
    assert await forget_all(storage, ClusterRecord.CHANGES) == [2, 0]
    kept = await storage.configurations.list(tenancy.id, ConfigFilter(), limit=20, before=None)
    assert {one.id for one in kept} == {one.id for one in (second, third, *others, removed[1])}
    [state] = [
        one
        for one in await storage.configurations.at(tenancy.id, "prod", "checkout", namespace="shop", ts=BEFORE - TICK)
        if one.kind is ConfigKind.IMAGE
    ]
    assert state.after == {"n": 2}


async def test_changes_of_one_time(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Of changes at the same instant the one stays that counts; a neighbour's change follows none of the tenant's."""
    given = sorted((change(after={"n": n}, ts=OLD) for n in range(3)), key=lambda one: one.id)
    await storage.configurations.append(tenancy.id, given)
    other = change(after={"n": 4}, ts=OLD - TICK)
    await storage.configurations.append(neighbour.id, [other])
    assert sum(await forget_all(storage, ClusterRecord.CHANGES)) == 2
    assert [one.id for one in await storage.configurations.list(tenancy.id, ConfigFilter(), limit=9, before=None)] == [
        given[-1].id
    ]
    assert await storage.configurations.get(neighbour.id, other.id) == other


async def test_what_a_collector_found(storage: Storage, tenancy: Tenancy) -> None:
    """Its last stays, so that it goes on looking whether the workload is there, though others told of changes since."""
    found = [change(after={"n": n}, ts=OLD + n * TICK - 9 * TICK, source="eks") for n in range(2)]
    told = [change(after={"n": n}, ts=OLD + n * TICK - 9 * TICK) for n in range(2, 5)]
    await storage.configurations.append(tenancy.id, [*found, *told])
    assert sum(await forget_all(storage, ClusterRecord.CHANGES)) == 3
    kept = await storage.configurations.list(tenancy.id, ConfigFilter(), limit=9, before=None)
    assert [one.id for one in kept] == [told[-1].id, found[-1].id]
    standing = await storage.configurations.standing(tenancy.id, "prod", [], source="eks")
    assert list(standing) == [("shop", "checkout", ConfigKind.IMAGE)]


async def test_drift(storage: Storage, tenancy: Tenancy) -> None:
    """Settled drift goes with its recommendations, unless something was done about it or one of them since."""
    events = {status: drift_event(status=status, created_at=OLD, updated_at=OLD) for status in DriftStatus}
    touched = drift_event(status=DriftStatus.RESOLVED, created_at=OLD, updated_at=BEFORE)
    decided = drift_event(status=DriftStatus.RESOLVED, created_at=OLD, updated_at=OLD)
    for event in (*events.values(), touched, decided):
        await storage.drift.add(tenancy.id, event)
        await storage.recommendations.add(
            tenancy.id, recommendation(event.drift_id, created_at=OLD, updated_at=BEFORE if event is decided else OLD)
        )
    assert await forget_all(storage, ClusterRecord.DRIFT) == [2, 0]
    stay = {one.drift_id for one in (events[DriftStatus.OPEN], events[DriftStatus.ACKNOWLEDGED], touched, decided)}
    kept = await storage.drift.list(tenancy.id, DriftFilter(), limit=20, before=None)
    assert {one.drift_id for one in kept} == stay
    about = await storage.recommendations.list(tenancy.id, RecommendationFilter(), limit=20, before=None)
    assert sorted(one.drift_id for one in about) == sorted(stay)


async def test_instances(store: Store, storage: Storage, tenancy: Tenancy) -> None:
    """Those go that were not seen since; one that comes again is a new one."""
    forget_collection(store.place)
    await request(storage, tenancy, order())
    claim = await claimed(storage)
    work, ids = storage.collection_work, ("a", "b", "c")
    seen = {name: SeenInstance(external_id=name, kind="node") for name in (*ids, "stays")}
    await work.see_instances(claim, SourceKind.EKS, list(seen.values()), now=OLD)
    await work.see_instances(claim, SourceKind.EKS, [seen["stays"]], now=BEFORE)
    assert await forget_all(storage, ClusterRecord.INSTANCES) == [2, 1, 0]
    assert await work.see_instances(claim, SourceKind.EKS, [seen["a"], seen["stays"]], now=BEFORE) == 1
    kept = await storage.instances.list(tenancy.id, InstanceFilter(), limit=9, after_id=None)
    assert [one.external_id for one in kept] == ["stays", "a"]
