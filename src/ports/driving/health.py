"""What an orchestrator asks: may traffic come here?"""

from typing import Protocol

import msgspec


class Check(msgspec.Struct, frozen=True):
    """One thing that must work, whether it does, and what was seen."""

    name: str
    ok: bool
    detail: str


class RemediationHealth(msgspec.Struct, frozen=True):
    """Whether remediation can begin. Alerts fire without it, so it is not part of being ready."""

    available: bool
    waiting: int
    """Remediations, of all tenants, whose workflow has not been started yet."""
    detail: str
    """What was seen, without addresses or credentials: anybody may ask."""


class Readiness(msgspec.Struct, frozen=True):
    """Whether requests can be answered, and why."""

    ready: bool
    checks: tuple[Check, ...]
    remediation: RemediationHealth | None = None
    """None where the database is away, so that nothing is known."""


class Health(Protocol):
    """Safe to call concurrently; answers within a few seconds whatever the database does."""

    async def readiness(self) -> Readiness:
        """Asks the database; never raises."""
        ...
