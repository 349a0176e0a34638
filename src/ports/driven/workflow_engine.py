"""The engine that runs remediation workflows durably."""

from typing import Protocol

import msgspec

from core.domain.remediation import Decision, RemediationOrder


class EngineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Whether workflows can be started now."""

    available: bool
    address: str | None
    """None where none is set up."""
    reason: str | None = None
    """Why not, in words for a person."""


class WorkflowEngine(Protocol):
    """Safe to call concurrently. Every method but `status` raises `Unavailable` where the engine is away."""

    async def start(self, order: RemediationOrder) -> None:
        """Sees to it that the order's workflow was started, once however often this is called."""
        ...

    async def decide(self, workflow_id: str, decision: Decision) -> None:
        """Passes on a person's answer; the workflow takes the first. Raises `NotFound` where none is running."""
        ...

    async def cancel(self, workflow_id: str, by: str) -> None:
        """Asks a workflow to stop and clean up. Raises `NotFound` where none is running."""
        ...

    async def status(self) -> EngineStatus:
        """Whether it is there; answers within seconds."""
        ...
