"""The journal on PostgreSQL: group commit on the way in, cursors on the way out.

Theory of operation. Requests hand in entries and wait. One flusher a process takes everything that waits (up to a
bound), packs it into one row of the process' own stream, commits, and answers all of them; what arrives meanwhile
shares the next commit. A commit whose outcome is unknown (the connection broke) ends the stream: the next one opens
another, so a sequence is never used twice.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Protocol

import asyncpg
import msgspec

from adapters.driven.postgres.block import Packed, pack, unpack
from adapters.driven.postgres.database import Connection, Database, Role
from adapters.driven.postgres.queries import load_queries
from adapters.driven.postgres.wire import timestamp
from core.domain.errors import Unavailable
from core.domain.head import JournalBlock
from core.domain.points import Receipt
from ports.driven.clock import Clock
from ports.driven.journal import IdempotentReply, JournalEntry, StoredReply

APPEND_TIMEOUT_S: Final = 10.0
"""A commit that takes longer than this is a failing disk; the caller retries. The settler's age bound relies on it."""
SETTLER: Final = "settler"
"""The consumer that every journal has from the start."""
BACKLOG_CHECK_INTERVAL_S: Final = 1.0
"""At 1M points/s the bound on unsettled points is overshot by at most this long."""
RETRY_AFTER_FULL_S: Final = 2.0
"""The settler moves about a million points in this time."""

SQL = load_queries(__package__, "journal.sql")


class JournalTelemetry(Protocol):
    """What the journal reports."""

    def journal_committed(self, *, points: int, requests: int, took_s: float) -> None:
        """One group commit."""
        ...

    def queue_depth(self, points: int) -> None:
        """Points that wait for a commit."""
        ...


class JournalBounds(msgspec.Struct, frozen=True, kw_only=True):
    """How much the journal takes in before it refuses."""

    gather_points_max: int
    """Points in one commit."""
    waiting_points_max: int
    """Points that may wait in this process for a commit."""
    unsettled_points_max: int
    """Points that may wait for the settler, of all processes."""


class _Waiting(msgspec.Struct, eq=False):
    entry: JournalEntry
    done: asyncio.Future[Receipt | StoredReply]


