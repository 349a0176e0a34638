"""The embedded PostgreSQL server as a process: its settings, its start until it can be used, its end."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psycopg

from adapters.runtime.child_log import ChildLog
from adapters.runtime.postgres_binaries import EmbeddedPostgresError, child_environment
from adapters.runtime.postgres_cluster import (
    NEW_PASSWORD_HINT,
    OUTPUT_CHARS_MAX,
    SUPERUSER,
    Cluster,
    cannot_run,
)
from adapters.runtime.process import before_exec

DATABASE = "sextant"
PORT = 5432  # only names the socket file; nothing listens on a network
SOCKET_PATH_BYTES_MAX = 107  # sun_path of unix(7), less its final NUL
POLL_S = 0.01  # a warm start takes about 50 ms, and one look at the pid file takes microseconds
SHM_SIZE_BYTES_MIN = 256 * 1024 * 1024  # containers come with 64 MiB, which one parallel query can fill
STOP_STEPS: Final = (
    (signal.SIGINT, 30.0),  # fast: roll back, then one checkpoint of at most shared_buffers
    (signal.SIGQUIT, 10.0),  # immediate: recovery at the next start; PostgreSQL allows its children 5 s
    (signal.SIGKILL, 10.0),
)
SETTINGS: Final = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "huge_pages": "off",
    "max_wal_size": "2GB",
    "wal_compression": "on",
    "checkpoint_timeout": "15min",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "cluster_name": "sextant",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
    "log_min_error_statement": "panic",  # statements carry tenants' data and passwords
}
CONFIG_HEADER = "# Written by Sextant at every start. Tune with ALTER SYSTEM, which comes before this file.\n"


def connection_url(socket_dir: Path, password: str, database: str = DATABASE) -> str:
    """Return a URL for the server on `socket_dir`; it names the port so that PGPORT cannot change it."""
    login = f"{SUPERUSER}:{quote(password, safe='')}"
    return f"postgresql://{login}@/{database}?host={quote(str(socket_dir), safe='')}&port={PORT}"


def usable_for_socket(directory: Path) -> bool:
    """Return whether a socket there has a path that the kernel, PostgreSQL and its drivers all take."""
    path = f"{directory}/.s.PGSQL.{PORT}"
    ordinary = re.fullmatch(r"[A-Za-z0-9/._+-]+", path) is not None
    return ordinary and len(path) <= SOCKET_PATH_BYTES_MAX


def config_text(socket_dir: Path) -> str:
    """Return the whole configuration file of the server."""
    settings = {
        **SETTINGS,
        "unix_socket_directories": str(socket_dir),
        "dynamic_shared_memory_type": _shared_memory_type(),
    }
    return CONFIG_HEADER + "".join(f"{name} = '{value}'\n" for name, value in settings.items())


def start_server(cluster: Cluster, log: ChildLog, url: str, timeout_s: float) -> subprocess.Popen[bytes]:
    """Start the server and return it once its database `sextant` can be used.

    `url` leads to the database `postgres`. Recovery from a crash is waited for however long it takes, because
    to stop it would only begin it again; a server that shows no life is given up after `timeout_s`.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        logged_bytes = log.size_bytes()
        process = _spawn(cluster, log)
        try:
            if _await_ready(process, cluster, timeout_s):
                _ensure_database(cluster, url)
                return process
        except BaseException:
            stop_server(process)
            raise
        words = log.tail(OUTPUT_CHARS_MAX, since_bytes=logged_bytes).decode(errors="replace").strip()
        # Backends that outlived a killed postmaster hold its shared memory until they notice.
        if "pre-existing shared memory block" not in words or time.monotonic() > deadline_s:
            raise EmbeddedPostgresError(
                f"PostgreSQL ended with status {process.returncode} while starting on {cluster.data_dir}. "
                f"Its last words, from {log.path}:\n{words}"
            )
        time.sleep(POLL_S)


