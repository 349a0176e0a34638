"""Remediation workflows on a real Temporal: stopped at every point, asked where they stand, left by their worker."""

import asyncio
from collections.abc import Iterator

import pytest
import pytest_asyncio
from temporalio.client import Client

from adapters.driving.temporal.worker import build_worker
from adapters.driving.temporal.workflow import RemediationWorkflow, Standing
from adapters.runtime.settings import TemporalSettings
from adapters.runtime.temporal_client import connect_temporal
from core.domain.audit import AuditKind
from core.domain.remediation import ApprovalMode, MetricCheck, RemediationState, Verification
from core.domain.rules import Condition
from tests.support.remediation import NO, RememberedWork, failure, step
from tests.support.remediation_run import PATIENCE_S, made, started, until
from tests.support.temporal import run_temporal

CHECK = MetricCheck(metric="cpu", condition=Condition.ABOVE, value=90.0)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalSettings]:
    """Yield the way to a real server for this module."""
    with run_temporal(tmp_path_factory.mktemp("temporal")) as settings:
        yield settings


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(settings: TemporalSettings) -> Client:
    """Return a client of that server."""
    return await connect_temporal(settings)


@pytest.mark.parametrize("how", ["signal", "temporal"])
@pytest.mark.parametrize(
    ("at", "done"),
    [
        ("record", []),
        ("progress", []),
        ("check", []),
        ("escalate", []),
        ("reserve", []),
        ("drain", ["drain"]),
        ("restart", ["drain", "restart"]),
        ("verify", ["drain", "restart"]),
        ("undrain", ["drain", "restart", "undrain"]),
    ],
)
async def test_stopping_at_every_point(client: Client, how: str, at: str, done: list[str]) -> None:
    """No further action is taken, what was done stands, and the record says by whom it was stopped and what is left."""
    work = RememberedWork()
    work.verdicts = [NO]
    approval = ApprovalMode.ALWAYS if at == "escalate" else ApprovalMode.NONE
    wanted = made(
        preconditions=(CHECK,),
        approval=approval,
        rollback=(step("undrain"), step("reopen")),
        verification=Verification(within="1s", every="1s"),
    )
    async with started(client, work, wanted) as handle:

        async def stop() -> None:
            await (handle.cancel() if how == "temporal" else handle.signal("request_cancel", "key:abc"))

        work.at = {at: stop}
        assert await handle.result() is RemediationState.CANCELLED
    assert work.done == done
    assert work.state is RemediationState.CANCELLED
    assert f"stopped by {'temporal' if how == 'temporal' else 'key:abc'}" in work.detail
    assert (", ".join(done) or "nothing was done") in work.detail
    assert len(work.told) == (1 if done or at == "escalate" else 0)


@pytest.mark.parametrize("how", ["signal", "temporal"])
async def test_stopping_an_action_that_lasts(client: Client, how: str) -> None:
    """It is asked to break off and waited for; how far it came is not known, and the record says that."""
    work = RememberedWork()
    work.holding = {"restart"}
    async with started(client, work, made()) as handle:
        await until(lambda: "restart" in work.done)
        await (handle.cancel() if how == "temporal" else handle.signal(RemediationWorkflow.request_cancel, "key:abc"))
        assert await handle.result() is RemediationState.CANCELLED
    assert work.broken_off == ["restart"]
    assert [record.summary for record in work.records.values() if record.key.endswith("-failed")] == [
        "step 'restart': failed: it was broken off; how far it came is not known"
    ]
    assert "drain, restart" in work.detail


async def test_stopping_between_attempts(client: Client) -> None:
    """The pause before the next attempt ends at once."""
    work = RememberedWork()
    work.troubles = {"drain": [failure()] * 3}
    async with started(client, work, made()) as handle:
        await until(lambda: (AuditKind.RESPONSE, "failed") in work.story)
        await handle.signal("request_cancel", "key:abc")
        assert await handle.result() is RemediationState.CANCELLED
    assert work.done == []


async def test_it_says_where_it_stands(client: Client) -> None:
    """The query names the state, the step under way, and why."""
    work = RememberedWork()
    work.holding = {"restart"}
    async with started(client, work, made()) as handle:
        await until(lambda: "restart" in work.done)
        assert await handle.query(RemediationWorkflow.standing) == Standing(
            state=RemediationState.RUNNING, step="restart", detail="step 2 of 2: restart"
        )
        work.holding.clear()
        await handle.result()
        standing = await handle.query(RemediationWorkflow.standing)
        assert (standing.state, standing.step) == (RemediationState.SUCCEEDED, None)


async def test_an_action_outlives_its_worker(client: Client) -> None:
    """A worker that is stopped gives its action up; another attempts it again, under the same key."""
    work, wanted = RememberedWork(), made()
    work.holding = {"drain"}
    async with started(client, work, wanted):
        await until(lambda: bool(work.done))
    assert work.broken_off == ["drain"]
    work.holding.clear()
    async with asyncio.timeout(PATIENCE_S), build_worker(client, wanted.workflow_id, work, 4):
        handle = client.get_workflow_handle_for(RemediationWorkflow.run, wanted.workflow_id)
        assert await handle.result() is RemediationState.SUCCEEDED
    assert work.acted[:2] == [("drain", f"{wanted.workflow_id}/0")] * 2


@pytest.mark.slow
async def test_a_killed_worker_is_noticed(client: Client) -> None:
    """An action without a sign of life is attempted again within seconds, under the same key; the first counts."""
    work = RememberedWork()
    work.silent = {"drain"}
    async with started(client, work, made(steps=(step("drain", retries=1),))) as handle:
        begun = asyncio.get_running_loop().time()
        assert await handle.result() is RemediationState.SUCCEEDED
    assert asyncio.get_running_loop().time() - begun < 30
    assert work.done == ["drain", "drain"]
    assert len({key for _, key in work.acted}) == 1
