"""Waiting for a store that has no room now, or is away."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from core.domain.errors import RateLimited, Unavailable
from ports.driven.clock import Clock
from ports.driven.pause import Pause

LIMITED_S_MAX: Final = 900.0
"""A tenant whose limit lets no request through for so long gets the rest with the next run."""
AWAY_S_MAX: Final = 60.0
"""A database fails over in less."""
WAIT_S_MAX: Final = 5.0
"""Between two attempts, however long the store asks for: limits are raised, and databases come back."""
WAIT_S_MIN: Final = 0.05

Result = TypeVar("Result")


class Patience:
    """Repeats calls that may be repeated."""

    def __init__(self, clock: Clock, pause: Pause) -> None:
        self._clock = clock
        self._pause = pause

    async def of(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """What `call` returns in the end; raises `RateLimited` or `Unavailable` where waiting has not helped."""
        began_s = self._clock.monotonic_s()
        while True:
            try:
                return await call()
            except (RateLimited, Unavailable) as error:
                waited_s = self._clock.monotonic_s() - began_s
                if waited_s >= (LIMITED_S_MAX if isinstance(error, RateLimited) else AWAY_S_MAX):
                    raise
                await self._pause.sleep(min(max(error.retry_after_s, WAIT_S_MIN), WAIT_S_MAX))
