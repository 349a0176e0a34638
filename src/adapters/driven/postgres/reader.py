"""Snapshots on PostgreSQL: one REPEATABLE READ transaction over settled samples, joined with the journal's head."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar

import msgspec
import numpy as np

from adapters.driven.postgres.database import Connection, Database, Role
from adapters.driven.postgres.head_cache import HeadCache, SnapshotState
from adapters.driven.postgres.queries import load_queries
from adapters.driven.postgres.tenants import definition_of
from adapters.driven.postgres.wire import columns_of, float64s, instants, int32s, int64s, timestamp
from core.domain.aggregation import Partials, lines_of, partials_of
from core.domain.columns import Columns, Int32s, concat_columns, empty_columns, without
from core.domain.definitions import MetricDefinition
from core.domain.errors import TooExpensive, Unavailable
from core.domain.matchers import LabelMatcher, MatchOp, label_filter
from core.domain.ranges import Span, at_most, subtract, union, widened
from core.domain.series import Series
from core.domain.tenants import Limits
from core.domain.times import MINUTE_US, TimeRange
from ports.driven.sample_reader import Lines, SeriesTable

SERIES_PER_QUERY_MAX: Final = 200_000
"""Binding more ids than this takes longer than any answer is worth waiting for."""
CACHED_SERIES_MAX: Final = 400_000
"""About 200 MB of labels at worst; past it the least recently used selections go."""
CACHED_DEFINITIONS_MAX: Final = 100_000
"""About 50 MB; past it the least recently used tenants' definitions are read again."""
SNAPSHOT_TRIES: Final = 5
"""A snapshot is retaken when the settler moved on while it was being opened; that happens once, if at all."""
FIRST_WINDOW_US: Final = MINUTE_US
"""The first stretch that a page of raw samples is looked for in."""
FIRST_WINDOW_GROWTH: Final = 8
"""A month of nothing is seven empty windows."""
PIECES_MAX: Final = 6
"""Disjoint spans read one by one; more are joined where the gaps are smallest."""

SAMPLES = load_queries(__package__, "samples.sql")
CATALOG = load_queries(__package__, "catalog.sql")
TENANTS = load_queries(__package__, "tenants.sql")


