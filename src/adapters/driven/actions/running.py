"""What every action needs while it runs: signs of life, an end in time, and its refusals told as `ActionError`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from core.domain.errors import InvalidInput
from ports.driven.action_runner import ActionError

BEAT_S: Final = 1.0
"""Temporal takes an action for dead after some missed beats; `RemediationWork.act` promises one each second."""


@asynccontextmanager
async def beating(heartbeat: Callable[[], None]) -> AsyncIterator[None]:
    """Calls `heartbeat` now and each second until the block is left; what it raises, the block raises at its end."""
    beats = asyncio.create_task(_beat(heartbeat))
    try:
        yield
    finally:
        beats.cancel()
        await asyncio.wait([beats])
        if not beats.cancelled():
            beats.result()


@asynccontextmanager
async def limited(timeout_s: float) -> AsyncIterator[None]:
    """Ends the block after `timeout_s`, with a retryable `ActionError`."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise ActionError(f"it was not done within {timeout_s:g} s", retryable=True) from None


@contextmanager
def refusing() -> Iterator[None]:
    """Makes an `InvalidInput` an `ActionError` that repeating does not mend."""
    try:
        yield
    except InvalidInput as error:
        raise ActionError(f"{error.field} {error.reason}", retryable=False) from None


async def _beat(heartbeat: Callable[[], None]) -> None:
    while True:
        heartbeat()
        await asyncio.sleep(BEAT_S)
