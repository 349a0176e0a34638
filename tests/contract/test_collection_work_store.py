"""The collection work store port: who does which run, how far each is, and what stays when it has ended."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from core.domain.collection import (
    ITEMS_SHOWN_MAX,
    CollectionRun,
    CollectionState,
    Counts,
    ItemResult,
    Problem,
    ProblemKind,
    Progress,
)
from core.domain.errors import Conflict, NotFound
from core.domain.source_configs import SourceKind, SyntheticConfig
from ports.driven.source_store import SCHEDULE, Checkpoint, CollectionClaim
from tests.support.collection_rows import (
    FULL,
    LEASE_S,
    NOON,
    REQUEST,
    advance,
    claimed,
    create,
    finish,
    forget_collection,
    later,
    look,
    order,
    request,
    run_credentials,
    spec,
)
from tests.support.storages import Storage, Store, Tenancy

CLAIMANTS = 8
PROGRESS = Progress(
    items=9, done=3, failed=1, counts=Counts(fetched=7, stored=5, revised=1, unchanged=1), calls=4, cost_usd=0.1 + 0.2
)
DENIED = Problem(kind=ProblemKind.PERMISSION, message="needs cloudwatch:GetMetricData – “größe”")
EMPTY = Problem(kind=ProblemKind.NO_DATA, message="no such host")


@pytest.fixture(autouse=True)
def nothing_else_to_do(store: Store) -> None:
    """Delete what earlier tests left: claims are of all tenants."""
    forget_collection(store.place)


async def shown(storage: Storage, tenancy: Tenancy, run_id: int) -> CollectionRun:
    """A run as callers see it."""
    return (await storage.collection_runs.get(tenancy.id, run_id)).run


def point(item: str, series: str = "", **by: float) -> Checkpoint:
    """A checkpoint some time after noon."""
    return Checkpoint(item=item, series=series, through=later(**by))


async def test_the_one_that_waits_longest(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """It is given with everything that was asked for, and seen to run."""
    asked = [
        order("once:a", spec=FULL, sealed=b"\x00sealed\xff", request=REQUEST, requested_by="key:7"),
        order("once:b"),
    ]
    first, second = await request(storage, tenancy, *asked)
    claim = await claimed(other_storage, later(seconds=2))
    assert (claim.tenant_id, claim.tenant) == (tenancy.id, tenancy.tenant.name)
    assert (claim.spec, claim.scope, claim.sealed, claim.finished_items) == (
        FULL,
        "once:a",
        b"\x00sealed\xff",
        frozenset(),
    )
    assert (claim.run.id, claim.run.state, claim.run.attempts) == (first, CollectionState.RUNNING, 1)
    assert (claim.run.request, claim.run.requested_by) == (REQUEST, "key:7")
    assert (claim.run.requested_at, claim.run.started_at, claim.run.finished_at) == (NOON, later(seconds=2), None)
    assert await shown(storage, tenancy, first) == claim.run
    assert (await claimed(storage)).run.id == second
    assert await look(storage) is None


async def test_each_run_is_given_once(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """Of however many that look at once."""
    run_ids = await request(storage, tenancy, *(order(f"once:{index}") for index in range(3)))
    stores = (storage, other_storage) * (CLAIMANTS // 2)
    claims = await asyncio.gather(*(look(one, running_max=9) for one in stores))
    assert sorted(claim.run.id for claim in claims if claim is not None) == run_ids


async def test_a_scope_has_one_run_at_a_time(
    storage: Storage, other_storage: Storage, tenancy: Tenancy, neighbour: Tenancy
) -> None:
    """Others of it wait for their turn; the same scope of another tenant is another one."""
    first, second = await request(storage, tenancy, order("once:a"), order("once:a"))
    [others] = await request(storage, neighbour, order("once:a"))
    stores = (storage, other_storage) * (CLAIMANTS // 2)
    claims = [
        claim for claim in await asyncio.gather(*(look(one, running_max=9) for one in stores)) if claim is not None
    ]
    assert sorted(claim.run.id for claim in claims) == [first, others]
    [mine] = [claim for claim in claims if claim.run.id == first]
    await finish(storage, mine)
    assert (await claimed(storage)).run.id == second


async def test_a_tenant_has_so_many_runs_at_a_time(
    storage: Storage, other_storage: Storage, tenancy: Tenancy, neighbour: Tenancy
) -> None:
    """However many wait and look at once; other tenants' begin meanwhile."""
    mine = await request(storage, tenancy, *(order(f"once:{index}") for index in range(4)))
    [others] = await request(storage, neighbour, order())
    await create(storage, tenancy)
    stores = (storage, other_storage) * (CLAIMANTS // 2)
    claims = [claim for claim in await asyncio.gather(*(look(one) for one in stores)) if claim is not None]
    assert sorted(claim.run.id for claim in claims) == [*mine[:2], others]
    [first] = [claim for claim in claims if claim.run.id == mine[0]]
    await finish(storage, first)
    assert (await claimed(storage)).run.id == mine[2]
    assert await look(storage) is None


async def test_a_source_that_is_due(storage: Storage, tenancy: Tenancy) -> None:
    """Gets a run of its own, and is due again after whole intervals: what was missed is one run."""
    scope = await create(storage, tenancy)
    assert await look(storage, later(microseconds=-1)) is None
    claim = await claimed(storage, later(minutes=17))
    assert (claim.scope, claim.spec, claim.sealed) == (scope, spec(), None)
    assert (claim.run.source, claim.run.kind, claim.run.requested_by) == ("fleet", SourceKind.SYNTHETIC, SCHEDULE)
    assert (claim.run.requested_at, claim.run.started_at, claim.run.attempts) == (
        later(minutes=17),
        later(minutes=17),
        1,
    )
    assert (await storage.sources.get(tenancy.id, "fleet")).next_run_at == later(minutes=20)
    await finish(storage, claim)
    assert await look(storage, later(minutes=20, microseconds=-1)) is None
    second = await claimed(storage, later(minutes=20))
    assert second.run.id > claim.run.id
    assert (await storage.sources.get(tenancy.id, "fleet")).next_run_at == later(minutes=25)


async def test_a_due_source_waits_for_its_run_to_end(storage: Storage, tenancy: Tenancy) -> None:
    """One that takes longer than its interval is not begun twice; what was asked for goes first."""
    scope = await create(storage, tenancy)
    [asked] = await request(storage, tenancy, order(scope, spec=spec(), stored=True))
    claim = await claimed(storage)
    assert (claim.run.id, claim.run.requested_by) == (asked, "key:5")
    await advance(storage, claim, now=later(minutes=11))
    assert await look(storage, later(minutes=11)) is None
    await finish(storage, claim)
    assert (await claimed(storage, later(minutes=11))).run.requested_by == SCHEDULE


async def test_due_sources_in_order(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """The one that is due longest goes first, whoever looks; each has one run."""
    for name, minutes in (("b", 2), ("a", 1), ("c", 3)):
        await storage.sources.create(tenancy.id, spec(name), (), None, now=later(minutes=minutes))
    first = await claimed(storage, later(minutes=3), running_max=9)
    assert first.run.source == "a"
    stores = (storage, other_storage) * (CLAIMANTS // 2)
    claims = await asyncio.gather(*(look(one, later(minutes=3), running_max=9) for one in stores))
    assert sorted(claim.run.source for claim in claims if claim is not None) == ["b", "c"]


async def test_a_stored_source_as_it_is_when_its_run_begins(storage: Storage, tenancy: Tenancy) -> None:
    """What is changed while a run waits counts for it, its name and credentials included."""
    scope = await create(storage, tenancy, interval=None)
    [run_id] = await request(storage, tenancy, order(scope, spec=spec(), stored=True))
    renamed = spec("renamed", config=SyntheticConfig(instances=9), interval=None)
    await storage.sources.replace(tenancy.id, "fleet", renamed, (("api_key",), b"new"), revision=1, now=NOON)
    claim = await claimed(storage)
    assert (claim.run.id, claim.run.source, claim.spec, claim.sealed) == (run_id, "renamed", renamed, b"new")


async def test_progress_is_kept(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """It is seen at once, with what came of the items: failed ones first, of each the latest."""
    [run_id] = await request(storage, tenancy, order())
    claim = await claimed(storage)
    early = (ItemResult(item="b", problem=DENIED), ItemResult(item="größe", problem=EMPTY), ItemResult(item="a"))
    await advance(storage, claim, results=early, finished=("key of a",), progress=PROGRESS)
    fixed = ItemResult(item="b", counts=Counts(fetched=3, stored=3, created=1))
    denied = ItemResult(item="z “✓”", counts=Counts(fetched=1), problem=DENIED)
    await advance(storage, claim, results=(fixed, denied), finished=("key of b", "b"), progress=PROGRESS)
    detail = await other_storage.collection_runs.get(tenancy.id, run_id)
    assert detail.run == msgspec.structs.replace(claim.run, progress=PROGRESS)
    assert detail.items == (denied, early[2], fixed, early[1])


async def test_one_that_was_lost_goes_on(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """A run whose lease ended goes to exactly one other, before all that wait, with what it had finished."""
    run_id, waiting = await request(storage, tenancy, order("once:a", sealed=b"x"), order("once:b"))
    lost = await claimed(storage)
    result = ItemResult(item="title")
    await advance(storage, lost, results=(result,), finished=("k1", "k2"), progress=PROGRESS, now=later(seconds=30))
    ends = later(seconds=30 + LEASE_S)
    other = await claimed(storage, ends - timedelta(microseconds=1))
    assert other.run.id == waiting
    stores = (storage, other_storage) * (CLAIMANTS // 2)
    claims = [claim for claim in await asyncio.gather(*(look(one, ends) for one in stores)) if claim is not None]
    [again] = [claim for claim in claims if claim.run.id == run_id]
    assert len(claims) == 1
    assert again.run == msgspec.structs.replace(lost.run, attempts=2, progress=PROGRESS)
    assert (again.finished_items, again.sealed) == (frozenset({"k1", "k2"}), b"x")
    assert again.token != lost.token


async def test_leases_of_runs_under_way_are_extended(
    storage: Storage, other_storage: Storage, tenancy: Tenancy
) -> None:
    """Of all that are named, even after they ended; not those that were taken over meanwhile, or are over."""
    await request(storage, tenancy, order("once:a"), order("once:b"), order("once:c"))
    lost, kept, ended = [await claimed(storage, running_max=3) for _ in range(3)]
    await finish(storage, ended)
    taken = await claimed(other_storage, later(seconds=LEASE_S))
    assert taken.run.id == lost.run.id
    await storage.collection_work.extend([lost, kept, ended], now=later(seconds=LEASE_S), lease_s=10 * LEASE_S)
    again = await look(storage, later(seconds=3 * LEASE_S))
    assert again is not None
    assert again.run.id == lost.run.id
    assert await look(storage, later(seconds=10 * LEASE_S), running_max=1) is not None
    await storage.collection_work.extend([], now=NOON, lease_s=LEASE_S)
    with pytest.raises(Conflict):
        await advance(storage, lost)
    await advance(storage, kept)


async def test_who_lost_a_run_changes_nothing(storage: Storage, tenancy: Tenancy) -> None:
    """Not after another took it over, nor after it has ended."""
    [run_id] = await request(storage, tenancy, order())
    lost = await claimed(storage)
    again = await claimed(storage, later(hours=1))

    async def all_refused(claim: CollectionClaim) -> None:
        with pytest.raises(Conflict):
            await advance(storage, claim, checkpoints=(point("a"),), results=(ItemResult(item="a"),))
        with pytest.raises(Conflict):
            await storage.collection_work.see_instances(claim, SourceKind.SYNTHETIC, (), now=NOON)
        with pytest.raises(Conflict):
            await finish(storage, claim, CollectionState.FAILED)

    await all_refused(lost)
    assert list(await storage.collection_work.checkpoints(again)) == []
    await finish(storage, again)
    await all_refused(again)
    ended = await storage.collection_runs.get(tenancy.id, run_id)
    assert (ended.run.state, ended.items) == (CollectionState.DONE, ())


async def test_checkpoints_never_move_back(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """They are one for each item and series, belong to the scope, and outlast the run."""
    await request(storage, tenancy, order("once:a"), order("once:a"), order("once:b"))
    long = "q" * 4_000 + "ö “✓”"
    claim = await claimed(storage)
    moved = (point(long, hours=1), point(long, "s", hours=2), point("ab", "c"), point("a", "bc"))
    await advance(storage, claim, checkpoints=moved)
    back = (point(long, minutes=59), point(long, "s", hours=3), point("new", hours=2), point("new", hours=1))
    await advance(storage, claim, checkpoints=back)
    await finish(storage, claim)
    again = await claimed(other_storage)
    assert again.scope == claim.scope
    expected = (point("a", "bc"), point("ab", "c"), point("new", hours=2), point(long, hours=1))
    assert list(await other_storage.collection_work.checkpoints(again)) == [*expected, point(long, "s", hours=3)]
    elsewhere = await claimed(storage)
    assert elsewhere.scope == "once:b"
    assert list(await storage.collection_work.checkpoints(elsewhere)) == []


async def test_series_that_have_caught_up(storage: Storage, tenancy: Tenancy) -> None:
    """Their checkpoints are gone, those beside them not."""
    await request(storage, tenancy, order())
    claim = await claimed(storage)
    await advance(storage, claim, checkpoints=(point("a"), point("a", "s"), point("b", "s")))
    await advance(storage, claim, checkpoints=(point("a", hours=1),), caught_up=(point("a", "s"), point("no", "s")))
    assert list(await storage.collection_work.checkpoints(claim)) == [point("a", hours=1), point("b", "s")]


async def test_the_end(store: Store, storage: Storage, tenancy: Tenancy) -> None:
    """An ended run says how and why, and keeps no credentials; nobody is given it again."""
    run_ids = await request(storage, tenancy, order("once:a", sealed=b"x"), order("once:b"))
    for state, problem in ((CollectionState.FAILED, DENIED), (CollectionState.DONE, None)):
        claim = await claimed(storage)
        await advance(storage, claim, progress=PROGRESS)
        await storage.collection_work.finish(claim, state, problem, now=later(seconds=9))
        assert await shown(storage, tenancy, claim.run.id) == msgspec.structs.replace(
            claim.run, state=state, problem=problem, progress=PROGRESS, finished_at=later(seconds=9)
        )
    assert [run_credentials(store.place, run_id) for run_id in run_ids] == [None, None]
    assert await look(storage, later(days=1)) is None


async def test_so_many_results_stay(storage: Storage, tenancy: Tenancy) -> None:
    """While it runs as well as afterwards the first are shown; all that failed are among them."""
    [run_id] = await request(storage, tenancy, order())
    claim = await claimed(storage)
    results = [ItemResult(item=f"{index:05}") for index in range(ITEMS_SHOWN_MAX + 50)]
    results[-1] = ItemResult(item=results[-1].item, problem=DENIED)
    await advance(storage, claim, results=results, finished=[f"key {result.item}" for result in results])
    expected = (results[-1], *results[: ITEMS_SHOWN_MAX - 1])
    assert (await storage.collection_runs.get(tenancy.id, run_id)).items == expected
    await finish(storage, claim)
    assert (await storage.collection_runs.get(tenancy.id, run_id)).items == expected


async def test_a_run_of_a_deleted_source(storage: Storage, tenancy: Tenancy) -> None:
    """One that waits comes to nothing, and says so; so does one under way, whose checkpoints are gone for good."""
    scope = await create(storage, tenancy, interval=None)
    asked = order(scope, spec=spec(), stored=True)
    under_way, waiting = await request(storage, tenancy, asked, asked)
    claim = await claimed(storage)
    await advance(storage, claim, checkpoints=(point("a"),))
    await storage.sources.delete(tenancy.id, "fleet")
    assert list(await storage.collection_work.checkpoints(claim)) == []
    with pytest.raises(Conflict):
        await advance(storage, claim, checkpoints=(point("a"),))
    assert await look(storage, later(seconds=1)) is None
    ended = await shown(storage, tenancy, waiting)
    assert (ended.state, ended.finished_at, ended.source) == (CollectionState.FAILED, later(seconds=1), "fleet")
    assert ended.problem is not None
    assert (ended.problem.kind, "deleted" in ended.problem.message) == (ProblemKind.CONFIGURATION, True)
    assert (await shown(storage, tenancy, under_way)).state is CollectionState.RUNNING
    assert await look(storage, later(hours=1)) is None
    assert (await shown(storage, tenancy, under_way)).state is CollectionState.FAILED


async def test_a_run_may_end_after_its_source(storage: Storage, tenancy: Tenancy) -> None:
    """What it had collected by then is in the store, and it says so."""
    scope = await create(storage, tenancy, interval=None)
    [run_id] = await request(storage, tenancy, order(scope, spec=spec(), stored=True))
    claim = await claimed(storage)
    await storage.sources.delete(tenancy.id, "fleet")
    await finish(storage, claim)
    assert (await shown(storage, tenancy, run_id)).state is CollectionState.DONE


async def test_old_runs_are_forgotten(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Ended ones of any tenant, oldest first, so many at a time; not those that wait or run, however old."""
    await request(storage, neighbour, order())
    [first_id] = await request(storage, tenancy, order("once:a"))
    ends: list[dict[str, Any]] = [{"hours": 2}, {"hours": 1}]
    ended = [await claimed(storage), await claimed(storage)]
    for claim, by in zip(ended, ends, strict=True):
        await advance(storage, claim, results=(ItemResult(item="a"),), finished=("a",))
        await finish(storage, claim, now=later(**by))
    await request(storage, tenancy, order("once:b"), order("once:c"))
    running = await claimed(storage)
    assert await storage.collection_work.forget(before=later(hours=1), limit=9) == 0
    assert await storage.collection_work.forget(before=later(days=9), limit=1) == 1
    with pytest.raises(NotFound):
        await storage.collection_runs.get(tenancy.id, first_id)
    assert await storage.collection_work.forget(before=later(days=9), limit=9) == 1
    left = await storage.collection_runs.list(tenancy.id, source=None, state=None, limit=9, before_id=None)
    assert [run.id for run in left] == [running.run.id + 1, running.run.id]


async def test_a_lease_that_is_being_renewed(
    storage: Storage, other_storage: Storage, tenancy: Tenancy, two_transactions: None
) -> None:
    """Whoever renews late and whoever takes over at that moment: exactly one of them goes on."""
    for _ in range(5):
        await request(storage, tenancy, order())
        claim = await claimed(storage)
        outcome, taken = await asyncio.gather(
            advance(storage, claim, checkpoints=(point("a"),), now=later(hours=1)),
            look(other_storage, later(hours=1)),
            return_exceptions=True,
        )
        assert isinstance(outcome, Conflict) == isinstance(taken, CollectionClaim)
        assert outcome is None or isinstance(outcome, Conflict)
        await finish(storage, taken if isinstance(taken, CollectionClaim) else claim)
