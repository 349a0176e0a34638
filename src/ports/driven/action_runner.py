"""Doing one remediation action to the world outside."""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from core.domain.actions import Action
from core.domain.alerts import Alert


class ActionError(Exception):
    """The action was refused or failed."""

    def __init__(self, reason: str, *, retryable: bool, began: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        """For a person; without secrets."""
        self.retryable = retryable
        self.began = began
        """Whether it may have changed something; False only where it is known that it has not."""


class ActionOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, or would be."""

    summary: str
    changed: bool
    details: dict[str, str] = {}


class ActionRunner(Protocol):
    """One kind of action. Safe to call concurrently."""

    def target(self, action: Action, alert: Alert) -> str:
        """What it changes, as limits count it, such as ``kubernetes:shop/checkout``; raises `ActionError`."""
        ...

    async def preview(self, action: Action, alert: Alert, secrets: Mapping[str, str]) -> ActionOutcome:
        """The exact change, without making it. Raises `ActionError`."""
        ...

    async def run(
        self,
        action: Action,
        alert: Alert,
        secrets: Mapping[str, str],
        *,
        key: str,
        timeout_s: float,
        heartbeat: Callable[[], None],
    ) -> ActionOutcome:
        """Makes the change; `key` identifies it across repeats. Raises `ActionError`."""
        ...
