"""Collecting over every store: nothing twice, nothing lost, revisions stored, and processes that die."""

import asyncio
from datetime import timedelta

import msgspec
import numpy as np
import pytest

from core.domain.collection import CollectionRequest, CollectionRun, CollectionState, Counts, Problem, ProblemKind
from core.domain.times import EPOCH, HOUR_US, MINUTE_US, TimeRange
from core.services.collection_pass import LEASE_S
from ports.driven.metric_source import SeenInstance
from tests.support.collecting import Collecting, Died
from tests.support.collection_rows import forget_collection
from tests.support.queries import one_line, partials
from tests.support.storages import LIMITS, Storage, Store, Tenancy, settle_all

BAD_ANSWER = Problem(kind=ProblemKind.BAD_ANSWER, message="half an answer")
ITEMS = 3


@pytest.fixture
def collecting(store: Store, tenancy: Tenancy) -> Collecting:
    """Return a new tenant's collecting, with nothing left to do of other tests: claims are of all tenants."""
    forget_collection(store.place)
    return Collecting(tenancy)


@pytest.fixture
def shop(collecting: Collecting) -> Collecting:
    """Return it with a vendor that has five hours of three items."""
    for number, item in enumerate(("cpu", "memory", "disk")):
        for host in ("a", "b"):
            collecting.vendor.put(item, item, collecting.minutes(300, 1_000.0 * number), host=host)
    return collecting


def window(shop: Collecting) -> CollectionRequest:
    """The last six hours, by name."""
    now = EPOCH + timedelta(microseconds=shop.now_us)
    return CollectionRequest(start_time=now - timedelta(hours=6), end_time=now)


@pytest.mark.parametrize("settled", [False, True])
async def test_the_same_window_twice_stores_nothing_more(shop: Collecting, settled: bool) -> None:
    """The second run fetches everything and finds it stored; there is no more of it than the vendor has."""
    request = window(shop)
    first = await shop.run(request)
    assert (first.run.state, first.run.problem) == (CollectionState.DONE, None)
    assert first.run.progress.counts == Counts(fetched=1_800, stored=1_800, created=6)
    assert {item.item: item.counts.stored for item in first.items} == dict.fromkeys(
        ["all of cpu", "all of memory", "all of disk"], 600
    )
    if settled:
        await settle_all(shop.storage)
    assert await shop.stored() == shop.wanted()
    again = await shop.run(request)
    assert again.run.state is CollectionState.DONE
    assert again.run.progress.counts == Counts(fetched=1_800, unchanged=1_800)
    assert (await shop.storage.keeping.backlog()).blocks == 0 if settled else True
    assert await shop.stored() == shop.wanted()
    assert shop.ledger.runs == [
        ("synthetic", "done", 1_800, 1_800, 0, 0),
        ("synthetic", "done", 1_800, 0, 0, 0),
    ]


async def test_late_revisions_replace_what_they_revise(shop: Collecting) -> None:
    """Of settled samples and of unsettled ones; the last answer is what is stored, once, and what aggregates tell."""
    await shop.run(window(shop))
    await settle_all(shop.storage)
    revised = shop.minutes(300, 77.5)
    late = {ts_us: revised[ts_us] for ts_us in list(revised)[::7]}
    shop.vendor.put("cpu", "cpu", late, host="a")
    run = (await shop.run(window(shop))).run
    assert run.progress.counts == Counts(fetched=1_800, revised=len(late), unchanged=1_800 - len(late))
    assert await shop.stored() == shop.wanted()
    shop.vendor.put("cpu", "cpu", dict.fromkeys(list(late)[:3], -1.0), host="a")
    assert (await shop.run(window(shop))).run.progress.counts.revised == 3
    await settle_all(shop.storage)
    assert await shop.stored() == shop.wanted()
    await check_aggregates(shop)


