"""Starting and stopping: nothing is cut off, nothing is left behind, and a start that cannot be says why."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.conftest import on_postgres, on_timescale_native
from tests.e2e.program import KEY, clean_environment, free_port, is_alive, run_sextant, running, wait_until
from tests.support.servers import with_database
from tests.support.store_fixtures import empty_database

pytestmark = pytest.mark.postgres

REASON_CHARS_MAX = 500


@pytest.fixture(params=[on_postgres, on_timescale_native])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield an empty database on each engine in turn."""
    with empty_database(request, request.param) as engine:
        yield engine.url


def test_sigterm_lets_a_request_in_progress_finish(tmp_path: Path) -> None:
    """A body that is half sent at SIGTERM is read, stored and answered; then all ends with 0, nothing left over."""
    with running(tmp_path, "--workers", "2") as program:
        family = program.family()
        assert len(family) >= 5  # the keeper, two workers, PostgreSQL and its own
        with socket.create_connection(("127.0.0.1", program.port), timeout=10) as connection:
            body = b'{"name":"half_sent","value":4.5}'
            head = (
                "POST /ingest HTTP/1.1\r\nHost: sextant\r\nContent-Type: application/json\r\nConnection: close\r\n"
                f"X-API-Key: {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            connection.sendall(head.encode() + body[:10])
            assert httpx.get(f"{program.url}/healthz", timeout=30).status_code == 200  # by now the half has been read
            assert program.process is not None
            program.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not _accepts(program.port), 5)
            connection.sendall(body[10:])
            reply = b"".join(iter(lambda: connection.recv(65_536), b""))
        assert reply.startswith(b"HTTP/1.1 200"), reply
        assert program.process.wait(10) == 0
        wait_until(lambda: not any(map(is_alive, family)), 3, lambda: f"left behind: {family}")
        program.start()
        with httpx.Client(base_url=program.url, headers={"x-api-key": KEY}, timeout=30) as client:
            latest = client.get("/api/v1/metrics/latest/half_sent").json()["data"]
        assert [row["value"] for row in latest] == [4.5]
        assert program.stop() == 0
    assert "Traceback" not in program.log


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("postgresql://nobody:wrong@{host}/postgres", "nobody"),
        ("{url}_absent", "_absent"),
        ("postgresql://127.0.0.1:{free_port}/sextant", "refused"),
        ("mysql://127.0.0.1/sextant", "postgresql://"),
        ("not a url", "postgresql://"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_wrong_database_url_is_explained(
    postgres_server: str, tmp_path: Path, command: str, change: str, says: str
) -> None:
    """Exit status 1 within seconds, one line with the reason, the password in no output."""
    secret = "s3cret-in-the-url"
    url = change.format(url=postgres_server, host="127.0.0.1:1", free_port=free_port())
    if "nobody" in change:
        url = _with_login(postgres_server, "nobody", secret)
    arguments = ["--port", str(free_port())] if command == "serve" else []
    done = run_sextant(command, *arguments, "--data-dir", str(tmp_path), environment={"SEXTANT_DATABASE_URL": url})
    assert_refused(done, says)
    assert secret not in done.stdout + done.stderr


def test_several_migrations_at_once(database_url: str) -> None:
    """Four at once all succeed, and each file is applied once."""
    environment = {"SEXTANT_DATABASE_URL": database_url}
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: run_sextant("migrate", "--json", environment=environment), range(4)))
    assert [run.returncode for run in runs] == [0] * 4, [run.stderr for run in runs]
    applied = [name for run in runs for name in json.loads(run.stdout)["applied"]]
    assert sorted(set(applied)) == sorted(applied)
    assert len({json.loads(run.stdout)["schema_version"] for run in runs}) == 1
    assert applied == [file for file, _ in history(database_url)]


