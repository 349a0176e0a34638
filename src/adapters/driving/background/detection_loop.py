"""Drives scheduled detection and correlation."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

import structlog

from adapters.runtime.rounds import run_rounds, wait_for_stop
from core.domain.errors import Unavailable
from ports.driving.detecting import DetectionRound, DetectionWork
from ports.driving.investigating import CorrelationRound, CorrelationWork

POLL_S: Final = 1.0
"""How often due runs are looked for: whoever asks for one is waiting, and a look costs one query."""
AWAY_S: Final = 2.0
"""Pause after the database was away."""
STANDBY_S: Final = 1.0
"""How often a process that does not correlate looks whether the one that does is gone."""
TERM_S: Final = 30.0
"""After this long leading is asked for anew: who lost its connection does not go on beside another one."""
OVERDUE_S: Final = 90.0
"""Where Temporal keeps the schedule it starts a run within a minute. What is later than this it does not start."""

log = structlog.get_logger(__name__)


async def keep_detecting(work: DetectionWork, stop: asyncio.Event, *, scheduled_elsewhere: bool) -> None:
    """Does runs that are due until `stop`; where Temporal keeps the schedule only those that it left undone."""
    overdue_s = OVERDUE_S if scheduled_elsewhere else 0.0

    async def look() -> tuple[DetectionRound, float]:
        done = await work.run_due(overdue_s=overdue_s)
        if done.away is not None:
            return done, AWAY_S
        return done, POLL_S if done.tenant is None else 0.0

    await run_rounds(look, report_detection, stop)


async def keep_correlating(
    work: CorrelationWork, lead: Callable[[], AbstractAsyncContextManager[bool]], stop: asyncio.Event
) -> None:
    """Joins signals to incidents until `stop`, whenever no other process does."""
    while not stop.is_set():
        try:
            async with lead() as leads:
                if not leads:
                    await wait_for_stop(stop, STANDBY_S)
                    continue
                async with _for_a_while(stop, TERM_S) as over:
                    await run_rounds(work.round, _report_correlation, over)
        except Unavailable as error:
            log.warning("correlation_waits", reason=str(error))
            await wait_for_stop(stop, AWAY_S)


@asynccontextmanager
async def _for_a_while(stop: asyncio.Event, seconds: float) -> AsyncIterator[asyncio.Event]:
    """An event that is set after some seconds, or when `stop` is."""
    over = asyncio.Event()

    async def end() -> None:
        await wait_for_stop(stop, seconds)
        over.set()

    ending = asyncio.create_task(end())
    try:
        yield over
    finally:
        ending.cancel()


def report_detection(done: DetectionRound) -> None:
    """Logs a run."""
    if done.away is not None:
        log.warning("detection_waits", reason=done.away)
    elif done.tenant is not None:
        log.info(
            "detection_run",
            tenant=done.tenant,
            due_at=str(done.due_at),
            state=done.state,
            resumed=done.resumed,
            series=done.series,
            points=done.points,
            findings=done.findings,
            opened=done.opened,
            ended=done.ended,
            alarming=done.alarming,
            took_ms=round(done.took_s * 1_000),
        )


def _report_correlation(done: CorrelationRound) -> None:
    if done.away is not None:
        log.warning("correlation_waits", reason=done.away)
    elif done.opened or done.grown or done.reopened or done.resolved:
        log.info(
            "incidents_changed",
            signals=done.signals,
            opened=done.opened,
            grown=done.grown,
            reopened=done.reopened,
            resolved=done.resolved,
        )
