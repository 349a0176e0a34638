"""Who correlates: one process at a time, and another one as soon as that ends."""

import pytest

from tests.support.storages import Storage, Store


async def test_one_leads_at_a_time_and_lets_the_next_one_lead(store: Store) -> None:
    """Whoever asks meanwhile is told to stand by."""
    if store.single_connection:
        pytest.skip("needs two connections at once")
    async with store.open() as first, store.open() as second:
        async with first.incident_work.lead() as leads:
            assert leads
            async with second.incident_work.lead() as both:
                assert not both
        async with second.incident_work.lead() as leads:
            assert leads


async def test_who_fails_while_leading_lets_the_next_one_lead(store: Store) -> None:
    """The lock goes with what held it."""
    if store.single_connection:
        pytest.skip("needs two connections at once")
    async with store.open() as first, store.open() as second:
        with pytest.raises(RuntimeError, match="as a bug would"):
            await fail_while_leading(first)
        async with second.incident_work.lead() as leads:
            assert leads


async def fail_while_leading(storage: Storage) -> None:
    """Leads, and ends as a bug would end it."""
    async with storage.incident_work.lead():
        raise RuntimeError("as a bug would")
