"""The HTTP server: Granian in this process, the application in worker processes that it starts and replaces.

A worker receives the settings and `Program` by pickle, so nothing is read twice. It opens the application in
the ASGI lifespan, and closes it there after the last request.
"""

import asyncio
import gc
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

import structlog

from adapters.driving.cli.output import CommandError
from adapters.driving.cli.program import AsgiApp, Message, Program, Receive, Send
from adapters.runtime.logging import configure_logging
from adapters.runtime.settings import ServerSettings, Settings
from adapters.runtime.supervision import become_child
from core.domain.errors import Unavailable

COLLECTOR_THRESHOLDS: Final = (50_000, 20, 100)
"""A batch makes tens of thousands of objects and no cycles: fewer collections find the same garbage."""
REOPEN_PAUSE_S: Final = 0.5
"""A worker that replaces another while the database is away asks for it this often."""
CONNECT_POLL_S: Final = 0.05
"""How often a starting server is asked whether it listens yet."""

log = structlog.get_logger(__name__)


def serve_http(program: Program, settings: Settings, *, on_ready: Callable[[], None]) -> None:
    """Serves until SIGTERM or SIGINT, then lets requests in progress finish.

    `on_ready` is called once, from another thread, when connections are accepted. Raises `CommandError` where
    workers cannot be kept running.
    """
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces, Loops
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    multiprocessing.set_start_method("spawn", force=True)  # forking is unsafe beside the supervisors' threads
    server = settings.server
    address = listen_address(server)
    granian = Granian(
        "sextant",
        address=address,
        port=server.port,
        interface=Interfaces.ASGI,
        workers=server.workers,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        websockets=False,
        backlog=server.backlog,
        backpressure=server.requests_max,
        http1_settings=HTTP1Settings(header_read_timeout=round(server.header_timeout_s * 1_000)),
        respawn_failed_workers=True,
        workers_kill_timeout=max(1, round(server.drain_timeout_s)),
        log_level=LogLevels.warning,
        log_dictconfig={"handlers": {}, "formatters": {}, "loggers": {"_granian": {}}},
    )
    configure_logging(settings.log)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup leaves it
        # Granian would replace its workers; but a hangup means that the terminal is gone.
        granian.on_startup(lambda: signal.signal(signal.SIGHUP, granian.signal_handler_interrupt))
    stopped = threading.Event()

    def listening() -> None:
        granian.respawned_wrks = _Unremembered()
        on_ready()

    announcer = threading.Thread(target=_announce, args=(address, server.port, stopped, listening), daemon=True)
    announcer.start()
    try:
        granian.serve(target_loader=partial(load_worker, program, settings, os.getpid()), wrap_loader=False)
    except SystemExit as ended:
        raise CommandError("the server's workers cannot start; the log above says why") from ended
    finally:
        stopped.set()
        announcer.join()


class _Unremembered(dict[int, float]):
    """When each worker was replaced, as Granian notes it to end a server whose worker dies again within seconds.

    Once the server has been ready it goes on replacing them instead, however often the system kills them.
    """

    def __setitem__(self, index: int, replaced_s: float) -> None:
        """Notes nothing."""


def load_worker(program: Program, settings: Settings, parent_pid: int) -> AsgiApp:
    """Makes this process a worker; returns the application that it serves."""
    become_child(parent_pid)
    configure_logging(settings.log)
    forget_dead_processes()
    return ServedApp(partial(program.open_app, settings))


def forget_dead_processes() -> None:
    """Takes the gauges of processes that have ended out of the server's own metrics."""
    from adapters.runtime.telemetry import MULTIPROCESS_DIR, forget_process

    for path in Path(os.environ[MULTIPROCESS_DIR]).glob("gauge_live*_*.db"):
        pid = int(path.stem.rpartition("_")[2])
        if not Path("/proc", str(pid)).exists():
            forget_process(pid)


class ServedApp:
    """An application that is opened in the lifespan's start-up and closed in its shutdown."""

    def __init__(self, open_app: Callable[[], AbstractAsyncContextManager[AsgiApp]]) -> None:
        self._open_app = open_app
        self._app: AsgiApp = _not_open

    def __call__(self, scope: Message, receive: Receive, send: Send) -> Awaitable[None]:
        """One request, without a frame of our own around it; or the lifespan."""
        if scope["type"] == "lifespan":
            return self._lifespan(scope, receive, send)
        return self._app(scope, receive, send)

    async def _lifespan(self, scope: Message, receive: Receive, send: Send) -> None:
        keep_stop_signals()
        startup = await receive()
        pending = [startup]
        last: Message = {"type": "lifespan.shutdown.complete"}

        async def receive_again() -> Message:
            return pending.pop() if pending else await receive()

        async def send_but_last(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown"):
                last.update(message)  # the server ends the process on hearing it: first everything is closed
            else:
                await send(message)

        async with AsyncExitStack() as opened:
            try:
                self._app = await self._enter(opened)
            except Exception as error:  # the process ends with it: whatever it is, it belongs into the log
                log.exception("worker_not_started")
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            gc.collect()
            gc.freeze()
            gc.set_threshold(*COLLECTOR_THRESHOLDS)
            await asyncio.sleep(0)  # so that the loop sees a signal of meanwhile before it rests
            await self._app(scope, receive_again, send_but_last)
        await send(last)

    async def _enter(self, opened: AsyncExitStack) -> AsgiApp:
        """Opens the application; waits for a database that is away."""
        while True:
            try:
                return await opened.enter_async_context(self._open_app())
            except Unavailable as error:
                log.warning("database_unavailable", reason=str(error), retry_in_s=REOPEN_PAUSE_S)
                await asyncio.sleep(REOPEN_PAUSE_S)


def keep_stop_signals() -> None:
    """Makes uvloop hear of a signal that comes while it rests, as it does between a worker's start-up and its serving.

    By itself uvloop 0.23 looks at such a signal only when another one comes: a worker would take requests for the
    seconds after which it is killed.
    """
    from uvloop import Loop

    loop = asyncio.get_running_loop()
    if isinstance(loop, Loop):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, partial(_hear, loop, signal.getsignal(number)))
            signal.siginterrupt(number, False)


def _hear(loop: asyncio.AbstractEventLoop, usual: Any, number: int, frame: FrameType | None) -> None:
    """Does as usual, or, where the loop rests, has the signal raised again when it runs."""
    if loop.is_running():
        usual(number, frame)
    else:
        loop.call_soon(signal.raise_signal, number)


def listen_address(server: ServerSettings) -> str:
    """The IP address to listen on; raises `CommandError` where it cannot be had.

    Granian's sockets share a port with any other of the same user, so a port in use is found out here.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise CommandError(f"cannot listen on {server.host!r}: {error.strerror}; mend --host") from error
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise CommandError(
                f"cannot listen on {server.host}:{server.port}: {error.strerror}; "
                "stop what uses it, or choose another --port or --host"
            ) from error
    return str(address[0])


def _announce(address: str, port: int, stopped: threading.Event, on_ready: Callable[[], None]) -> None:
    """Calls `on_ready` once a connection is accepted."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 (compared, not bound)
    while not stopped.is_set():
        try:
            socket.create_connection((reachable, port), timeout=1).close()
        except OSError:
            stopped.wait(CONNECT_POLL_S)
        else:
            on_ready()
            return


async def _not_open(_scope: Message, _receive: Receive, _send: Send) -> None:
    raise RuntimeError("a request came before the lifespan's start-up")
