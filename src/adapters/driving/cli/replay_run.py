"""A replay at work: sources are read in a thread, samples go to lanes, every lane sends its batches in order.

A series always travels in the same lane, so its samples arrive in the order of the file, however many lanes
there are; the server stores samples in order far more cheaply than late ones, and of two samples of one
instant the last one wins.
"""

import asyncio
import concurrent.futures
import contextlib
import heapq
import itertools
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import Final, TypeVar

import msgspec

from adapters.driving.cli.client import IngestClient, Patience, Refused, encode_batches
from adapters.driving.cli.remote_definitions import keep_for
from adapters.driving.cli.replay_source import BadLine, Line, Source, shifted
from core.domain.errors import InvalidInput
from core.domain.points import ERRORS_SHOWN_MAX, Rejection
from core.domain.times import SECOND_US

LANE_BATCHES_MAX: Final = 2
"""Batches that wait in a lane: one is ready whenever one was sent, and memory stays small."""
PACED_CHUNK_S: Final = 1.0
"""With `--speed`, samples that are due within one second of real time travel together."""
ALIKE_SHOWN_MAX: Final = 3
"""A file whose every line is refused for one reason leaves room for what is wrong with the next."""

Chunk = list[Line | BadLine]
Result = TypeVar("Result")


class Tally(msgspec.Struct):
    """What a replay has done so far, in samples."""

    read: int = 0
    """Lines that are samples or should be."""
    sent: int = 0
    accepted: int = 0
    rejected: int = 0
    reasons: list[str] = msgspec.field(default_factory=list)
    """Refusals with file and line: at most `ERRORS_SHOWN_MAX`, the first `ALIKE_SHOWN_MAX` of a file and field."""
    _alike: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)

    def refuse(self, source: str, number: int, field: str, reason: str) -> None:
        """Notes why a line was refused, while there is room; does not count it."""
        self._alike[source, field] += 1
        if self._alike[source, field] <= ALIKE_SHOWN_MAX and len(self.reasons) < ERRORS_SHOWN_MAX:
            self.reasons.append(f"{source}:{number}: {field}: {reason}")


class Replay:
    """Sends the lines of all sources once."""

    def __init__(
        self,
        sources: Sequence[Source],
        client: IngestClient,
        patience: Patience,
        *,
        batch_size: int,
        lanes: int,
        speed: float | None,
        retention_days: int | None,
    ) -> None:
        """`speed` is data time per real time (None: as fast as possible); `batch_size` in samples."""
        self.tally = Tally()
        self._sources = sources
        self._client = client
        self._patience = patience
        self._batch_size = batch_size
        self._lanes = lanes
        self._speed = speed
        self._retention_days = retention_days

    async def run(self, *, shift_us: int) -> None:
        """Raises what `IngestClient`, `keep_for` and `Source` raise, in an exception group."""
        queues: list[asyncio.Queue[list[Line] | None]] = [asyncio.Queue(LANE_BATCHES_MAX) for _ in range(self._lanes)]
        async with asyncio.TaskGroup() as group:
            for queue in queues:
                group.create_task(self._send(queue))
            await self._distribute(queues, shift_us)
            for queue in queues:
                await queue.put(None)

    async def _distribute(self, queues: Sequence[asyncio.Queue[list[Line] | None]], shift_us: int) -> None:
        """Puts every line in its lane, at its time."""
        buffers: list[list[Line]] = [[] for _ in queues]
        kept: set[str] = set()
        started_s, first_us = time.monotonic(), None
        chunks = _chunks(self._sources, self._batch_size, self._speed)
        while (chunk := await in_thread(lambda: next(chunks, None))) is not None:
            lines = [shifted(line, shift_us) if shift_us else line for line in self._samples(chunk)]
            if self._retention_days is not None:
                for name in {line.point.name for line in lines} - kept:
                    with contextlib.suppress(InvalidInput):  # no name at all: the server refuses its samples
                        await keep_for(self._client, self._patience, name, self._retention_days)
                    kept.add(name)
            if self._speed is not None:
                due_us = [line.ts_us for line in lines if line.ts_us is not None]
                if due_us:
                    first_us = due_us[0] if first_us is None else first_us
                    due_s = started_s + (max(due_us) - first_us) / SECOND_US / self._speed
                    await asyncio.sleep(due_s - time.monotonic())
            for line in lines:
                lane = lane_of(line, len(queues))
                buffers[lane].append(line)
                if len(buffers[lane]) >= self._batch_size:
                    await queues[lane].put(buffers[lane])
                    buffers[lane] = []
            if self._speed is not None:
                await _put_all(buffers, queues)
        await _put_all(buffers, queues)

    def _samples(self, chunk: Chunk) -> Iterator[Line]:
        """The lines that can be sent; the others are noted."""
        self.tally.read += len(chunk)
        for item in chunk:
            if isinstance(item, Line):
                yield item
            else:
                self.tally.rejected += 1
                self.tally.refuse(item.source, item.number, item.field, item.reason)

    async def _send(self, queue: asyncio.Queue[list[Line] | None]) -> None:
        while (lines := await queue.get()) is not None:
            rest = iter(lines)
            for batch in encode_batches([line.point for line in lines]):
                outcome = await self._client.deliver(batch, self._patience)
                self.tally.sent += batch.points
                sent = list(itertools.islice(rest, batch.points))
                if isinstance(outcome, Refused):
                    self.tally.rejected += batch.points
                    self._note(sent, outcome.errors or [Rejection(0, "batch", outcome.reason)])
                else:
                    self.tally.accepted += outcome.accepted
                    self.tally.rejected += outcome.rejected
                    self._note(sent, outcome.errors)

    def _note(self, sent: Sequence[Line], errors: Sequence[Rejection]) -> None:
        for error in errors:
            line = sent[min(error.index, len(sent) - 1)]
            self.tally.refuse(line.source, line.number, error.field, error.reason)