def test_an_interrupted_migration_is_taken_up_again(database_url: str) -> None:
    """kill -9 in the middle, whenever it comes: the next run completes the schema, and it works."""
    environment = {"SEXTANT_DATABASE_URL": database_url}
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-m", "adapters.main", "migrate"],
            env=clean_environment(environment),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with psycopg.connect(database_url, autocommit=True) as connection:
            wait_until(partial(has_begun, connection, process), 30)
        process.kill()
        process.wait()
    done = run_sextant("migrate", "--json", environment=environment)
    assert done.returncode == 0, done.stderr
    numbers = [file[:4] for file, _ in history(database_url)]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == json.loads(done.stdout)["schema_version"]
    status = run_sextant("status", "--json", environment=environment)
    assert json.loads(status.stdout)["schema_version"] == numbers[-1]


def test_a_changed_or_unknown_migration_is_refused(database_url: str, tmp_path: Path) -> None:
    """A file that was changed after it was applied, and a schema newer than the program: named, nothing touched."""
    environment = {"SEXTANT_DATABASE_URL": database_url}
    assert run_sextant("migrate", environment=environment).returncode == 0
    for change, says in (
        ("UPDATE sextant.migrations SET sha256 = 'another' WHERE number = '0002'", ("0002", "changed")),
        ("INSERT INTO sextant.migrations VALUES ('9999', '9999_future.sql', 'x')", ("9999_future.sql", "upgrade")),
    ):
        with psycopg.connect(database_url, autocommit=True) as connection:
            kept = connection.execute("SELECT * FROM sextant.migrations").fetchall()
            connection.execute(change)
            wrong = history(database_url)
            for command in (["migrate"], ["serve", "--port", str(free_port()), "--data-dir", str(tmp_path)]):
                assert_refused(run_sextant(*command, environment=environment), *says)
            assert history(database_url) == wrong
            connection.execute("TRUNCATE sextant.migrations")
            for row in kept:
                connection.execute("INSERT INTO sextant.migrations VALUES (%s, %s, %s, %s)", row)
    assert run_sextant("migrate", environment=environment).returncode == 0


def test_a_file_in_place_of_the_data_directory_is_explained(tmp_path: Path) -> None:
    """A data directory that cannot be one: a reason, no traceback."""
    (tmp_path / "file").write_text("in the way")
    done = run_sextant("serve", "--port", str(free_port()), "--data-dir", str(tmp_path / "file"))
    assert_refused(done, str(tmp_path / "file"))


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    """Every wrong setting at once, with what it should be."""
    wrong = {"SEXTANT_KEEPER_SETTLE_AGE": "soon", "SEXTANT_SERVER_WORKERS": "0", "SEXTANT_SERVER_PROT": "1"}
    done = run_sextant("serve", "--data-dir", str(tmp_path), environment=wrong)
    assert done.returncode == 1
    for name in wrong:
        assert name in done.stderr
    assert "Traceback" not in done.stderr


def has_begun(connection: psycopg.Connection, process: subprocess.Popen[bytes]) -> bool:
    """Whether a migration has left its first trace, or has ended already."""
    begun = connection.execute("SELECT to_regclass('sextant.migrations') IS NOT NULL").fetchone()
    return begun == (True,) or process.poll() is not None


def history(url: str) -> list[tuple[str, str]]:
    """The migrations that a database has had: file and hash."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute("SELECT file, sha256 FROM sextant.migrations ORDER BY number").fetchall()


def assert_refused(done: subprocess.CompletedProcess[str], *says: str) -> None:
    """Asserts exit status 1 and a last line that says why, without a traceback."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    reason = done.stderr.strip().splitlines()[-1]
    assert len(reason) < REASON_CHARS_MAX, reason
    for part in says:
        assert part in reason, reason


def _with_login(url: str, user: str, password: str) -> str:
    """The URL with another user and password."""
    scheme, _, rest = with_database(url, "postgres").partition("://")
    return f"{scheme}://{user}:{password}@{rest.rpartition('@')[2]}"


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
