"""Starting the workflows of remediations that wait."""

from typing import Protocol

import msgspec


class Dispatched(msgspec.Struct, frozen=True, kw_only=True):
    """What one round did, for the log."""

    started: int = 0
    refused: int = 0
    """Orders that the engine will not take as they are; the store has the reason."""
    waiting: int = 0
    """Put back because the engine is away."""
    away: str | None = None
    """Why the round ended early, where the engine or the database was not available."""


class Dispatching(Protocol):
    """Several may run, on several servers; one instance has one caller."""

    async def round(self) -> tuple[Dispatched, float]:
        """Starts what is due; returns what was done and how many seconds to wait before the next round."""
        ...
