"""The agent at work: a sampler that fills the spool on aligned ticks, and a sender that empties it.

The two share nothing but the spool, so a server that is away never delays a sample. A batch leaves the
spool when the server has decided about it: stored, or refused for good, in which case it is kept in
``rejected.ndjson`` beside it.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec
import structlog

from adapters.driving.cli.client import (
    Batch,
    ConfigurationError,
    IngestClient,
    Refused,
    Stored,
    TryLater,
    backoff_s,
    encode_batches,
)
from adapters.driving.cli.spool import Spool, SpoolError
from core.domain.points import Point, Rejection
from core.domain.times import SECOND_US, format_time

REJECTED_FILE: Final = "rejected.ndjson"
REJECTED_BYTES_MAX: Final = 16 << 20
"""One file of this size and its predecessor are kept: enough to find out what the server does not like."""
TICK_SLACK_S: Final = 0.05
"""Sleeping may end this much early by the wall clock when it is being adjusted."""

log = structlog.get_logger("sextant.agent")


class Sampler(Protocol):
    """What is measured."""

    def sample(self, ts_us: int) -> list[Point]:
        """One point a metric, all at `ts_us`."""
        ...


class Tally(msgspec.Struct):
    """What one run of the agent did, in metrics."""

    sampled: int = 0
    accepted: int = 0
    rejected: int = 0
    lost: int = 0
    """Sampled, but not even the spool could take them."""


class Agent:
    """Samples and sends through one spool."""

    def __init__(
        self, sampler: Sampler, spool: Spool, client: IngestClient, *, interval_s: float, rejected_file: Path
    ) -> None:
        self.tally = Tally()
        self.stored = asyncio.Event()
        """Set once the server has stored something of this agent."""
        self._sampler = sampler
        self._spool = spool
        self._client = client
        self._interval_us = round(interval_s * SECOND_US)
        self._rejected_file = rejected_file
        self._filled = asyncio.Event()

    async def run(self, stop: asyncio.Event, *, flush_s: float) -> None:
        """Works until `stop`, then sends what is left for at most `flush_s`; raises `ConfigurationError`."""
        try:
            async with asyncio.TaskGroup() as group:
                sampling = group.create_task(self._sample_until(stop))
                sending = group.create_task(self._send_until(stop))
                stopping = group.create_task(stop.wait())
                await asyncio.wait((sampling, sending, stopping), return_when=asyncio.FIRST_COMPLETED)
                if not stop.is_set():
                    return  # one of the two failed; the group raises it
                await sampling
                await asyncio.wait((sending,), timeout=flush_s)
                sending.cancel()
        except ExceptionGroup as failed:
            match failed.exceptions:
                case [ConfigurationError() as only]:
                    raise only from None
            raise

    async def flush(self, timeout_s: float) -> None:
        """Sends what is in the spool, for at most so long; raises `ConfigurationError`."""
        nothing_more_comes = asyncio.Event()
        nothing_more_comes.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._send_until(nothing_more_comes)

    def take_sample(self, ts_us: int) -> None:
        """Measures once and puts the batch in the spool."""
        points = self._sampler.sample(ts_us)
        self.tally.sampled += len(points)
        for batch in encode_batches(points):
            try:
                dropped = self._spool.append(batch)
            except SpoolError as error:
                self.tally.lost += batch.points
                log.error("sample_lost", metrics=batch.points, reason=str(error))
            else:
                if dropped:
                    log.warning("spool_full", dropped_metrics=dropped, pending_batches=len(self._spool))
        self._filled.set()

    async def send_oldest(self) -> TryLater | None:
        """Sends one batch once; None where it is settled, whether stored or refused. Needs a batch in the spool."""
        pending = self._spool.oldest()
        if pending is None:
            return None
        record, batch = pending
        outcome = await self._client.send(batch)
        match outcome:
            case TryLater():
                return outcome
            case Stored():
                self.tally.accepted += outcome.accepted
                self.stored.set()
                self._report_rejections(batch, outcome.rejected, outcome.errors, status=200, reason="")
            case Refused():
                self._report_rejections(
                    batch, batch.points, outcome.errors, status=outcome.status, reason=outcome.reason
                )
        self._spool.remove(record)
        log.debug("batch_sent", metrics=batch.points, pending_batches=len(self._spool))
        return None

    async def _sample_until(self, stop: asyncio.Event) -> None:
        tick_us = 0
        while True:
            tick_us = next_tick_us(time.time_ns() // 1_000, tick_us, self._interval_us)
            try:
                async with asyncio.timeout(tick_us / SECOND_US - time.time()):
                    await stop.wait()
                return
            except TimeoutError:
                late_s = time.time() - tick_us / SECOND_US
            if -TICK_SLACK_S <= late_s < self._interval_us / SECOND_US:
                self.take_sample(tick_us)
            else:
                log.warning("tick_skipped", late_s=round(late_s, 3))

    async def _send_until(self, stop: asyncio.Event) -> None:
        attempt = 0
        while len(self._spool) or not stop.is_set():
            if not len(self._spool):
                self._filled.clear()
                await _first_of(self._filled, stop)
                continue
            failure = await self.send_oldest()
            if failure is None:
                if attempt:
                    log.info("server_back", pending_batches=len(self._spool))
                attempt = 0
                continue
            wait_s = backoff_s(attempt, failure.retry_after_s)
            attempt += 1
            log.warning(
                "server_unavailable",
                reason=failure.reason,
                retry_in_s=round(wait_s, 1),
                pending_batches=len(self._spool),
            )
            await asyncio.sleep(wait_s)

    def _report_rejections(
        self, batch: Batch, rejected: int, errors: Sequence[Rejection], *, status: int, reason: str
    ) -> None:
        if not rejected:
            return
        self.tally.rejected += rejected
        first = f"{errors[0].field}: {errors[0].reason}" if errors else reason
        log.error(
            "metrics_rejected",
            metrics=rejected,
            status=status,
            reason=first,
            kept_in=str(self._rejected_file),
        )
        refusal = {
            "at": format_time(time.time_ns() // 1_000),
            "status": status,
            "reason": reason,
            "errors": errors,
            "metrics": _refused_metrics(batch, errors, everything=rejected == batch.points),
        }
        try:
            if self._rejected_file.exists() and self._rejected_file.stat().st_size > REJECTED_BYTES_MAX:
                self._rejected_file.replace(self._rejected_file.with_suffix(".ndjson.1"))
            with self._rejected_file.open("ab") as file:
                file.write(msgspec.json.encode(refusal) + b"\n")
        except OSError as error:
            log.error("rejected_metrics_not_kept", reason=str(error))


def next_tick_us(now_us: int, last_tick_us: int, interval_us: int) -> int:
    """The next multiple of the interval after now that was not the last tick.

    Follows the wall clock wherever it is set; a sleep that ended early does not repeat its tick.
    """
    tick_us = (now_us // interval_us + 1) * interval_us
    return tick_us + interval_us if tick_us == last_tick_us else tick_us


def _refused_metrics(batch: Batch, errors: Sequence[Rejection], *, everything: bool) -> list[msgspec.Raw]:
    import cramjam

    body = msgspec.json.decode(bytes(cramjam.zstd.decompress(batch.body)), type=dict[str, list[msgspec.Raw]])
    metrics = body["metrics"]
    return metrics if everything else [metrics[error.index] for error in errors if error.index < len(metrics)]


async def _first_of(*events: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