class PostgresJournal:
    """Implements `ports.driven.journal.Journal`; run `flush_forever` as a task beside it."""

    def __init__(
        self, database: Database, bounds: JournalBounds, clock: Clock, telemetry: JournalTelemetry, *, process: str
    ) -> None:
        self._database = database
        self._bounds = bounds
        self._clock = clock
        self._telemetry = telemetry
        self._process = process
        self._queue: deque[_Waiting] = deque()
        self._queued_points = 0
        self._arrived = asyncio.Event()
        self._flushed = asyncio.Event()
        self._writer: int | None = None
        self._sequence = 0
        self._unsettled = 0
        self._unsettled_known_s = float("-inf")

    async def append(self, entry: JournalEntry) -> Receipt | StoredReply:
        """See `Journal.append`."""
        if self._queued_points >= self._bounds.waiting_points_max:
            raise Unavailable("too many points wait to be committed", retry_after_s=1.0)
        if self._unsettled >= self._bounds.unsettled_points_max and not self._backlog_is_stale():
            raise Unavailable(
                f"{self._unsettled:,} points wait to be settled, and {self._bounds.unsettled_points_max:,} may; "
                "is the keeper running?",
                retry_after_s=RETRY_AFTER_FULL_S,
            )
        waiting = _Waiting(entry, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._queued_points += len(entry.points)
        self._arrived.set()
        return await waiting.done

    async def stored_reply(self, tenant_id: int, key: str) -> StoredReply | None:
        """See `Journal.stored_reply`."""
        async with self._database.transaction(Role.KEEPER, timeout_s=APPEND_TIMEOUT_S) as connection:
            found = await _stored_replies(connection, [(tenant_id, key)])
        return found.get((tenant_id, key))

    async def flush_forever(self) -> None:
        """Commits what waits, until cancelled; then what still waits is refused."""
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while self._queue:
                    await self._flush(self._gather())
        finally:
            self._refuse(list(self._queue), Unavailable("the server is stopping"))

    async def drained(self) -> None:
        """Returns when all that was handed in has been answered."""
        while self._queue or self._queued_points:
            await self._flushed.wait()

    def _gather(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        points = 0
        while self._queue:
            size = len(self._queue[0].entry.points)
            if group and points + size > self._bounds.gather_points_max:
                break
            group.append(self._queue.popleft())
            points += size
        return group

    async def _flush(self, group: list[_Waiting]) -> None:
        started_s = self._clock.monotonic_s()
        try:
            answers = await self._commit([waiting.entry for waiting in group])
        except asyncio.CancelledError:
            self._refuse(group, Unavailable("the server is stopping"))
            raise
        except Exception as error:  # noqa: BLE001 (whoever waits raises it; the flusher must live on)
            self._writer = None
            self._refuse(group, error)
            return
        finally:
            self._queued_points -= sum(len(waiting.entry.points) for waiting in group)
            self._telemetry.queue_depth(self._queued_points)
            self._flushed.set()
            self._flushed.clear()
        for waiting, answer in zip(group, answers, strict=True):
            if not waiting.done.done():
                waiting.done.set_result(answer)
        self._telemetry.journal_committed(
            points=sum(len(waiting.entry.points) for waiting in group),
            requests=len(group),
            took_s=self._clock.monotonic_s() - started_s,
        )

    async def _commit(self, entries: Sequence[JournalEntry]) -> list[Receipt | StoredReply]:
        if self._writer is None:
            self._writer, self._sequence = await self._open_stream(), 0
        receipt = Receipt(self._writer, self._sequence + 1)
        if not self._backlog_is_stale() and all(entry.reply is None for entry in entries):
            with _closed_stream_translated():
                await self._database.keep(SQL["append"], *_row(receipt, pack(entries)), timeout_s=APPEND_TIMEOUT_S)
            self._sequence += 1
            return [receipt] * len(entries)
        async with self._database.transaction(Role.KEEPER, timeout_s=APPEND_TIMEOUT_S) as connection:
            stored = await self._claim_keys(connection, entries, receipt)
            fresh = [entry for entry, reply in zip(entries, stored, strict=True) if reply is None]
            if fresh:
                with _closed_stream_translated():
                    await connection.execute(SQL["append"], *_row(receipt, pack(fresh)))
            if self._backlog_is_stale():
                await self._look_at_backlog(connection)
        if fresh:
            self._sequence += 1
        return [receipt if reply is None else reply for reply in stored]

    async def _open_stream(self) -> int:
        async with self._database.transaction(Role.KEEPER, timeout_s=APPEND_TIMEOUT_S) as connection:
            writer: int = await connection.fetchval(SQL["open_stream"], self._process)
            return writer

    async def _claim_keys(
        self, connection: Connection, entries: Sequence[JournalEntry], receipt: Receipt
    ) -> list[StoredReply | None]:
        """For each entry the reply that its key has already, or None where it is new or has no key."""
        first: dict[tuple[int, str], IdempotentReply] = {}
        for entry in entries:
            if entry.reply is not None:
                first.setdefault((entry.tenant_id, entry.reply.key), entry.reply)
        if not first:
            return [None] * len(entries)
        columns = list(
            zip(
                *(
                    (tenant_id, key, reply.body_sha256, reply.accepted, reply.rejected, reply.errors)
                    # In one order everywhere, so that two processes never wait for each other.
                    for (tenant_id, key), reply in sorted(first.items(), key=lambda item: item[0])
                ),
                strict=True,
            )
        )
        claimed = await connection.fetch(SQL["claim_keys"], *map(list, columns), receipt.writer, receipt.sequence)
        ours = {(row["tenant_id"], row["key"]) for row in claimed}
        known = await _stored_replies(connection, [key for key in first if key not in ours])
        replies: list[StoredReply | None] = []
        for entry in entries:
            key = (entry.tenant_id, entry.reply.key) if entry.reply is not None else None
            if key is None:
                replies.append(None)
            elif key in ours:
                ours.discard(key)
                known[key] = StoredReply(first[key], receipt)  # a twin in this very commit gets the first's answer
                replies.append(None)
            else:
                replies.append(known[key])
        return replies

    def _backlog_is_stale(self) -> bool:
        return self._clock.monotonic_s() - self._unsettled_known_s > BACKLOG_CHECK_INTERVAL_S

    async def _look_at_backlog(self, connection: Connection) -> None:
        row = await connection.fetchrow(SQL["backlog"], SETTLER)
        assert row is not None
        self._unsettled = row["points"]
        self._unsettled_known_s = self._clock.monotonic_s()

    @staticmethod
    def _refuse(group: Sequence[_Waiting], error: Exception) -> None:
        for waiting in group:
            if not waiting.done.done():
                waiting.done.set_exception(error)


class PostgresConsumers:
    """Implements `ports.driven.journal.JournalConsumers`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, consumer: str) -> None:
        """See `JournalConsumers.register`."""
        async with self._database.transaction(Role.KEEPER) as connection:
            if await connection.fetchval(SQL["register"], consumer):
                await connection.execute(SQL["start_cursors"], consumer)

    async def unregister(self, consumer: str) -> None:
        """See `JournalConsumers.unregister`."""
        async with self._database.transaction(Role.KEEPER) as connection:
            await connection.execute(SQL["unregister"], consumer)
            await connection.execute(SQL["delete_consumed"])

    @asynccontextmanager
    async def consume(self, consumer: str, *, points_max: int) -> AsyncIterator["JournalBatch"]:
        """See `JournalConsumers.consume`; this adapter's siblings may use the batch's connection."""
        async with self._database.transaction(Role.KEEPER) as connection:
            batch = await take_batch(connection, consumer, points_max)
            yield batch
            if batch.blocks:
                await move_cursors(connection, consumer, batch.blocks)

    async def positions(self, consumer: str) -> Mapping[int, int]:
        """See `JournalConsumers.positions`."""
        async with self._database.transaction(Role.KEEPER) as connection:
            return {row["writer"]: row["sequence"] for row in await connection.fetch(SQL["positions"], consumer)}


class JournalBatch(msgspec.Struct, frozen=True, eq=False):
    """Implements `ports.driven.journal.ConsumerBatch`."""

    blocks: Sequence[JournalBlock]
    connection: Any
    busy: bool = False


def _row(receipt: Receipt, packed: Packed) -> tuple[object, ...]:
    """The journal row of a block."""
    return (
        receipt.writer,
        receipt.sequence,
        packed.points,
        timestamp(packed.ts_min_us),
        timestamp(packed.ts_max_us),
        packed.block,
    )


@contextmanager
def _closed_stream_translated() -> Iterator[None]:
    try:
        yield
    except asyncpg.ForeignKeyViolationError as error:
        raise Unavailable("this process' stream was closed as idle; another one opens now") from error


async def take_batch(connection: Connection, consumer: str, points_max: int) -> JournalBatch:
    """The consumer's next blocks, whole ones in commit order, at least one; locks out other processes."""
    if not await connection.fetchval(SQL["lock_consumer"], consumer):
        return JournalBatch((), connection, busy=True)
    chosen: list[tuple[int, int]] = []
    points = 0
    for row in await connection.fetch(SQL["unread_blocks"], consumer):
        if chosen and points + row["points"] > points_max:
            break
        chosen.append((row["writer"], row["sequence"]))
        points += row["points"]
    return JournalBatch(await read_blocks(connection, chosen), connection)


async def read_blocks(connection: Connection, positions: Sequence[tuple[int, int]]) -> list[JournalBlock]:
    """The blocks at `positions` (writer, sequence), decoded, in commit order."""
    if not positions:
        return []
    writers, sequences = zip(*positions, strict=True)
    rows = await connection.fetch(SQL["read_blocks"], list(writers), list(sequences))
    return [
        unpack(row["block"], writer=row["writer"], sequence=row["sequence"], order=row["commit_order"]) for row in rows
    ]


async def move_cursors(connection: Connection, consumer: str, blocks: Sequence[JournalBlock]) -> None:
    """Records that the consumer has seen `blocks`, and deletes what all consumers have."""
    seen: dict[int, int] = {}
    for block in blocks:
        seen[block.writer] = max(block.sequence, seen.get(block.writer, 0))
    await connection.execute(SQL["move_cursors"], consumer, list(seen), list(seen.values()))
    await connection.execute(SQL["delete_consumed"])


async def _stored_replies(
    connection: Connection, keys: Sequence[tuple[int, str]]
) -> dict[tuple[int, str], StoredReply]:
    if not keys:
        return {}
    tenant_ids, names = zip(*keys, strict=True)
    rows = await connection.fetch(SQL["stored_replies"], list(tenant_ids), list(names))
    return {
        (row["tenant_id"], row["key"]): StoredReply(
            IdempotentReply(
                key=row["key"],
                body_sha256=row["body_sha256"],
                accepted=row["accepted"],
                rejected=row["rejected"],
                errors=row["errors"],
            ),
            Receipt(row["writer"], row["sequence"]),
        )
        for row in rows
    }
