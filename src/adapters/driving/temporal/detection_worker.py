"""Detection on Temporal: the schedule that starts it, and the worker that does it."""

import asyncio
from datetime import timedelta
from typing import Final

import structlog
from temporalio import activity
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
)
from temporalio.service import RPCError
from temporalio.worker import Worker

from adapters.driving.background.detection_loop import report_detection
from adapters.driving.temporal.activities import alive
from adapters.driving.temporal.detection_workflow import RUN_DUE, WORKFLOW, DetectionWorkflow
from adapters.driving.temporal.worker import AWAY_S_FIRST, AWAY_S_MAX, GRACE, run_until, workflow_runner
from adapters.runtime.rounds import wait_for_stop
from adapters.runtime.settings import TemporalSettings
from adapters.runtime.temporal_client import connect_temporal
from core.domain.errors import Unavailable
from ports.driving.detecting import DetectionRound, DetectionWork

SCHEDULE: Final = "sextant-detection"
EVERY: Final = timedelta(minutes=1)
"""The shortest interval that a tenant may set; a look that finds nothing due costs one query."""
TASK_QUEUE_SUFFIX: Final = "-detection"
"""Behind the task queue of remediation, whose workers know nothing of detection."""
CATCH_UP: Final = timedelta(minutes=1)
"""After an outage one look is enough: it finds all that is due."""

log = structlog.get_logger(__name__)


class DetectionActivities:
    """The activity, over one `DetectionWork`."""

    def __init__(self, work: DetectionWork) -> None:
        self._work = work

    @activity.defn(name=RUN_DUE)
    async def run_due(self) -> DetectionRound:
        """See `DetectionWork.run_due`."""
        async with alive():
            done = await self._work.run_due()
        report_detection(done)
        return done


async def run_detection_worker(settings: TemporalSettings, work: DetectionWork, stop: asyncio.Event) -> None:
    """Works until `stop`, with the schedule in place; waits for a Temporal that is away, also at the start."""
    pause_s = AWAY_S_FIRST
    while not stop.is_set():
        try:
            client = await connect_temporal(settings)
            await ensure_schedule(client, settings)
            log.info("detection_worker_started", temporal=settings.address, task_queue=task_queue(settings))
            pause_s = AWAY_S_FIRST
            await run_until(build_detection_worker(client, settings, work), stop)
        except (Unavailable, RPCError, RuntimeError) as error:  # RuntimeError is the worker's word for a lost server
            log.warning("detection_worker_waits", reason=str(error), retry_in_s=pause_s)
            await wait_for_stop(stop, pause_s)
            pause_s = min(2 * pause_s, AWAY_S_MAX)


async def ensure_schedule(client: Client, settings: TemporalSettings) -> None:
    """Creates the schedule unless it is there; one that a person paused or changed stays as it is."""
    action = ScheduleActionStartWorkflow(WORKFLOW, id=SCHEDULE, task_queue=task_queue(settings))
    schedule = Schedule(
        action=action,
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=EVERY)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=CATCH_UP),
    )
    try:
        await client.create_schedule(SCHEDULE, schedule, trigger_immediately=True)
    except ScheduleAlreadyRunningError:
        return


def build_detection_worker(client: Client, settings: TemporalSettings, work: DetectionWork) -> Worker:
    """A worker that has not started; it does one run at a time."""
    return Worker(
        client,
        task_queue=task_queue(settings),
        workflows=[DetectionWorkflow],
        activities=[DetectionActivities(work).run_due],
        workflow_runner=workflow_runner(),
        max_concurrent_activities=1,
        graceful_shutdown_timeout=GRACE,
    )


def task_queue(settings: TemporalSettings) -> str:
    """The queue of detection's workflows."""
    return settings.task_queue + TASK_QUEUE_SUFFIX
