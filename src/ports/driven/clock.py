"""Time, as the core is told it."""

from typing import Protocol


class Clock(Protocol):
    """The present; the core asks no one else."""

    def now_us(self) -> int:
        """Microseconds since the Unix epoch, UTC, of the wall clock."""
        ...

    def monotonic_s(self) -> float:
        """Seconds of a clock that never goes back, for durations."""
        ...
