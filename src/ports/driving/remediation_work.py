"""What a remediation workflow's activities ask of the core. Every method may be repeated with the same arguments."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from core.domain.audit import AuditRecord
from core.domain.remediation import MetricCheck, RemediationOrder, RemediationState, Step


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether something holds, and on what evidence."""

    holds: bool
    reason: str
    """One sentence for a person, with the values that decided."""
    facts: dict[str, float | str | None] = {}


class ActionReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an action did, or in a dry run would have done."""

    summary: str
    target: str
    changed: bool
    """False in a dry run, and where there was nothing to change."""
    details: dict[str, str] = {}
    """What was asked and answered, bounded, without secrets; in a dry run the exact change."""


class RemediationWork(Protocol):
    """The work of one remediation. All raise `Unavailable` where something is away for now, which is worth repeating,
    and `CallerError` where repeating is of no use. The policy in `order` may come without its steps: each that matters
    is handed over by itself."""

    async def record(self, order: RemediationOrder, record: AuditRecord) -> None:
        """Adds to the audit trail, which is the remediation's timeline too."""
        ...

    async def progress(self, order: RemediationOrder, state: RemediationState, detail: str | None) -> None:
        """Says where it stands."""
        ...

    async def check(self, order: RemediationOrder, checks: tuple[MetricCheck, ...]) -> Verdict:
        """Whether all checks hold on current metrics."""
        ...

    async def reserve(self, order: RemediationOrder, step: Step, key: str, *, rollback: bool) -> Verdict:
        """Whether the action may be taken: kill switches, limits, cooldown; granting counts it."""
        ...

    async def act(self, order: RemediationOrder, step: Step, key: str, heartbeat: Callable[[], None]) -> ActionReport:
        """Takes the action, or in a dry run says what it would change; `key` makes a repeat harmless where the other
        side honours it. Calls `heartbeat` at least every second while it lasts. Raises `ActionError` where the action
        itself failed, and `Unavailable` only before it began."""
        ...

    async def verify(self, order: RemediationOrder, since_us: int) -> Verdict:
        """Whether samples newer than `since_us` show that what was wrong is good again; no new samples is no."""
        ...

    async def escalate(self, order: RemediationOrder, text: str, *, key: str, ask_approval: bool) -> None:
        """Tells people, through the policy's escalation channel or the rule's; with a signed link that approves where
        it is asked for and links can be made."""
        ...
