"""Background work in rounds, until it is told to stop."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Done = TypeVar("Done")


async def run_rounds(
    work: Callable[[], Awaitable[tuple[Done, float]]], report: Callable[[Done], None], stop: asyncio.Event
) -> None:
    """Calls `work` again and again, reports what each round did, and waits as many seconds as it says."""
    while not stop.is_set():
        done, pause_s = await work()
        report(done)
        if pause_s:
            await wait_for_stop(stop, pause_s)


async def wait_for_stop(stop: asyncio.Event, timeout_s: float) -> None:
    """Returns when `stop` is set, or after `timeout_s`."""
    try:
        async with asyncio.timeout(timeout_s):
            await stop.wait()
    except TimeoutError:
        return
