"""Waiting on the event loop."""

import asyncio


class AsyncioPause:
    """Implements `ports.driven.pause.Pause`."""

    async def sleep(self, duration_s: float) -> None:
        """See `Pause.sleep`."""
        await asyncio.sleep(duration_s)
