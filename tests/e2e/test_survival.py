"""Kill anything at any moment: what was acknowledged is there afterwards, exactly once, equal."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial

import httpx
import psutil
import pytest

from adapters.runtime.embedded_access import embedded_database
from tests.conftest import on_postgres, on_timescale_native
from tests.e2e.ledger import Ledger, await_acknowledgements
from tests.e2e.program import KEY, Program, is_alive, running, wait_until
from tests.support.store_fixtures import empty_database

ROUNDS = int(os.environ.get("SEXTANT_TEST_KILLS", "2"))
"""How often each victim is killed; raise it to search for longer."""
SETTINGS = {"SEXTANT_KEEPER_SETTLE_AGE": "300ms"}


@pytest.fixture(scope="module", params=[on_postgres, on_timescale_native])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Yield a server that settles all the time: with its own PostgreSQL, then on the native TimescaleDB."""
    directory = tmp_path_factory.mktemp("survival")
    if request.param == "postgres":
        with running(directory, environment=SETTINGS) as program:
            yield program
        return
    with (
        empty_database(request, request.param) as engine,
        running(directory, database_url=engine.url, environment=SETTINGS) as program,
    ):
        yield program


@pytest.fixture(scope="module")
def ledger(program: Program) -> Ledger:
    """Return what all tests of this module had acknowledged."""
    return Ledger(program.url)


VICTIMS: dict[str, Callable[[Program], list[psutil.Process]]] = {
    "worker": Program.workers,
    "keeper": Program.keepers,
    "database": Program.postgres,
}


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_killed_process_is_replaced_and_nothing_acknowledged_is_lost(
    program: Program, ledger: Ledger, victim: str
) -> None:
    """kill -9 of a worker, the keeper and PostgreSQL under 8 writers: each is back at once, and the ledger holds."""
    if victim == "database" and not program.postgres():
        pytest.skip("this server's database is not its own; tests/e2e/test_database_away.py takes such a one away")
    with ledger.writing() as writers:
        for _ in range(ROUNDS):
            await_acknowledgements(writers, 10)
            killed = VICTIMS[victim](program)[0]
            killed.kill()
            wait_until(partial(replaced, program, victim, killed), 15)
            await_acknowledgements(writers, 10)
            program.wait_ready()
    ledger.check()


def replaced(program: Program, victim: str, killed: psutil.Process) -> bool:
    """Whether a process is gone and another in its place."""
    present = VICTIMS[victim](program)
    return not is_alive(killed) and bool(present) and present[0] != killed


def test_the_whole_program_killed_and_started_again(program: Program, ledger: Ledger) -> None:
    """kill -9 of the parent under 8 writers ends every process; the next start has all that was acknowledged.

    It also knows the idempotency keys: a retry after the crash is answered as before, and stored once.
    """
    once = {"name": "sent_twice", "value": 1.0}
    headers = {"x-api-key": KEY, "idempotency-key": "before-the-crash"}
    with httpx.Client(base_url=program.url, headers=headers, timeout=30) as client:
        first = client.post("/ingest", json=once)
    with ledger.writing() as writers:
        for _ in range(ROUNDS - 1):
            await_acknowledgements(writers, 10)
            program.kill()
            program.start()
            await_acknowledgements(writers, 10)
    ledger.check()
    with httpx.Client(base_url=program.url, headers=headers, timeout=30) as client:
        again = client.post("/ingest", json=once)
        assert (again.status_code, again.text) == (first.status_code, first.text) == (200, first.text)
        assert len(client.get("/api/v1/metrics", params={"name": "sent_twice"}).json()["data"]) == 1


def test_all_of_it_is_settled_exactly_once(program: Program, ledger: Ledger) -> None:
    """After all that, the table of samples itself equals the ledger."""
    named = program.environment.get("SEXTANT_DATABASE_URL")
    with nullcontext(named) if named is not None else embedded_database(program.data_dir) as url:
        ledger.check_settled(url)


def test_a_stop_under_load_loses_nothing(program: Program, ledger: Ledger) -> None:
    """SIGTERM under 8 writers: requests in progress are answered, the exit status is 0, and the ledger holds."""
    with ledger.writing() as writers:
        await_acknowledgements(writers, 5)
        assert program.process is not None
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(12) == 0
        program.start()
        await_acknowledgements(writers, 5)
    ledger.check()
