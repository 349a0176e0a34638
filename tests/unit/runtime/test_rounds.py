"""Background work in rounds."""

import asyncio

from adapters.runtime.rounds import run_rounds, wait_for_stop


async def test_rounds_go_on_until_they_are_stopped() -> None:
    """Each is reported; a pause ends at once where the work is to stop."""
    stop = asyncio.Event()
    reported: list[int] = []

    async def work() -> tuple[int, float]:
        number = len(reported) + 1
        return number, 0.0 if number < 3 else 600.0

    def report(number: int) -> None:
        reported.append(number)
        if number == 3:
            asyncio.get_running_loop().call_soon(stop.set)

    async with asyncio.timeout(5):
        await run_rounds(work, report, stop)
    assert reported == [1, 2, 3]


async def test_a_wait_ends_by_itself() -> None:
    """After its time-out, without an error."""
    async with asyncio.timeout(5):
        await wait_for_stop(asyncio.Event(), 0.01)
