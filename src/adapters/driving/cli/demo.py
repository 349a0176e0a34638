"""`sextant demo`: the server, the agent and real data in one command."""

import asyncio
import contextlib
import itertools
import signal
import socket
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter, validators

from adapters.driving.cli.output import CommandError, write, write_error
from core.domain.times import SECOND_US

if TYPE_CHECKING:
    from adapters.driving.cli.client import IngestClient, Target
    from adapters.driving.cli.demo_child import Child
    from adapters.driving.cli.demo_feed import Recording
    from adapters.driving.cli.demo_introduction import Query
    from core.domain.points import Point

HOST: Final = "127.0.0.1"
PORTS_TRIED: Final = 100
"""Beyond the one that was asked for; nobody runs more servers than this on one machine."""
READY_TIMEOUT_S: Final = 90.0
"""For the first start, which makes a database; it takes 3 s on an ordinary machine."""
DATA_TIMEOUT_S: Final = 30.0
"""For the first samples to be there; the agent's first tick is at most 2 s away."""
POLL_S: Final = 0.1
FEED_EVERY_S: Final = 1.0
"""One sample of the story a second; the recording has one in five minutes."""
AGENT_STOP_S: Final = 15.0
SERVER_STOP_S: Final = 45.0
"""Each a little longer than the command promises."""

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1


def demo(
    *,
    seconds: Annotated[
        float | None,
        Parameter(validator=validators.Number(gt=0), help="Stop after so many seconds. Default: at Ctrl-C."),
    ] = None,
    port: Annotated[
        int,
        Parameter(
            validator=validators.Number(gte=1, lte=65_535),
            help="The port to listen on; the next free one where it is taken.",
        ),
    ] = 8_000,
    data_dir: Annotated[
        Path, Parameter(help="Where the demo keeps its database, key and logs; delete it to start afresh.")
    ] = Path(".demo"),
) -> int:
    """Run Sextant with live data, to see what it does.

    Starts a server with a PostgreSQL of its own, an agent that measures
    this machine every two seconds, and a loop of real data (two weeks of a
    cloud machine's processor use); prints the URL, the API key and queries
    to try. Then that machine gets busy, second by second: an alert fires, a
    remediation shows in a dry run what it would do, and the alert resolves.
    Beside it two hosts are simulated, of which one falls ill: detection says
    what it finds there, and an incident tells the story.
    Ctrl-C stops all of it; the next run goes on with the same data.

    Exit codes: 0 stopped by Ctrl-C, SIGTERM or --seconds; 1 something could
    not start or died, and why; 2 wrong usage.
    """
    return asyncio.run(_demo(seconds, port, data_dir.expanduser().absolute()))


class DemoError(CommandError):
    """The demo cannot go on; says why."""


async def _demo(seconds: float | None, port: int, data_dir: Path) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    children: list[Child] = []
    try:
        await _until(stop, children, _show(port, data_dir, children, seconds))
    except DemoError as error:
        write_error(str(error))
        return EXIT_FAILED
    finally:
        clean = await _stop_all(children)
    write("Sextant demo stopped.")
    return EXIT_OK if clean else EXIT_FAILED


async def _show(port: int, data_dir: Path, children: "list[Child]", seconds: float | None) -> None:
    """Starts everything, says how to look at it, and feeds it for `seconds` or for ever."""
    from adapters.driving.cli.client import IngestClient, Target
    from adapters.driving.cli.demo_child import start_child
    from adapters.driving.cli.demo_feed import Recording
    from adapters.driving.cli.demo_introduction import introduction, queries
    from adapters.driving.cli.demo_story import Story
    from adapters.driving.cli.target import KEY_FILE

    free = free_port(port)
    if free != port:
        write(f"Port {port} is taken; using {free}.")
    url = f"http://{HOST}:{free}"
    logs = data_dir / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    write("Starting the server …")
    serve = ["serve", "--host", HOST, "--port", str(free), "--data-dir", str(data_dir)]
    # The demo listens to its own server's notifications, on this machine alone.
    children.append(await start_child("server", serve, logs / "server.log", {"SEXTANT_OUTBOUND_ALLOW": f"{HOST}/32"}))
    await _wait_until_ready(url)
    agent = ["agent", "--url", url, "--data-dir", str(data_dir), "--interval", "2s"]
    spool = ["--spool-dir", str(data_dir / "spool")]
    children.append(await start_child("agent", [*agent, *spool], logs / "agent.log"))
    key = (data_dir / KEY_FILE).read_text().strip()
    target = Target(url, key)
    async with IngestClient(target) as client, Story(client) as story:
        recording = Recording()
        fed_us = await _feed(client, recording, 0)
        answered = queries(int(time.time()) * SECOND_US)
        for query in answered:
            await _wait_for_data(client, query)
        write(introduction(target, data_dir, answered))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), _beside(_detect(client, target)):
                for second in itertools.count():
                    await asyncio.sleep(FEED_EVERY_S)
                    fed_us = await _feed(client, recording, fed_us)
                    await _send(client, [story.sample(second)])


