"""Drives collecting from metric sources."""

import asyncio
from typing import Final

import structlog

from adapters.runtime.rounds import run_rounds, wait_for_stop
from core.domain.errors import Unavailable
from ports.driving.collecting import EXTEND_S, CollectionRound, CollectionWork

POLL_S: Final = 0.5
"""How often runs are looked for, by all together: whoever asks for one is waiting, and a look costs one query."""
AWAY_S: Final = 2.0
"""Pause after the database was away."""
STOP_S: Final = 3.0
"""What runs under way may take to end by themselves; less than who stops this process waits for it."""

log = structlog.get_logger(__name__)


async def keep_collecting(work: CollectionWork, stop: asyncio.Event, *, concurrency: int) -> None:
    """Does runs until `stop`, so many at once; who goes on with those under way then begins where they were."""

    async def look() -> tuple[CollectionRound, float]:
        done = await work.round()
        if done.away is not None:
            return done, AWAY_S
        return done, POLL_S * concurrency if done.tenant is None else 0.0

    async def take_turns(place: int) -> None:
        await wait_for_stop(stop, POLL_S * place)  # so that idle ones look one after the other
        await run_rounds(look, report_collection, stop)

    async with asyncio.TaskGroup() as beside:
        extending = beside.create_task(_keep_extending(work))
        rounds = [beside.create_task(take_turns(place)) for place in range(concurrency)]
        await stop.wait()
        await asyncio.wait(rounds, timeout=STOP_S)
        for task in (extending, *rounds):
            task.cancel()


async def _keep_extending(work: CollectionWork) -> None:
    """Keeps runs under way from being taken over, however slow their vendors are."""
    while True:
        await asyncio.sleep(EXTEND_S)
        try:
            await work.extend()
        except Unavailable as error:
            log.warning("collection_leases_wait", reason=str(error))


def report_collection(done: CollectionRound) -> None:
    """Logs a run."""
    if done.away is not None:
        log.warning("collection_waits", reason=done.away)
    elif done.run is not None:
        run, counts = done.run, done.run.progress.counts
        log.info(
            "collection_run",
            tenant=done.tenant,
            run=run.id,
            source=run.source,
            kind=run.kind.value,
            state=run.state.value,
            problem=run.problem.kind.value if run.problem is not None else None,
            resumed=run.attempts > 1,
            items=run.progress.items,
            failed=run.progress.failed,
            fetched=counts.fetched,
            stored=counts.stored,
            revised=counts.revised,
            refused=counts.refused,
            calls=run.progress.calls,
            took_ms=round(done.took_s * 1_000),
        )
    elif done.tenant is not None:
        log.info("collection_run_lost", tenant=done.tenant)
