"""`sextant serve` as a user starts and stops it; `test_survival` kills it."""

import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.program import (
    COLLECTING,
    KEY,
    STOP_TIMEOUT_S,
    Program,
    is_alive,
    run_sextant,
    running,
    wait_until,
)

pytestmark = pytest.mark.postgres

RANDOM_KEY = {**COLLECTING, "SEXTANT_BOOTSTRAP_API_KEY": ""}
METRIC = {"name": "room_temperature", "value": 21.5, "labels": {"room": "kitchen"}}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Yield a server that made its own first key."""
    with running(tmp_path_factory.mktemp("serve"), "--workers", "2", environment=RANDOM_KEY) as program:
        yield program


def admin_key(program: Program) -> str:
    """Return the key that the first start made."""
    return (program.data_dir / "admin.key").read_text().strip()


def ask(program: Program, method: str, path: str, key: str, **arguments: object) -> httpx.Response:
    """Return the answer to one request."""
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.request(method, program.url + path, headers=headers, timeout=30, **arguments)  # type: ignore[arg-type]  # json or nothing


def store(program: Program, key: str, value: float) -> None:
    """Send one metric."""
    answer = ask(program, "POST", "/api/v1/metrics/ingest", key, json={**METRIC, "value": value})
    assert answer.status_code == 200, answer.text


def latest(program: Program, key: str) -> list[float]:
    """Return what the server has of it."""
    answer = ask(program, "GET", "/api/v1/metrics/latest/room_temperature", key)
    assert answer.status_code == 200, answer.text
    return [sample["value"] for sample in answer.json()["data"]]


def test_the_first_start_makes_a_key_that_works(program: Program) -> None:
    """It is printed once, kept for its owner only, and administers the server."""
    key = admin_key(program)
    wait_until(lambda: key in program.log, 10)
    assert stat.S_IMODE((program.data_dir / "admin.key").stat().st_mode) == 0o600
    assert program.log.count(key) == 1
    assert ask(program, "GET", "/api/v1/tenants", key).status_code == 200
    assert ask(program, "GET", "/api/v1/tenants", "sx_wrong-wrong-wrong").status_code == 401


def test_the_start_up_block_names_what_it_runs_on(program: Program) -> None:
    """Address, documentation, engine, data directory, workers."""
    wait_until(lambda: "Workers" in program.log, 10)
    for expected in (f"Listening on    {program.url}", f"{program.url}/docs", "PostgreSQL", str(program.data_dir)):
        assert expected in program.log


def test_what_is_sent_is_answered_at_once(program: Program) -> None:
    """Whichever worker takes it."""
    for value in (21.5, 22.5, 23.5):
        store(program, admin_key(program), value)
        assert latest(program, admin_key(program)) == [value]


def test_commands_work_beside_the_running_server(program: Program) -> None:
    """They reach its database through its socket, and it honours at once what they make."""
    data_dir = ("--data-dir", str(program.data_dir))
    shown = run_sextant("status", *data_dir)
    assert shown.returncode == 0, shown.stderr
    assert "PostgreSQL" in shown.stdout
    key = run_sextant("key", "create", "--scope", "query", *data_dir).stdout.strip()
    assert ask(program, "GET", "/api/v1/metrics/names", key).status_code == 200
    assert ask(program, "POST", "/api/v1/metrics/ingest", key, json=METRIC).status_code == 403


def test_a_worker_that_dies_again_and_again_is_replaced(program: Program) -> None:
    """The system may kill it for its memory more than once; the server stays up, with all its workers."""
    wait_until(lambda: len(program.workers()) == 2, 20)
    for _ in range(3):
        killed = program.workers()[0]
        killed.kill()
        wait_until(lambda killed=killed: not is_alive(killed), 5)  # type: ignore[misc]  # mypy cannot infer the lambda's default
        wait_until(lambda: len(program.workers()) == 2, 20)
    store(program, admin_key(program), 24.5)


def test_a_second_server_on_the_same_data_is_refused(program: Program, unused_tcp_port: int) -> None:
    """With one line that names the first."""
    second = run_sextant("serve", "--port", str(unused_tcp_port), "--data-dir", str(program.data_dir))
    assert second.returncode == 1
    (line,) = second.stderr.splitlines()
    assert line.startswith(f"sextant: another sextant is running on {program.data_dir}")
    assert program.process is not None
    assert f"(pid {program.process.pid})" in line


def test_a_port_in_use_is_refused(program: Program, tmp_path: Path) -> None:
    """Before anything is started or made."""
    second = run_sextant("serve", "--port", str(program.port), "--data-dir", str(tmp_path / "data"))
    assert second.returncode == 1
    (line,) = second.stderr.splitlines()
    assert line.startswith(f"sextant: cannot listen on 127.0.0.1:{program.port}: Address already in use; ")
    assert not (tmp_path / "data").exists()


@pytest.fixture
def hangup_heard() -> Iterator[None]:
    """Under nohup the tests, and so the program, would ignore a hangup, as they should."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangup_heard")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_everything_and_data_stay(number: signal.Signals, tmp_path: Path) -> None:
    """Exit status 0, no process left; the next start has the data, and makes no second key."""
    with running(tmp_path, environment=RANDOM_KEY) as program:
        key = admin_key(program)
        store(program, key, 1.5)
        wait_until(lambda: key in program.log, 10)
        family = program.family()
        assert len(family) >= 3
        assert program.process is not None
        program.process.send_signal(number)
        assert program.process.wait(STOP_TIMEOUT_S) == 0
        # The interpreter's own resource tracker ends last.
        wait_until(lambda: not any(map(is_alive, family)), 5)
        program.start()
        assert latest(program, key) == [1.5]
        assert admin_key(program) == key
        assert program.log.count(key) == 1


def test_a_named_key_is_neither_printed_nor_kept(tmp_path: Path) -> None:
    """Containers bring their own, in a file."""
    secret = tmp_path / "secret"
    secret.write_text(KEY + "\n")
    named = {**RANDOM_KEY, "SEXTANT_BOOTSTRAP_API_KEY_FILE": str(secret)}
    with running(tmp_path, environment=named) as program:
        assert ask(program, "GET", "/api/v1/tenants", KEY).status_code == 200
        assert not (program.data_dir / "admin.key").exists()
        assert KEY not in program.log
