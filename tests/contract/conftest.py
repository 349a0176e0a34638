"""Every contract test runs on every adapter: in memory, and on each engine that can run here."""

from collections.abc import AsyncIterator

import pytest

from tests.support.alert_storage import AlertStorage, open_alert_storage
from tests.support.outbox_use import empty
from tests.support.remediation_storage import RemediationStorage, open_remediation_storage
from tests.support.storages import Storage, Store, Tenancy, new_tenancy
from tests.support.store_fixtures import store

__all__ = ["store"]


@pytest.fixture
async def storage(store: Store) -> AsyncIterator[Storage]:
    """Yield the store, opened."""
    async with store.open() as storage:
        yield storage


@pytest.fixture
async def other_storage(store: Store) -> AsyncIterator[Storage]:
    """Yield the same store, opened a second time, as another process has it."""
    async with store.open() as storage:
        yield storage


@pytest.fixture
async def tenancy(storage: Storage) -> Tenancy:
    """Return a new tenant."""
    return await new_tenancy(storage)


@pytest.fixture
async def neighbour(storage: Storage) -> Tenancy:
    """Return another new tenant."""
    return await new_tenancy(storage)


@pytest.fixture
def two_transactions(store: Store) -> None:
    """Skip the test where two transactions cannot be open at once."""
    if store.single_connection:
        pytest.skip("needs two transactions at once; TimescaleDB in WebAssembly has one session, a native one has more")


@pytest.fixture
async def repairs(store: Store) -> AsyncIterator[RemediationStorage]:
    """Yield the store's adapters for remediation."""
    async with open_remediation_storage(store) as repairs:
        yield repairs


@pytest.fixture
async def other_repairs(store: Store) -> AsyncIterator[RemediationStorage]:
    """Yield them a second time, as another process has them."""
    async with open_remediation_storage(store) as repairs:
        yield repairs


@pytest.fixture
async def alerting(store: Store) -> AsyncIterator[AlertStorage]:
    """Yield the store's adapters for alerts and notifications."""
    async with open_alert_storage(store) as alerting:
        yield alerting


@pytest.fixture
async def other_alerting(store: Store) -> AsyncIterator[AlertStorage]:
    """Yield them a second time, as another process has them."""
    async with open_alert_storage(store) as alerting:
        yield alerting


@pytest.fixture
async def empty_outbox(alerting: AlertStorage) -> None:
    """Decide and deliver what earlier tests left in the notification outbox, which is one for all tenants."""
    await empty(alerting)
