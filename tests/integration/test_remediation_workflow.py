"""The remediation workflow on Temporal's time-skipping server: every path to every end.

Those that are stopped are in test_remediation_stopping.py: this server refuses to cancel an activity that ends in the
same moment.
"""

from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import pytest
import pytest_asyncio
from temporalio.client import WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import ActivityError
from temporalio.testing import WorkflowEnvironment

from adapters.driving.temporal.workflow import POLLS_MIN, RemediationWorkflow
from core.domain.audit import AuditKind
from core.domain.errors import InvalidInput, NotFound, Unavailable
from core.domain.remediation import (
    ApprovalMode,
    Decision,
    MetricCheck,
    RemediationOrder,
    RemediationState,
    Verification,
)
from core.domain.rules import Condition
from core.domain.times import EPOCH
from ports.driving.remediation_work import Verdict
from tests.support.remediation import NO, YES, RememberedWork, failure, refusal, step
from tests.support.remediation_run import asked, made, started
from tests.support.time_skipping import run_time_skipping

CHECK = MetricCheck(metric="cpu", condition=Condition.ABOVE, value=90.0)
APPROVED = Decision(approved=True, by="key:abc", reason="go on")
REJECTED = Decision(approved=False, by="key:abc")

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[WorkflowEnvironment]:
    """Yield a server for this module."""
    async with run_time_skipping() as environment:
        yield environment


async def ended(server: WorkflowEnvironment, work: RememberedWork, wanted: RemediationOrder) -> RemediationState:
    """Runs the order's workflow to its end, which is what the work was told last."""
    async with started(server.client, work, wanted) as handle:
        state = await handle.result()
    assert state is work.state
    assert work.story[-1] == (AuditKind.VERDICT, "ended")
    return state


async def test_it_acts_verifies_and_says_so(server: WorkflowEnvironment) -> None:
    """Two steps are taken in order, each asked and answered on record, and samples newer than the last one decide."""
    work, wanted = RememberedWork(), made()
    assert await ended(server, work, wanted) is RemediationState.SUCCEEDED
    assert work.acted == [("drain", f"{wanted.workflow_id}/0"), ("restart", f"{wanted.workflow_id}/1")]
    assert work.story == [
        (AuditKind.DECISION, "begun"),
        (AuditKind.REQUEST, "asked"),
        (AuditKind.RESPONSE, "answered"),
        (AuditKind.REQUEST, "asked"),
        (AuditKind.RESPONSE, "answered"),
        (AuditKind.VERDICT, "verified"),
        (AuditKind.VERDICT, "ended"),
    ]
    assert [state for state, _ in work.states] == [
        *[RemediationState.RUNNING] * 3,
        RemediationState.VERIFYING,
        RemediationState.SUCCEEDED,
    ]
    assert {record.remediation_id for record in work.records.values()} == {wanted.remediation_id}
    assert work.told == {}


async def test_verification_waits_for_good_samples(server: WorkflowEnvironment) -> None:
    """It asks every so often, always about samples since the last action, until they are good."""
    work = RememberedWork()
    work.verdicts = [NO, NO, NO, YES]
    before = await server.get_current_time()
    assert await ended(server, work, made()) is RemediationState.SUCCEEDED
    passed = await server.get_current_time() - before
    assert passed >= timedelta(seconds=15)
    assert len(work.verified_since) == 4
    assert len(set(work.verified_since)) == 1
    assert work.verified_since[0] >= (before - EPOCH) // timedelta(microseconds=1)


async def test_what_did_not_help_is_rolled_back(server: WorkflowEnvironment) -> None:
    """Where samples stay bad for as long as the policy says, the rollback runs and somebody is told why."""
    work, wanted = RememberedWork(), made(verification=Verification(within="12h", every="1h"))
    work.verdicts = [NO]
    work.granted = lambda found: refusal() if found.name == "undrain" else YES
    assert await ended(server, work, wanted) is RemediationState.ROLLED_BACK
    assert work.done == ["drain", "restart", "undrain"]
    assert work.acted[-1][1] == f"{wanted.workflow_id}/rollback-0"
    assert len(work.verified_since) == 13, "twelve hours, every hour, and once at the end"
    [(text, asks)] = work.told.values()
    assert "cpu is 97" in text
    assert "undrain" in text
    assert not asks


