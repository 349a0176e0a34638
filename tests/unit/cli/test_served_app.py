"""A worker's application: open for exactly as long as the lifespan."""

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from adapters.driving.cli.program import AsgiApp, Message, Receive, Send
from adapters.driving.cli.workers import ServedApp, forget_dead_processes, keep_stop_signals
from core.domain.errors import Unavailable


@pytest.fixture(autouse=True)
def restored_collector() -> Iterator[None]:
    """Undoes what a worker does to its process."""
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


class Life:
    """An application that notes what happens to it, and the server's side of the lifespan."""

    def __init__(self, failures: list[Exception] | None = None) -> None:
        self.seen: list[str] = []
        self.failures = failures or []
        self.to_app: asyncio.Queue[Message] = asyncio.Queue()
        self.started = asyncio.Event()

    @asynccontextmanager
    async def open_app(self) -> AsyncIterator[AsgiApp]:
        """Opens, or fails as told."""
        if self.failures:
            raise self.failures.pop()
        self.seen.append("opened")
        yield self.app
        self.seen.append("closed")

    async def app(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers requests; takes the lifespan as Litestar does."""
        if scope["type"] == "http":
            self.seen.append(f"request {scope['path']}")
            return
        assert (await receive())["type"] == "lifespan.startup"
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        await send({"type": "lifespan.shutdown.complete"})

    async def hear(self, message: Message) -> None:
        """What the server is told."""
        self.seen.append(message["type"])
        if message["type"] == "lifespan.startup.complete":
            self.started.set()

    def start(self, served: ServedApp) -> "asyncio.Future[None]":
        """Begins the lifespan."""
        self.to_app.put_nowait({"type": "lifespan.startup"})
        return asyncio.ensure_future(served({"type": "lifespan"}, self.to_app.get, self.hear))


async def test_the_app_is_open_from_start_up_to_shutdown() -> None:
    """The server hears of the shutdown's end only when everything is closed, since it then ends the process."""
    life = Life()
    served = ServedApp(life.open_app)
    lifespan = life.start(served)
    await life.started.wait()
    await served({"type": "http", "path": "/x"}, life.to_app.get, life.hear)
    life.to_app.put_nowait({"type": "lifespan.shutdown"})
    await lifespan
    assert life.seen == [
        "opened",
        "lifespan.startup.complete",
        "request /x",
        "closed",
        "lifespan.shutdown.complete",
    ]


async def test_a_failure_at_start_up_is_reported() -> None:
    """The server ends such a worker; serving without its lifespan would answer every request with an error."""
    life = Life([ValueError("a bug")])
    await life.start(ServedApp(life.open_app))
    assert life.seen == ["lifespan.startup.failed"]


async def test_a_database_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that replaces a dead one during an outage takes part as soon as that is over."""
    monkeypatch.setattr("adapters.driving.cli.workers.REOPEN_PAUSE_S", 0)
    life = Life([Unavailable("away"), Unavailable("away")])
    lifespan = life.start(ServedApp(life.open_app))
    life.to_app.put_nowait({"type": "lifespan.shutdown"})
    await lifespan
    assert life.seen[:2] == ["opened", "lifespan.startup.complete"]


@pytest.fixture
def resting() -> Iterator[uvloop.Loop]:
    """Yield a worker's loop, which does not run; signals are as they were afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, uvloop.Loop)
        yield loop
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("rests", [True, False])
def test_a_signal_is_heard_once_though_the_loop_rests(resting: uvloop.Loop, *, rests: bool) -> None:
    """As between start-up and serving; by itself uvloop would look at it when another one comes."""
    heard: list[int] = []
    resting.add_signal_handler(signal.SIGTERM, heard.append, 1)

    async def start() -> None:
        keep_stop_signals()

    async def serve() -> None:
        if not rests:
            signal.raise_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            while not heard:  # noqa: ASYNC110  # what changes has no event
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)

    resting.run_until_complete(start())
    if rests:
        signal.raise_signal(signal.SIGTERM)
    resting.run_until_complete(serve())
    assert heard == [1]


def test_gauges_of_ended_processes_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed worker's queue would count for ever; counters stay, since what was counted has happened."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    alive, ended = os.getpid(), 2**22 + 1
    for name in (f"gauge_livesum_{alive}.db", f"gauge_livesum_{ended}.db", f"counter_{ended}.db"):
        (tmp_path / name).touch()
    forget_dead_processes()
    assert {path.name for path in tmp_path.iterdir()} == {f"gauge_livesum_{alive}.db", f"counter_{ended}.db"}
