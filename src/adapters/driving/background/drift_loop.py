"""Drives scheduled drift detection."""

import asyncio
from typing import Final

import structlog

from adapters.runtime.rounds import run_rounds
from ports.driving.drifting import DriftRound, DriftWork

POLL_S: Final = 10.0
"""How often it is looked whether a tenant is due: nobody waits for it, whoever does asks for it at once."""
AWAY_S: Final = 2.0
"""Pause after the database was away."""

log = structlog.get_logger(__name__)


async def keep_drifting(work: DriftWork, stop: asyncio.Event) -> None:
    """Looks at the clusters of tenants that are due until `stop`."""

    async def look() -> tuple[DriftRound, float]:
        done = await work.round()
        if done.away is not None:
            return done, AWAY_S
        return done, POLL_S if done.tenant is None else 0.0

    await run_rounds(look, report_drift, stop)


def report_drift(done: DriftRound) -> None:
    """Logs a round."""
    if done.away is not None:
        log.warning("drift_waits", reason=done.away)
    if done.tenant is not None:
        log.info(
            "drift_looked_for",
            tenant=done.tenant,
            clusters=len(done.clusters),
            found=sum(one.found for one in done.clusters),
            opened=sum(one.opened for one in done.clusters),
            resolved=sum(one.resolved for one in done.clusters),
            skipped=sum(len(one.skipped) for one in done.clusters),
            took_ms=round(done.took_s * 1_000),
        )