async def check_aggregates(shop: Collecting) -> None:
    """Hourly aggregates of both hosts' cpu are numpy's of the vendor's values."""
    points = [item for held in shop.vendor.data["cpu"].values() for item in held.items()]
    ts_us = np.array([ts_us for ts_us, _ in points])
    values = np.array([value for _, value in points])
    whole = TimeRange(int(ts_us.min()) // HOUR_US * HOUR_US, int(ts_us.max()) // HOUR_US * HOUR_US + HOUR_US)
    async with shop.tenancy.snapshot() as snapshot:
        table = await snapshot.find("cpu", ())
        hours = await partials(snapshot, one_line(table.series_ids), whole, HOUR_US)
    assert sorted(hours.buckets_us.tolist()) == np.unique(ts_us // HOUR_US * HOUR_US).tolist()
    for row, bucket_us in enumerate(hours.buckets_us.tolist()):
        inside = values[ts_us // HOUR_US * HOUR_US == bucket_us]
        assert hours.counts[row] == len(inside)
        assert hours.sums[row] == pytest.approx(inside.sum(), rel=1e-12)
        assert (hours.mins[row], hours.maxs[row]) == (inside.min(), inside.max())


async def test_runs_go_on_from_where_the_last_one_ended(shop: Collecting) -> None:
    """Each reads again what may still be revised, and no more."""
    await shop.run()
    began_us = shop.now_us
    assert {asked.start_us for _, asked in shop.vendor.asked} == {began_us - 6 * HOUR_US}
    shop.pass_time(600)
    for item in ("cpu", "memory", "disk"):
        shop.vendor.put(item, item, shop.minutes(10, 5.0), host="a")
    shop.vendor.asked.clear()
    run = (await shop.run()).run
    assert sorted(shop.vendor.asked) == [
        (item, TimeRange(began_us - 30 * MINUTE_US, shop.now_us)) for item in ("cpu", "disk", "memory")
    ]
    assert (run.progress.counts.stored, run.progress.counts.revised) == (30, 0)
    assert await shop.stored() == shop.wanted()


async def test_one_item_that_fails_stops_no_other(shop: Collecting) -> None:
    """What it gave is stored, it is named with why, and it is fetched from its old checkpoint; the others are not."""
    await shop.run()
    first_us = shop.now_us
    shop.pass_time(3_600)
    for item in ("cpu", "memory", "disk"):
        shop.vendor.put(item, item, shop.minutes(60, 5.0), host="a")
    shop.vendor.problems["memory"] = BAD_ANSWER
    detail = await shop.run()
    assert detail.run.state is CollectionState.PARTIAL
    assert detail.run.problem is not None
    assert detail.run.problem.message == "1 of 3 failed, such as all of memory: half an answer"
    assert (detail.run.progress.items, detail.run.progress.done, detail.run.progress.failed) == (3, 3, 1)
    assert [(item.item, item.problem) for item in detail.items if item.failed] == [("all of memory", BAD_ANSWER)]
    second_us = shop.now_us
    shop.pass_time(60)
    shop.vendor.problems.clear()
    shop.vendor.asked.clear()
    assert (await shop.run()).run.state is CollectionState.DONE
    starts = {item: asked.start_us for item, asked in shop.vendor.asked}
    assert starts == {
        "cpu": second_us - 30 * MINUTE_US,
        "memory": first_us - 30 * MINUTE_US,
        "disk": second_us - 30 * MINUTE_US,
    }
    assert await shop.stored() == shop.wanted()


async def test_a_process_that_dies_is_followed_by_another(shop: Collecting, other_storage: Storage) -> None:
    """When its lease has ended; the items that were finished are not fetched again, and nothing is stored twice."""

    async def die_on_the_last(_: str) -> None:
        shop.pass_time(2)
        if len(shop.vendor.asked) == ITEMS:
            raise Died

    shop.vendor.before = die_on_the_last
    run_id = await shop.ask()
    with pytest.raises(Died):
        await shop.round()
    assert not shop.vendor.is_open
    shop.vendor.before = None
    assert (await shop.round(shop.service(other_storage))).tenant is None
    shop.pass_time(LEASE_S)
    *earlier, (last, _) = shop.vendor.asked
    shop.vendor.asked.clear()
    shop.vendor.put(last, last, shop.minutes(400, 9.0), host="a")
    run = (await shop.end(run_id, shop.service(other_storage))).run
    assert [item for item, _ in shop.vendor.asked] == [last]
    assert (run.state, run.attempts, run.progress.items, run.progress.done) == (CollectionState.DONE, 2, 3, 3)
    stored = await shop.stored()
    newest_us = min(asked.start_us for _, asked in shop.vendor.asked)
    for series, points in shop.wanted(last).items():
        assert stored[series] == {ts_us: value for ts_us, value in points.items() if ts_us >= newest_us}
    finished = shop.wanted(*(item for item, _ in earlier))
    assert {series: stored[series] for series in finished} == finished
    assert run.progress.counts.stored == sum(map(len, stored.values()))


async def test_a_run_that_was_lost_is_left_alone(shop: Collecting, other_storage: Storage) -> None:
    """Where the vendor is so slow that the lease ends, another process does the run, and this one stops quietly."""
    taken_over: list[CollectionRun | None] = []

    async def slow(item: str) -> None:
        if item == "memory":
            shop.vendor.before = None
            shop.pass_time(LEASE_S)
            taken_over.append((await shop.round(shop.service(other_storage))).run)

    shop.vendor.before = slow
    run_id = await shop.ask()
    done = await shop.round()
    assert (done.tenant, done.run, done.away) == (shop.tenancy.tenant.name, None, None)
    run = (await shop.storage.collection_runs.get(shop.tenancy.id, run_id)).run
    assert taken_over == [run]
    assert (run.state, run.attempts) == (CollectionState.DONE, 2)
    assert await shop.stored() == shop.wanted()


async def test_series_without_room_are_caught_up_when_there_is_some(shop: Collecting) -> None:
    """They are named; while there is no room nothing is read again for them, and then all that they lack is."""
    shop.limits = msgspec.structs.replace(LIMITS, series_max=5)
    detail = await shop.run()
    assert detail.run.state is CollectionState.PARTIAL
    assert detail.run.progress.counts == Counts(fetched=1_800, stored=1_500, refused=300, created=5)
    [refused] = [item for item in detail.items if item.failed]
    assert refused.problem is not None
    assert refused.problem.kind is ProblemKind.REFUSED
    assert "the tenant has its 5 active series already" in refused.problem.message
    first_us = shop.now_us
    for seconds in (60, 120):
        shop.pass_time(seconds)
        shop.vendor.asked.clear()
        assert (await shop.run()).run.progress.counts.created == 0
    assert {asked.start_us for _, asked in shop.vendor.asked} == {first_us + (60 - 30 * 60) * 1_000_000}
    shop.limits = LIMITS
    shop.pass_time(60)
    assert (await shop.run()).run.progress.counts.refused == 0
    assert await shop.stored() == shop.wanted()
    shop.vendor.asked.clear()
    assert (await shop.run()).run.state is CollectionState.DONE
    assert {asked.start_us for _, asked in shop.vendor.asked} == {shop.now_us - 30 * MINUTE_US}


async def test_back_pressure_loses_nothing(shop: Collecting) -> None:
    """Over the tenant's rate the run waits, as long as ingest says, and stores the rest then."""
    shop.limits = msgspec.structs.replace(LIMITS, samples_per_s=100.0, samples_burst=300.0)

    async def a_moment(item: str) -> None:
        shop.pass_time(2)

    shop.vendor.before = a_moment
    run = (await shop.run()).run
    assert (run.state, run.progress.counts.stored) == (CollectionState.DONE, 1_800)
    assert sum(shop.pause.waits_s) >= 3
    assert await shop.stored() == shop.wanted()


async def test_instances_are_created_on_sight(shop: Collecting) -> None:
    """Of what was discovered and of what series are about, once; the next run finds them there."""
    shop.vendor.found["instances"] = [SeenInstance(external_id="i-1", kind="host")]
    shop.vendor.instances["cpu"] = SeenInstance(external_id="i-2", kind="host", name="b\x00", tags={"env": "prod"})
    first = (await shop.run()).run.progress
    assert (first.instances_seen, first.instances_created) == (2, 2)
    again = (await shop.run()).run.progress
    assert (again.instances_seen, again.instances_created) == (2, 0)


async def test_two_processes_share_the_work(shop: Collecting, other_storage: Storage, two_transactions: None) -> None:
    """Each run is done by one of them."""
    run_ids = [await shop.ask(scope=f"{shop.scope}-{number}") for number in range(2)]
    rounds = await asyncio.gather(shop.round(), shop.round(shop.service(other_storage)))
    assert sorted(done.run.id for done in rounds if done.run is not None) == run_ids
    assert await shop.stored() == shop.wanted()
