"""Records a history of every path through the remediation workflow: ``python -m tests.support.record_histories``.

Run it after a change of the workflow that stands behind `workflow.patched`, and keep the old files under other names
for as long as the old branch stays: workflows that were started before the change are still out there.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from temporalio.testing import WorkflowEnvironment

from adapters.driving.temporal.worker import build_worker
from adapters.driving.temporal.workflow import RemediationWorkflow
from core.domain.remediation import ApprovalMode, Decision, MetricCheck, Verification
from core.domain.rules import Condition
from tests.support.remediation import NO, YES, RememberedWork, failure, order, refusal, step
from tests.support.remediation_run import Handle, until
from tests.support.time_skipping import run_time_skipping

DIRECTORY: Final = Path(__file__).parents[1] / "data" / "workflow_histories"
QUEUE: Final = "recording"
OF_THIS_MACHINE: Final = frozenset({"identity", "stackTrace", "binaryChecksum", "workerVersion"})
"""Fields that tell where it was recorded; no replay needs them."""
CHECK: Final = (MetricCheck(metric="cpu", condition=Condition.ABOVE, value=90.0),)
ASKING: Final[dict[str, Any]] = {"approval": ApprovalMode.ALWAYS, "steps": (step("drain"),)}
SOON: Final = Verification(within="15s", every="5s")


async def main() -> None:
    """Records all of them anew."""
    DIRECTORY.mkdir(exist_ok=True)
    async with run_time_skipping() as server:
        await record(server, "succeeded", retried, preconditions=CHECK, steps=(step("drain", preconditions=CHECK),))
        await record(server, "refused", unwanted, preconditions=CHECK)
        await record(server, "rolled_back", useless, verification=SOON)
        await record(server, "rolled_back-between-steps", stopped_by_kill_switch)
        await record(server, "failed", beyond_repair, verification=SOON)
        await record(server, "dry_run", easy, dry_run=True)
        await record(server, "expired", easy, **ASKING)
        async with recorded(server, "succeeded-approved", easy, **ASKING) as (handle, work):
            await until(lambda: bool(work.told))
            await handle.signal("decide", Decision(approved=True, by="key:abc", reason="go on"))
        async with recorded(server, "succeeded-approved-by-update", easy, **ASKING) as (
            handle,
            work,
        ):
            await until(lambda: bool(work.told))
            await handle.execute_update(RemediationWorkflow.decide, Decision(approved=True, by="key:abc"))
        async with recorded(server, "rejected", easy, **ASKING) as (handle, work):
            await until(lambda: bool(work.told))
            await handle.signal("decide", Decision(approved=False, by="key:abc"))
        async with recorded(server, "cancelled-while-asking", easy, **ASKING) as (handle, work):
            await until(lambda: bool(work.told))
            await handle.signal("request_cancel", "key:abc")
        async with recorded(server, "cancelled", endless) as (handle, work):
            await until(lambda: "restart" in work.done)
            await handle.signal("request_cancel", "key:abc")
        async with recorded(server, "cancelled-by-temporal", endless) as (handle, work):
            await until(lambda: "restart" in work.done)
            await handle.cancel()


def easy(_: RememberedWork) -> None:
    """All goes well."""


def retried(work: RememberedWork) -> None:
    """The first attempt fails, and the metric recovers late."""
    work.troubles = {"drain": [failure()]}
    work.verdicts = [NO, YES]


def unwanted(work: RememberedWork) -> None:
    """Preconditions do not hold."""
    work.checks = lambda _: NO


def useless(work: RememberedWork) -> None:
    """The metric stays bad."""
    work.verdicts = [NO]


def stopped_by_kill_switch(work: RememberedWork) -> None:
    """The second step is refused."""
    work.granted = lambda asked: refusal() if asked.name == "restart" else YES


def beyond_repair(work: RememberedWork) -> None:
    """The metric stays bad, and the rollback fails."""
    work.verdicts = [NO]
    work.troubles = {"undrain": [failure(retryable=False)]}


def endless(work: RememberedWork) -> None:
    """The second step lasts until it is broken off."""
    work.holding = {"restart"}


async def record(
    server: WorkflowEnvironment, name: str, prepare: Callable[[RememberedWork], None], **policy: Any
) -> None:
    """Records what ends by itself."""
    async with recorded(server, name, prepare, **policy):
        pass


@asynccontextmanager
async def recorded(
    server: WorkflowEnvironment, name: str, prepare: Callable[[RememberedWork], None], **policy: Any
) -> AsyncIterator[tuple[Handle, RememberedWork]]:
    """Runs a workflow, whose id is `name`, to its end after the context is left, and writes its history."""
    work = RememberedWork()
    prepare(work)
    wanted = order(1, **policy)
    async with build_worker(server.client, QUEUE, work, 4):
        handle = await server.client.start_workflow(RemediationWorkflow.run, wanted, id=name, task_queue=QUEUE)
        yield handle, work
        state = await handle.result()
    assert name.partition("-")[0] == state.value, f"{name} ended {state.value}"
    history = without_machine((await handle.fetch_history()).to_json_dict())
    (DIRECTORY / f"{name}.json").write_text(json.dumps(history, separators=(",", ":"), sort_keys=True) + "\n")


def without_machine(value: Any) -> Any:
    """JSON without `OF_THIS_MACHINE`."""
    if isinstance(value, dict):
        return {key: without_machine(part) for key, part in value.items() if key not in OF_THIS_MACHINE}
    return [without_machine(part) for part in value] if isinstance(value, list) else value


if __name__ == "__main__":
    asyncio.run(main())