async def _detect(client: "IngestClient", target: "Target") -> None:
    from adapters.driving.cli.api import Api
    from adapters.driving.cli.demo_detection import tell_detection  # numpy comes with it, when nobody waits for it

    await tell_detection(Api(client, target))


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Does `work` beside the block, and no longer than it."""
    working = asyncio.ensure_future(work)
    try:
        yield
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def _until(stop: asyncio.Event, children: "list[Child]", work: Coroutine[None, None, None]) -> None:
    """Runs `work` to its end, or until `stop`, or until a child has died, which raises `DemoError`."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        while not working.done() and not stopping.done():
            dead = next((child for child in children if child.ended.done()), None)
            if dead is not None:
                raise DemoError(f"the {dead.name} ended with status {dead.status}; its log ends:\n{dead.log_tail()}")
            for child in children:
                child.trim_log()
            waiting = [working, stopping, *(child.ended for child in children)]
            await asyncio.wait(waiting, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


async def _stop_all(children: "Sequence[Child]") -> bool:
    """Stops the agent, then the server; says whether each ended by itself and in order."""
    clean = True
    for child in reversed(children):
        ended = await child.stop(AGENT_STOP_S if child.name == "agent" else SERVER_STOP_S)
        if not ended:
            write_error(f"the {child.name} did not stop in time and was killed")
        clean = clean and ended
    return clean


async def _feed(client: "IngestClient", recording: "Recording", since_us: int) -> int:
    """Sends the recorded samples since then; says until when it has."""
    now_us = time.time_ns() // 1_000
    await _send(client, recording.between(since_us, now_us))
    return now_us


async def _send(client: "IngestClient", points: "Sequence[Point]") -> None:
    from adapters.driving.cli.client import Patience, Stored, encode_batches

    for batch in encode_batches(points):
        outcome = await client.deliver(batch, Patience(DATA_TIMEOUT_S))
        if not isinstance(outcome, Stored) or outcome.rejected:
            raise DemoError(f"the server refused recorded samples: {outcome}")


async def _wait_until_ready(url: str) -> None:
    from adapters.driving.cli.client import Answer, IngestClient, Target

    deadline_s = time.monotonic() + READY_TIMEOUT_S
    async with IngestClient(Target(url, "none")) as client:
        while time.monotonic() < deadline_s:
            answer = await client.request("GET", "/readyz")
            if isinstance(answer, Answer) and answer.status == 200:
                return
            await asyncio.sleep(POLL_S)
    raise DemoError(f"the server was not ready within {READY_TIMEOUT_S:g} s")


async def _wait_for_data(client: "IngestClient", query: "Query") -> None:
    from adapters.driving.cli.client import Answer

    deadline_s = time.monotonic() + DATA_TIMEOUT_S
    while time.monotonic() < deadline_s:
        answer = await client.request("GET", query.path, parameters=query.parameters)
        if isinstance(answer, Answer) and answer.status == 200 and answer.document.get("data"):
            return
        await asyncio.sleep(POLL_S)
    raise DemoError(f"no data within {DATA_TIMEOUT_S:g} s at {query.path}: {answer}")


def free_port(first: int) -> int:
    """`first`, or the next port on which nothing listens; raises `DemoError`."""
    for port in range(first, min(first + PORTS_TRIED, 65_535) + 1):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise DemoError(f"no port from {first} to {first + PORTS_TRIED} is free")