async def test_a_rollback_that_fails_stops_there(server: WorkflowEnvironment) -> None:
    """What comes after the failed step may rest on it, so a person takes over."""
    work = RememberedWork()
    work.verdicts = [NO]
    work.troubles = {"undrain": [failure(retryable=False)]}
    wanted = made(rollback=(step("undrain"), step("reopen")))
    assert await ended(server, work, wanted) is RemediationState.FAILED
    assert work.done == ["drain", "restart"]
    assert len(work.told) == 1


async def test_a_rollback_step_whose_precondition_does_not_hold_is_left_out(server: WorkflowEnvironment) -> None:
    """The others are taken."""
    work = RememberedWork()
    work.verdicts, work.checks = [NO], lambda _: NO
    wanted = made(rollback=(step("undrain", preconditions=(CHECK,)), step("reopen")))
    assert await ended(server, work, wanted) is RemediationState.ROLLED_BACK
    assert work.done == ["drain", "restart", "reopen"]


async def test_without_a_rollback_it_fails_and_says_what_stands(server: WorkflowEnvironment) -> None:
    """What was done stays done, by name."""
    work = RememberedWork()
    work.verdicts = [NO]
    assert await ended(server, work, made(rollback=())) is RemediationState.FAILED
    assert "drain, restart" in work.detail


async def test_where_nothing_was_changed_nothing_is_rolled_back(server: WorkflowEnvironment) -> None:
    """Actions that found nothing to change leave nothing to undo."""
    work = RememberedWork()
    work.verdicts, work.changes = [NO], False
    assert await ended(server, work, made()) is RemediationState.FAILED
    assert work.done == ["drain", "restart"]


async def test_preconditions_refuse_before_anything_is_done(server: WorkflowEnvironment) -> None:
    """It ends with the reason, and somebody is told."""
    work = RememberedWork()
    work.checks = lambda _: NO
    assert await ended(server, work, made(preconditions=(CHECK,))) is RemediationState.REFUSED
    assert work.done == []
    assert "cpu is 97" in work.detail
    assert len(work.told) == 1


@pytest.mark.parametrize("by", ["limits", "preconditions"])
@pytest.mark.parametrize(("name", "state"), [("drain", "refused"), ("restart", "rolled_back")])
async def test_a_step_that_may_not_be_taken(server: WorkflowEnvironment, by: str, name: str, state: str) -> None:
    """The first refuses the remediation; a later one, such as by a kill switch meanwhile, rolls back what was done."""
    work = RememberedWork()
    work.checks = lambda _: NO
    work.granted = lambda found: refusal() if by == "limits" and found.name == name else YES
    steps = tuple(
        step(each, preconditions=(CHECK,) if by == "preconditions" and each == name else ())
        for each in ("drain", "restart")
    )
    assert (await ended(server, work, made(steps=steps))).value == state
    assert work.done == {"refused": [], "rolled_back": ["drain", "undrain"]}[state]


async def test_failed_attempts_are_repeated_with_the_same_key(server: WorkflowEnvironment) -> None:
    """Each attempt is on record; what was asked before is recognised by its key."""
    work, wanted = RememberedWork(), made()
    work.troubles = {"drain": [failure(), failure()]}
    assert await ended(server, work, wanted) is RemediationState.SUCCEEDED
    keys = [record.details["key"] for record in work.records.values() if record.kind is AuditKind.REQUEST]
    assert keys == [f"{wanted.workflow_id}/0"] * 3 + [f"{wanted.workflow_id}/1"]
    assert [key for key, _ in work.reserved] == keys


@pytest.mark.parametrize("retryable", [True, False])
async def test_attempts_end(server: WorkflowEnvironment, retryable: bool) -> None:
    """After the step's retries, or at once where another attempt is of no use, what may have been done is undone."""
    work = RememberedWork()
    work.troubles = {"drain": [failure(retryable=retryable)] * 10}
    assert await ended(server, work, made()) is RemediationState.ROLLED_BACK
    assert len(work.troubles["drain"]) == (7 if retryable else 9)
    assert work.done == ["undrain"]


