"""A receiver for all of them."""

from collections.abc import AsyncIterator

import pytest

from tests.support.receiver import Receiver


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Yield a plain HTTP server."""
    async with Receiver().listening() as listening:
        yield listening
