"""The notifier's loop on a real event loop: receivers that hang, databases that go, and stopping."""

import asyncio
import time
from collections.abc import Callable

import msgspec
import pytest

from adapters.driving.background import notify_loop
from adapters.driving.background.notify_loop import NotifyLoop
from adapters.runtime.clock import SystemClock
from core.domain.notifications import Channel, Message, NotificationState
from core.services.notify import PER_CHANNEL_MAX, NotifyPlan
from tests.support.waiting_events import SLACK
from tests.unit.services.notifying import TENANT, Notifying

WAIT_S = 10.0
"""Far more than anything here takes on an idle machine."""


class Receivers:
    """Takes messages, except that the channel `slow` holds them until it is let go."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, Message]] = []
        self.holding = 0
        self.holding_max = 0
        self.cancelled = 0
        self.let_go = asyncio.Event()
        self.defect = False

    async def send(self, channel: Channel, secrets: tuple[str, ...], message: Message) -> None:
        if self.defect:
            self.defect = False
            raise ZeroDivisionError("a defect of this notifier")
        if channel.config.name == "slow":
            self.holding += 1
            self.holding_max = max(self.holding_max, self.holding)
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            finally:
                self.holding -= 1
        self.taken.append((channel.config.name, message))

    def count(self, name: str) -> int:
        """How many a channel has taken."""
        return sum(channel == name for channel, _ in self.taken)


class Running:
    """A loop that runs, with what stands around it."""

    def __init__(self) -> None:
        self.receivers = Receivers()
        self.world = Notifying(SystemClock(), self.receivers)
        self.world.plan = NotifyPlan(group_wait_s=0.001, send_timeout_s=60.0)
        self.world.restart()
        self.stop = asyncio.Event()
        self.loop = NotifyLoop(self.world.service)

    async def channel(self, name: str) -> None:
        """One more channel, that only rules naming it use."""
        config = msgspec.structs.replace(SLACK, name=name, default=False)
        await self.world.channels.create(TENANT, config, ("https://hooks.example/x",))

    def fire(self, count: int, channel: str, *, first: int) -> None:
        """So many alerts, each of a rule of its own."""
        for number in range(first, first + count):
            self.world.fired(number, rule_id=number)
            event = max(self.world.tables.notification_events.values(), key=lambda row: row.id)
            event.channels = (channel,)


async def until(condition: Callable[[], bool]) -> None:
    """Waits for a condition; raises `TimeoutError`."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110  # what changes has no event
            await asyncio.sleep(0.005)


@pytest.fixture
async def running(monkeypatch: pytest.MonkeyPatch) -> Running:
    """Not started yet."""
    monkeypatch.setattr(notify_loop, "AWAY_S", 0.01)
    monkeypatch.setattr(notify_loop, "SETTLE_PAUSE_S", 0.01)
    made = Running()
    for name in ("slow", "quick"):
        await made.channel(name)
    return made


async def test_a_receiver_that_hangs_delays_no_other(running: Running) -> None:
    """It holds its own few places, whatever waits for it, while others take all of theirs."""
    running.fire(30, "slow", first=1)
    running.fire(30, "quick", first=101)
    task = asyncio.create_task(running.loop.run(running.stop))
    await until(lambda: running.receivers.count("quick") == 30)
    assert (running.receivers.holding, running.receivers.count("slow")) == (PER_CHANNEL_MAX, 0)
    running.receivers.let_go.set()
    await until(lambda: running.receivers.count("slow") == 30)
    running.stop.set()
    await asyncio.wait_for(task, WAIT_S)
    assert running.receivers.holding_max == PER_CHANNEL_MAX
    assert {row.state for row in running.world.messages} == {NotificationState.DELIVERED}


async def test_cancelling_ends_it_at_once(running: Running) -> None:
    """What was being sent is abandoned, and comes back when its lease ends."""
    running.fire(2, "slow", first=1)
    task = asyncio.create_task(running.loop.run(running.stop))
    await until(lambda: running.receivers.holding == 2)
    before = asyncio.all_tasks()
    task.cancel()
    started_s = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started_s < 1.0
    assert running.receivers.cancelled == 2
    assert asyncio.all_tasks() < before
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert {row.state for row in running.world.messages} == {NotificationState.WAITING}


async def test_stopping_lets_what_is_being_sent_end(running: Running) -> None:
    """Nothing new begins, and the end is written down."""
    running.fire(1, "slow", first=1)
    task = asyncio.create_task(NotifyLoop(running.world.service, grace_s=WAIT_S).run(running.stop))
    await until(lambda: running.receivers.holding == 1)
    running.stop.set()
    running.fire(1, "quick", first=2)
    running.receivers.let_go.set()
    await asyncio.wait_for(task, WAIT_S)
    assert [row.state for row in running.world.messages] == [NotificationState.DELIVERED]
    assert running.receivers.cancelled == 0


async def test_stopping_does_not_wait_for_ever(running: Running) -> None:
    """After the time of grace it is abandoned, and comes back when its lease ends."""
    running.fire(1, "slow", first=1)
    task = asyncio.create_task(NotifyLoop(running.world.service, grace_s=0.02).run(running.stop))
    await until(lambda: running.receivers.holding == 1)
    running.stop.set()
    await asyncio.wait_for(task, WAIT_S)
    assert running.receivers.cancelled == 1
    assert [row.state for row in running.world.messages] == [NotificationState.WAITING]


async def test_an_outcome_is_written_down_once_the_database_is_back(running: Running) -> None:
    """A database that goes between sending and writing down causes no second message."""
    running.fire(1, "slow", first=1)
    task = asyncio.create_task(running.loop.run(running.stop))
    await until(lambda: running.receivers.holding == 1)
    running.world.outbox.away = True
    running.receivers.let_go.set()
    await until(lambda: running.receivers.count("slow") == 1)
    await asyncio.sleep(0.05)
    assert running.world.messages[0].state is NotificationState.WAITING
    running.world.outbox.away = False
    await until(lambda: running.world.messages[0].state is NotificationState.DELIVERED)
    running.stop.set()
    await asyncio.wait_for(task, WAIT_S)
    assert running.receivers.count("slow") == 1


async def test_a_defect_in_one_message_stops_nothing(running: Running) -> None:
    """The message comes back when its lease ends; others go on."""
    running.receivers.defect = True
    running.fire(3, "quick", first=1)
    task = asyncio.create_task(running.loop.run(running.stop))
    await until(lambda: running.receivers.count("quick") == 2)
    assert not task.done()
    running.stop.set()
    await asyncio.wait_for(task, WAIT_S)
    assert sorted(row.state.value for row in running.world.messages) == ["delivered", "delivered", "waiting"]