class PostgresSampleReader:
    """Implements `ports.driven.sample_reader.SampleReader`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._heads = HeadCache()
        self._catalog = Catalog(CACHED_SERIES_MAX)
        self._definitions = Definitions(CACHED_DEFINITIONS_MAX)

    @asynccontextmanager
    async def snapshot(self, tenant_id: int, limits: Limits) -> AsyncIterator["PostgresSnapshot"]:
        """See `SampleReader.snapshot`."""
        for _ in range(SNAPSHOT_TRIES):
            async with self._database.transaction(
                Role.READER, tenant_id=tenant_id, snapshot=True, timeout_s=limits.query_timeout_s
            ) as connection:
                state = await self._heads.enter(connection)
                if state is None:
                    continue
                try:
                    yield self._open(connection, tenant_id, limits, state)
                finally:
                    self._heads.leave(state)
                return
        raise Unavailable("the settler moved on each time a snapshot was opened", retry_after_s=1.0)

    def _open(
        self, connection: Connection, tenant_id: int, limits: Limits, state: SnapshotState
    ) -> "PostgresSnapshot":
        return PostgresSnapshot(
            connection,
            tenant_id,
            limits,
            state,
            heads=self._heads,
            catalog=self._catalog,
            definitions=self._definitions,
        )

    async def names(self, tenant_id: int, prefix: str, limit: int) -> Sequence[str]:
        """See `SampleReader.names`."""
        return await self._texts(CATALOG["names"], tenant_id, prefix, limit)

    async def label_names(self, tenant_id: int, limit: int) -> Sequence[str]:
        """See `SampleReader.label_names`."""
        return await self._texts(CATALOG["label_names"], tenant_id, limit)

    async def label_values(self, tenant_id: int, label: str, limit: int) -> Sequence[str]:
        """See `SampleReader.label_values`."""
        return await self._texts(CATALOG["label_values"], tenant_id, label, limit)

    async def _texts(self, query: str, tenant_id: int, *args: object) -> list[str]:
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=30.0) as connection:
            return [row[0] for row in await connection.fetch(query, tenant_id, *args)]


class PostgresSnapshot:
    """Implements `ports.driven.sample_reader.Snapshot` over raw samples."""

    def __init__(
        self,
        connection: Connection,
        tenant_id: int,
        limits: Limits,
        state: SnapshotState,
        *,
        heads: HeadCache,
        catalog: "Catalog",
        definitions: "Definitions",
    ) -> None:
        self._connection = connection
        self._tenant_id = tenant_id
        self._limits = limits
        self._state = state
        self._heads = heads
        self._catalog = catalog
        self._definitions = definitions
        self._settled_until_us = state.settled_until_us

    async def definition(self, name: str) -> MetricDefinition | None:
        """See `Snapshot.definition`."""
        definitions = self._definitions.get(self._tenant_id, self._state.policy_revision)
        if definitions is None:
            rows = await self._connection.fetch(TENANTS["list_definitions"], self._tenant_id)
            definitions = {row["name"]: definition_of(row) for row in rows}
            self._definitions.put(self._tenant_id, self._state.policy_revision, definitions, len(rows))
        return definitions.get(name)

    async def find(self, name: str, matchers: Sequence[LabelMatcher]) -> SeriesTable:
        """See `Snapshot.find`."""
        key = (self._tenant_id, name, tuple(matchers))
        cached = self._catalog.get(key, self._state.catalog_revision)
        if cached is not None:
            return cached
        exact = {m.label: m.value for m in matchers if m.op is MatchOp.EQUAL and m.value}
        rows = await self._connection.fetch(
            CATALOG["series_of_name"],
            self._tenant_id,
            name,
            msgspec.json.encode(exact).decode(),
            SERIES_PER_QUERY_MAX + 1,
        )
        if len(rows) > SERIES_PER_QUERY_MAX:
            raise TooExpensive(
                f"{name} has more than {SERIES_PER_QUERY_MAX:,} series that match; add a label=value",
                limit=SERIES_PER_QUERY_MAX,
            )
        decode = msgspec.json.Decoder(dict[str, str]).decode
        holds = label_filter(matchers)
        series = [
            Series(row["id"], name, labels, row["source"]) for row in rows if holds(labels := decode(row["labels"]))
        ]
        table = SeriesTable(np.fromiter((one.series_id for one in series), np.int32, len(series)), series)
        self._catalog.put(key, self._state.catalog_revision, table, len(series))
        return table

    def head(self, series_ids: Int32s, time_range: TimeRange) -> Columns:
        """See `Snapshot.head`."""
        return self._heads.head.narrow(
            self._tenant_id, series_ids, time_range.start_us, time_range.end_us, self._state.epoch.cursors
        )

    async def settled_points(
        self,
        series_ids: Int32s,
        time_range: TimeRange,
        *,
        first: int | None = None,
        after: tuple[int, int] | None = None,
    ) -> Columns:
        """See `Snapshot.settled_points`."""
        if self._nothing_settled(series_ids, time_range):
            return empty_columns()
        if first is not None:
            return await self._first_points(series_ids, time_range, first, after or (time_range.start_us, -1))
        ids, start, end = self._bound(series_ids, time_range)
        row = await self._fetchrow(SAMPLES["points"], ids, start, end, self._limits.query_points_max + 1)
        self._charge(row["n"])
        return columns_of(row)

    async def _first_points(
        self, series_ids: Int32s, time_range: TimeRange, first: int, after: tuple[int, int]
    ) -> Columns:
        """Looks through windows that widen until they hold enough: sorting the whole range for a page is wasteful."""
        start_us = max(after[0], time_range.start_us)
        end_us = min(time_range.end_us, self._settled_until_us + 1)
        window_us, points = FIRST_WINDOW_US, empty_columns()
        while start_us < end_us and len(points) < first:
            ids, start, end = self._bound(series_ids, TimeRange(start_us, min(end_us, start_us + window_us)))
            row = await self._fetchrow(
                SAMPLES["first_points"], ids, start, end, timestamp(after[0]), after[1], first - len(points)
            )
            points = concat_columns([points, columns_of(row)])
            start_us, window_us = start_us + window_us, window_us * FIRST_WINDOW_GROWTH
        return points

    async def settled_values(self, lines: Lines, time_range: TimeRange, head: Columns) -> Sequence[Columns]:
        """See `Snapshot.settled_values`."""
        if self._nothing_settled(lines.series_ids, time_range):
            return [empty_columns()] * lines.count
        if len(self._late(head)) or lines.count > 1_000:
            points = without(await self.settled_points(lines.series_ids, time_range), head)
            line_of = lines_of(points, lines.series_ids, lines.lines)
            return [points.take(line_of == line) for line in range(lines.count)]
        ids, start, end = self._bound(lines.series_ids, time_range)
        budget = self._limits.query_points_max + 1
        if lines.count == 1:
            rows = [await self._fetchrow(SAMPLES["values"], ids, start, end, budget)]
        else:
            rows = await self._connection.fetch(
                SAMPLES["values_by_line"], ids, start, end, budget, lines.lines.tolist()
            )
        self._charge(sum(row["n"] for row in rows))
        values = [empty_columns()] * lines.count
        for row in rows:
            column = float64s(row["values"])
            values[row["line"]] = Columns(
                np.zeros(len(column), np.int32), np.zeros(len(column), np.int64), column
            )
        return values

    async def settled_partials(
        self, lines: Lines, time_range: TimeRange, step_us: int, head: Columns, *, ends: bool
    ) -> Sequence[Partials]:
        """See `Snapshot.settled_partials`."""
        if self._nothing_settled(lines.series_ids, time_range):
            return []
        # To the end of the newest sample's bucket, so that a stored aggregate may answer for that as well.
        settled_end_us = (self._settled_until_us // step_us + 1) * step_us
        span = (time_range.start_us, min(time_range.end_us, settled_end_us))
        late = self._late(head)
        touched = at_most(
            union(widened((int(ts), int(ts) + 1), step_us) for ts in np.unique(late.ts_us // step_us * step_us)),
            PIECES_MAX,
        )
        parts = []
        for piece in subtract(span, touched):
            parts += await self._clean_partials(lines, piece, step_us, ends)
        for piece in subtract(span, subtract(span, touched)):
            parts.append(await self._exact_partials(lines, piece, step_us, late))
        return parts

    async def settled_last(self, series_ids: Int32s, before_us: int, since_us: int) -> Columns:
        """See `Snapshot.settled_last`."""
        if self._settled_until_us < since_us or before_us <= since_us or len(series_ids) == 0:
            return empty_columns()
        row = await self._fetchrow(SAMPLES["last"], series_ids.tolist(), timestamp(since_us), timestamp(before_us))
        return columns_of(row)

    async def _clean_partials(self, lines: Lines, span: Span, step_us: int, ends: bool) -> list[Partials]:
        """Partials of a span that no unsettled point touches; stored aggregates may answer."""
        return [await self._raw_partials(lines, span, step_us, ends)]

    async def _raw_partials(self, lines: Lines, span: Span, step_us: int, ends: bool) -> Partials:
        if ends:
            return await self._exact_partials(lines, span, step_us, empty_columns())
        ids, start, end = self._bound(lines.series_ids, TimeRange(*span))
        step = timedelta(microseconds=step_us)
        if lines.count == 1:
            row = await self._fetchrow(SAMPLES["partials"], ids, start, end, step)
        else:
            row = await self._fetchrow(SAMPLES["partials_by_line"], ids, start, end, step, lines.lines.tolist())
        partials = partials_from(row)
        self._charge(int(partials.counts.sum()))
        return partials

    async def _exact_partials(self, lines: Lines, span: Span, step_us: int, newer: Columns) -> Partials:
        points = without(await self.settled_points(lines.series_ids, TimeRange(*span)), newer)
        return partials_of(points, lines_of(points, lines.series_ids, lines.lines), step_us)

    def _late(self, head: Columns) -> Columns:
        """Those of the head's points that could stand in place of settled ones."""
        return head.take(head.ts_us <= self._settled_until_us)

    def _nothing_settled(self, series_ids: Int32s, time_range: TimeRange) -> bool:
        return len(series_ids) == 0 or time_range.start_us > self._settled_until_us

    def _bound(self, series_ids: Int32s, time_range: TimeRange) -> tuple[list[int], object, object]:
        return series_ids.tolist(), timestamp(time_range.start_us), timestamp(time_range.end_us)

    def _charge(self, points: int) -> None:
        if points > self._limits.query_points_max:
            raise TooExpensive(
                f"the query would read more than {self._limits.query_points_max:,} samples; "
                "ask for a shorter range or fewer series",
                limit=self._limits.query_points_max,
            )

    async def _fetchrow(self, query: str, *args: object) -> Mapping[str, Any]:
        row: Mapping[str, Any] | None = await self._connection.fetchrow(query, *args)
        assert row is not None  # every one of these queries aggregates to exactly one row
        return row


