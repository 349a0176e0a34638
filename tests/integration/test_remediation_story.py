"""The whole of a remediation on a real Temporal, over the real services and the in-memory store."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping

import pytest

from adapters.driving.temporal.worker import build_worker
from adapters.driving.temporal.workflow import RemediationWorkflow
from adapters.runtime.settings import TemporalSettings
from adapters.runtime.temporal_client import connect_temporal
from core.domain.actions import Action
from core.domain.alerts import Alert
from core.domain.audit import AuditKind, first_break
from core.domain.notifications import WebhookConfig
from core.domain.remediation import ApprovalMode, Decision, MetricCheck, RemediationState, Verification
from core.domain.rules import Condition
from ports.driven.action_runner import ActionOutcome
from tests.support.remediation import order
from tests.support.temporal import eventually, run_temporal
from tests.unit.remediation_work.world import ScriptedRunner, World

HOT = MetricCheck(metric="cpu", matchers=("host={{ labels.host }}",), condition=Condition.ABOVE, value=90.0)


class RepairingRunner(ScriptedRunner):
    """Cools the alert's host down with its second action."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

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
        """The next sample is good."""
        outcome = await super().run(action, alert, secrets, key=key, timeout_s=timeout_s, heartbeat=heartbeat)
        if len(self.ran) == 2:
            self._world.clock.set(time.time_ns() // 1_000)
            await self._world.sampled("cpu", {"host": "a"}, (-30, 20.0))
        return outcome


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalSettings]:
    """Yield the way to a server for this module."""
    with run_temporal(tmp_path_factory.mktemp("temporal")) as settings:
        yield settings


async def test_it_repairs_and_proves_it(settings: TemporalSettings) -> None:
    """Asked for, approved, done, and verified on the metric: state, audit trail and notifications tell the same."""
    world = await World().opened()
    world.clock.set(time.time_ns() // 1_000)
    world.runners.update(dict.fromkeys(world.runners, RepairingRunner(world)))
    await world.channels.create(1, WebhookConfig(name="all", url="https://hooks.example/"), ())
    await world.sampled("cpu", {"host": "a"}, (5, 97.0))
    wanted = order(
        approval=ApprovalMode.ALWAYS, preconditions=(HOT,), verification=Verification(within="1m", every="1s")
    )
    world.remember(wanted)
    client = await connect_temporal(settings)
    async with asyncio.timeout(30), build_worker(client, settings.task_queue, world.work, 4):
        handle = await client.start_workflow(
            RemediationWorkflow.run, wanted, id=wanted.workflow_id, task_queue=settings.task_queue
        )

        async def is_asked() -> bool:
            return bool(world.messages)

        await eventually(is_asked)
        [(_, message)] = world.messages
        assert message.link is not None
        assert (await world.remediations.get(1, 1)).state is RemediationState.AWAITING_APPROVAL
        await handle.signal("decide", Decision(approved=True, by="link"))
        assert await handle.result() is RemediationState.SUCCEEDED
    entries = await world.audit.list(1, alert_id=1, remediation_id=1, limit=100, after=None)
    assert [entry.record.kind for entry in entries] == [
        AuditKind.DECISION,
        AuditKind.VERDICT,
        AuditKind.APPROVAL,
        AuditKind.APPROVAL,
        AuditKind.VERDICT,
        *[AuditKind.REQUEST, AuditKind.RESPONSE] * 2,
        AuditKind.VERDICT,
        AuditKind.VERDICT,
    ]
    assert first_break(1, entries) is None
    told = await world.remediations.get(1, 1)
    assert (told.state, told.detail) == (
        RemediationState.SUCCEEDED,
        "verified: last of cpu is 20 for host=a, as it should be: not > 90",
    )
    assert len(world.messages) == 1
