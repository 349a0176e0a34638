"""How a remediation workflow takes one action: checked, reserved, attempted, and each of it on record."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import msgspec
from temporalio import workflow

from adapters.driving.temporal.workflow_calls import WorkflowCalls

with workflow.unsafe.imports_passed_through():
    from core.domain.audit import AuditKind
    from core.domain.remediation import MetricCheck, RemediationOrder, Step
    from ports.driving.remediation_work import ActionReport, Verdict

PAUSE_S_FIRST: Final = 1.0
PAUSE_S_MAX: Final = 30.0
"""Between attempts at an action, doubling."""


class Stopped(Exception):
    """Somebody wants no further action."""


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """Why it cannot go on as planned."""

    reason: str
    refused: bool
    """It was not let happen, as opposed to: it went wrong."""


class WorkflowActions:
    """Takes actions of one workflow, one after the other. Its methods raise `Stopped` as soon as `stopped` holds."""

    def __init__(self, order: RemediationOrder, calls: WorkflowCalls, stopped: Callable[[], bool]) -> None:
        self._order = order
        self._calls = calls
        self._stopped = stopped
        self.touched: list[str] = []
        """Steps that have changed something, or may have."""
        self.reported: list[str] = []
        """What actions said."""
        self.ended_at = workflow.now()
        """When the last action ended."""

    async def check(self, what: str, checks: tuple[MetricCheck, ...]) -> Trouble | None:
        """What is wrong with `checks`, the preconditions of `what`; None where they hold."""
        self.go_on()
        if not checks:
            return None
        verdict = await self._calls.check(checks)
        says = "hold" if verdict.holds else "do not hold"
        summary = f"preconditions of {what} {says}: {verdict.reason}"
        await self._calls.record(AuditKind.VERDICT, "preconditions", summary, evidence(verdict))
        return None if verdict.holds else Trouble(reason=summary, refused=True)

    async def take(self, step: Step, key: str, *, rollback: bool) -> Trouble | None:
        """Takes the step's action, in as many attempts as it allows; None where it succeeded, else why not."""
        tried, pause_s = 0, PAUSE_S_FIRST
        begun = False
        while True:
            refused = None if begun else await self._begin(step, key, tried, rollback=rollback)
            if refused is not None:
                return refused
            begun = True
            outcome = await self._calls.act(step, key, self._stopped)
            self.ended_at = workflow.now()
            if isinstance(outcome, ActionReport):
                await self._succeeded(step, outcome)
                return None
            if outcome.began:
                tried, begun = tried + 1, False
                self._touch(step)
            if outcome.began or not outcome.repeatable:
                await self._record(AuditKind.RESPONSE, "failed", step, f"failed: {outcome.reason}", attempt=tried)
            self.go_on()
            if not outcome.repeatable or tried > step.retries:
                return Trouble(reason=f"step {step.name!r} failed: {outcome.reason}", refused=False)
            await self.pause(timedelta(seconds=pause_s))
            pause_s = min(2 * pause_s, PAUSE_S_MAX)

    async def pause(self, duration: timedelta) -> None:
        """Waits, unless stopped."""
        await wait_until(workflow.now() + duration, self._stopped)
        self.go_on()

    def go_on(self) -> None:
        """Raises `Stopped` where somebody wants it to stop."""
        if self._stopped():
            raise Stopped

    async def _begin(self, step: Step, key: str, tried: int, *, rollback: bool) -> Trouble | None:
        """Asks whether the next attempt may be made, and puts it on record; why not, or None."""
        if not self._order.policy.dry_run:
            verdict = await self._calls.reserve(step, key, rollback=rollback)
            if not verdict.holds:
                await self._record(AuditKind.DECISION, "refused", step, f"was refused: {verdict.reason}")
                return Trouble(reason=f"step {step.name!r} was refused: {verdict.reason}", refused=True)
        self.go_on()
        asked = "asked what it would change" if self._order.policy.dry_run else "asked for its action"
        kind = step.action.__struct_config__.tag
        await self._record(AuditKind.REQUEST, "asked", step, asked, action=str(kind), attempt=tried + 1, key=key)
        self.go_on()
        return None

    async def _succeeded(self, step: Step, report: ActionReport) -> None:
        if report.changed:
            self._touch(step)
        self.reported.append(report.summary)
        details = {"target": report.target, "changed": report.changed, "details": report.details}
        await self._record(AuditKind.RESPONSE, "answered", step, report.summary, **details)

    def _touch(self, step: Step) -> None:
        if not self._order.policy.dry_run and step.name not in self.touched:
            self.touched.append(step.name)

    async def _record(self, kind: AuditKind, what: str, step: Step, says: str, **details: object) -> None:
        await self._calls.record(kind, what, f"step {step.name!r}: {says}", {"step": step.name, **details})


def evidence(verdict: Verdict) -> dict[str, object]:
    """A verdict as an entry's details."""
    return {"holds": verdict.holds, "facts": verdict.facts}


async def wait_until(deadline: datetime, holds: Callable[[], bool]) -> bool:
    """Waits by Temporal's clock; returns whether `holds` does."""
    left = deadline - workflow.now()
    if left > timedelta() and not holds():
        try:
            await workflow.wait_condition(holds, timeout=left)
        except TimeoutError:
            return False
    return holds()