def partials_from(row: Mapping[str, Any]) -> Partials:
    """The partials in a row of columns; first and last are unknown."""
    counts = int64s(row["counts"])
    unknown_ts, unknown = np.zeros(len(counts), np.int64), np.full(len(counts), np.nan)
    return Partials(
        int32s(row["lines"]),
        instants(row["buckets"]),
        counts,
        float64s(row["sums"]),
        float64s(row["mins"]),
        float64s(row["maxs"]),
        unknown_ts,
        unknown,
        unknown_ts,
        unknown,
    )


Key = TypeVar("Key")
Value = TypeVar("Value")


class _Revised(Generic[Key, Value]):
    """What was read at a revision of the tenant's catalog or policy, until that changes or room is needed."""

    def __init__(self, weight_max: int) -> None:
        self._weight_max = weight_max
        self._weight = 0
        self._kept: OrderedDict[Key, tuple[int | None, Value, int]] = OrderedDict()

    def get(self, key: Key, revision: int | None) -> Value | None:
        found = self._kept.get(key)
        if found is None or found[0] != revision:
            return None
        self._kept.move_to_end(key)
        return found[1]

    def put(self, key: Key, revision: int | None, value: Value, weight: int) -> None:
        replaced = self._kept.pop(key, None)
        self._weight += weight + 1 - (replaced[2] if replaced is not None else 0)
        self._kept[key] = (revision, value, weight + 1)
        while self._weight > self._weight_max and len(self._kept) > 1:
            _, (_, _, dropped) = self._kept.popitem(last=False)
            self._weight -= dropped


Catalog = _Revised[tuple[int, str, tuple[LabelMatcher, ...]], SeriesTable]
Definitions = _Revised[int, dict[str, MetricDefinition]]
