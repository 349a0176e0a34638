"""Scheduled detection on a real Temporal: the schedule is made once, fires, and does all that is due."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from temporalio.client import Client

from adapters.driving.temporal.detection_worker import SCHEDULE, ensure_schedule, run_detection_worker, task_queue
from adapters.runtime.temporal_client import connect_temporal
from ports.driving.detecting import DetectionRound
from tests.support.temporal import eventually, run_temporal

DUE_AT = datetime(2026, 1, 31, tzinfo=UTC)


class DueRuns:
    """So many runs are due, whoever asks; each is done once."""

    def __init__(self, due: int) -> None:
        self.due = due
        self.looks = 0

    async def run_due(self, *, overdue_s: float = 0.0) -> DetectionRound:
        """Temporal is the one who asks: nothing has to be overdue."""
        assert overdue_s == 0.0
        self.looks += 1
        if not self.due:
            return DetectionRound()
        self.due -= 1
        return DetectionRound(tenant="default", due_at=DUE_AT, state="done", series=1)


async def test_the_schedule_does_all_that_is_due_and_two_servers_share_it(tmp_path: Path) -> None:
    """It fires at once when it is made, one server does all runs, and there is one schedule."""
    with run_temporal(tmp_path) as settings:
        work = DueRuns(3)
        stop = asyncio.Event()
        servers = [asyncio.create_task(run_detection_worker(settings, work, stop)) for _ in range(2)]
        try:

            async def all_done() -> bool:
                return work.looks == 4

            await eventually(all_done)
            assert work.due == 0
            client = await connect_temporal(settings)

            async def listed() -> bool:
                return await schedules(client) == [SCHEDULE]

            await eventually(listed)
        finally:
            stop.set()
            await asyncio.gather(*servers)


async def test_a_schedule_that_somebody_paused_stays_paused(tmp_path: Path) -> None:
    """A server that starts leaves it as it is."""
    with run_temporal(tmp_path) as settings:
        client = await connect_temporal(settings)
        await ensure_schedule(client, settings)
        handle = client.get_schedule_handle(SCHEDULE)
        await handle.pause(note="maintenance")
        await ensure_schedule(client, settings)
        described = await handle.describe()
        assert described.schedule.state.paused
        assert task_queue(settings) != settings.task_queue, "remediation's workers do not know its workflow"


async def schedules(client: Client) -> list[str]:
    """The ids of all schedules."""
    return [listed.id async for listed in await client.list_schedules()]
