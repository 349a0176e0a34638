"""Waiting, as the core may ask for it."""

from typing import Protocol


class Pause(Protocol):
    """Lets time pass; others' work goes on meanwhile."""

    async def sleep(self, duration_s: float) -> None:
        """Returns after so many seconds; cancelled when the caller is."""
        ...
