"""The embedded PostgreSQL's decisions that need no server: names, limits, refusals."""

import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from adapters.runtime import child_log
from adapters.runtime.child_log import ChildLog
from adapters.runtime.embedded_postgres import EmbeddedPostgresError, run_embedded_postgres
from adapters.runtime.postgres_binaries import child_environment, postgres_version, version_major
from adapters.runtime.postgres_cluster import first_closed_directory, open_cluster, replace_file
from adapters.runtime.postgres_server import await_predecessor, config_text, connection_url, usable_for_socket
from adapters.runtime.process import Account, before_exec

STRANGER = Account("stranger", uid=54_321, gid=54_321)


def fake_binaries(directory: Path, version: str) -> Path:
    """Make programs that know only their version."""
    directory.mkdir()
    for name in ("postgres", "initdb"):
        program = directory / name
        program.write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        program.chmod(0o755)
    return directory


def test_the_url_survives_awkward_passwords_and_paths() -> None:
    """What a driver reads out of the URL is what was put in."""
    read = conninfo_to_dict(connection_url(Path("/srv/se+x tant"), "p@ss/w:rd?&%"))
    assert read == {
        "user": "sextant",
        "password": "p@ss/w:rd?&%",
        "dbname": "sextant",
        "host": "/srv/se+x tant",
        "port": "5432",
    }


@pytest.mark.parametrize(
    ("directory", "usable"),
    [
        ("/srv/sextant", True),
        ("/" + "d" * 92, True),
        ("/" + "d" * 93, False),
        ("/srv/a,b", False),
        ("/srv/a b", False),
        ("/srv/it's", False),
        ("/srv/día", False),
    ],
)
def test_a_socket_directory_is_short_and_plain(directory: str, usable: bool) -> None:
    """The socket's path fits 107 bytes and has nothing that PostgreSQL or a driver would split or unquote."""
    assert usable_for_socket(Path(directory)) is usable


