"""Collecting from each of the four HTTP vendors, from the wire to the store: nothing twice, nothing lost."""

from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import numpy as np
import pytest

from core.domain.collection import CollectionRequest, CollectionRun, CollectionState, Counts, ProblemKind
from core.domain.times import EPOCH, MINUTE_US, SECOND_US
from tests.support.collecting import SPEC, Collecting
from tests.support.receiver import answer
from tests.support.storages import memory_store, new_tenancy
from tests.support.vendors.faults import half
from tests.support.vendors.four import VENDORS, OneSeries
from tests.support.vendors.opened import Only, World

HOUR_S = 3_600
RUNS_MAX = 40
"""More than any vendor's two days take at a call each."""


@pytest.fixture
async def collecting() -> AsyncIterator[Collecting]:
    """Yield a tenant's collecting over a store of its own."""
    async with memory_store().open() as storage:
        yield Collecting(await new_tenancy(storage))


@pytest.fixture(params=VENDORS, ids=lambda serve: serve.__name__)
async def vendor(request: pytest.FixtureRequest, collecting: Collecting) -> AsyncIterator[OneSeries]:
    """Yield each vendor, at the collector's time."""
    async with request.param(World(collecting.clock)) as opened:
        yield opened


def noise(collecting: Collecting, *, seed: int = 1, seconds: int = 2 * HOUR_S) -> dict[int, float]:
    """A value for each minute until now."""
    now_s = collecting.now_us // SECOND_US
    starts = range(now_s - seconds, now_s, 60)
    values = np.random.default_rng(seed).normal(50, 5, len(starts)).round(6)
    return dict(zip(starts, values.tolist(), strict=True))


def last_hour(collecting: Collecting) -> CollectionRequest:
    """By name."""
    now = EPOCH + timedelta(microseconds=collecting.now_us)
    return CollectionRequest(start_time=now - timedelta(hours=1), end_time=now)


async def stored(collecting: Collecting) -> dict[int, float]:
    """Of the one series, by seconds."""
    (points,) = (await collecting.stored()).values()
    return {ts_us // SECOND_US: value for ts_us, value in points.items()}


async def test_twice_and_with_late_revisions(collecting: Collecting, vendor: OneSeries) -> None:
    """What is stored is the vendor's last answer: no row is there twice, none is missing, sums are numpy's."""
    service = collecting.service(opener=Only(vendor.source))
    values = noise(collecting)
    hour = list(values)[-60:]
    late = {hour[20], hour[41]}
    vendor.has({ts_s: value for ts_s, value in values.items() if ts_s not in late})
    first = await collecting.run(last_hour(collecting), service)
    assert first.run.state is CollectionState.DONE
    # Prometheus answers the newest value that it has, as its queries do; the others leave gaps.
    had = await stored(collecting)
    assert first.run.progress.counts == Counts(fetched=len(had), stored=len(had), created=1)
    assert {ts_s: had[ts_s] for ts_s in hour if ts_s not in late} == {
        ts_s: values[ts_s] for ts_s in hour if ts_s not in late
    }
    again = await collecting.run(last_hour(collecting), service)
    assert again.run.progress.counts == Counts(fetched=len(had), unchanged=len(had))

    revised = {ts_s: value + 0.5 * (ts_s in hour[10:15]) for ts_s, value in values.items()}
    vendor.has(revised)
    third = await collecting.run(last_hour(collecting), service)
    counts = third.run.progress.counts
    assert (counts.fetched, counts.stored + counts.revised, counts.unchanged) == (60, 7, 53)
    have = await stored(collecting)
    assert have == {ts_s: revised[ts_s] for ts_s in hour}
    assert sum(have.values()) == pytest.approx(np.sum([revised[ts_s] for ts_s in hour]))


async def test_runs_by_themselves_go_on_from_each_other(collecting: Collecting, vendor: OneSeries) -> None:
    """At odd instants, with outages in between: every minute that is over is there in the end, as it is."""
    service = collecting.service(opener=Only(vendor.source))
    began_s = collecting.now_us // SECOND_US
    values = noise(collecting, seconds=7 * HOUR_S)
    values |= {ts_s: ts_s % 97 / 4 for ts_s in range(began_s, began_s + HOUR_S, 60)}
    vendor.has(values)
    await collecting.run(None, service)
    for wait_s, fault in ((417, None), (33, answer(401)), (601, half(b"x" * 99)), (240, answer(302)), (909, None)):
        collecting.pass_time(wait_s)
        vendor.double.fault = fault
        run = (await collecting.run(None, service)).run
        assert (run.state is CollectionState.DONE) == (fault is None)
    have = await stored(collecting)
    # The source's look-back is six hours; the minute under way may be left to the next run.
    minutes = range(began_s - 6 * HOUR_S, (collecting.now_us - MINUTE_US) // SECOND_US // 60 * 60, 60)
    assert len(minutes) > 6 * 60 + 30
    assert {ts_s: have.get(ts_s) for ts_s in minutes} == {ts_s: values[ts_s] for ts_s in minutes}


async def test_what_takes_more_calls_than_a_run_may_make_takes_more_runs(
    collecting: Collecting, vendor: OneSeries
) -> None:
    """Each goes on from where the last one was cut off: nothing is lost, nothing twice, and in the end it is done."""
    values = noise(collecting, seconds=2 * 24 * HOUR_S)
    vendor.has(values)
    spec = msgspec.structs.replace(SPEC, lookback="2d")
    runs: list[CollectionRun] = []
    while not runs or runs[-1].state is not CollectionState.DONE:
        async with vendor.limited(1) as source:
            runs.append((await collecting.run(None, collecting.service(opener=Only(source)), spec=spec)).run)
        assert runs[-1].progress.counts.stored > 0
        assert len(runs) < RUNS_MAX
    assert {run.problem.kind for run in runs if run.problem} == {ProblemKind.BUDGET}
    assert len(runs) > 1
    assert await stored(collecting) == values
    assert sum(run.progress.counts.stored for run in runs) == len(values)
    assert sum(run.progress.counts.revised for run in runs) == 0


async def test_problems_are_in_the_run(collecting: Collecting, vendor: OneSeries) -> None:
    """A person finds them there."""
    service = collecting.service(opener=Only(vendor.stranger))
    run = (await collecting.run(None, service)).run
    assert run.state is CollectionState.FAILED
    assert run.problem is not None
    assert run.problem.kind is ProblemKind.CREDENTIALS