def stop_server(process: subprocess.Popen[bytes]) -> None:
    """Stop the server, if it still runs, asking less politely each time that it does not end."""
    for signal_number, patience_s in STOP_STEPS:
        process.send_signal(signal_number)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue
        return


def await_predecessor(data_dir: Path, deadline_s: float) -> None:
    """Wait for a server that a dead Sextant left shutting down, and clear lock files that name a stranger.

    PostgreSQL clears a stale lock file itself, unless its pid now belongs to another process of the same
    user, as happens in containers where pids start from 1 again, or to a dead one that nobody has reaped.
    """
    for name in ("postmaster.pid", f".s.PGSQL.{PORT}.lock"):
        lock_file = data_dir / name
        while (holder := _lock_holder(lock_file)) is not None:
            pid, program = holder
            if program not in ("postgres", "postmaster"):
                lock_file.unlink(missing_ok=True)
            elif time.monotonic() > deadline_s:
                raise EmbeddedPostgresError(
                    f"another PostgreSQL server (pid {pid}) is running on {data_dir}: stop it with "
                    f"`kill -INT {pid}`, or remove {lock_file} if that process does not serve this directory"
                )
            time.sleep(POLL_S)


def _lock_holder(lock_file: Path) -> tuple[int, str] | None:
    """Return pid and program of the process that a lock file of PostgreSQL names, if there is one."""
    try:
        pid = int(lock_file.read_text().partition("\n")[0])
        command = Path("/proc", str(pid), "cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid, os.path.basename(os.fsdecode(command.partition(b"\0")[0]))


def _shared_memory_type() -> str:
    """Return `posix`, which lives in /dev/shm, or `sysv` where that is missing or tiny."""
    try:
        size_bytes = shutil.disk_usage("/dev/shm").total  # noqa: S108 - measured, not written to
    except FileNotFoundError:
        size_bytes = 0
    return "posix" if size_bytes >= SHM_SIZE_BYTES_MIN else "sysv"


def _spawn(cluster: Cluster, log: ChildLog) -> subprocess.Popen[bytes]:
    config_file = cluster.beside(".conf")
    command = [cluster.bin_dir / "postgres", "-D", cluster.data_dir, "-c", f"config_file={config_file}"]
    try:
        return subprocess.Popen(  # noqa: S603 - the program is the one that the operator installed
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=log.fileno(),
            stderr=log.fileno(),
            cwd="/",
            env=child_environment(),
            start_new_session=True,
            preexec_fn=before_exec(signal.SIGINT, cluster.account),
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise cannot_run(cluster, error) from error


def _await_ready(process: subprocess.Popen[bytes], cluster: Cluster, timeout_s: float) -> bool:
    """Wait until the server accepts connections and return True, or False if it has ended."""
    deadline_s = time.monotonic() + timeout_s
    while process.poll() is None:
        status = _status(process.pid, cluster.data_dir)
        if status == "ready":
            return True
        if status == "starting":
            deadline_s = time.monotonic() + timeout_s
        elif time.monotonic() > deadline_s:
            raise EmbeddedPostgresError(
                f"PostgreSQL on {cluster.data_dir} showed no life within {timeout_s:g} s: "
                f"see {cluster.beside('.log')}"
            )
        time.sleep(POLL_S)
    return False


def _status(pid: int, data_dir: Path) -> str | None:
    """Return what the server `pid` writes of its state into its pid file: "starting", "ready" …, or None."""
    try:
        lines = (data_dir / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    return lines[7].strip() if len(lines) > 7 and lines[0] == str(pid) else None


def _ensure_database(cluster: Cluster, url: str) -> None:
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
            if known.fetchone() is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")
    except psycopg.Error as error:
        raise EmbeddedPostgresError(
            f"cannot use the database in {cluster.data_dir}: {error}. If {cluster.beside('.password')} "
            f"does not hold the right password, put it back from a backup, or {NEW_PASSWORD_HINT}"
        ) from error
