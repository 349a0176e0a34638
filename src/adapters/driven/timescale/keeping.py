"""Keeping samples on TimescaleDB: settling into the columnstore, aggregates, recompression, dropping chunks."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import numpy as np

from adapters.driven.postgres import wire
from adapters.driven.postgres.database import Connection, Role
from adapters.driven.postgres.keeping import SQL as COMMON
from adapters.driven.postgres.keeping import PostgresKeeping
from adapters.driven.postgres.queries import load_queries
from adapters.driven.postgres.settling import Merged, spans
from core.domain.columns import Int64s
from core.domain.errors import Unavailable
from core.domain.ranges import Span, at_most, union
from core.domain.times import DAY_US, HOUR_US, MINUTE_US

DIRECT_POINTS_PER_SERIES_MIN: Final = 20
"""Measured: compressing on the way in pays with tens of points a series; below, plain rows are compressed later."""
STALE_GAP: Final = 12
"""Stale runs of buckets at most this many buckets apart are recorded, and refreshed, as one."""
STALE_SPANS_MAX: Final = 16
"""Ranges recorded per settle and width; a backfill scattered wider is recorded coarser."""
CHANGE_COMPRESSED: Final = "SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0"
"""Changing compressed rows decompresses their batches; the default limit is for accidents, and this is none."""

SQL = load_queries(__package__, "settling.sql")
REFRESH: Final = {5 * MINUTE_US: "refresh_5m", HOUR_US: "refresh_1h", DAY_US: "refresh_1d"}
"""Aggregate width → its query, narrowest first, because each is computed from the one before."""


class TimescaleKeeping(PostgresKeeping):
    """Implements `ports.driven.keeping.Keeping` on TimescaleDB with its full licence."""

    engine = "timescaledb"
    _settling = SQL
    _settings = f"SET LOCAL synchronous_commit = on; {CHANGE_COMPRESSED}"

    async def _store(self, connection: Connection, new: Merged, late: Merged) -> int:
        if len(new) and len(new) >= DIRECT_POINTS_PER_SERIES_MIN * len(np.unique(new.points.series_ids)):
            await connection.execute(
                "SET LOCAL timescaledb.enable_direct_compress_copy = on; "
                "SET LOCAL timescaledb.enable_direct_compress_copy_client_sorted = on"
            )
        await self._copy(connection, "samples", new)
        if not len(late):
            return 0
        await connection.execute(SQL["stage"])
        await self._copy(connection, "late_points", late, schema=None)
        first, last = int(late.points.ts_us.min()), int(late.points.ts_us.max())
        replaced: int = await connection.fetchval(
            SQL["delete_replaced"], wire.timestamp(first), wire.timestamp(last)
        )
        await connection.execute(SQL["add_late"])
        return replaced

    async def _record(self, connection: Connection, merged: Merged) -> None:
        await super()._record(connection, merged)
        await mark_stale(connection, stale_spans(merged.points.ts_us))

    async def refresh_aggregates(self, *, now_us: int) -> int:
        """See `Keeping.refresh_aggregates`; a bucket that is not over stays stale, for it would be refreshed again."""
        async with self._database.session() as session:
            if not await session.fetchval(SQL["lock_refresh"]):
                return 0
            try:
                stale = await self._stale()
                return sum([await self._refresh(session, width_us, stale[width_us], now_us) for width_us in REFRESH])
            finally:
                await session.execute(SQL["unlock_refresh"])

    async def _stale(self) -> dict[int, list[tuple[int, Span]]]:
        """Aggregate width → its stale ranges with their ids, all as of one moment.

        What a settle marks after that moment stays marked: the narrow aggregate may lack it when the wide one is
        computed from it.
        """
        async with self._database.transaction(Role.KEEPER, snapshot=True) as connection:
            return {
                width_us: [
                    (row["id"], (wire.microseconds(row["starts_at"]), wire.microseconds(row["ends_at"])))
                    for row in await connection.fetch(SQL["stale"], timedelta(microseconds=width_us))
                ]
                for width_us in REFRESH
            }

    async def _refresh(
        self, session: Connection, width_us: int, rows: Sequence[tuple[int, Span]], now_us: int
    ) -> int:
        """Refreshes one aggregate where it is stale and its buckets are over; returns how many ranges."""
        closed_us = now_us // width_us * width_us
        due = union(((start, min(end, closed_us)) for _, (start, end) in rows if start < closed_us), gap_us=width_us)
        if not due:
            return 0
        for start, end in due:
            await session.execute(SQL[REFRESH[width_us]], wire.timestamp(start), wire.timestamp(end))
        still_open = union((max(start, closed_us), end) for _, (start, end) in rows if end > closed_us)
        async with self._database.transaction(Role.KEEPER) as connection:
            await connection.execute(SQL["unmark_stale"], [row_id for row_id, _ in rows])
            await mark_stale(connection, [(width_us, span) for span in still_open])
            await connection.execute(COMMON["next_epoch"])
        return len(due)

    async def compress(self, *, older_than_us: int) -> int:
        """See `Keeping.compress`."""
        async with self._database.transaction(Role.OWNER) as connection:
            rows = await connection.fetch(SQL["chunks_to_compress"], wire.timestamp(older_than_us))
        collision: Unavailable | None = None
        done = 0
        for row in rows:
            try:
                async with self._database.transaction(Role.OWNER) as connection:
                    await connection.execute(SQL["compress"], row["chunk"])
            except Unavailable as error:  # a settle is writing to that chunk: the next run takes it
                collision = error
            else:
                done += 1
        if collision is not None and not done:
            raise collision
        return done

    async def _drop_before(self, oldest_us: int) -> int:
        async with self._database.transaction(Role.OWNER) as connection:
            first = await connection.fetchval(SQL["oldest_chunk"], wire.timestamp(oldest_us))
            await connection.fetch(SQL["drop_aggregate_chunks"], wire.timestamp(oldest_us))
            dropped = len(await connection.fetch(SQL["drop_chunks"], wire.timestamp(oldest_us)))
            if dropped:
                # Aggregates' chunks are longer: refreshing what is gone takes the rest of it out of them as well.
                start_us = wire.microseconds(first)
                await mark_stale(connection, [(width_us, (start_us, oldest_us)) for width_us in REFRESH])
                await connection.execute(COMMON["next_epoch"])
        return dropped

    async def _delete_expired(
        self, connection: Connection, tenant_id: int, series_ids: list[int], cutoff_us: int
    ) -> None:
        oldest = await connection.fetchval(
            COMMON["oldest_expired"], tenant_id, series_ids, wire.timestamp(cutoff_us)
        )
        if oldest is None:
            return
        await super()._delete_expired(connection, tenant_id, series_ids, cutoff_us)
        start_us = wire.microseconds(oldest)
        await mark_stale(
            connection, [(width_us, (start_us // width_us * width_us, cutoff_us)) for width_us in REFRESH]
        )
        await connection.execute(COMMON["next_epoch"])

    def _version(self, counts: dict[str, Any], sizes: dict[str, Any]) -> str:
        return f"TimescaleDB {sizes['extension_version']} on {super()._version(counts, sizes)}"


async def mark_stale(connection: Connection, stale: Sequence[tuple[int, Span]]) -> None:
    """Notes (aggregate width, span) where stored aggregates no longer hold, until they are refreshed."""
    await connection.execute(
        SQL["mark_stale"],
        [timedelta(microseconds=width_us) for width_us, _ in stale],
        [wire.timestamp(start) for _, (start, _) in stale],
        [wire.timestamp(end) for _, (_, end) in stale],
    )


def stale_spans(ts_us: Int64s) -> list[tuple[int, Span]]:
    """(aggregate width, span) for every run of buckets in which samples of these instants change."""
    return [
        (width_us, span)
        for width_us in REFRESH
        for span in at_most(spans(ts_us, width_us, gap_us=STALE_GAP * width_us), STALE_SPANS_MAX)
    ]
