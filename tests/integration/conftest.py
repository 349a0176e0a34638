"""Fixtures of the integration tests that run the application over every storage engine."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conftest import on_postgres, on_timescale_native
from tests.integration.in_process import InProcess, in_process
from tests.integration.owners import Owner, new_owner
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
        yield in_process(storage, store=server_store)


@pytest.fixture(scope="session")
def owners() -> dict[str, Owner]:
    """Return the owners by the place of their store."""
    return {}


@pytest.fixture
async def owner(server: InProcess, owners: dict[str, Owner]) -> Owner:
    """Return the one owner that tests share whose claim is that it stays as it is."""
    place = str(server.store.place)
    if place not in owners:
        owners[place] = await new_owner(server)
    return owners[place]
