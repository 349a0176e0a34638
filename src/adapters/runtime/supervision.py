"""Keeps a child running for as long as a context is open: a process of ours, or the embedded PostgreSQL.

Each child is started from a thread of its own that lives as long as the context, because the kernel's signal
at the parent's death goes by the thread that started the child. A child that ends is started again, after a
pause that doubles while it keeps ending at once; nothing else of the program waits for it.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Final

import structlog

from adapters.runtime.embedded_postgres import EmbeddedPostgresError, run_embedded_postgres
from adapters.runtime.process import die_with_parent

PAUSE_S_FIRST: Final = 0.2
"""A child killed by chance is back before anybody misses it."""
PAUSE_S_MAX: Final = 30.0
"""One that cannot start is tried often enough, at no cost to speak of."""
STEADY_S: Final = 60.0
"""A child that ran for this long had started well: the next pause is short again."""
WATCH_S: Final = 0.2
"""How often PostgreSQL's process is looked at; recovery is to begin well within a second."""
STOP_TIMEOUT_S: Final = 5.0
"""A transaction is finished or given up by then; killing a child that still runs loses nothing."""

log = structlog.get_logger(__name__)


def become_child(parent_pid: int) -> None:
    """What each child process does first: it leaves the terminal's Ctrl-C to the parent, and dies with it."""
    os.setpgid(0, 0)
    die_with_parent(parent_pid, signal.SIGKILL)


@contextmanager
def supervised_process(name: str, target: Callable[..., None], *arguments: Any) -> Iterator[None]:
    """Runs ``target(*arguments, parent_pid)`` in a process; on leaving it gets SIGTERM and some seconds."""
    stopping = threading.Event()
    wake, woken = multiprocessing.Pipe()

    def supervise() -> None:
        pauses = _Pauses()
        while not stopping.is_set():
            process = multiprocessing.get_context("spawn").Process(
                target=target, args=(*arguments, os.getpid()), name=name, daemon=True
            )
            process.start()
            wait([process.sentinel, woken])
            if stopping.is_set():
                process.terminate()
                process.join(STOP_TIMEOUT_S)
                process.kill()
            process.join()
            if not stopping.is_set():
                pause_s = pauses.next_s()
                log.error("process_died", process=name, status=process.exitcode, restart_in_s=pause_s)
                stopping.wait(pause_s)

    thread = threading.Thread(target=supervise, name=f"{name} supervisor")
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        wake.send_bytes(b"")
        thread.join()


@contextmanager
def supervised_postgres(data_dir: Path) -> Iterator[str]:
    """Runs PostgreSQL on `data_dir` and yields its URL; one that dies is started again.

    Raises `EmbeddedPostgresError` where the first start fails.
    """
    supervisor = _PostgresSupervisor(data_dir)
    thread = threading.Thread(target=supervisor.run, name="postgres supervisor")
    thread.start()
    try:
        yield supervisor.first_url()
    finally:
        supervisor.stopping.set()
        thread.join()


class _PostgresSupervisor:
    def __init__(self, data_dir: Path) -> None:
        self.stopping = threading.Event()
        self._data_dir = data_dir
        self._started = threading.Event()
        self._url: str | None = None
        self._error: EmbeddedPostgresError | None = None

    def first_url(self) -> str:
        """Waits for the first start."""
        self._started.wait()
        if self._url is None:
            raise self._error or EmbeddedPostgresError("PostgreSQL did not start")
        return self._url

    def run(self) -> None:
        """The thread's work, until `stopping`."""
        pauses = _Pauses()
        try:
            while not self.stopping.is_set():
                try:
                    self._run_once()
                except EmbeddedPostgresError as error:
                    if self._url is None:
                        self._error = error
                        return
                    log.error("postgres_not_restarted", reason=str(error))
                if not self.stopping.is_set():
                    pause_s = pauses.next_s()
                    log.error("postgres_died", restart_in_s=pause_s)
                    self.stopping.wait(pause_s)
        finally:
            self._started.set()

    def _run_once(self) -> None:
        with run_embedded_postgres(self._data_dir) as server:
            if self._url not in (None, server.url):
                raise EmbeddedPostgresError(
                    f"PostgreSQL had to move its socket to {server.socket_dir}: restart sextant"
                )
            self._url = server.url
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
