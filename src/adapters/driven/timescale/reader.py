"""Snapshots on TimescaleDB: as on PostgreSQL, with continuous aggregates where they answer exactly.

A stored aggregate answers for whole buckets of its width, inside the range asked for, outside its stale ranges, where
no unsettled point may override. Everything else is read from raw samples, so the number is the same either way.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import numpy as np

from adapters.driven.postgres.database import Connection
from adapters.driven.postgres.head_cache import SnapshotState
from adapters.driven.postgres.queries import load_queries
from adapters.driven.postgres.reader import PIECES_MAX, PostgresSampleReader, PostgresSnapshot, partials_from
from adapters.driven.postgres.wire import float64s, instants, int32s, int64s, timestamp
from core.domain.aggregation import Partials, bucket_starts
from core.domain.ranges import Span, at_most, subtract, union, whole_buckets, widened
from core.domain.tenants import Limits
from core.domain.times import DAY_US, HOUR_US, MINUTE_US
from ports.driven.sample_reader import Lines

WIDTHS_US: Final = {DAY_US: "1d", HOUR_US: "1h", 5 * MINUTE_US: "5m"}
"""The stored aggregates, widest first."""
AGGREGATE_ROWS_MIN: Final = 2_000
"""Below this many (series, bucket) pairs one read of raw samples is faster than several pieces."""

SQL = load_queries(__package__, "aggregates.sql")


class TimescaleSampleReader(PostgresSampleReader):
    """Implements `ports.driven.sample_reader.SampleReader` with stored aggregates."""

    def _open(
        self, connection: Connection, tenant_id: int, limits: Limits, state: SnapshotState
    ) -> "TimescaleSnapshot":
        return TimescaleSnapshot(
            connection,
            tenant_id,
            limits,
            state,
            heads=self._heads,
            catalog=self._catalog,
            definitions=self._definitions,
        )


class TimescaleSnapshot(PostgresSnapshot):
    """Implements `ports.driven.sample_reader.Snapshot` with stored aggregates."""

    async def _clean_partials(self, lines: Lines, span: Span, step_us: int, ends: bool) -> list[Partials]:
        if len(lines.series_ids) * (span[1] - span[0]) // min(WIDTHS_US) < AGGREGATE_ROWS_MIN:
            return [await self._raw_partials(lines, span, step_us, ends)]
        parts = []
        for width_us, piece in plan(span, step_us, self._state.epoch.stale):
            if width_us is None:
                parts.append(await self._raw_partials(lines, piece, step_us, ends))
            elif ends:
                parts.append(await self._stored_ends(lines, piece, step_us, WIDTHS_US[width_us]))
            else:
                parts.append(await self._stored_partials(lines, piece, step_us, WIDTHS_US[width_us]))
        return parts

    async def _stored_partials(self, lines: Lines, span: Span, step_us: int, width: str) -> Partials:
        args = [lines.series_ids.tolist(), timestamp(span[0]), timestamp(span[1]), timedelta(microseconds=step_us)]
        name = "partials"
        if lines.count > 1:
            name, args = "partials_by_line", [*args, lines.lines.tolist()]
        return partials_from(await self._fetchrow(SQL[name].replace("{width}", width), *args))

    async def _stored_ends(self, lines: Lines, span: Span, step_us: int, width: str) -> Partials:
        row: Mapping[str, Any] = await self._fetchrow(
            SQL["ends"].replace("{width}", width), lines.series_ids.tolist(), timestamp(span[0]), timestamp(span[1])
        )
        series_ids = int32s(row["series_ids"])
        return Partials(
            lines.lines[np.searchsorted(lines.series_ids, series_ids)],
            bucket_starts(instants(row["buckets"]), step_us),
            int64s(row["counts"]),
            float64s(row["sums"]),
            float64s(row["mins"]),
            float64s(row["maxs"]),
            instants(row["first_ts"]),
            float64s(row["firsts"]),
            instants(row["last_ts"]),
            float64s(row["lasts"]),
        )


def plan(span: Span, step_us: int, stale: Mapping[int, Sequence[Span]]) -> list[tuple[int | None, Span]]:
    """Disjoint pieces that make up `span`, each with the width of the stored aggregate that answers it exactly.

    None stands for raw samples. A width serves only where the step is a multiple of it.
    """
    pieces: list[tuple[int | None, Span]] = []
    left = [span]
    for width_us in WIDTHS_US:
        if step_us % width_us:
            continue
        unusable = at_most(union(widened(one, width_us) for one in stale.get(width_us, ())), PIECES_MAX)
        rest: list[Span] = []
        for one in left:
            whole = whole_buckets(one, width_us)
            usable = subtract(whole, unusable) if whole is not None else []
            pieces += [(width_us, piece) for piece in usable]
            rest += subtract(one, usable)
        left = rest
    return pieces + [(None, piece) for piece in left]
