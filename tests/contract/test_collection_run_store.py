"""The collection run store port: runs of one tenant as callers ask for them and see them."""

import asyncio

import pytest

from core.domain.collection import WAITING_RUNS_MAX, CollectionState
from core.domain.errors import Conflict, NotFound
from core.domain.source_configs import SourceKind
from tests.support.collection_rows import (
    FULL,
    NOON,
    REQUEST,
    claimed,
    create,
    finish,
    forget_collection,
    later,
    order,
    request,
    spec,
    waiting_run,
)
from tests.support.storages import Storage, Store, Tenancy

ALL = 1_000


async def test_put_in_line(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """In the order asked; a stored source's run has its name, another its kind. All fields come back as given."""
    scope = await create(storage, tenancy, "mine")
    orders = [
        order(scope, spec=spec("mine"), stored=True),
        order(spec=FULL, sealed=b"x", request=REQUEST, requested_by="“größe”"),
    ]
    first, second = await storage.collection_runs.request(tenancy.id, orders, now=NOON)
    assert first == waiting_run(first.id, "mine")
    assert second == waiting_run(
        second.id, "prometheus", kind=SourceKind.PROMETHEUS, request=REQUEST, requested_by="“größe”"
    )
    assert first.id < second.id
    detail = await other_storage.collection_runs.get(tenancy.id, second.id)
    assert (detail.run, detail.items) == (second, ())


async def test_listed_newest_first(store: Store, storage: Storage, tenancy: Tenancy) -> None:
    """In pages, of one source or in one state where that is asked."""
    forget_collection(store.place)
    scope = await create(storage, tenancy, "mine", interval=None)
    run_ids = await request(
        storage, tenancy, order("once:a"), order(scope, spec=spec("mine"), stored=True), order("once:b")
    )
    await finish(storage, await claimed(storage), CollectionState.PARTIAL)

    async def shown(
        *, source: str | None = None, state: CollectionState | None = None, limit: int = ALL, before: int | None = None
    ) -> list[int]:
        found = await storage.collection_runs.list(
            tenancy.id, source=source, state=state, limit=limit, before_id=before
        )
        return [run_ids.index(run.id) for run in found]

    assert await shown() == [2, 1, 0]
    assert await shown(limit=2) == [2, 1]
    assert await shown(before=run_ids[1]) == [0]
    assert await shown(source="mine") == [1]
    assert await shown(source="synthetic", limit=1) == [2]
    assert await shown(state=CollectionState.PARTIAL) == [0]
    assert await shown(source="mine", state=CollectionState.PARTIAL) == []


async def test_all_or_none_wait(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """Where not all have room none is put in line, however many ask at once."""
    await request(storage, tenancy, *(order(f"once:{index}") for index in range(WAITING_RUNS_MAX - 3)))
    attempts = [request(one, tenancy, order("once:x"), order("once:y")) for one in (storage, other_storage, storage)]
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 2
    await request(storage, tenancy, order("once:z"))
    with pytest.raises(Conflict, match=str(WAITING_RUNS_MAX)):
        await request(storage, tenancy, order("once:z"))
    waiting = await storage.collection_runs.list(
        tenancy.id, source=None, state=CollectionState.WAITING, limit=ALL, before_id=None
    )
    assert len(waiting) == WAITING_RUNS_MAX


async def test_one_that_ended_makes_room(store: Store, storage: Storage, tenancy: Tenancy) -> None:
    """Only those that wait are counted."""
    forget_collection(store.place)
    await request(storage, tenancy, *(order(f"once:{index}") for index in range(WAITING_RUNS_MAX)))
    await claimed(storage)
    await request(storage, tenancy, order("once:z"))


async def test_tenants_apart(store: Store, storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """The neighbour sees none of it; a scope that names another's source stands for no source."""
    forget_collection(store.place)
    scope = await create(storage, tenancy, "mine", interval=None)
    [run_id] = await request(storage, tenancy, order())
    assert (
        list(await storage.collection_runs.list(neighbour.id, source=None, state=None, limit=9, before_id=None)) == []
    )
    for tenant_id, wanted in ((neighbour.id, run_id), (tenancy.id, 0), (tenancy.id, -1), (tenancy.id, 2**62)):
        with pytest.raises(NotFound, match="run"):
            await storage.collection_runs.get(tenant_id, wanted)
    await finish(storage, await claimed(storage))
    [stolen] = await request(storage, neighbour, order(scope, spec=spec("mine"), stored=True))
    await storage.collection_work.claim(now=later(minutes=1), lease_s=1.0, running_max=1)
    detail = await storage.collection_runs.get(neighbour.id, stolen)
    assert detail.run.state is CollectionState.FAILED
