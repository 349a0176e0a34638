"""Fixtures of the integration tests that run the application over every storage engine."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conftest import on_postgres, on_timescale_native
from tests.integration.in_process import InProcess, in_process
from tests.support.storages import Store
from tests.support.store_fixtures import database_store, empty_database, store

__all__ = ["store"]


@pytest.fixture(scope="session", params=[on_postgres, on_timescale_native])
def server_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Yield a store on each engine that serves several connections."""
    with empty_database(request, request.param) as engine:
        yield database_store(engine)


@pytest.fixture
async def server(server_store: Store) -> AsyncIterator[InProcess]:
    """Yield the application over each of them in turn."""
    async with server_store.open() as storage:
        yield in_process(storage)
