"""A world of its own for each test."""

import pytest

from tests.unit.remediation_work.world import World


@pytest.fixture
async def world() -> World:
    """Return one tenant's world, in which nothing has happened."""
    return await World().opened()
