"""The worker's process: starts the workflows that wait, and runs them with their activities."""

import asyncio
from datetime import timedelta
from typing import Final

import structlog
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from adapters.driving.temporal.activities import RemediationActivities
from adapters.driving.temporal.workflow import RemediationWorkflow
from adapters.runtime.rounds import run_rounds, wait_for_stop
from adapters.runtime.settings import Settings, TemporalSettings
from adapters.runtime.temporal_client import connect_temporal
from core.domain.errors import Unavailable
from ports.driving.dispatching import Dispatched, Dispatching
from ports.driving.remediation_work import RemediationWork

SHARED_MODULES: Final = ("core", "ports", "msgspec")
"""What workflows share with the rest of the process instead of importing it again: pure values and their decoder."""
GRACE: Final = timedelta(seconds=3)
"""An action under way may end well; then it is cancelled, and the whole process is gone within 5 s of SIGTERM."""
STICKY_TIMEOUT: Final = timedelta(seconds=2)
"""After a worker was killed, its workflows go to another this soon."""
HEARTBEAT_EVERY: Final = timedelta(seconds=1)
"""How often heartbeats are sent, and with the answer a cancellation comes."""
AWAY_S_FIRST: Final = 0.5
AWAY_S_MAX: Final = 10.0
"""Once Temporal is back, work goes on after this long at most."""

log = structlog.get_logger(__name__)


async def run_remediation(
    settings: Settings, work: RemediationWork, dispatching: Dispatching, stop: asyncio.Event
) -> None:
    """Dispatches and works until `stop`; whatever is away is waited for. The settings must name a Temporal."""
    concurrency = settings.worker.concurrency
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_rounds(dispatching.round, _report, stop))
        tasks.create_task(run_temporal_worker(settings.temporal, work, stop, concurrency=concurrency))


async def run_temporal_worker(
    settings: TemporalSettings, work: RemediationWork, stop: asyncio.Event, *, concurrency: int
) -> None:
    """Works until `stop`, then lets activities end; waits for a Temporal that is away, also at the start."""
    pause_s = AWAY_S_FIRST
    while not stop.is_set():
        try:
            worker = build_worker(await connect_temporal(settings), settings.task_queue, work, concurrency)
            log.info("remediation_worker_started", temporal=settings.address, task_queue=settings.task_queue)
            pause_s = AWAY_S_FIRST
            await run_until(worker, stop)
        except (Unavailable, RPCError, RuntimeError) as error:  # RuntimeError is the worker's word for a lost server
            log.warning("remediation_worker_waits", reason=str(error), retry_in_s=pause_s)
            await wait_for_stop(stop, pause_s)
            pause_s = min(2 * pause_s, AWAY_S_MAX)


def build_worker(client: Client, task_queue: str, work: RemediationWork, concurrency: int) -> Worker:
    """A worker that has not started; `concurrency` activities run at once."""
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[RemediationWorkflow],
        activities=RemediationActivities(work).all(),
        workflow_runner=workflow_runner(),
        max_concurrent_activities=concurrency,
        graceful_shutdown_timeout=GRACE,
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        max_heartbeat_throttle_interval=HEARTBEAT_EVERY,
        default_heartbeat_throttle_interval=HEARTBEAT_EVERY,
    )


def workflow_runner() -> SandboxedWorkflowRunner:
    """The sandbox that workflow code runs in, also in replays."""
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*SHARED_MODULES))


def _report(done: Dispatched) -> None:
    if done.away is not None:
        log.warning("dispatcher_waits", reason=done.away, started=done.started, waiting=done.waiting)
    elif done.started or done.refused:
        log.info("remediations_dispatched", started=done.started, refused=done.refused)


async def run_until(worker: Worker, stop: asyncio.Event) -> None:
    """Runs the worker until `stop` or its end; raises what ended it."""
    running = asyncio.create_task(worker.run())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            await worker.shutdown()
        await running
    finally:
        stopping.cancel()
        running.cancel()
