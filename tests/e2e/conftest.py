"""One server for all tests that do not break it: two workers, settling all the time, on each engine in turn."""

from collections.abc import Iterator

import httpx
import pytest

from tests.conftest import on_postgres, on_timescale_native
from tests.e2e.program import KEY, Program, running
from tests.support.store_fixtures import empty_database

SETTINGS = {"SEXTANT_KEEPER_SETTLE_AGE": "300ms"}


@pytest.fixture(scope="session", params=[on_postgres, on_timescale_native])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Yield the server, on its embedded PostgreSQL and on a new database of the native TimescaleDB."""
    directory = tmp_path_factory.mktemp("shared")
    if request.param == "postgres":
        with running(directory, "--workers", "2", environment=SETTINGS) as program:
            yield program
        return
    with (
        empty_database(request, request.param) as engine,
        running(directory, "--workers", "2", database_url=engine.url, environment=SETTINGS) as program,
    ):
        yield program


@pytest.fixture
def client(server: Program) -> Iterator[httpx.Client]:
    """Yield a client with the operator's key."""
    with httpx.Client(base_url=server.url, headers={"x-api-key": KEY}, timeout=30) as client:
        yield client
