"""The collector's loop on a real event loop: several runs at once, waiting, and stopping."""

import asyncio

import pytest
from structlog.testing import capture_logs

from adapters.driving.background import collection_loop
from adapters.driving.background.collection_loop import keep_collecting
from core.domain.collection import CollectionState, Problem, ProblemKind
from core.domain.errors import Unavailable
from ports.driving.collecting import CollectionRound
from tests.support.collection_rows import waiting_run

WAIT_S = 10.0
"""Far more than anything here takes on an idle machine."""
RUN = waiting_run(7, state=CollectionState.PARTIAL, problem=Problem(kind=ProblemKind.BUDGET, message="spent"))


class Work:
    """Rounds that end when the test says so."""

    def __init__(self, *rounds: CollectionRound) -> None:
        self.left = list(rounds)
        self.begun = 0
        self.extended = 0
        self.let_go = asyncio.Event()
        self._begins = asyncio.Condition()

    async def has_begun(self, rounds: int) -> None:
        """Waits until so many have."""
        async with asyncio.timeout(WAIT_S), self._begins:
            await self._begins.wait_for(lambda: self.begun >= rounds)

    async def extend(self) -> None:
        """Counts; fails the first time."""
        self.extended += 1
        if self.extended == 1:
            raise Unavailable("failing over")
        if self.extended == 3:
            self.let_go.set()

    async def round(self) -> CollectionRound:
        """The next one, or nothing to do."""
        async with self._begins:
            self.begun += 1
            self._begins.notify_all()
        if not self.left:
            return CollectionRound()
        done = self.left.pop(0)
        await self.let_go.wait()
        return done


async def test_so_many_runs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more and no fewer; those under way are ended when it is told to stop."""
    monkeypatch.setattr(collection_loop, "POLL_S", 0.001)
    work, stop = Work(*[CollectionRound(tenant="acme", run=RUN)] * 5), asyncio.Event()
    with capture_logs() as logs:
        async with asyncio.timeout(WAIT_S):
            looping = asyncio.create_task(keep_collecting(work, stop, concurrency=3))
            await work.has_begun(3)
            stop.set()
            work.let_go.set()
            await looping
    assert (work.begun, len(work.left)) == (3, 2)
    assert [log["event"] for log in logs] == ["collection_run"] * 3
    assert logs[0]["problem"] == "budget"
    assert "spent" not in str(logs)


async def test_idle_rounds_and_rounds_without_a_database_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the latter are told, as are runs that another process took over."""
    monkeypatch.setattr(collection_loop, "POLL_S", 0.001)
    monkeypatch.setattr(collection_loop, "AWAY_S", 0.001)
    work, stop = Work(CollectionRound(away="gone"), CollectionRound(tenant="acme")), asyncio.Event()
    work.let_go.set()
    with capture_logs() as logs:
        async with asyncio.timeout(WAIT_S):
            looping = asyncio.create_task(keep_collecting(work, stop, concurrency=1))
            await work.has_begun(5)
            stop.set()
            await looping
    assert [log["event"] for log in logs] == ["collection_waits", "collection_run_lost"]


async def test_leases_are_extended_while_runs_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after the database was away, and while the loop is told to stop."""
    monkeypatch.setattr(collection_loop, "EXTEND_S", 0.001)
    work, stop = Work(CollectionRound(tenant="acme", run=RUN)), asyncio.Event()
    with capture_logs() as logs:
        async with asyncio.timeout(WAIT_S):
            looping = asyncio.create_task(keep_collecting(work, stop, concurrency=1))
            await work.has_begun(1)
            stop.set()
            await looping
    assert work.extended >= 3
    assert [log["event"] for log in logs] == ["collection_leases_wait", "collection_run"]


async def test_a_run_that_does_not_end_is_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is cut off soon after the loop is told to stop."""
    monkeypatch.setattr(collection_loop, "STOP_S", 0.01)
    work, stop = Work(CollectionRound(tenant="acme", run=RUN)), asyncio.Event()
    async with asyncio.timeout(WAIT_S):
        looping = asyncio.create_task(keep_collecting(work, stop, concurrency=1))
        await work.has_begun(1)
        stop.set()
        await looping
    assert not work.let_go.is_set()
