"""The `store` fixture: the in-memory store, then one on each engine that can run here, each for the whole run.

A test module's conftest imports `store`; every conftest that does has stores of its own.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from adapters.bootstrap import open_storage, run_migrations
from adapters.runtime.settings import DatabaseSettings, Settings
from adapters.runtime.telemetry import PrometheusTelemetry
from tests.conftest import on_postgres, on_timescale_native, on_timescale_wasm, timescale_wasm
from tests.support.servers import Engine, fresh_database
from tests.support.storages import Storage, Store, memory_store

PATIENCE = (
    "database.PULSE_TIMEOUT_S",
    "database.ACQUIRE_TIMEOUT_S",
    "action_limits.LOCK_TIMEOUT_S",
    "audit.LOCK_TIMEOUT_S",
)
"""A busy machine is no database that is away: who waits has his turn."""


@pytest.fixture(scope="session", params=["memory", on_postgres, on_timescale_wasm, on_timescale_native])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Yield a store of each kind in turn; tests share it and keep apart by tenants of their own."""
    if request.param == "memory":
        yield memory_store()
        return
    with empty_database(request, request.param) as engine, pytest.MonkeyPatch.context() as patch:
        for limit in PATIENCE:
            patch.setattr(f"adapters.driven.postgres.{limit}", 60.0)
        yield database_store(engine)


@contextmanager
def empty_database(request: pytest.FixtureRequest, name: str) -> Iterator[Engine]:
    """A database on an engine, for as long as the fixture that asks lives."""
    match name:
        case "postgres":
            with fresh_database(request.getfixturevalue("postgres_server"), with_timescale=False) as url:
                yield Engine("postgres", url)
        case "timescale-wasm":
            with timescale_wasm() as engine:
                yield engine
        case "timescale-native":
            with fresh_database(request.getfixturevalue("timescale_native_server"), with_timescale=True) as url:
                yield Engine("timescale-native", url)


def database_store(engine: Engine) -> Store:
    """A migrated store in an empty database."""
    # The settings' own lower bound is for servers; the WebAssembly lane has one connection, whoever asks.
    pool_size = 2 if engine.single_connection else 6  # a refresh holds one beside its transactions
    settings = Settings(database=DatabaseSettings(url=engine.url, pool_size=pool_size))
    run_migrations(settings)
    telemetry = PrometheusTelemetry()

    @asynccontextmanager
    async def opened() -> AsyncIterator[Storage]:
        async with open_storage(settings, telemetry) as storage:
            yield storage

    return Store(engine.name, opened, engine.url, single_connection=engine.single_connection)
