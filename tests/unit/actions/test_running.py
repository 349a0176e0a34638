"""Signs of life and time limits."""

import asyncio

import pytest

from adapters.driven.actions.running import beating, limited
from ports.driven.action_runner import ActionError


async def test_a_heart_beats_at_once_and_stops_with_the_block() -> None:
    """Nothing of it is left running."""
    beats: list[int] = []
    async with beating(lambda: beats.append(1)):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert beats == [1]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_heartbeat_that_fails_is_not_swallowed() -> None:
    """It is a bug of ours."""

    def fail() -> None:
        raise LookupError("no activity")

    with pytest.raises(LookupError, match="no activity"):
        async with beating(fail):
            await asyncio.sleep(0.01)


async def test_time_is_up() -> None:
    """The same may succeed later."""
    with pytest.raises(ActionError, match=r"within 0\.01 s") as failure:
        async with limited(0.01):
            await asyncio.Event().wait()
    assert failure.value.retryable


async def test_cancellation_is_not_a_time_out() -> None:
    """Whoever cancels gets the cancellation."""

    async def wait() -> None:
        async with limited(60), beating(lambda: None):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
