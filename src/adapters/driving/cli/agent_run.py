"""The agent's life: what it opens, how it starts and ends, and what it tells the server about its metrics."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Mapping
from typing import Final

import msgspec
import structlog

from adapters.driving.cli.agent_loop import REJECTED_FILE, Agent
from adapters.driving.cli.client import ConfigurationError, IngestClient
from adapters.driving.cli.host_metrics import HostSampler, counter_definitions
from adapters.driving.cli.remote_definitions import DefinitionError, declare
from adapters.driving.cli.spool import Spool
from adapters.driving.cli.target import target_of
from adapters.runtime.settings import AgentSettings
from core.domain.times import SECOND_US

FLUSH_S: Final = 4.0
"""After SIGTERM: what is left stays in the spool, and the whole exit takes less than 5 s."""
ONCE_MEASURED_S: Final = 1.0
"""`--once` needs two readings for its percentages; any closer, they would measure this program's start."""
ONCE_GIVE_UP_S: Final = 30.0
"""`--once` is run by timers; the next run finds the spool again."""

log = structlog.get_logger("sextant.agent")


class AgentSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What one run came to, in metrics."""

    sampled: int
    accepted: int
    rejected: int
    lost: int
    """Not even the spool could take them."""
    dropped: int
    """To make room in the spool, or damaged in it."""
    pending: int
    """Still in the spool."""


async def run_agent(settings: AgentSettings, labels: Mapping[str, str], *, once: bool, per_cpu: bool) -> AgentSummary:
    """Samples and sends until SIGTERM or SIGINT, or `once`; raises `ConfigurationError`, `SpoolError`."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with IngestClient(target_of(settings)) as client:
        with Spool(settings.spool_dir, settings.spool_size_bytes) as spool:
            agent = Agent(
                HostSampler(labels, per_cpu=per_cpu),
                spool,
                client,
                interval_s=settings.interval_s,
                rejected_file=settings.spool_dir / REJECTED_FILE,
            )
            _log_start(settings, spool)
            try:
                await (_once(agent, stop) if once else _until_stopped(agent, client, stop))
            finally:
                tally = msgspec.structs.asdict(agent.tally)
                summary = AgentSummary(**tally, dropped=spool.dropped.metrics, pending=spool.metrics)
                log.info("agent_stopped", **msgspec.structs.asdict(summary))
    return summary


async def _once(agent: Agent, stop: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ONCE_MEASURED_S):
            await stop.wait()
    agent.take_sample(int(time.time()) * SECOND_US)
    await agent.flush(ONCE_GIVE_UP_S)


async def _until_stopped(agent: Agent, client: IngestClient, stop: asyncio.Event) -> None:
    declaring = asyncio.create_task(_declare_counters(agent, client))
    try:
        await agent.run(stop, flush_s=FLUSH_S)
    finally:
        declaring.cancel()
        await asyncio.gather(declaring, return_exceptions=True)


async def _declare_counters(agent: Agent, client: IngestClient) -> None:
    """Tells the server which metrics are counters, where the key may; without it they are averaged like gauges."""
    await agent.stored.wait()
    try:
        added = await declare(client, counter_definitions())
        log.info("counters_declared", added=added)
    except (ConfigurationError, DefinitionError) as error:
        log.info("counters_not_declared", reason=str(error))


def _log_start(settings: AgentSettings, spool: Spool) -> None:
    log.info(
        "agent_started",
        url=settings.url,
        interval_s=settings.interval_s,
        spool=str(settings.spool_dir),
        pending_batches=len(spool),
    )
    if spool.dropped.damaged_bytes:
        log.warning("spool_tail_lost", damaged_bytes=spool.dropped.damaged_bytes)
