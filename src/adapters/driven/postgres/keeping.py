"""Keeping samples on plain PostgreSQL: settling into day partitions, retention by dropping them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from adapters.driven.postgres import wire
from adapters.driven.postgres.database import Connection, Database, Role
from adapters.driven.postgres.journal import SETTLER, move_cursors, take_batch
from adapters.driven.postgres.journal import SQL as JOURNAL
from adapters.driven.postgres.queries import affected_rows, load_queries
from adapters.driven.postgres.settling import Merged, assert_sorted, days, late_rows, merge, newest_by_tenant
from core.domain.columns import Columns, Int32s, Int64s
from core.domain.definitions import RETENTION_DAYS_DEFAULT, retention_cutoff
from core.domain.times import DAY_US
from ports.driven.evaluation_store import CONSUMER
from ports.driven.keeping import Backlog, SettleOutcome, StorageStatus

PARTITION_PREFIX: Final = "samples_p"
LOCK_TIMEOUT_MS: Final = 2_000
"""Dropping a partition waits this long for queries over it, then leaves it to the next run."""

SQL = load_queries(__package__, "keeping.sql")
SETTLING = load_queries(__package__, "settling.sql")


class PostgresKeeping:
    """Implements `ports.driven.keeping.Keeping` on plain PostgreSQL."""

    engine = "postgresql"
    _settling = SETTLING
    _settings = "SET LOCAL synchronous_commit = on"

    def __init__(self, database: Database) -> None:
        self._database = database
        self._newest: _Newest | None = None

    async def backlog(self) -> Backlog:
        """See `Keeping.backlog`."""
        return await self._backlog(SETTLER)

    async def _backlog(self, consumer: str) -> Backlog:
        async with self._database.transaction(Role.KEEPER) as connection:
            row = await connection.fetchrow(JOURNAL["backlog"], consumer)
        assert row is not None
        oldest = row["oldest"]
        return Backlog(
            points=row["points"],
            blocks=row["blocks"],
            oldest_us=wire.microseconds(oldest) if oldest is not None else None,
        )

    async def settle(self, *, points_max: int) -> SettleOutcome:
        """See `Keeping.settle`."""
        newest, self._newest = self._newest, None
        async with self._database.transaction(Role.KEEPER) as connection:
            await connection.execute(self._settings)
            batch = await take_batch(connection, SETTLER, points_max)
            if not batch.blocks:
                self._newest = newest
                return SettleOutcome(points=0, rows=0, late=0, replaced=0, blocks=0, busy=batch.busy)
            merged = merge(batch.blocks)
            assert_sorted(merged)
            epoch: int = await connection.fetchval("SELECT epoch FROM sextant.settle_epoch")
            if newest is None or newest.epoch != epoch:
                newest = _Newest(epoch)
            await newest.learn(connection, merged.points)
            late = late_rows(merged.points, newest.ids(), newest.ts_us())
            replaced = await self._store(connection, merged.take(~late), merged.take(late))
            await self._record(connection, merged)
            await move_cursors(connection, SETTLER, batch.blocks)
        newest.extend(merged.points, epoch + 1)
        self._newest = newest
        return SettleOutcome(
            points=sum(len(block.points) for block in batch.blocks),
            rows=len(merged),
            late=int(late.sum()),
            replaced=replaced,
            blocks=len(batch.blocks),
        )

    async def _store(self, connection: Connection, new: Merged, late: Merged) -> int:
        """Writes the rows; returns how many settled ones the late ones replaced."""
        await self._ensure_partitions(connection, sorted({*days(new.points), *days(late.points)}))
        await self._copy(connection, "samples", new)
        if not len(late):
            return 0
        await connection.execute(SETTLING["stage"])
        await self._copy(connection, "late_points", late, schema=None)
        done: str = await connection.execute(SETTLING["replace_late"])
        await connection.execute(SETTLING["add_late"])
        return affected_rows(done)

    async def _copy(self, connection: Connection, table: str, rows: Merged, schema: str | None = "sextant") -> None:
        if len(rows):
            await connection.copy_to_table(
                table,
                schema_name=schema,
                source=wire.binary_copy(rows.points, rows.tenant_ids),
                columns=wire.COPY_COLUMNS,
                format="binary",
            )

    async def _record(self, connection: Connection, merged: Merged) -> None:
        """What readers need to know of the rows just written."""
        until = newest_by_tenant(merged)
        await connection.execute(
            SQL["extend_settled_until"], list(until), [wire.timestamp(ts_us) for ts_us in until.values()]
        )
        seen = np.unique(merged.points.series_ids).tolist()
        await connection.execute(SQL["mark_seen"], seen)
        await connection.execute(SQL["next_epoch"])

    async def _ensure_partitions(self, connection: Connection, midnights: Sequence[int]) -> None:
        for midnight in midnights:
            await connection.execute("SELECT sextant.ensure_partition($1)", wire.timestamp(midnight))

    async def refresh_aggregates(self, *, now_us: int) -> int:  # noqa: ARG002 (there are none)
        """See `Keeping.refresh_aggregates`; there are none on this engine."""
        return 0

    async def compress(self, *, older_than_us: int) -> int:  # noqa: ARG002 (there is no columnstore)
        """See `Keeping.compress`; there is no columnstore on this engine."""
        return 0

    async def drop_expired(self, *, now_us: int) -> int:
        """See `Keeping.drop_expired`."""
        cutoffs = await self._cutoffs(now_us)
        oldest_us = min((cutoff for _, _, cutoff in cutoffs), default=retention_cutoff(now_us, RETENTION_DAYS_DEFAULT))
        dropped = await self._drop_before(oldest_us)
        for tenant_id, series_ids, cutoff_us in cutoffs:
            if cutoff_us > oldest_us and series_ids:
                async with self._database.transaction(Role.KEEPER) as connection:
                    await connection.execute(self._settings)
                    await self._delete_expired(connection, tenant_id, series_ids, cutoff_us)
        return dropped

    async def _delete_expired(
        self, connection: Connection, tenant_id: int, series_ids: list[int], cutoff_us: int
    ) -> None:
        await connection.execute(SQL["delete_expired"], tenant_id, series_ids, wire.timestamp(cutoff_us))

    async def _cutoffs(self, now_us: int) -> list[tuple[int, list[int], int]]:
        """(tenant, series, oldest instant kept) for every definition, and for what none covers."""
        cutoffs = []
        async with self._database.transaction(Role.KEEPER) as connection:
            for row in await connection.fetch(SQL["retentions"]):
                found = await connection.fetch(SQL["series_of_names"], row["tenant_id"], row["name"])
                cutoffs.append(
                    (row["tenant_id"], [one["id"] for one in found], retention_cutoff(now_us, row["retention_days"]))
                )
            for row in await connection.fetch(SQL["tenant_ids"]):
                found = await connection.fetch(SQL["expired_series"], row["id"])
                cutoffs.append(
                    (row["id"], [one["id"] for one in found], retention_cutoff(now_us, RETENTION_DAYS_DEFAULT))
                )
        return cutoffs

    async def _drop_before(self, oldest_us: int) -> int:
        async with self._database.transaction(Role.KEEPER) as connection:
            names = [row["name"] for row in await connection.fetch(SETTLING["partitions"])]
        expired = [name for name in names if _partition_end_us(name) <= oldest_us]
        for name in expired:
            async with self._database.transaction(Role.OWNER) as connection:
                await connection.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS:d}")
                await connection.execute(f"DROP TABLE sextant.{name}")
        return len(expired)

    async def forget_replies(self, *, older_than_us: int) -> int:
        """See `Keeping.forget_replies`."""
        async with self._database.transaction(Role.KEEPER) as connection:
            done: str = await connection.execute(JOURNAL["delete_old_keys"], wire.timestamp(older_than_us))
            await connection.execute(JOURNAL["forget_streams"])
        return affected_rows(done)

    async def recount_series(self, *, seen_since_us: int) -> None:
        """See `Keeping.recount_series`."""
        async with self._database.transaction(Role.KEEPER) as connection:
            await connection.execute(SQL["recount_series"], wire.timestamp(seen_since_us).date())

    async def status(self) -> StorageStatus:
        """See `Keeping.status`."""
        backlog, unevaluated = await self.backlog(), await self._backlog(CONSUMER)
        async with self._database.transaction(Role.OWNER) as connection:
            counts, sizes = await self._measure(connection)
        is_compressed = sizes.get("compressed_chunks", 0) > 0 and counts["samples"] > 0
        return StorageStatus(
            engine=self.engine,
            engine_version=self._version(counts, sizes),
            licence=sizes.get("licence"),
            schema_version=counts["schema_version"],
            tenants=counts["tenants"],
            series=counts["series"],
            samples=counts["samples"],
            unsettled_points=backlog.points,
            unsettled_oldest_us=backlog.oldest_us,
            unevaluated_points=unevaluated.points,
            unevaluated_oldest_us=unevaluated.oldest_us,
            chunks=sizes["chunks"],
            compressed_chunks=sizes.get("compressed_chunks", 0),
            size_bytes=sizes["size_bytes"],
            uncompressed_bytes=round(counts["samples"] * counts["row_bytes"]) if is_compressed else None,
            oldest_us=wire.microseconds(counts["oldest"]) if counts["oldest"] else None,
            newest_us=wire.microseconds(counts["newest"]) if counts["newest"] else None,
        )

    def _version(self, counts: dict[str, Any], sizes: dict[str, Any]) -> str:  # noqa: ARG002 (others need it)
        return f"PostgreSQL {counts['server_version'].split()[0]}"

    async def _measure(self, connection: Connection) -> tuple[dict[str, Any], dict[str, Any]]:
        sizes = await connection.fetchrow(self._settling["sizes"])
        await connection.execute("SET LOCAL ROLE sextant_keeper")
        counts = await connection.fetchrow(SQL["counts"])
        return dict(counts or {}), dict(sizes or {})


class _Newest:
    """The newest settled timestamp of series, as far as known; holds while nobody else settles (same epoch)."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self._ts_us = np.full(1024, _UNKNOWN, np.int64)

    async def learn(self, connection: Connection, points: Columns) -> None:
        """Asks for the series of `points` that are not known yet; only samples since the oldest point matter."""
        if not len(points):
            return
        self._grow(int(points.series_ids.max()))
        wanted = np.unique(points.series_ids)
        unknown = wanted[self._ts_us[wanted] == _UNKNOWN]
        if not len(unknown):
            return
        row = await connection.fetchrow(
            SQL["newest_of"], unknown.tolist(), wire.timestamp(int(points.ts_us.min()))
        )
        assert row is not None
        self._ts_us[unknown] = _NONE
        self._ts_us[wire.int32s(row["series_ids"])] = wire.instants(row["ts"])

    def extend(self, points: Columns, epoch: int) -> None:
        """`points`, sorted by series, are settled now."""
        if len(points):
            np.maximum.at(self._ts_us, points.series_ids, points.ts_us)
        self.epoch = epoch

    def ids(self) -> Int32s:
        """The series with a known newest timestamp."""
        return np.flatnonzero(self._ts_us >= 0).astype(np.int32)

    def ts_us(self) -> Int64s:
        """Their newest timestamps, parallel to `ids`."""
        return self._ts_us[self._ts_us >= 0]

    def _grow(self, series_id: int) -> None:
        if series_id >= len(self._ts_us):
            grown = np.full(max(series_id + 1, 2 * len(self._ts_us)), _UNKNOWN, np.int64)
            grown[: len(self._ts_us)] = self._ts_us
            self._ts_us = grown


_UNKNOWN: Final = -2
_NONE: Final = -1


def _partition_end_us(name: str) -> int:
    day = datetime.strptime(name.removeprefix(PARTITION_PREFIX), "%Y%m%d").replace(tzinfo=UTC)
    return wire.microseconds(day) + DAY_US
