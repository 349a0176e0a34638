"""The server secrets port: keys that the server makes for itself, once."""

import asyncio

from ports.driven.server_secrets import SECRET_SIZE_BYTES
from tests.support.remediation_storage import RemediationStorage, open_remediation_storage
from tests.support.storages import Store, unique


async def test_made_once(repairs: RemediationStorage, store: Store) -> None:
    """A secret is made when it is first asked for and stays the same, in any process; each name has its own."""
    name = unique("secret")
    secret = await repairs.server_secrets.get(name)
    assert len(secret) == SECRET_SIZE_BYTES
    assert await repairs.server_secrets.get(name) == secret
    assert await repairs.server_secrets.get(unique("secret")) != secret
    async with open_remediation_storage(store) as later:
        assert await later.server_secrets.get(name) == secret


async def test_first_asked_for_at_once(repairs: RemediationStorage, other_repairs: RemediationStorage) -> None:
    """Processes that ask for a new secret at the same time agree on one."""
    name = unique("secret")
    answers = await asyncio.gather(*((repairs, other_repairs)[n % 2].server_secrets.get(name) for n in range(10)))
    assert len(set(answers)) == 1