async def test_a_kill_switch_stops_further_attempts(server: WorkflowEnvironment) -> None:
    """An action that failed once is asked for again only where it still may be."""
    work = RememberedWork()
    work.troubles = {"drain": [failure(), failure()]}
    answers = iter([YES, refusal()])
    work.granted = lambda _: next(answers)
    assert await ended(server, work, made()) is RemediationState.ROLLED_BACK
    assert work.done == ["undrain"]
    assert "kill switch" in work.detail


async def test_what_could_not_be_tried_is_no_attempt(server: WorkflowEnvironment) -> None:
    """An action waits for what is away, without end, even where it may be attempted only once."""
    work = RememberedWork()
    work.troubles = {"drain": [Unavailable("the database is away")] * 20}
    assert await ended(server, work, made(steps=(step("drain", retries=0),))) is RemediationState.SUCCEEDED
    assert [kind for kind, _ in work.story].count(AuditKind.REQUEST) == 1


@pytest.mark.parametrize("what", ["record", "progress", "check", "reserve", "verify", "escalate"])
async def test_everything_waits_for_what_is_away(server: WorkflowEnvironment, what: str) -> None:
    """And then goes on where it stood."""
    work = RememberedWork()
    work.troubles = {what: [Unavailable("the database is away")] * 5}
    work.verdicts = [NO]
    assert await ended(server, work, made(preconditions=(CHECK,))) is RemediationState.ROLLED_BACK
    assert work.troubles[what] == []


@pytest.mark.parametrize("error", [InvalidInput("metric", "is wrong"), ZeroDivisionError("our bug")])
async def test_what_will_never_work_ends_it(server: WorkflowEnvironment, error: Exception) -> None:
    """A mistake of the caller's at once, one of ours after some attempts: it fails, and says so."""
    work = RememberedWork()
    work.troubles = {"check": [error] * 30}
    assert await ended(server, work, made(preconditions=(CHECK,))) is RemediationState.FAILED
    assert str(error) in work.detail
    assert len(work.told) == 1
    assert len(work.troubles["check"]) == (29 if isinstance(error, InvalidInput) else 20)


async def test_an_end_that_cannot_be_recorded(server: WorkflowEnvironment) -> None:
    """Temporal then shows the workflow as failed, with the reason."""
    work, wanted = RememberedWork(), made()
    work.troubles = {"progress": [NotFound("remediation", "7")] * 10}
    async with started(server.client, work, wanted) as handle:
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result()
    assert isinstance(failed.value.cause, ActivityError)
    assert "no remediation named '7'" in str(failed.value.cause.cause)


async def test_a_dry_run_previews_every_step(server: WorkflowEnvironment) -> None:
    """Nothing is reserved, asked, verified or told; what every step would do is on record."""
    work = RememberedWork()
    work.checks = lambda _: NO
    steps = (step("drain"), step("restart", preconditions=(CHECK,)))
    wanted = made(dry_run=True, steps=steps, approval=ApprovalMode.ALWAYS)
    assert await ended(server, work, wanted) is RemediationState.DRY_RUN
    assert [record.summary for record in work.records.values() if record.kind is AuditKind.RESPONSE] == [
        "step 'drain': would drain",
        "step 'restart': would restart",
    ]
    assert "would drain; would restart; but preconditions of step 'restart' do not hold" in work.detail
    assert (work.reserved, work.verified_since, work.told) == ([], [], {})


async def test_a_preview_that_fails_does_not_end_a_dry_run(server: WorkflowEnvironment) -> None:
    """The other steps still say what they would do."""
    work = RememberedWork()
    work.troubles = {"drain": [failure("no such host", retryable=False)]}
    assert await ended(server, work, made(dry_run=True)) is RemediationState.DRY_RUN
    assert "would restart; but step 'drain' failed: no such host" in work.detail


