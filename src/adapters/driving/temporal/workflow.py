"""The remediation workflow: from an alert to a proven repair, or to a person.

    preconditions ─▶ approval ─▶ each step: its preconditions, reserve, act ─▶ verify ─▶ SUCCEEDED
         │              │                          │                            │
      REFUSED   REJECTED, EXPIRED     REFUSED while nothing was done            ▼
                                      else ────────────────────────────▶ roll back ─▶ ROLLED_BACK or FAILED

A dry run ends as DRY_RUN once every step has said what it would change: nothing is reserved, nobody is asked or told.

Stopping. `request_cancel` and Temporal's own cancellation mean the same: no further action is taken. The action under
way is asked to break off and waited for; then what was done stands in the record, and nothing is rolled back by itself:
whoever stops it, possibly in the middle of a rollback, wants to decide what comes next. The workflow ends as CANCELLED,
for Temporal as completed.

Limits. Attempts at an action are counted here, not by Temporal, so that each stands in the record, is stopped by a kill
switch, and what could not even be tried does not count. A rollback stops at the first step that fails: the next ones
may rest on it. After an approval the policy's preconditions are looked at again, for what held an hour ago may not now.

Versions. Workflows outlive deployments: Temporal replays a recorded history through this code, which must then ask for
the same activities and timers in the same order. A change of that goes behind ``workflow.patched("what-changed")`` with
the old branch beside it; the branch goes (first to ``workflow.deprecate_patch``) once no workflow started before the
change can run any more, that is after the engine's execution time-out. Words, details of entries, time-outs and
retry policies may change freely; fields of the order and of what activities take and return are only ever added, with
defaults. tests/unit/test_workflow_replay.py holds histories of every path against this code.
"""

import asyncio
from datetime import timedelta
from typing import Final

import msgspec
from temporalio import workflow
from temporalio.exceptions import ActivityError

from adapters.driving.temporal.workflow_actions import Stopped, Trouble, WorkflowActions, evidence, wait_until
from adapters.driving.temporal.workflow_calls import WorkflowCalls, cause_of

with workflow.unsafe.imports_passed_through():
    from core.domain.audit import AuditKind
    from core.domain.remediation import Decision, RemediationOrder, RemediationState, Step
    from core.domain.times import EPOCH, parse_duration

POLLS_MAX: Final = 2_000
"""Temporal ends a workflow at 51,200 events, and a poll makes 11: who waits for longer is answered less often."""
POLL_BYTES_MAX: Final = 10_000_000
"""A history may hold 50 MB, and each poll holds the order."""
POLLS_MIN: Final = 20
"""Even of an order that fills the history by itself."""
DETAIL_CHARS_MAX: Final = 1_000
"""The rest stands in the record."""
TOLD: Final = {
    RemediationState.REFUSED: "was refused",
    RemediationState.EXPIRED: "expired unanswered",
    RemediationState.ROLLED_BACK: "did not help and was rolled back",
    RemediationState.FAILED: "failed and needs a person",
    RemediationState.CANCELLED: "was stopped half-way",
}
"""Ends that somebody is told of; of a cancelled one where it had changed something."""

Ending = tuple[RemediationState, str]
"""How it ends, and why."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a workflow stands, as it answers queries."""

    state: RemediationState
    step: str | None
    """The name of the step under way."""
    detail: str | None


