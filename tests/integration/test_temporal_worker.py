"""The worker against a real Temporal: work is done whoever comes, goes or is killed in between."""

import asyncio
import multiprocessing
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from temporalio.client import Client

from adapters.driven.temporal.engine import workflow_engine
from adapters.driving.temporal.worker import run_remediation, run_temporal_worker
from adapters.runtime.clock import SystemClock
from adapters.runtime.embedded_temporal import run_embedded_temporal
from adapters.runtime.settings import Settings, TemporalSettings
from adapters.runtime.temporal_client import connect_temporal
from core.domain.audit import AuditRecord
from core.domain.remediation import MetricCheck, RemediationOrder, RemediationState, Step
from core.services.dispatch import DispatchService
from ports.driving.remediation_work import ActionReport, Verdict
from tests.support.filled_outbox import FilledOutbox
from tests.support.orders import order
from tests.support.temporal import eventually, require_temporal, run_temporal, started_workflows

STOPPED_S = 5.0
SPAWNED_S = 120.0
"""Until a new interpreter has imported everything and worked, on a busy machine."""

YES = Verdict(holds=True, reason="it does")


class Work:
    """Finds everything in order; an action lasts until the file `go` is there, and leaves a line in `acted`."""

    def __init__(self, directory: Path) -> None:
        self.go = directory / "go"
        self.acted = directory / "acted"

    async def record(self, order: RemediationOrder, record: AuditRecord) -> None:
        """Nobody reads it here."""

    async def progress(self, order: RemediationOrder, state: RemediationState, detail: str | None) -> None:
        """Nobody reads it here."""

    async def check(self, order: RemediationOrder, checks: tuple[MetricCheck, ...]) -> Verdict:
        return YES

    async def reserve(self, order: RemediationOrder, step: Step, key: str, *, rollback: bool) -> Verdict:
        return YES

    async def act(self, order: RemediationOrder, step: Step, key: str, heartbeat: Callable[[], None]) -> ActionReport:
        with self.acted.open("a") as file:
            file.write(f"{key}\n")
        while not self.go.exists():
            heartbeat()
            await asyncio.sleep(0.02)
        return ActionReport(summary="waited", target="a file", changed=True)

    async def verify(self, order: RemediationOrder, since_us: int) -> Verdict:
        return YES

    async def escalate(self, order: RemediationOrder, text: str, *, key: str, ask_approval: bool) -> None:
        """Nobody reads it here."""


@asynccontextmanager
async def working(settings: TemporalSettings, work: Work) -> AsyncIterator[asyncio.Event]:
    """A worker in this process; whoever leaves first sets the event."""
    stop = asyncio.Event()
    running = asyncio.create_task(run_temporal_worker(settings, work, stop, concurrency=5))
    try:
        yield stop
    finally:
        stop.set()
        await running


def work_in_process(settings: TemporalSettings, directory: Path) -> None:
    """A worker in a process of its own, which nobody asks to stop."""
    asyncio.run(run_temporal_worker(settings, Work(directory), asyncio.Event(), concurrency=5))


async def ended(client: Client, order: RemediationOrder) -> RemediationState:
    """The state in which a workflow ends."""
    handle = client.get_workflow_handle(order.workflow_id, result_type=RemediationState)
    async with asyncio.timeout(60):
        state: RemediationState = await handle.result()
        return state


async def is_started(client: Client, order: RemediationOrder) -> bool:
    """Whether Temporal lists a workflow."""
    return order.workflow_id in await started_workflows(client)


async def is_there(path: Path) -> bool:
    """Whether a file is there."""
    return await asyncio.to_thread(path.exists)


@pytest.mark.slow
async def test_temporal_may_come_late_and_go_away(tmp_path: Path) -> None:
    """The worker waits for it at the start, and goes on with what it was doing after a kill -9 of the server."""
    require_temporal()
    with run_embedded_temporal(tmp_path) as server:
        settings = TemporalSettings(address=server.address)
    work = Work(tmp_path)
    one = order(1)
    async with working(settings, work):
        with run_embedded_temporal(tmp_path, address=settings.address):
            await workflow_engine(settings).start(one)
            await eventually(lambda: is_there(work.acted))
        work.go.touch()
        with run_embedded_temporal(tmp_path, address=settings.address):
            client = await connect_temporal(settings)
            assert await ended(client, one) is RemediationState.SUCCEEDED


async def test_what_waits_is_started_and_carried_out(tmp_path: Path) -> None:
    """Dispatcher and worker in one process, as `sextant worker` runs them: one workflow for each remediation."""
    with run_temporal(tmp_path) as temporal:
        settings = Settings(temporal=temporal)
        work = Work(tmp_path)
        work.go.touch()
        outbox = FilledOutbox(5, SystemClock())
        dispatching = DispatchService(outbox, workflow_engine(temporal), SystemClock())
        stop = asyncio.Event()
        running = asyncio.create_task(run_remediation(settings, work, dispatching, stop))
        client = await connect_temporal(temporal)
        orders = [order(number) for number in range(1, 6)]
        for one in orders:
            await eventually(lambda one=one: is_started(client, one))  # type: ignore[misc]  # mypy cannot infer it
            assert await ended(client, one) is RemediationState.SUCCEEDED
        stop.set()
        await running
        assert outbox.waiting == set()
        assert await started_workflows(client) == sorted(one.workflow_id for one in orders)


async def test_a_stopped_worker_is_gone_within_seconds(tmp_path: Path) -> None:
    """Although an action is under way; another worker takes the workflow over."""
    with run_temporal(tmp_path) as settings:
        work = Work(tmp_path)
        one = order(1)
        async with working(settings, work) as stop:
            await workflow_engine(settings).start(one)
            await eventually(lambda: is_there(work.acted))
            stopped_s = time.monotonic()
            stop.set()
        assert time.monotonic() - stopped_s < STOPPED_S
        work.go.touch()
        async with working(settings, work):
            assert await ended(await connect_temporal(settings), one) is RemediationState.SUCCEEDED


@pytest.mark.slow
async def test_another_worker_takes_over_from_a_killed_one(tmp_path: Path) -> None:
    """kill -9 in the middle of an action: it is noticed by the heartbeats that stay away."""
    with run_temporal(tmp_path) as settings:
        work = Work(tmp_path)
        one = order(1)
        spawned = multiprocessing.get_context("spawn")
        process = spawned.Process(target=work_in_process, args=(settings, tmp_path), daemon=True)
        process.start()
        try:
            await workflow_engine(settings).start(one)
            await eventually(lambda: is_there(work.acted), SPAWNED_S)
        finally:
            process.kill()
            process.join()
        work.go.touch()
        async with working(settings, work):
            assert await ended(await connect_temporal(settings), one) is RemediationState.SUCCEEDED
        assert len(set(work.acted.read_text().splitlines())) == 1, "a repeated action has the key that it had"
