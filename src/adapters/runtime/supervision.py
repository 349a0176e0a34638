"""Keeps a child running for as long as a context is open: a process of ours, the embedded PostgreSQL or Temporal.

Each child is started from a thread of its own that lives as long as the context, because the kernel's signal
at the parent's death goes by the thread that started the child. A child that ends is started again, after a
pause that doubles while it keeps ending at once; nothing else of the program waits for it.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

import structlog

from adapters.runtime.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError, run_embedded_postgres
from adapters.runtime.embedded_temporal import EmbeddedTemporal, EmbeddedTemporalError, run_embedded_temporal
from adapters.runtime.process import die_with_parent

PAUSE_S_FIRST: Final = 0.2
"""A child killed by chance is back before anybody misses it."""
PAUSE_S_MAX: Final = 30.0
"""One that cannot start is tried often enough, at no cost to speak of."""
STEADY_S: Final = 60.0
"""A child that ran for this long had started well: the next pause is short again."""
WATCH_S: Final = 0.2
"""How often a server's process is looked at; recovery is to begin well within a second."""
STOP_TIMEOUT_S: Final = 5.0
"""A transaction is finished or given up by then; killing a child that still runs loses nothing."""

log = structlog.get_logger(__name__)


def become_child(parent_pid: int) -> None:
    """What each child process does first: it leaves the terminal's Ctrl-C to the parent, and dies with it."""
    os.setpgid(0, 0)
    die_with_parent(parent_pid, signal.SIGKILL)


@contextmanager
def supervised_processes(targets: Mapping[str, Callable[..., None]], *arguments: Any) -> Iterator[None]:
    """Runs ``target(*arguments, parent_pid)`` for each name in a process of its own.

    On leaving, all get SIGTERM at once, and the same seconds: none waits for another one's last work.
    """
    supervisors = [_ProcessSupervisor(name, target, arguments) for name, target in targets.items()]
    try:
        for supervisor in supervisors:
            supervisor.thread.start()
        yield
    finally:
        begun = [supervisor for supervisor in supervisors if supervisor.thread.ident is not None]
        for supervisor in begun:
            supervisor.ask_to_stop()
        for supervisor in begun:
            supervisor.thread.join()


class _ProcessSupervisor:
    def __init__(self, name: str, target: Callable[..., None], arguments: Sequence[Any]) -> None:
        self.thread = threading.Thread(target=self._run, name=f"{name} supervisor")
        self._name = name
        self._target = target
        self._arguments = arguments
        self._stopping = threading.Event()
        self._wake, self._woken = multiprocessing.Pipe()

    def ask_to_stop(self) -> None:
        """Returns at once; the thread ends when the process has."""
        self._stopping.set()
        self._wake.send_bytes(b"")

    def _run(self) -> None:
        pauses = _Pauses()
        while not self._stopping.is_set():
            process = multiprocessing.get_context("spawn").Process(
                target=self._target, args=(*self._arguments, os.getpid()), name=self._name, daemon=True
            )
            process.start()
            wait([process.sentinel, self._woken])
            if self._stopping.is_set():
                process.terminate()
                process.join(STOP_TIMEOUT_S)
                process.kill()
            process.join()
            if not self._stopping.is_set():
                pause_s = pauses.next_s()
                log.error("process_died", process=self._name, status=process.exitcode, restart_in_s=pause_s)
                self._stopping.wait(pause_s)


@contextmanager
def supervised_postgres(data_dir: Path) -> Iterator[str]:
    """Runs PostgreSQL on `data_dir` and yields its URL; one that dies is started again.

    Raises `EmbeddedPostgresError` where the first start fails.
    """

    def run(url: str | None) -> AbstractContextManager[EmbeddedPostgres]:
        return _unmoved(run_embedded_postgres(data_dir), url)

    with _supervised("postgres", run, lambda server: server.url, EmbeddedPostgresError) as url:
        yield url


@contextmanager
def supervised_temporal(data_dir: Path) -> Iterator[str]:
    """Runs Temporal in Sextant's `data_dir` and yields its address; one that dies is started again, there.

    Raises `EmbeddedTemporalError` where the first start fails.
    """

    def run(address: str | None) -> AbstractContextManager[EmbeddedTemporal]:
        return run_embedded_temporal(data_dir, address=address)

    with _supervised("temporal", run, lambda server: server.address, EmbeddedTemporalError) as address:
        yield address


@contextmanager
def _unmoved(running: AbstractContextManager[EmbeddedPostgres], url: str | None) -> Iterator[EmbeddedPostgres]:
    with running as server:
        if url not in (None, server.url):
            raise EmbeddedPostgresError(f"PostgreSQL had to move its socket to {server.socket_dir}: restart sextant")
        yield server


class _Server(Protocol):
    def is_alive(self) -> bool: ...


_S = TypeVar("_S", bound=_Server)


@contextmanager
def _supervised(
    name: str,
    run: Callable[[str | None], AbstractContextManager[_S]],
    place_of: Callable[[_S], str],
    error_type: type[Exception],
) -> Iterator[str]:
    """Yields where the server is that `run` starts; every later start is told to be there too."""
    supervisor = _ServerSupervisor(name, run, place_of, error_type)
    thread = threading.Thread(target=supervisor.run, name=f"{name} supervisor")
    thread.start()
    try:
        yield supervisor.first_place()
    finally:
        supervisor.stopping.set()
        thread.join()


class _ServerSupervisor(Generic[_S]):
    def __init__(
        self,
        name: str,
        run: Callable[[str | None], AbstractContextManager[_S]],
        place_of: Callable[[_S], str],
        error_type: type[Exception],
    ) -> None:
        self.stopping = threading.Event()
        self._name = name
        self._run = run
        self._place_of = place_of
        self._error_type = error_type
        self._started = threading.Event()
        self._place: str | None = None
        self._error: Exception | None = None

    def first_place(self) -> str:
        """Waits for the first start."""
        self._started.wait()
        if self._place is None:
            raise self._error or self._error_type(f"{self._name} did not start")
        return self._place

    def run(self) -> None:
        """The thread's work, until `stopping`."""
        pauses = _Pauses()
        try:
            while not self.stopping.is_set():
                try:
                    self._run_once()
                except self._error_type as error:
                    if self._place is None:
                        self._error = error
                        return
                    log.error("server_not_restarted", server=self._name, reason=str(error))
                if not self.stopping.is_set():
                    pause_s = pauses.next_s()
                    log.error("server_died", server=self._name, restart_in_s=pause_s)
                    self.stopping.wait(pause_s)
        finally:
            self._started.set()

    def _run_once(self) -> None:
        with self._run(self._place) as server:
            self._place = self._place_of(server)
            self._started.set()
            while server.is_alive() and not self.stopping.wait(WATCH_S):
                pass


class _Pauses:
    """How long to wait before each start but the first."""

    def __init__(self) -> None:
        self._pause_s = 0.0
        self._asked_s = time.monotonic()

    def next_s(self) -> float:
        """The pause after a child has ended."""
        now_s = time.monotonic()
        ran_s = now_s - self._asked_s - self._pause_s
        self._pause_s = PAUSE_S_FIRST if ran_s > STEADY_S else min(max(self._pause_s * 2, PAUSE_S_FIRST), PAUSE_S_MAX)
        self._asked_s = now_s
        return self._pause_s