@workflow.defn(name="remediation")
class RemediationWorkflow:
    """One remediation; see the module's docstring."""

    @workflow.init
    def __init__(self, order: RemediationOrder) -> None:
        self._order = order
        self._policy = order.policy
        self._calls = WorkflowCalls(order)
        self._actions = WorkflowActions(order, self._calls, lambda: self._stopped_by is not None)
        self._standing = Standing(state=RemediationState.RUNNING, step=None, detail=None)
        self._asking = False
        self._decision: Decision | None = None
        self._stopped_by: str | None = None

    @workflow.run
    async def run(self, order: RemediationOrder) -> RemediationState:  # noqa: ARG002 - `__init__` took it
        """The state in which it ended. Fails only where the end itself cannot be recorded."""
        story = asyncio.create_task(self._story())
        while not story.done():
            try:
                await asyncio.shield(story)
            except asyncio.CancelledError:
                self.request_cancel("temporal")
        return story.result()

    @workflow.query
    def standing(self) -> Standing:
        """Where it stands."""
        return self._standing

    @workflow.signal(name="decide")
    def decide_by_signal(self, decision: Decision) -> None:
        """A person's answer; the first counts, and none counts that was not asked for."""
        if self._asking and self._decision is None:
            self._decision = decision

    @workflow.update
    def decide(self, decision: Decision) -> None:
        """The same, for whoever wants to know whether it counted."""
        self._decision = decision

    @decide.validator
    def check_decision(self, decision: Decision) -> None:  # noqa: ARG002 - any answer is fine, if one is wanted
        """Refuses an answer that nobody waits for."""
        if self._decision is not None:
            raise ValueError(f"{self._decision.by} has decided already")
        if not self._asking:
            raise ValueError("no approval is awaited")

    @workflow.signal
    def request_cancel(self, by: str) -> None:
        """Stops it before its next action."""
        if self._stopped_by is None:
            self._stopped_by = by

    async def _story(self) -> RemediationState:
        try:
            state, detail = await self._outcome()
        except Stopped:
            acted = ", ".join(self._actions.touched)
            stands = f"what it did stands and was not rolled back: {acted}" if acted else "nothing was done"
            state, detail = RemediationState.CANCELLED, f"stopped by {self._stopped_by}; {stands}"
        except ActivityError as error:
            state, detail = RemediationState.FAILED, f"Sextant could not go on: {cause_of(error)}"
        await self._end(state, detail)
        return state

    async def _outcome(self) -> Ending:
        policy = self._policy
        await self._stand(RemediationState.RUNNING, None)
        mode = "dry run" if policy.dry_run else "live"
        rule = self._order.rule.name
        subject = rule if self._order.alert_id is None else f"alert {rule!r}"
        begun = f"remediation of {subject} by policy {policy.name!r} begun, {mode}"
        await self._calls.record(AuditKind.DECISION, "begun", begun, {"policy": policy.name})
        trouble = await self._actions.check("the policy", policy.preconditions)
        if trouble is not None:
            return RemediationState.REFUSED, trouble.reason
        if policy.dry_run:
            return RemediationState.DRY_RUN, await self._preview()
        if policy.needs_approval:
            ending = await self._ask()
            if ending is not None:
                return ending
        trouble = await self._act()
        if trouble is None:
            return await self._verify()
        if trouble.refused and not self._actions.touched:
            return RemediationState.REFUSED, trouble.reason
        return await self._roll_back(trouble.reason)

    async def _preview(self) -> str:
        """Asks every step what it would change; in words."""
        troubles = []
        for index, step in enumerate(self._policy.steps):
            found = await self._actions.check(f"step {step.name!r}", step.preconditions)
            failed = await self._actions.take(step, f"{self._order.workflow_id}/{index}", rollback=False)
            troubles += [trouble.reason for trouble in (found, failed) if trouble is not None]
        would = "; ".join(self._actions.reported) or "nothing"
        return f"would do: {would}" + "".join(f"; but {trouble}" for trouble in troubles)

    async def _ask(self) -> Ending | None:
        """Waits for an approval; None where it was given and the preconditions still hold."""
        patience = self._policy.approval_timeout
        steps = ", ".join(f"{step.name} ({step.risk.value} risk)" for step in self._policy.steps)
        question = f"approval is needed within {patience} for: {steps}"
        deadline = workflow.now() + timedelta(microseconds=parse_duration(patience, "approval_timeout"))
        self._asking = True  # from now on an answer may come, at the latest once the state says so
        await self._stand(RemediationState.AWAITING_APPROVAL, question)
        await self._calls.record(AuditKind.APPROVAL, "asked", question, {})
        await self._calls.escalate(f"Remediation {self._policy.name!r}: {question}", ask_approval=True)
        await wait_until(deadline, lambda: self._decision is not None or self._stopped_by is not None)
        self._asking = False
        decision = self._decision
        if decision is None:
            self._actions.go_on()
            return RemediationState.EXPIRED, f"nobody answered within {patience}; nothing was done"
        verb = "approved" if decision.approved else "rejected"
        answer = f"{verb} by {decision.by}" + (f": {decision.reason}" if decision.reason else "")
        await self._calls.record(AuditKind.APPROVAL, verb, answer, {}, actor=decision.by)
        if not decision.approved:
            return RemediationState.REJECTED, answer
        trouble = await self._actions.check("the policy after its approval", self._policy.preconditions)
        return None if trouble is None else (RemediationState.REFUSED, trouble.reason)

    async def _act(self) -> Trouble | None:
        """Takes every step; None where all were taken."""
        count = len(self._policy.steps)
        for index, step in enumerate(self._policy.steps):
            await self._stand(RemediationState.RUNNING, f"step {index + 1} of {count}: {step.name}", step)
            trouble = await self._actions.check(f"step {step.name!r}", step.preconditions)
            if trouble is None:
                trouble = await self._actions.take(step, f"{self._order.workflow_id}/{index}", rollback=False)
            if trouble is not None:
                return trouble
        return None

    async def _verify(self) -> Ending:
        """Asks until samples newer than the last action show that it helped, or it is time to give up."""
        verification = self._policy.verification
        within = timedelta(microseconds=parse_duration(verification.within, "within"))
        every = timedelta(microseconds=parse_duration(verification.every, "every"))
        every = max(every, within / max(POLLS_MIN, min(POLLS_MAX, POLL_BYTES_MAX // self._calls.order_bytes)))
        since_us = (self._actions.ended_at - EPOCH) // timedelta(microseconds=1)
        deadline = workflow.now() + within
        await self._stand(RemediationState.VERIFYING, f"waiting up to {verification.within} for good samples")
        while True:
            self._actions.go_on()
            verdict = await self._calls.verify(since_us)
            if verdict.holds or workflow.now() >= deadline:
                break
            await self._actions.pause(min(every, deadline - workflow.now()))
        says = "verified" if verdict.holds else f"not verified within {verification.within}"
        summary = f"{says}: {verdict.reason}"
        await self._calls.record(AuditKind.VERDICT, "verified", summary, evidence(verdict))
        return (RemediationState.SUCCEEDED, summary) if verdict.holds else await self._roll_back(summary)

    async def _roll_back(self, reason: str) -> Ending:
        """Undoes what was done, as far as the policy says how."""
        if not self._actions.touched:
            return RemediationState.FAILED, f"{reason}; nothing had been changed"
        if not self._policy.rollback:
            acted = ", ".join(self._actions.touched)
            return RemediationState.FAILED, f"{reason}; the policy names no rollback, so what it did stands: {acted}"
        await self._calls.record(AuditKind.DECISION, "rollback", f"rolling back: {reason}", {})
        undone = []
        for index, step in enumerate(self._policy.rollback):
            await self._stand(RemediationState.RUNNING, f"rolling back: {step.name}", step)
            if await self._actions.check(f"rollback {step.name!r}", step.preconditions) is not None:
                continue
            trouble = await self._actions.take(step, f"{self._order.workflow_id}/rollback-{index}", rollback=True)
            if trouble is not None:
                return RemediationState.FAILED, f"{reason}; the rollback stopped: {trouble.reason}"
            undone.append(step.name)
        return RemediationState.ROLLED_BACK, f"{reason}; rolled back by: {', '.join(undone) or 'nothing to undo'}"

    async def _stand(self, state: RemediationState, detail: str | None, step: Step | None = None) -> None:
        if detail is not None:
            detail = detail[:DETAIL_CHARS_MAX]
        self._standing = Standing(state=state, step=step.name if step is not None else None, detail=detail)
        await self._calls.progress(state, detail)

    async def _end(self, state: RemediationState, detail: str) -> None:
        """Puts the end on record and tells those who must know; the state comes last, when all of it is written."""
        await self._calls.record(AuditKind.VERDICT, "ended", f"{state.value}: {detail}", {"state": state.value})
        half_way = state is not RemediationState.CANCELLED or bool(self._actions.touched)
        if state in TOLD and half_way and not self._policy.dry_run:
            await self._calls.escalate(f"Remediation {self._policy.name!r} {TOLD[state]}: {detail}")
        await self._stand(state, detail)
