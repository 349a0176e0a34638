"""Fixtures that give a test module a real, empty database of its own on each engine that can run here.

engine_database      PostgreSQL, TimescaleDB in WebAssembly and native TimescaleDB, one after the other
timescale_database   the two TimescaleDBs, one after the other
postgres_database, timescale_wasm_database, timescale_native_database   one engine

All yield an `Engine`. A test that uses one of the last three carries that engine's marker itself.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.support.servers import (
    Engine,
    ServerMissingError,
    fresh_database,
    native_timescale_url,
    run_test_postgres,
    run_timescale_wasm,
)

on_postgres = pytest.param("postgres", marks=pytest.mark.postgres)
on_timescale_wasm = pytest.param("timescale-wasm", marks=pytest.mark.timescale)
on_timescale_native = pytest.param("timescale-native", marks=[pytest.mark.timescale, pytest.mark.native])


def pytest_report_header() -> str:
    """Say which lane is left out, once, instead of at each of its tests."""
    try:
        native_timescale_url()
    except ServerMissingError as missing:
        return f"native TimescaleDB: its tests are skipped; {missing}"
    return "native TimescaleDB: its tests run"


@contextmanager
def or_skip(server: AbstractContextManager[str]) -> Iterator[str]:
    """Enter a server, or skip the test with the reason that it cannot run here; where CI is set, that is a failure."""
    try:
        with server as url:
            yield url
    except ServerMissingError as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@contextmanager
def timescale_wasm() -> Iterator[Engine]:
    """A new, empty TimescaleDB in WebAssembly."""
    with or_skip(run_timescale_wasm()) as url, pytest.MonkeyPatch.context() as patch:
        # A sign of life has to wait there for the statement under way, a long refresh included.
        patch.setattr("adapters.driven.postgres.database.PULSE_TIMEOUT_S", 60.0)
        yield Engine("timescale-wasm", url, single_connection=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Yield the URL of a PostgreSQL for the whole test run."""
    with or_skip(run_test_postgres()) as url:
        yield url


@pytest.fixture(scope="session")
def timescale_native_server() -> str:
    """Return the URL of the native TimescaleDB that the environment names."""
    try:
        return native_timescale_url()
    except ServerMissingError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def postgres_database(postgres_server: str) -> Iterator[Engine]:
    """Yield an empty PostgreSQL database."""
    with fresh_database(postgres_server, with_timescale=False) as url:
        yield Engine("postgres", url)


@pytest.fixture(scope="module")
def timescale_wasm_database() -> Iterator[Engine]:
    """Yield an empty TimescaleDB in WebAssembly, on a server of its own."""
    with timescale_wasm() as engine:
        yield engine


@pytest.fixture(scope="module")
def timescale_native_database(timescale_native_server: str) -> Iterator[Engine]:
    """Yield an empty database on the native TimescaleDB."""
    with fresh_database(timescale_native_server, with_timescale=True) as url:
        yield Engine("timescale-native", url)


@pytest.fixture(scope="module", params=[on_postgres, on_timescale_wasm, on_timescale_native])
def engine_database(request: pytest.FixtureRequest) -> Engine:
    """Return an empty database on each engine in turn."""
    return database_named(request)


@pytest.fixture(scope="module", params=[on_timescale_wasm, on_timescale_native])
def timescale_database(request: pytest.FixtureRequest) -> Engine:
    """Return an empty database on each TimescaleDB in turn."""
    return database_named(request)


def database_named(request: pytest.FixtureRequest) -> Engine:
    """Return the database of the engine that a parametrised fixture's present parameter names."""
    engine: Engine = request.getfixturevalue(f"{request.param.replace('-', '_')}_database")
    return engine
