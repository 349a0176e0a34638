"""The journal in memory: appending, and reading with a cursor."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec
import numpy as np

from adapters.driven.memory.block_log import BlockLog, KeptReply, whole_blocks
from adapters.driven.memory.database import MemoryDatabase
from core.domain.errors import NotFound
from core.domain.head import JournalBlock
from core.domain.points import Receipt
from ports.driven.journal import ConsumerBatch, JournalEntry, StoredReply


class MemoryJournal:
    """Implements `Journal`: every entry is a commit of its own, in the stream that this object opened."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._log = database.log
        self._clock = database.clock
        self._writer = self._log.open_stream()

    async def append(self, entry: JournalEntry) -> Receipt | StoredReply:
        """Keeps the points, or answers as the entry's idempotency key was answered before."""
        if entry.reply is not None:
            kept = self._log.replies.get((entry.tenant_id, entry.reply.key))
            if kept is not None:
                return kept.stored
        now_us = self._clock.now_us()
        by_series = entry.points.take(np.argsort(entry.points.series_ids, kind="stable"))
        block = self._log.append(self._writer, entry.tenant_id, by_series, now_us)
        receipt = Receipt(block.writer, block.sequence)
        if entry.reply is not None:
            kept = KeptReply(StoredReply(entry.reply, receipt), now_us)
            self._log.replies[entry.tenant_id, entry.reply.key] = kept
        return receipt

    async def stored_reply(self, tenant_id: int, key: str) -> StoredReply | None:
        """What the key's first request was answered."""
        kept = self._log.replies.get((tenant_id, key))
        return None if kept is None else kept.stored


class MemoryBatch(msgspec.Struct, frozen=True, eq=False):
    """Implements `ConsumerBatch`."""

    blocks: Sequence[JournalBlock]


class MemoryJournalConsumers:
    """Implements `JournalConsumers`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._log: BlockLog = database.log

    async def register(self, consumer: str) -> None:
        """Keeps blocks for `consumer` from now on."""
        self._log.register(consumer)

    async def unregister(self, consumer: str) -> None:
        """Forgets blocks without asking `consumer`."""
        self._log.unregister(consumer)

    @asynccontextmanager
    async def consume(self, consumer: str, *, points_max: int) -> AsyncIterator[ConsumerBatch]:
        """The next blocks; the cursor moves when the context is left without an error."""
        if not self._log.is_registered(consumer):
            raise NotFound("journal consumer", consumer)
        if consumer in self._log.busy:
            yield MemoryBatch(())
            return
        self._log.busy.add(consumer)
        try:
            blocks = whole_blocks(self._log.unread(consumer), points_max)
            yield MemoryBatch(blocks)
            self._log.pass_blocks(consumer, blocks)
        finally:
            self._log.busy.discard(consumer)

    async def positions(self, consumer: str) -> Mapping[int, int]:
        """How far `consumer` has come in each stream."""
        return self._log.positions(consumer)
