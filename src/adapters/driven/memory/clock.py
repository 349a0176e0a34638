"""A clock that stands still until it is told to move."""


class FakeClock:
    """Time as a test wants it; implements `ports.driven.clock.Clock`."""

    def __init__(self, now_us: int = 1_767_225_600_000_000) -> None:
        """Starts at 2026-01-01T00:00:00Z unless told otherwise."""
        self._now_us = now_us
        self._monotonic_us = 0

    def now_us(self) -> int:
        """The present, in microseconds since the Unix epoch."""
        return self._now_us

    def monotonic_s(self) -> float:
        """Seconds that have passed since this clock was made; setting the wall clock does not change them."""
        return self._monotonic_us / 1_000_000

    def advance(self, duration_us: int) -> None:
        """Lets time pass."""
        self._now_us += duration_us
        self._monotonic_us += duration_us

    def set(self, now_us: int) -> None:
        """Sets the wall clock, backwards too."""
        self._now_us = now_us
