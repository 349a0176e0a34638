"""One process' head of the journal, and what it knows of the settled part, kept in step with snapshots.

Theory of operation. A snapshot first asks for the *epoch* (a counter that every settle, refresh and expiry moves) and
for the blocks that this process has not seen. What depends on the epoch alone (cursors, stale ranges) is
read once an epoch. Blocks are dropped from memory once no open snapshot is of an older epoch; a snapshot that turns
out to be older than what was dropped is taken again.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from adapters.driven.postgres.database import Connection
from adapters.driven.postgres.journal import read_blocks
from adapters.driven.postgres.queries import load_queries
from adapters.driven.postgres.wire import microseconds
from core.domain.head import Cursors, Head
from core.domain.ranges import Span

BLOCKS_AT_ONCE: Final = 64
"""Decoding this many full blocks takes about 20 ms, in which nothing else happens in this process."""

SQL = load_queries(__package__, "samples.sql")


class Epoch(msgspec.Struct, frozen=True, eq=False):
    """What holds for settled samples between two changes by the settler."""

    number: int
    cursors: Cursors
    stale: Mapping[int, Sequence[Span]]
    """Aggregate width in microseconds → where it does not equal the settled samples."""


class SnapshotState(msgspec.Struct, frozen=True, eq=False):
    """One snapshot's view."""

    epoch: Epoch
    catalog_revision: int | None
    policy_revision: int | None
    settled_until_us: int
    """The tenant's newest settled timestamp; -1 where it has none."""


class HeadCache:
    """Owned by one reader; called from one event loop."""

    def __init__(self) -> None:
        self.head = Head()
        self._epoch: Epoch | None = None
        self._dropped_epoch = 0
        self._open: Counter[int] = Counter()
        self._loading = asyncio.Lock()

    async def enter(self, connection: Connection) -> SnapshotState | None:
        """Brings the head up to the transaction's snapshot, or returns None where the snapshot is too old to use.

        The connection's role is that of a reader; it is changed while blocks are read and set back.
        """
        state = await connection.fetchrow(SQL["state"])
        assert state is not None
        epoch = self._epoch
        if epoch is None or epoch.number != state["epoch"]:
            epoch = await _read_epoch(connection, state["epoch"])
        lasts = dict(zip(state["writers"] or (), state["sequences"] or (), strict=True))
        missing = self._missing(lasts, epoch)
        if missing:
            await self._load(connection, missing)
        if epoch.number < self._dropped_epoch:
            return None
        if self._epoch is None or epoch.number > self._epoch.number:
            self._epoch = epoch
        self._open[epoch.number] += 1
        self._drop()
        settled_until = state["settled_until"]
        return SnapshotState(
            epoch,
            state["revision"],
            state["policy_revision"],
            microseconds(settled_until) if settled_until is not None else -1,
        )

    def _missing(self, lasts: Cursors, epoch: Epoch) -> list[tuple[int, int]]:
        """The blocks after the settler's cursors, up to the last of each stream, that the head lacks."""
        seen = self.head.seen
        return [
            (writer, sequence)
            for writer, last in lasts.items()
            for sequence in range(max(seen.get(writer, 0), epoch.cursors.get(writer, 0)) + 1, last + 1)
        ]

    async def _load(self, connection: Connection, positions: Sequence[tuple[int, int]]) -> None:
        """Adds blocks to the head, some at a time so that the event loop can turn; one snapshot loads, others wait."""
        async with self._loading:
            seen = self.head.seen
            missing = [(writer, sequence) for writer, sequence in positions if sequence > seen.get(writer, 0)]
            if not missing:
                return
            await connection.execute("SET LOCAL ROLE sextant_keeper")
            for start in range(0, len(missing), BLOCKS_AT_ONCE):
                self.head.add(await read_blocks(connection, missing[start : start + BLOCKS_AT_ONCE]))
            await connection.execute("SET LOCAL ROLE sextant_reader")

    def leave(self, state: SnapshotState) -> None:
        """The snapshot is closed."""
        self._open[state.epoch.number] -= 1
        if self._open[state.epoch.number] == 0:
            del self._open[state.epoch.number]
        self._drop()

    def _drop(self) -> None:
        newest = self._epoch
        if newest is not None and newest.number > self._dropped_epoch and all(
            number >= newest.number for number in self._open
        ):
            self.head.drop_settled(newest.cursors)
            self._dropped_epoch = newest.number


async def _read_epoch(connection: Connection, number: int) -> Epoch:
    stale: dict[int, list[Span]] = {}
    for row in await connection.fetch(SQL["epoch_stale"]):
        width_us = int(row["width"].total_seconds() * 1_000_000)
        stale.setdefault(width_us, []).append((microseconds(row["starts_at"]), microseconds(row["ends_at"])))
    return Epoch(
        number,
        {row["writer"]: row["sequence"] for row in await connection.fetch(SQL["epoch_cursors"])},
        stale,
    )