def newest_us(sources: Sequence[Source]) -> int | None:
    """The largest timestamp in all sources; None where there is none."""
    found = (
        line.ts_us for source in sources for line in source.lines() if isinstance(line, Line) and line.ts_us is not None
    )
    return max(found, default=None)


async def in_thread(function: Callable[[], Result]) -> Result:
    """Calls `function` in a thread that does not keep the program alive: reading a silent pipe cannot be cancelled."""
    future: concurrent.futures.Future[Result] = concurrent.futures.Future()

    def work() -> None:
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 (carried to the caller, not handled)
            _settle(partial(future.set_exception, error))
        else:
            _settle(partial(future.set_result, result))

    threading.Thread(target=work, daemon=True).start()
    return await asyncio.wrap_future(future)


def _settle(settle: Callable[[], None]) -> None:
    """The caller may be gone: its future cancelled, or its loop closed."""
    with contextlib.suppress(concurrent.futures.InvalidStateError, RuntimeError):
        settle()


def _chunks(sources: Sequence[Source], size: int, speed: float | None) -> Iterator[Chunk]:
    """Lines in the order they are sent, at most `size` together; paced ones in the order of their times."""
    if speed is None:
        lines = itertools.chain.from_iterable(source.lines() for source in sources)
        while chunk := list(itertools.islice(lines, size)):
            yield chunk
        return
    span_us = PACED_CHUNK_S * SECOND_US * speed
    chunk = []
    chunk_us = 0
    for ts_us, item in heapq.merge(*(_timed(source) for source in sources), key=itemgetter(0)):
        if chunk and (len(chunk) >= size or ts_us - chunk_us > span_us):
            yield chunk
            chunk = []
        if not chunk:
            chunk_us = ts_us
        chunk.append(item)
    if chunk:
        yield chunk


def _timed(source: Source) -> Iterator[tuple[int, Line | BadLine]]:
    """Every line with its time, or that of the line before it where it has none."""
    ts_us = 0
    for item in source.lines():
        if isinstance(item, Line) and item.ts_us is not None:
            ts_us = item.ts_us
        yield ts_us, item


def lane_of(line: Line, lanes: int) -> int:
    """The lane of a line's series, from 0: the same in every run, so that a repeated replay makes the same batches."""
    point = line.point
    series = zlib.crc32(bytes(point.labels), zlib.crc32(f"{point.name}\0{point.source or ''}".encode()))
    return series % lanes


async def _put_all(buffers: list[list[Line]], queues: Sequence[asyncio.Queue[list[Line] | None]]) -> None:
    for lane, queue in enumerate(queues):
        if buffers[lane]:
            await queue.put(buffers[lane])
            buffers[lane] = []
