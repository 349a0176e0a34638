"""The shipped program, started as a user would start it, and what a test needs to know of its processes."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

KEY = "operator-key-of-the-tests"
"""What the operator's key is set to, so that tests need not read it from a file."""
COLLECTING = {"SEXTANT_COLLECTION_ENABLED": "true"}
"""The setting with which a server of these tests has a collector."""
START_TIMEOUT_S = 60.0
"""A first start takes about 4 s on an idle machine; test machines are rarely idle."""
STOP_TIMEOUT_S = 20.0
"""A second or two on an idle machine; each part of the program has some seconds of its own."""
GONE_TIMEOUT_S = 10.0
"""Until nothing is left of a program that has ended: its PostgreSQL shuts down in order."""
PORT_MIN, PORT_COUNT = 10_000, 20_000
"""Below those that sockets get by themselves (from 32768 on)."""
POLL_S = 0.02

_asked = itertools.count()


@dataclass
class Program:
    """One `sextant serve`: how it is started, and its processes while it runs."""

    data_dir: Path
    port: int
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """All that it has written to its standard output and error."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    @property
    def _log_path(self) -> Path:
        return self.data_dir.parent / f"{self.data_dir.name}.log"

    def start(self, *, wait: bool = True) -> None:
        """Starts it, and waits until it is ready to answer."""
        command = [sys.executable, "-m", "adapters.main", "serve", "--port", str(self.port)]
        with self._log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--data-dir", str(self.data_dir), *self.arguments],
                env=clean_environment({"SEXTANT_BOOTSTRAP_API_KEY": KEY, **self.environment}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Waits until requests are answered; fails at once where the program has ended."""

        def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, f"the server ended with {self.process.poll()}:\n{self.log[-4_000:]}"
            with suppress(httpx.HTTPError):
                return httpx.get(f"{self.url}/readyz", timeout=10).status_code == 200
            return False

        wait_until(ready, timeout_s, lambda: f"the server is not ready:\n{self.log[-4_000:]}")

    def stop(self) -> int:
        """Ends it with SIGTERM; returns its exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(STOP_TIMEOUT_S)

    def kill(self) -> None:
        """Ends the parent with SIGKILL, and waits until all that it had started is gone too."""
        assert self.process is not None
        family = self.family()
        self.process.kill()
        self.process.wait()
        wait_until(lambda: not any(map(is_alive, family)), GONE_TIMEOUT_S, lambda: f"left behind: {family}")

    def family(self) -> list[psutil.Process]:
        """The parent's processes, itself not among them."""
        assert self.process is not None
        with suppress(psutil.NoSuchProcess):
            return list(psutil.Process(self.process.pid).children(recursive=True))
        return []

    def postgres(self) -> list[psutil.Process]:
        """The embedded PostgreSQL's processes, the postmaster first."""
        return [one for one in self.family() if name_of(one) == "postgres"]

    def workers(self) -> list[psutil.Process]:
        """The processes that answer requests."""
        return [one for one in self._spawned() if self._listens(one)]

    def keepers(self) -> list[psutil.Process]:
        """The process that settles, where it is not just being replaced."""
        return self.named("keeper")

    def named(self, part: str) -> list[psutil.Process]:
        """The process that does one part of the background work: `keeper`, `alerts`, `detect` or `worker`."""
        return [one for one in self._spawned() if name_of(one) == f"sextant {part}"]

    def _spawned(self) -> list[psutil.Process]:
        found = []
        for one in self.family():
            with suppress(psutil.NoSuchProcess):
                if any("spawn_main" in argument for argument in one.cmdline()):
                    found.append(one)
        return found

    def _listens(self, process: psutil.Process) -> bool:
        with suppress(psutil.NoSuchProcess):
            return any(
                one.status == psutil.CONN_LISTEN and one.laddr.port == self.port
                for one in process.net_connections("tcp")
            )
        return False


@contextmanager
def running(
    directory: Path,
    *arguments: str,
    database_url: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Program]:
    """A server in `directory`, ready; with an embedded PostgreSQL unless a database is named. All of it ends.

    It collects from no metric source unless `COLLECTING` is part of `environment`: most tests need no process for that.
    """
    named = {"SEXTANT_DATABASE_URL": database_url} if database_url is not None else {}
    settings = {"SEXTANT_COLLECTION_ENABLED": "false", **named, **(environment or {})}
    program = Program(directory / "data", free_port(), arguments, settings)
    try:
        program.start()
        yield program
    finally:
        if program.process is not None and program.process.poll() is None:
            for one in program.family():
                with suppress(psutil.NoSuchProcess):
                    one.send_signal(signal.SIGCONT)
            program.process.terminate()
            try:
                program.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                program.kill()


def run_sextant(
    *arguments: str, environment: Mapping[str, str] | None = None, timeout_s: float = START_TIMEOUT_S
) -> subprocess.CompletedProcess[str]:
    """One command of the program, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "adapters.main", *arguments],
        env=clean_environment(environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def clean_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process' environment without any settings of Sextant but `settings`."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("SEXTANT_")}
    return {**kept, **settings}


def free_port() -> int:
    """A port that nothing listens on at this moment, and that Linux gives to nobody who has not asked for it."""
    while True:
        port = PORT_MIN + (os.getpid() * 97 + next(_asked)) % PORT_COUNT
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_until(holds: Callable[[], Any], timeout_s: float, why: Callable[[], str] = lambda: "waited in vain") -> float:
    """Waits for a condition; returns after how many seconds it held."""
    started_s = time.monotonic()
    while not holds():
        assert time.monotonic() - started_s < timeout_s, why()
        time.sleep(POLL_S)
    return time.monotonic() - started_s


@contextmanager
def frozen(process: psutil.Process) -> Iterator[None]:
    """Stopped by SIGSTOP: connections are accepted, and nothing is answered."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGCONT)


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; one that only waits to be reaped does not."""
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def name_of(process: psutil.Process) -> str:
    """The program's name, or nothing where it has just ended."""
    with suppress(psutil.NoSuchProcess):
        return str(process.name())
    return ""
