"""The head: what the journal holds and the settler has not moved yet, decoded once and kept per process.

Theory of operation. Every journal block is one stream's next group commit. The head keeps the points of all unsettled
blocks in two parts: a *merged* one sorted by series, found by binary search, and a *tail* in order of arrival,
scanned. When the tail has grown past a share of the merged part it is merged in, so that each point is sorted a few
times at most. When the settler has moved on, the rows of settled blocks are dropped.

Blocks are numbered by slot. `order` (the journal's commit order across streams) decides between two points at the
same (series, ts); within a block the later row wins.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
import numpy as np

from core.domain.columns import Bools, Columns, Int32s, Int64s, ascending, concat_columns, empty_columns, order_of

TAIL_POINTS_MIN: Final = 65_536
"""Scanning this many series ids takes about 0.1 ms; merging sooner costs more than it saves."""
TAIL_SHARE: Final = 8
"""The tail is merged when it exceeds 1/8 of the merged part: each point is then sorted O(log n) times."""
LOOKUP_IDS_MAX: Final = 16_000_000
"""A table of one byte an id answers membership fastest; past this many ids it would cost more than it saves."""


class JournalBlock(msgspec.Struct, frozen=True, eq=False):
    """One group commit: points of many requests and tenants, ascending by (tenant, series)."""

    writer: int
    sequence: int
    order: int
    """Ascending in commit order across streams, as far as commits did not overlap."""
    tenant_ids: tuple[int, ...]
    tenant_ends: tuple[int, ...]
    """Row past the last of each tenant, parallel to `tenant_ids`."""
    points: Columns


Cursors = Mapping[int, int]
"""Writer → the sequence up to which, inclusive, its blocks are settled."""


class Head:
    """The unsettled points that one process knows. Its owner calls it from one event loop only."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}
        self._slots = _Slots.empty()
        self._merged = empty_columns()
        self._merged_slots = np.empty(0, np.int32)
        self._tail: list[Columns] = []
        self._tail_slots: list[Int32s] = []
        self._tail_points = 0
        self._owners = np.zeros(0, np.int32)

    @property
    def seen(self) -> Cursors:
        """Writer → the last sequence that was added or is known to be settled."""
        return self._seen

    def __len__(self) -> int:
        return len(self._merged) + self._tail_points

    def add(self, blocks: Iterable[JournalBlock]) -> None:
        """Adds blocks, each stream's in ascending sequence; one that was added before is ignored."""
        fresh: list[JournalBlock] = []
        for block in blocks:
            if block.sequence > self._seen.get(block.writer, 0):
                self._seen[block.writer] = block.sequence
                self._tail_slots.append(np.full(len(block.points), len(self._slots) + len(fresh), np.int32))
                self._tail.append(block.points)
                self._tail_points += len(block.points)
                self._owners = _with_owners(self._owners, block)
                fresh.append(block)
        if fresh:
            self._slots = self._slots.extended(fresh)
        if self._tail_points > max(TAIL_POINTS_MIN, len(self._merged) // TAIL_SHARE):
            self._merge()

    def drop_settled(self, cursors: Cursors) -> None:
        """Forgets the blocks at or before `cursors`; no snapshot with older cursors may be read afterwards."""
        for writer, sequence in cursors.items():
            self._seen[writer] = max(sequence, self._seen.get(writer, 0))
        settled = self._slots.settled(cursors)
        if not settled.any():
            return
        self._merge()
        keep = ~settled[self._merged_slots]
        renumbered = np.cumsum(~settled, dtype=np.int32) - 1
        self._merged_slots = renumbered[self._merged_slots[keep]]
        self._merged = self._merged.take(keep)
        self._slots = self._slots.take(~settled)

    def narrow(self, tenant_id: int, series_ids: Int32s, start_us: int, end_us: int, cursors: Cursors) -> Columns:
        """The tenant's acknowledged, unsettled points of `series_ids` (ascending) in ``[start_us, end_us)``.

        Sorted by (series, ts), one point for each; series of other tenants give nothing. `cursors` are those of the
        caller's snapshot: blocks that were settled in it are left out.
        """
        series_ids = series_ids[: np.searchsorted(series_ids, len(self._owners))]
        series_ids = series_ids[self._owners[series_ids] == tenant_id]
        if len(series_ids) == 0 or len(self) == 0:
            return empty_columns()
        self._join_tail()
        rows = _rows_of(self._merged.series_ids, series_ids)
        parts, slots = [self._merged.take(rows)], [self._merged_slots[rows]]
        if self._tail_points:
            rows = np.flatnonzero(_member(self._tail[0].series_ids, series_ids))
            parts.append(self._tail[0].take(rows))
            slots.append(self._tail_slots[0][rows])
        points, slot_of = concat_columns(parts), np.concatenate(slots)
        keep = (points.ts_us >= start_us) & (points.ts_us < end_us)
        settled = self._slots.settled(cursors)
        if settled.any():
            keep &= ~settled[slot_of]
        if not keep.all():
            points, slot_of = points.take(keep), slot_of[keep]
        return _last_by_order(points, self._slots.orders[slot_of])

    def _join_tail(self) -> None:
        if len(self._tail) > 1:
            self._tail, self._tail_slots = [concat_columns(self._tail)], [np.concatenate(self._tail_slots)]

    def _merge(self) -> None:
        if not self._tail:
            return
        points = concat_columns([self._merged, *self._tail])
        slot_of = np.concatenate([self._merged_slots, *self._tail_slots])
        by_series = np.argsort(points.series_ids, kind="stable")
        self._merged, self._merged_slots = points.take(by_series), slot_of[by_series]
        self._tail, self._tail_slots, self._tail_points = [], [], 0


class _Slots(msgspec.Struct, frozen=True, eq=False):
    """The known unsettled blocks, parallel arrays of shape (blocks,)."""

    writers: Int64s
    sequences: Int64s
    orders: Int64s

    @staticmethod
    def empty() -> "_Slots":
        return _Slots(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.writers)

    def extended(self, blocks: list[JournalBlock]) -> "_Slots":
        return _Slots(
            np.append(self.writers, [block.writer for block in blocks]),
            np.append(self.sequences, [block.sequence for block in blocks]),
            np.append(self.orders, [block.order for block in blocks]),
        )

    def take(self, keep: Bools) -> "_Slots":
        return _Slots(self.writers[keep], self.sequences[keep], self.orders[keep])

    def settled(self, cursors: Cursors) -> Bools:
        """Which blocks stand at or before `cursors`."""
        settled = np.zeros(len(self), np.bool_)
        for writer, sequence in cursors.items():
            settled |= (self.writers == writer) & (self.sequences <= sequence)
        return settled


def _with_owners(owners: Int32s, block: JournalBlock) -> Int32s:
    """The tenant of every series id, those of `block` included; 0 for ids never seen."""
    if len(block.points) == 0:
        return owners
    id_max = int(block.points.series_ids.max())
    if id_max >= len(owners):
        owners = np.append(owners, np.zeros(max(id_max + 1, 2 * len(owners)) - len(owners), np.int32))
    start = 0
    for tenant_id, end in zip(block.tenant_ids, block.tenant_ends, strict=True):
        owners[block.points.series_ids[start:end]] = tenant_id
        start = end
    return owners


def _rows_of(sorted_ids: Int32s, wanted: Int32s) -> Int64s:
    """The rows of `sorted_ids` whose value is among `wanted` (ascending), in order."""
    starts = np.searchsorted(sorted_ids, wanted, "left")
    sizes = np.searchsorted(sorted_ids, wanted, "right") - starts
    offsets = np.cumsum(sizes) - sizes
    rows: Int64s = np.arange(sizes.sum(), dtype=np.int64) - np.repeat(offsets - starts, sizes)
    return rows


def _member(ids: Int32s, wanted: Int32s) -> Bools:
    """Which of `ids` are among `wanted` (ascending)."""
    if len(wanted) == 1:
        only: Bools = ids == wanted[0]
        return only
    id_max = int(max(ids.max(), wanted[-1]))
    if id_max > LOOKUP_IDS_MAX:
        return np.isin(ids, wanted)
    table = np.zeros(id_max + 1, np.bool_)
    table[wanted] = True
    members: Bools = table[ids]
    return members


def _last_by_order(points: Columns, orders: Int64s) -> Columns:
    """Sorted by (series, ts), keeping of equal ones the last row of the greatest order."""
    if ascending(points):
        return points
    ranked = points.take(order_of(points))
    if ascending(ranked):
        return ranked
    rank = np.lexsort((orders, points.ts_us, points.series_ids))
    series_ids, ts_us = points.series_ids[rank], points.ts_us[rank]
    last = np.ones(len(rank), np.bool_)
    last[:-1] = (series_ids[1:] != series_ids[:-1]) | (ts_us[1:] != ts_us[:-1])
    return points.take(rank[last])
