"""Children run for as long as somebody wants them, and not longer."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pytest

from adapters.runtime.embedded_postgres import EmbeddedPostgresError
from adapters.runtime.supervision import become_child, supervised_postgres, supervised_processes


def note_and_wait(notes: Path, parent_pid: int) -> None:
    """A child: notes its pid, then waits to be told to stop, which it notes too."""
    become_child(parent_pid)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with notes.open("a") as file:
        file.write(f"{os.getpid()}\n")
    signal.sigwait({signal.SIGTERM})
    with notes.open("a") as file:
        file.write("stopped\n")


def wait_until(holds: Callable[[], object], timeout_s: float = 30) -> None:
    """Wait for a condition."""
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def lines(notes: Path) -> list[str]:
    """What the children have noted."""
    return notes.read_text().splitlines() if notes.exists() else []


def test_a_child_that_dies_is_replaced_and_the_last_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each death brings a new process; on leaving the child is asked to stop, and has gone."""
    monkeypatch.setattr("adapters.runtime.supervision.STOP_TIMEOUT_S", 60.0)
    notes = tmp_path / "notes"
    with supervised_processes({"noter": note_and_wait}, notes):
        for deaths in range(2):
            wait_until(lambda deaths=deaths: len(lines(notes)) == deaths + 1)  # type: ignore[misc]  # mypy cannot infer the lambda's default
            os.kill(int(lines(notes)[-1]), signal.SIGKILL)
        wait_until(lambda: len(lines(notes)) == 3)
    assert lines(notes)[3:] == ["stopped"]
    assert not any(psutil.pid_exists(int(pid)) for pid in lines(notes)[:3])


@pytest.mark.postgres
def test_a_postgres_that_dies_is_started_again(tmp_path: Path) -> None:
    """With the same URL and what was committed; leaving stops it."""
    data_dir = tmp_path / "postgres"
    with supervised_postgres(data_dir) as url:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        pid = postmaster_pid(data_dir)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: answers(url))
        assert postmaster_pid(data_dir) != pid
    assert not (data_dir / "postmaster.pid").exists()


@pytest.mark.postgres
def test_a_postgres_that_cannot_start_is_an_error(tmp_path: Path) -> None:
    """The first start's reason reaches whoever asked for it; nothing goes on in the background."""
    in_the_way = tmp_path / "postgres"
    in_the_way.write_text("a file, not a directory")
    with pytest.raises(EmbeddedPostgresError), supervised_postgres(in_the_way):
        pass


def postmaster_pid(data_dir: Path) -> int:
    """The server's process id."""
    return int((data_dir / "postmaster.pid").read_text().splitlines()[0])


def answers(url: str) -> bool:
    """Whether the table is there again."""
    try:
        with psycopg.connect(url) as connection:
            return connection.execute("SELECT one FROM kept").fetchone() == (1,)
    except psycopg.Error:
        return False