@pytest.mark.parametrize(("size_bytes", "kind"), [(64 * 2**20, "sysv"), (2 * 2**30, "posix")])
def test_a_tiny_shared_memory_file_system_is_not_used(
    size_bytes: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parallel queries of a container with the usual 64 MiB of /dev/shm do not run out of it."""
    usage = type(shutil.disk_usage(os.sep))(size_bytes, 0, size_bytes)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert f"dynamic_shared_memory_type = '{kind}'\n" in config_text(Path("/srv"))


def test_the_configuration_is_durable_and_local() -> None:
    """Acknowledged means on disk, and no network address is listened on."""
    lines = config_text(Path("/srv/sextant")).splitlines()
    wanted = {"fsync = 'on'", "synchronous_commit = 'on'", "full_page_writes = 'on'", "listen_addresses = ''"}
    assert wanted | {"unix_socket_directories = '/srv/sextant'"} <= set(lines)


@pytest.mark.parametrize(("version", "major"), [("18.6", 18), ("15.20", 15), ("19beta1", 19), ("17", 17)])
def test_the_major_version_is_read(version: str, major: int) -> None:
    """Released versions and previews alike."""
    assert version_major(version) == major


def test_the_version_of_binaries_is_asked_of_them(tmp_path: Path) -> None:
    """A distribution's addition to the version is left out."""
    assert postgres_version(fake_binaries(tmp_path / "bin", "16.4 (Debian 16.4-1)")) == "16.4"


def test_old_binaries_are_refused(tmp_path: Path) -> None:
    """The error names what there is and what is needed."""
    with pytest.raises(EmbeddedPostgresError, match=r"holds PostgreSQL 13\.2, and Sextant needs 15 or newer"):
        postgres_version(fake_binaries(tmp_path / "bin", "13.2"))


def test_a_directory_without_binaries_is_refused(tmp_path: Path) -> None:
    """The error names the directory."""
    with pytest.raises(EmbeddedPostgresError, match="holds no PostgreSQL that runs"):
        postgres_version(tmp_path)


def test_data_of_another_major_version_is_refused(tmp_path: Path) -> None:
    """The error names both versions and the ways on."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "PG_VERSION").write_text("16\n")
    both = r"PostgreSQL 16, but .* PostgreSQL 18: .*pg_upgrade"
    with pytest.raises(EmbeddedPostgresError, match=both):
        open_cluster(data_dir, fake_binaries(tmp_path / "bin", "18.1"))


def test_a_directory_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    """Sextant neither fills nor replaces a directory that it did not make."""
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o755)
    before = data_dir.stat()
    with (
        pytest.raises(EmbeddedPostgresError, match="holds no PostgreSQL database"),
        run_embedded_postgres(data_dir, bin_dir=fake_binaries(tmp_path / "bin", "18.1")),
    ):
        pass
    after = data_dir.stat()
    assert (before.st_ino, before.st_mode, before.st_uid) == (after.st_ino, after.st_mode, after.st_uid)
    assert list(data_dir.iterdir()) == []


def test_a_place_that_cannot_hold_a_database_is_refused(tmp_path: Path) -> None:
    """An error of the file system arrives as ours, with the path in it."""
    (tmp_path / "file").touch()
    with (
        pytest.raises(EmbeddedPostgresError, match=r"cannot keep a database in .*file/data"),
        run_embedded_postgres(tmp_path / "file" / "data", bin_dir=tmp_path),
    ):
        pass


def test_the_first_closed_directory_is_found(tmp_path: Path) -> None:
    """The outermost directory that a user may not enter is named; the path's last part does not count."""
    outer = tmp_path / "outer"
    inner = outer / "inner"
    inner.mkdir(parents=True)
    path = inner / "file"
    closed_above = first_closed_directory(outer, STRANGER)
    inner.chmod(0o700)
    assert first_closed_directory(path, STRANGER) == (closed_above or inner)
    owner = Account("owner", os.geteuid(), os.getegid())
    assert first_closed_directory(path, owner) is None


def test_a_private_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    """The mode is exact, what was there is replaced, and no draft is left."""
    path = tmp_path / "password"
    path.write_text("old")
    path.chmod(0o644)
    before = os.umask(0)
    try:
        replace_file(path, "new")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_pid_file_that_names_a_stranger_is_cleared(tmp_path: Path) -> None:
    """A pid that has been given to another program does not keep the server from starting."""
    pid_file = tmp_path / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{tmp_path}\n")
    await_predecessor(tmp_path, deadline_s=0.0)
    assert not pid_file.exists()


@pytest.mark.parametrize("text", ["", "what\n", f"{2**22 + 1}\n"])
def test_a_pid_file_that_names_nobody_is_left_to_postgres(text: str, tmp_path: Path) -> None:
    """PostgreSQL knows best what to do with a file whose process does not exist."""
    pid_file = tmp_path / "postmaster.pid"
    pid_file.write_text(text)
    await_predecessor(tmp_path, deadline_s=0.0)
    assert pid_file.read_text() == text


def test_children_get_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither PostgreSQL's own variables nor our credentials are passed on."""
    monkeypatch.setenv("PGDATA", "/elsewhere")
    monkeypatch.setenv("DATADOG_API_KEY", "secret")
    assert set(child_environment()) <= {"PATH", "LD_LIBRARY_PATH", "LC_ALL", "TZ"}


def test_the_log_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that grew too long moves aside, its end is kept, and the child's next line starts the new one."""
    monkeypatch.setattr(child_log, "LOG_SIZE_BYTES_MAX", 100)
    log = ChildLog(tmp_path / "log")
    os.write(log.fileno(), b"a" * 100)
    log.trim()
    assert log.size_bytes() == 100
    os.write(log.fileno(), b"z")
    log.trim()
    os.write(log.fileno(), b"new")
    assert (tmp_path / "log").read_bytes() == b"new"
    assert (tmp_path / "log.1").read_bytes() == b"a" * 99 + b"z"
    log.close()


def test_the_tail_of_the_log_starts_where_asked(tmp_path: Path) -> None:
    """The end is cut to size, and nothing before the offset is returned."""
    log = ChildLog(tmp_path / "log")
    os.write(log.fileno(), b"0123456789")
    assert log.tail(3) == b"789"
    assert log.tail(100, since_bytes=8) == b"89"
    log.close()


ORPHAN = """
from adapters.runtime.process import die_with_parent
die_with_parent(parent_pid=-1)
print("still here")
"""

FAMILY = """
import signal, subprocess
from adapters.runtime.process import before_exec
child = subprocess.Popen(["sleep", "60"], preexec_fn=before_exec(signal.SIGTERM))
print(child.pid, flush=True)
input()
"""


def test_a_child_whose_parent_has_ended_already_exits() -> None:
    """The race between the parent's death and the child's arrangement is decided for death."""
    done = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "parent process has ended" in done.stderr


def test_a_child_dies_when_its_parent_is_killed() -> None:
    """SIGKILL leaves the parent no time to tell anyone, and yet the child is gone."""
    parent = subprocess.Popen(
        [sys.executable, "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    try:
        assert ended(child)
    finally:
        os.close(child)


def ended(process: int, timeout_s: float = 10.0) -> bool:
    """Wait until the process behind a pidfd has ended."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else: run the tests as root")
def test_root_becomes_somebody_else_for_good() -> None:
    """The child has the account's ids, no groups and no capability."""
    status = process_status(Account("stranger", 54_321, 54_322))
    assert status["Uid"].split() == ["54321"] * 4
    assert status["Gid"].split() == ["54322"] * 4
    assert status["Groups"] == ""
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapAmb")} == {0}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else: run the tests as root")
def test_one_capability_and_no_other_is_kept_on_request() -> None:
    """With read_search the child may read and search everywhere; that is all it keeps."""
    status = process_status(Account("stranger", 54_321, 54_322, read_search=True))
    assert status["Uid"].split() == ["54321"] * 4
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapAmb", "CapInh")} == {1 << 2}


def process_status(account: Account) -> dict[str, str]:
    """Return /proc/self/status of a child that runs as `account`."""
    done = subprocess.run(
        ["cat", "/proc/self/status"],
        preexec_fn=before_exec(signal.SIGTERM, account),
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    rows = (line.partition(":") for line in done.stdout.splitlines())
    return {name: value.strip() for name, _, value in rows}
