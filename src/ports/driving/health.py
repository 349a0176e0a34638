"""What an orchestrator asks: may traffic come here?"""

from typing import Protocol

import msgspec


class Check(msgspec.Struct, frozen=True):
    """One thing that must work, whether it does, and what was seen."""

    name: str
    ok: bool
    detail: str


class Readiness(msgspec.Struct, frozen=True):
    """Whether requests can be answered, and why."""

    ready: bool
    checks: tuple[Check, ...]


class Health(Protocol):
    """Safe to call concurrently; answers within a few seconds whatever the database does."""

    async def readiness(self) -> Readiness:
        """Asks the database; never raises."""
        ...
