"""Collecting more than one run can afford: each goes on where the last one broke off, and every item has a turn."""

import msgspec
import pytest

from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.storage import memory_storage
from adapters.runtime.clock import SystemClock
from core.domain.collection import CollectionRequest, CollectionRun, CollectionState, Counts, ProblemKind
from core.domain.times import HOUR_US, MINUTE_US
from core.services import collection_pass
from core.services.collection_items import turn_of
from core.services.collection_pass import LEASE_S
from core.services.collection_windows import instant_of
from ports.driven.metric_source import SourceError
from tests.support.collecting import Collecting, Died
from tests.support.storages import LIMITS, new_tenancy

RUNS_MAX = 20
"""More than anything here takes."""


@pytest.fixture
async def collecting() -> Collecting:
    """Return a tenant's collecting; its vendor answers an hour at a time."""
    collecting = Collecting(await new_tenancy(memory_storage(MemoryDatabase(SystemClock()))))
    collecting.vendor.piece_us = HOUR_US
    return collecting


def starts(collecting: Collecting) -> list[int]:
    """How many minutes ago the windows began that were asked for."""
    return [(collecting.now_us - asked.start_us) // MINUTE_US for _, asked in collecting.vendor.asked]


async def test_a_budget_too_small_for_a_window_is_enough_for_many_runs(collecting: Collecting) -> None:
    """Each run says what it lacks; in the end nothing is lost, and nothing was stored twice."""
    collecting.vendor.put("cpu", "cpu", collecting.minutes(360))
    collecting.vendor.pieces_max = 2
    runs: list[CollectionRun] = []
    while not runs or runs[-1].state is not CollectionState.DONE:
        runs.append((await collecting.run()).run)
        assert len(runs) < RUNS_MAX
    assert starts(collecting) == [360, 270, 180, 90]
    assert {run.problem.kind for run in runs if run.problem} == {ProblemKind.BUDGET}
    assert await collecting.stored() == collecting.wanted()
    assert sum(run.progress.counts.stored for run in runs) == 360
    assert sum(run.progress.counts.revised for run in runs) == 0


async def test_every_item_has_its_turn(collecting: Collecting) -> None:
    """Also where a run can afford one of ten."""
    for number in range(10):
        collecting.vendor.put(f"m{number}", "cpu", collecting.minutes(30), number=str(number))
    collecting.vendor.pieces_max = 6
    for _ in range(RUNS_MAX):
        await collecting.run()
    assert await collecting.stored() == collecting.wanted()


def test_turns_are_spread_evenly() -> None:
    """Also for a source that has only each second, or tenth, of all runs."""
    for step in range(1, 13):
        for items in (1, 2, 7, 20, 500):
            turns = {turn_of(run * step, items) for run in range(1, 12 * items)}
            assert turns == set(range(items))


@pytest.mark.parametrize("end", ["broken off", "late", "dead"])
async def test_however_a_run_ends_its_progress_stays(
    collecting: Collecting, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """Of an item that was under way: the source refuses all, the run's time is over, or its server dies."""
    collecting.vendor.put("cpu", "cpu", collecting.minutes(360))
    monkeypatch.setattr(collection_pass, "GATHER_S", 0.0)
    asked = 0

    async def strike(_: str) -> None:
        nonlocal asked
        asked += 1
        if asked == 3 and end == "broken off":
            raise SourceError(ProblemKind.CREDENTIALS, "revoked")
        if asked == 3 and end == "dead":
            raise Died
        if asked == 2 and end == "late":
            collecting.pass_time(collection_pass.RUN_S_MAX + 1)

    collecting.vendor.before = strike
    run_id = await collecting.ask()
    if end == "dead":
        with pytest.raises(Died):
            await collecting.round()
        collecting.pass_time(LEASE_S)
    else:
        assert (await collecting.end(run_id)).run.state is CollectionState.PARTIAL
        run_id = await collecting.ask()
    began_us = collecting.vendor.asked[0][1].start_us
    collecting.vendor.before = None
    assert (await collecting.end(run_id)).run.state is CollectionState.DONE
    assert [asked.start_us - began_us for _, asked in collecting.vendor.asked] == [0, 2 * HOUR_US - 30 * MINUTE_US]
    assert await collecting.stored() == collecting.wanted()


async def test_a_series_without_room_stands_behind_an_item_that_is_cut_short(collecting: Collecting) -> None:
    """It is caught up when there is room, in as many runs as that takes; its item loses nothing meanwhile."""
    collecting.vendor.put("cpu", "cpu", collecting.minutes(360), host="a")
    collecting.vendor.pieces_max = 1
    await collecting.run()
    collecting.vendor.put("cpu", "cpu", collecting.minutes(360, 1_000.0), host="b")
    collecting.limits = msgspec.structs.replace(LIMITS, series_max=1)
    collecting.vendor.pieces_max = 2
    for _ in range(2):
        run = (await collecting.run()).run
        assert run.progress.counts.refused > 0
    collecting.limits = LIMITS
    for _ in range(RUNS_MAX):
        run = (await collecting.run()).run
    assert run.state is CollectionState.DONE
    have = await collecting.stored()
    assert have["cpu", (("host", "a"),)] == collecting.minutes(360)
    # What came before it was first refused was never asked for: an earlier run had answered it without this series.
    first_us = collecting.now_us - (360 - 30) * MINUTE_US
    late = {ts_us: value for ts_us, value in collecting.minutes(360, 1_000.0).items() if ts_us >= first_us}
    assert late.items() <= have["cpu", (("host", "b"),)].items()
    collecting.vendor.asked.clear()
    await collecting.run()
    assert starts(collecting) == [30]


async def test_a_range_that_was_asked_for_moves_checkpoints_as_far_as_it_was_answered(collecting: Collecting) -> None:
    """Where it connects to what is stored, and not where it leaves a gap."""
    collecting.vendor.put("cpu", "cpu", collecting.minutes(600))
    collecting.vendor.pieces_max = 1
    gap = CollectionRequest(start_time=instant_of(collecting.now_us - 2 * HOUR_US))
    whole = CollectionRequest(start_time=instant_of(collecting.now_us - 6 * HOUR_US))
    for request in (gap, None, gap, whole, None):
        run = (await collecting.run(request)).run
        assert run.progress.counts.fetched == 60
    assert starts(collecting) == [120, 360, 120, 360, 330]
    assert run.progress.counts == Counts(fetched=60, stored=30, unchanged=30)
