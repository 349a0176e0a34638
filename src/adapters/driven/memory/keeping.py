"""Settling, retention and status of the in-memory store."""

import numpy as np

from adapters.driven.memory.block_log import SETTLER, whole_blocks
from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.probe import SCHEMA_VERSION
from adapters.driven.memory.samples import last_of_each
from adapters.runtime.version import __version__
from core.domain.columns import Columns, Int64s, concat_columns, keep_last, overriding, without
from core.domain.definitions import retention_cutoff
from core.domain.times import DAY_US
from ports.driven.evaluation_store import CONSUMER
from ports.driven.keeping import Backlog, SettleOutcome, StorageStatus


class MemoryKeeping:
    """Implements `Keeping`; a day is a chunk, nothing is ever compressed or pre-aggregated."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def backlog(self) -> Backlog:
        """How much waits to be settled."""
        return self._backlog(SETTLER)

    def _backlog(self, consumer: str) -> Backlog:
        log = self._database.log
        waiting = log.unread(consumer) if log.is_registered(consumer) else []
        return Backlog(
            points=sum(len(logged.block.points) for logged in waiting),
            blocks=len(waiting),
            oldest_us=min((logged.appended_us for logged in waiting), default=None),
        )

    async def settle(self, *, points_max: int) -> SettleOutcome:
        """Moves whole blocks, in commit order, to the settled samples."""
        database = self._database
        blocks = whole_blocks(database.log.unread(SETTLER), points_max)
        points = concat_columns([block.points for block in blocks])
        rows = keep_last(points)
        settled_to_us = self._settled_to_us(rows)
        outcome = SettleOutcome(
            points=len(points),
            rows=len(rows),
            late=int(np.count_nonzero(rows.ts_us <= settled_to_us)),
            replaced=len(rows) - len(without(rows, database.settled)),
            blocks=len(blocks),
        )
        database.settled = overriding(database.settled, rows)
        newest = last_of_each(rows)
        for series_id, ts_us in zip(newest.series_ids.tolist(), newest.ts_us.tolist(), strict=True):
            row = database.series[series_id]
            row.settled_to_us = max(row.settled_to_us, ts_us)
            row.seen_us = database.clock.now_us()
        database.log.pass_blocks(SETTLER, blocks)
        return outcome

    async def refresh_aggregates(self, *, now_us: int) -> int:  # noqa: ARG002 - the port's signature
        """Nothing: partial aggregates are always computed from samples."""
        return 0

    async def compress(self, *, older_than_us: int) -> int:  # noqa: ARG002 - the port's signature
        """Nothing: there is no columnstore."""
        return 0

    async def drop_expired(self, *, now_us: int) -> int:
        """Deletes samples past their retention; returns how many days went wholly."""
        settled = self._database.settled
        kept = settled.take(settled.ts_us >= self._cutoffs(settled, now_us))
        self._database.settled = kept
        return len(_days(settled)) - len(_days(kept))

    async def forget_replies(self, *, older_than_us: int) -> int:
        """Deletes idempotency keys from before `older_than_us`."""
        replies = self._database.log.replies
        old = [key for key, kept in replies.items() if kept.replied_us < older_than_us]
        for key in old:
            del replies[key]
        return len(old)

    async def recount_series(self, *, seen_since_us: int) -> None:
        """Counts each tenant's series that were created, or had a sample settled, since then."""
        for tenant_id, tenant in self._database.tenants.items():
            rows = self._database.series_of(tenant_id)
            tenant.series_active = sum(row.seen_us >= seen_since_us for row in rows)

    async def status(self) -> StorageStatus:
        """What the store holds."""
        database = self._database
        backlog, unevaluated = await self.backlog(), self._backlog(CONSUMER)
        settled = database.settled
        held = [settled, *(logged.block.points for logged in database.log.blocks)]
        return StorageStatus(
            engine="memory",
            engine_version=__version__,
            licence=None,
            schema_version=SCHEMA_VERSION,
            tenants=len(database.tenants),
            series=len(database.series),
            samples=len(settled),
            unsettled_points=backlog.points,
            unsettled_oldest_us=backlog.oldest_us,
            unevaluated_points=unevaluated.points,
            unevaluated_oldest_us=unevaluated.oldest_us,
            chunks=len(_days(settled)),
            compressed_chunks=0,
            size_bytes=sum(_size_bytes(points) for points in held),
            uncompressed_bytes=None,
            oldest_us=min((int(points.ts_us.min()) for points in held if len(points)), default=None),
            newest_us=max((int(points.ts_us.max()) for points in held if len(points)), default=None),
        )

    def _settled_to_us(self, rows: Columns) -> Int64s:
        """For each row the newest settled timestamp of its series, before this settle."""
        series = self._database.series
        return np.array([series[series_id].settled_to_us for series_id in rows.series_ids.tolist()], np.int64)

    def _cutoffs(self, settled: Columns, now_us: int) -> Int64s:
        """For each sample the oldest instant that its series keeps."""
        series_ids, places = np.unique(settled.series_ids, return_inverse=True)
        rows = [self._database.series[series_id] for series_id in series_ids.tolist()]
        cutoffs = [retention_cutoff(now_us, self._database.retention_days(row)) for row in rows]
        return np.array(cutoffs, np.int64)[places]


def _days(points: Columns) -> Int64s:
    return np.unique(points.ts_us // DAY_US)


def _size_bytes(points: Columns) -> int:
    return points.series_ids.nbytes + points.ts_us.nbytes + points.values.nbytes
