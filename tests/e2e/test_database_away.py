"""The database is away, stopped or frozen: senders are told within seconds, and served again within seconds."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest

from adapters.runtime.embedded_postgres import EmbeddedPostgres, run_embedded_postgres
from tests.e2e.ledger import Ledger, await_acknowledgements
from tests.e2e.program import KEY, Program, running, wait_until

pytestmark = pytest.mark.postgres

REFUSED_WITHIN_S = 5.0
RECOVERED_WITHIN_S = 10.0
NOTICED_AFTER_S = 7.0
SLACK_S = 1.0
"""For a test machine that is busy with other work; what is promised is the figure without it."""
ROUNDS = int(os.environ.get("SEXTANT_TEST_OUTAGES", "1"))
"""How often the database is taken away in each manner."""


class Database:
    """A PostgreSQL of the team's own, beside Sextant, that can be taken away."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._context = run_embedded_postgres(data_dir)
        self.server: EmbeddedPostgres = self._context.__enter__()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Shut down, orderly."""
        self.close()
        try:
            yield
        finally:
            self._context = run_embedded_postgres(self._data_dir)
            self.server = self._context.__enter__()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Every process of it stopped by SIGSTOP, new connections included: it answers nothing, not even errors."""
        postmaster = psutil.Process(self.server.pid)
        processes = [postmaster]
        try:
            postmaster.send_signal(signal.SIGSTOP)  # first, so that it starts no other
            wait_until(lambda: postmaster.status() == psutil.STATUS_STOPPED, 5)
            processes += postmaster.children(recursive=True)
            for process in processes[1:]:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGSTOP)
            yield
        finally:
            for process in reversed(processes):
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stops it."""
        self._context.__exit__(None, None, None)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Yield the database."""
    database = Database(tmp_path_factory.mktemp("database") / "postgres")
    yield database
    database.close()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory, database: Database) -> Iterator[Program]:
    """Yield a server of two workers on it."""
    settings = {"SEXTANT_KEEPER_SETTLE_AGE": "300ms"}
    with running(
        tmp_path_factory.mktemp("away"), "--workers", "2", database_url=database.server.url, environment=settings
    ) as program:
        yield program


@pytest.fixture(scope="module")
def ledger(program: Program) -> Ledger:
    """Return what all tests of this module had acknowledged."""
    return Ledger(program.url)


REQUESTS: dict[str, Callable[[httpx.Client], httpx.Response]] = {
    "ingest": lambda client: client.post("/api/v1/metrics/ingest", json={"name": "away", "value": 1.0}),
    "idempotent ingest": lambda client: client.post(
        "/ingest", json={"name": "away", "value": 2.0}, headers={"idempotency-key": "away-1"}
    ),
    "raw": lambda client: client.get("/api/v1/metrics", params={"name": "away"}),
    "series": lambda client: client.get("/api/v1/metrics/series/away"),
    "latest": lambda client: client.get("/api/v1/metrics/latest/away"),
    "names": lambda client: client.get("/api/v1/metrics/names"),
    "definitions": lambda client: client.get("/api/v1/metrics/definitions"),
    "limits": lambda client: client.get("/api/v1/limits"),
    "keys": lambda client: client.get("/api/v1/keys"),
    "readyz": lambda client: client.get("/readyz"),
}


@pytest.mark.parametrize("manner", ["stopped", "frozen"])
def test_requests_are_refused_in_time_and_served_again_in_time(
    program: Program, database: Database, ledger: Ledger, manner: str
) -> None:
    """Under 8 writers: 503 with Retry-After within 5 s on every route, /healthz stays 200, then service within 10 s."""
    with ledger.writing() as writers:
        for _ in range(ROUNDS):
            await_acknowledgements(writers, 5)
            with getattr(database, manner)():
                taken_s = time.monotonic()
                for name, (reply, took_s) in _all_at_once(program).items():
                    assert reply.status_code == 503, f"{name}: {reply.status_code} {reply.text}"
                    assert took_s < REFUSED_WITHIN_S + SLACK_S, f"{name} was refused after {took_s:.1f} s"
                    assert 1 <= int(reply.headers["retry-after"]) <= 10
                    if name != "readyz":
                        assert reply.headers["content-type"] == "application/problem+json"
                        assert reply.json()["type"] == "urn:sextant:problem:unavailable"
                        assert "database" in reply.json()["detail"]
                assert time.monotonic() - taken_s < 2 * REFUSED_WITHIN_S
                assert httpx.get(f"{program.url}/healthz", timeout=1).status_code == 200
                # Long enough for every part of the program to have noticed, so that every part must recover.
                wait_until(partial(has_passed, taken_s + NOTICED_AFTER_S), 10)
            back_s = time.monotonic()
            wait_until(
                lambda: not _unserved(program),
                RECOVERED_WITHIN_S + SLACK_S,
                lambda: f"not served: {_unserved(program)}",
            )
            await_acknowledgements(writers, 1, RECOVERED_WITHIN_S)
            assert time.monotonic() - back_s < RECOVERED_WITHIN_S + SLACK_S
            assert all(writer.refusals == {503} for writer in writers)
    ledger.check()


def test_all_of_it_is_settled_exactly_once(database: Database, ledger: Ledger) -> None:
    """The keeper has recovered too, and the table of samples equals the ledger."""
    ledger.check_settled(database.server.url)


def has_passed(instant_s: float) -> bool:
    """Whether an instant of the monotonic clock is over."""
    return time.monotonic() > instant_s


def _all_at_once(program: Program) -> dict[str, tuple[httpx.Response, float]]:
    """Each kind of request's reply, and after how many seconds it came."""

    def ask(name: str) -> tuple[httpx.Response, float]:
        with httpx.Client(base_url=program.url, headers={"x-api-key": KEY}, timeout=20) as client:
            started_s = time.monotonic()
            return REQUESTS[name](client), time.monotonic() - started_s

    with ThreadPoolExecutor(len(REQUESTS)) as pool:
        return dict(zip(REQUESTS, pool.map(ask, REQUESTS), strict=True))


def _unserved(program: Program) -> dict[str, str]:
    """The requests that are not answered with success, and how they are answered."""
    replies = _all_at_once(program)
    return {name: reply.text for name, (reply, _) in replies.items() if reply.status_code >= 300}