async def test_an_approval_by_signal(server: WorkflowEnvironment) -> None:
    """Nothing happens before it; who gave it and why is on record. Later answers do not count."""
    work = RememberedWork()
    async with started(server.client, work, made(approval=ApprovalMode.ALWAYS)) as handle:
        await asked(work)
        assert (work.state, work.done) == (RemediationState.AWAITING_APPROVAL, [])
        assert (await handle.query(RemediationWorkflow.standing)).state is RemediationState.AWAITING_APPROVAL
        await handle.signal("decide", APPROVED)
        await handle.signal("decide", REJECTED)
        assert await handle.result() is RemediationState.SUCCEEDED
    [approval] = [record for record in work.records.values() if record.key.endswith("-approved")]
    assert (approval.actor, approval.kind, approval.summary) == (
        "key:abc",
        AuditKind.APPROVAL,
        "approved by key:abc: go on",
    )


async def test_an_approval_by_update(server: WorkflowEnvironment) -> None:
    """An update says whether it counted: the second is refused."""
    work = RememberedWork()
    work.holding = {"drain"}
    async with started(server.client, work, made(approval=ApprovalMode.ALWAYS)) as handle:
        await asked(work)
        await handle.execute_update(RemediationWorkflow.decide, APPROVED)
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await handle.execute_update(RemediationWorkflow.decide, REJECTED)
        assert "key:abc has decided already" in str(refused.value.cause)
        work.holding.clear()
        assert await handle.result() is RemediationState.SUCCEEDED


async def test_answers_that_nobody_asked_for(server: WorkflowEnvironment) -> None:
    """A signal is passed over, an update refused: they cannot approve in advance."""
    work = RememberedWork()
    work.holding = {"drain"}
    async with started(server.client, work, made()) as handle:
        await handle.signal("decide", REJECTED)
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await handle.execute_update(RemediationWorkflow.decide, APPROVED)
        assert "no approval is awaited" in str(refused.value.cause)
        work.holding.clear()
        assert await handle.result() is RemediationState.SUCCEEDED


async def test_a_rejection(server: WorkflowEnvironment) -> None:
    """Nothing is done, and nobody is told what they just said."""
    work = RememberedWork()
    async with started(server.client, work, made(approval=ApprovalMode.ALWAYS)) as handle:
        await asked(work)
        await handle.signal(RemediationWorkflow.decide_by_signal, REJECTED)
        assert await handle.result() is RemediationState.REJECTED
    assert work.done == []
    assert len(work.told) == 1


async def test_nobody_answers(server: WorkflowEnvironment) -> None:
    """After the policy's time it ends, and somebody is told."""
    work = RememberedWork()
    before = await server.get_current_time()
    wanted = made(approval=ApprovalMode.ALWAYS, approval_timeout="2h")
    assert await ended(server, work, wanted) is RemediationState.EXPIRED
    passed = await server.get_current_time() - before
    assert passed >= timedelta(hours=2)
    assert work.done == []
    assert len(work.told) == 2


async def test_preconditions_are_looked_at_again_after_an_approval(server: WorkflowEnvironment) -> None:
    """What held when it was asked may not hold when it is answered."""
    work = RememberedWork()
    answers = iter([YES, NO])
    work.checks = lambda _: next(answers)
    async with started(server.client, work, made(approval=ApprovalMode.ALWAYS, preconditions=(CHECK,))) as handle:
        await asked(work)
        await handle.signal("decide", APPROVED)
        assert await handle.result() is RemediationState.REFUSED
    assert work.done == []


async def test_a_history_stays_bounded(server: WorkflowEnvironment) -> None:
    """However patient the policy and however large the order, it is polled only as often as a history can hold."""
    work = RememberedWork()
    work.verdicts = [Verdict(holds=False, reason="no")]
    wanted = made(verification=Verification(within="1d", every="1s"))
    alert = msgspec.structs.replace(wanted.alert, annotations={"summary": "x" * 600_000})
    wanted = msgspec.structs.replace(wanted, alert=alert)
    assert await ended(server, work, wanted) is RemediationState.ROLLED_BACK
    assert len(work.verified_since) == POLLS_MIN + 1
