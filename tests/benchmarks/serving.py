"""Servers under test as processes of their own: Sextant, and whatever else answers `/readyz`."""

import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.processes import Usage, listeners, usage_of

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
POLL_S = 0.02
LOG_CHARS_SHOWN = 4_000
REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Server:
    """A server that is ready; `key` is empty where it asks for none."""

    port: int
    pid: int
    key: str = ""

    def usage(self) -> Usage:
        """Processor time and memory of all its processes."""
        return usage_of(self.pid)

    def api_pids(self) -> frozenset[int]:
        """The processes that take requests: those that listen, so not the background ones."""
        return listeners([process.pid for process in self.usage().processes], self.port)

    def get(self, path: str) -> bytes:
        """Return the body of a 200; raise on every other answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            return fetch(connection, path, self.key)
        finally:
            connection.close()


def fetch(connection: http.client.HTTPConnection, path: str, key: str) -> bytes:
    """Return the body of a 200 over a connection that stays open; raise on every other answer."""
    connection.request("GET", path, headers={"Authorization": f"Bearer {key}"} if key else {})
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise RuntimeError(f"GET {path}: {response.status} {body[:500]!r}")
    return body


@contextmanager
def sextant_server(database_url: str, *, workers: int, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run `sextant serve` on an existing database; `settings` are further SEXTANT_ variables."""
    key = f"bench-{secrets.token_hex(16)}"
    with tempfile.TemporaryDirectory(prefix="sextant-bench-") as data_dir:
        environment = {
            "SEXTANT_DATABASE_URL": database_url,
            "SEXTANT_BOOTSTRAP_API_KEY": key,
            "SEXTANT_SERVER_DATA_DIR": data_dir,
            "SEXTANT_LOG_LEVEL": "warning",
            **(settings or {}),
        }
        command = [sys.executable, "-m", "adapters.main", "serve", "--workers", str(workers)]
        with serving(command, environment, key=key) as server:
            yield server


@contextmanager
def serving(command: Sequence[str], environment: Mapping[str, str], *, key: str = "") -> Iterator[Server]:
    """Run `command --port <free port>` until the context is left, and yield it once `/readyz` answers 200."""
    port = free_port()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            env={**os.environ, **environment},
            cwd=REPOSITORY,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            if not _await_ready(process, port):
                raise RuntimeError(f"{' '.join(command)} is not ready (exit status {process.returncode})")
            yield Server(port, process.pid, key)
        except Exception as error:
            log.seek(0)
            error.add_note(f"the server's log:\n{log.read().decode(errors='replace')[-LOG_CHARS_SHOWN:]}")
            raise
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process in order, or at once if it will not."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_ready(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline_s:
        try:
            fetch(http.client.HTTPConnection("127.0.0.1", port, timeout=5), "/readyz", "")
        except (OSError, http.client.HTTPException, RuntimeError):
            time.sleep(POLL_S)
        else:
            return True
    return False
