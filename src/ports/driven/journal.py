"""The journal: the durable log that every acknowledged point is first written to, and that all consumers read.

One journal row (a `JournalBlock`) is one group commit. Each writing process has a stream of its own; `(writer,
sequence)` is a block's position, and within a stream the sequence ascends in commit order without visible gaps.
A consumer has one cursor a stream, moved in the same transaction as its effect. A block is deleted when the settler
and every registered consumer have passed it.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from core.domain.columns import Columns
from core.domain.head import JournalBlock
from core.domain.points import Receipt


class IdempotentReply(msgspec.Struct, frozen=True, kw_only=True):
    """An ``Idempotency-Key`` with what its first request was answered."""

    key: str
    body_sha256: bytes
    accepted: int
    rejected: int
    errors: bytes
    """The refusals as JSON."""


class JournalEntry(msgspec.Struct, frozen=True, eq=False):
    """One request's points of one tenant, in the order sent, and the idempotency key to commit with them."""

    tenant_id: int
    points: Columns
    reply: IdempotentReply | None = None


class StoredReply(msgspec.Struct, frozen=True):
    """The answer kept for an idempotency key, with the position its points were committed at."""

    reply: IdempotentReply
    receipt: Receipt


class Journal(Protocol):
    """Appending. Safe to call concurrently; concurrent entries share one commit."""

    async def append(self, entry: JournalEntry) -> Receipt | StoredReply:
        """Commits the points durably, then returns their position.

        Where the entry's idempotency key was committed before, nothing is written and the stored reply comes back.
        Raises `Unavailable` where it could not commit or too much is waiting; then nothing of the entry was kept, or
        (when the connection broke during the commit) it may have been: repeating it is safe, the last value wins.
        """
        ...

    async def stored_reply(self, tenant_id: int, key: str) -> StoredReply | None:
        """What the key's first request was answered, if that was within the time replies are kept."""
        ...


class ConsumerBatch(Protocol):
    """Blocks that one consumer has not seen, inside the transaction that will move its cursor."""

    @property
    def blocks(self) -> Sequence[JournalBlock]:
        """Ascending within each stream; empty where there is nothing new or another process is consuming."""
        ...


class JournalConsumers(Protocol):
    """Reading with a cursor. One process at a time consumes under one name; others get empty batches."""

    async def register(self, consumer: str) -> None:
        """Makes the journal keep blocks for `consumer` from now on; safe to repeat."""
        ...

    async def unregister(self, consumer: str) -> None:
        """Lets the journal forget blocks without `consumer`; safe to repeat."""
        ...

    def consume(self, consumer: str, *, points_max: int) -> AbstractAsyncContextManager[ConsumerBatch]:
        """Blocks after the consumer's cursors; leaving without an error moves the cursors past them."""
        ...

    async def positions(self, consumer: str) -> Mapping[int, int]:
        """Writer → the sequence consumed up to, inclusive."""
        ...
