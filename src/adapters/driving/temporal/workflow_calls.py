"""What a remediation workflow calls: its activities, with their time-outs, and the numbered entries of its record."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

import msgspec
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError

with workflow.unsafe.imports_passed_through():
    from adapters.driving.temporal.activities import UNAVAILABLE, RemediationActivities
    from core.domain.actions import AnnotateAction
    from core.domain.audit import AuditKind, AuditRecord
    from core.domain.remediation import MetricCheck, RemediationOrder, RemediationState, Step
    from ports.driving.remediation_work import ActionReport, Verdict

CALL_TIMEOUT: Final = timedelta(seconds=60)
"""A query over a whole window may take that long; a killed worker is noticed by its heartbeats."""
HEARTBEAT_TIMEOUT: Final = timedelta(seconds=10)
"""Ten heartbeats: fewer would take a busy machine for a dead one."""
ACTION_MARGIN: Final = timedelta(seconds=10)
"""An action keeps its step's time-out itself; past this its worker is not to be trusted."""
PATIENT: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=500), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=10)
)
"""Without end: once what is away is back, work goes on within seconds."""
ONCE: Final = RetryPolicy(maximum_attempts=1)
"""The workflow counts attempts at an action: what only could not be tried is no attempt."""
ELSEWHERE: Final = Step(name="elsewhere", action=AnnotateAction(text="in the workflow's own input"))
"""Stands for all steps in the order that activities get: every call is kept in the workflow's history."""
SERVER: Final = "sextant"
SUMMARY_CHARS_MAX: Final = 2_000
"""What went wrong can be told at any length; this is a sentence for a person."""


class ActionFailure(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt at an action that brought no report."""

    reason: str
    began: bool
    """Whether the action may have begun, and so may have changed something."""
    repeatable: bool


class WorkflowCalls:
    """Calls of one workflow. Entries of the record are numbered in the order of the calls, so repeats are one."""

    def __init__(self, order: RemediationOrder) -> None:
        policy = msgspec.structs.replace(order.policy, steps=(ELSEWHERE,), rollback=())
        self._order = msgspec.structs.replace(order, policy=policy)
        self._written = 0

    async def record(
        self, kind: AuditKind, what: str, summary: str, details: Mapping[str, object], *, actor: str = SERVER
    ) -> None:
        """Writes the next entry; `what` is part of its key."""
        self._written += 1
        record = AuditRecord(
            key=f"{self._order.workflow_id}/{self._written}-{what}",
            kind=kind,
            actor=actor,
            summary=summary[:SUMMARY_CHARS_MAX],
            alert_id=self._order.alert_id,
            remediation_id=self._order.remediation_id,
            details=dict(details),
        )
        await self._call(RemediationActivities.record, record)

    async def progress(self, state: RemediationState, detail: str | None) -> None:
        """Says where it stands."""
        await self._call(RemediationActivities.progress, state, detail)

    async def check(self, checks: tuple[MetricCheck, ...]) -> Verdict:
        """Whether all of them hold."""
        verdict: Verdict = await self._call(RemediationActivities.check, checks)
        return verdict

    async def reserve(self, step: Step, key: str, *, rollback: bool) -> Verdict:
        """Whether the step's action may be taken."""
        verdict: Verdict = await self._call(RemediationActivities.reserve, step, key, rollback)
        return verdict

    async def verify(self, since_us: int) -> Verdict:
        """Whether all is good again."""
        verdict: Verdict = await self._call(RemediationActivities.verify, since_us)
        return verdict

    async def escalate(self, text: str, *, ask_approval: bool = False) -> None:
        """Tells people."""
        self._written += 1
        key = f"{self._order.workflow_id}/{self._written}-escalation"
        await self._call(RemediationActivities.escalate, text[:SUMMARY_CHARS_MAX], key, ask_approval)

    async def act(self, step: Step, key: str, stopped: Callable[[], bool]) -> ActionReport | ActionFailure:
        """One attempt at the step's action; as soon as `stopped` holds it is asked to break off, and waited for."""
        timeout = timedelta(microseconds=step.timeout_us)
        attempt = workflow.start_activity_method(
            RemediationActivities.act,
            args=[self._order, step, key],
            start_to_close_timeout=timeout + ACTION_MARGIN,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=ONCE,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        await workflow.wait_condition(lambda: attempt.done() or stopped())
        if not attempt.done():
            attempt.cancel()
        try:
            return await attempt
        except asyncio.CancelledError:
            return ActionFailure(reason="it was broken off before it began", began=False, repeatable=False)
        except ActivityError as error:
            return _failure(error)

    async def _call(self, method: Callable[..., Any], *arguments: object) -> Any:
        return await workflow.execute_activity_method(
            method,
            args=[self._order, *arguments],
            start_to_close_timeout=CALL_TIMEOUT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=PATIENT,
        )

    @property
    def order_bytes(self) -> int:
        """How much of the history each call takes."""
        return len(msgspec.json.encode(self._order))


def cause_of(error: ActivityError) -> str:
    """Why an activity failed, for a person."""
    cause = error.cause
    return cause.message if isinstance(cause, ApplicationError) else str(cause or error)


def _failure(error: ActivityError) -> ActionFailure:
    cause = error.cause
    if isinstance(cause, ApplicationError):
        began = cause.type != UNAVAILABLE
        return ActionFailure(reason=cause.message, began=began, repeatable=not cause.non_retryable)
    if isinstance(cause, CancelledError):
        return ActionFailure(reason="it was broken off; how far it came is not known", began=True, repeatable=False)
    late = "it did not end in time, or its worker did; how far it came is not known"
    return ActionFailure(reason=late, began=True, repeatable=True)
