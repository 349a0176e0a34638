"""Snapshots over the settled samples and the unsettled blocks in memory."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np

from adapters.driven.memory.block_log import SETTLER
from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.samples import last_of_each, rows_of_series
from core.domain.aggregation import Partials, lines_of, partials_of
from core.domain.columns import Columns, Int32s, concat_columns, in_range, keep_last, without
from core.domain.definitions import MetricDefinition
from core.domain.errors import TooExpensive
from core.domain.matchers import LabelMatcher, label_filter
from core.domain.series import Series
from core.domain.tenants import Limits
from core.domain.times import TimeRange
from ports.driven.sample_reader import Lines, SeriesTable, Snapshot


class MemorySnapshot:
    """Implements `Snapshot`; reads at most the tenant's `query_points_max` settled samples over its life."""

    def __init__(self, database: MemoryDatabase, tenant_id: int, limits: Limits) -> None:
        self._database = database
        self._tenant_id = tenant_id
        self._limits = limits
        self._settled = database.settled
        self._blocks = [logged.block for logged in database.log.unread(SETTLER)]
        self._points_read = 0

    async def definition(self, name: str) -> MetricDefinition | None:
        """The tenant's definition of a metric."""
        return self._database.definitions.get((self._tenant_id, name))

    async def find(self, name: str, matchers: Sequence[LabelMatcher]) -> SeriesTable:
        """The series of a metric that satisfy all matchers."""
        holds = label_filter(matchers)
        series = [
            Series(row.series_id, name, dict(row.identity.labels), row.identity.source)
            for row in self._database.series_of(self._tenant_id)
            if row.identity.name == name and holds(dict(row.identity.labels))
        ]
        return SeriesTable(np.array([one.series_id for one in series], np.int32), series)

    def head(self, series_ids: Int32s, time_range: TimeRange) -> Columns:
        """Unsettled points: the last of each (series, ts), sorted."""
        own = self._own(series_ids)
        parts = [block.points.take(np.isin(block.points.series_ids, own)) for block in self._blocks]
        return keep_last(in_range(concat_columns(parts), time_range.start_us, time_range.end_us))

    async def settled_points(
        self,
        series_ids: Int32s,
        time_range: TimeRange,
        *,
        first: int | None = None,
        after: tuple[int, int] | None = None,
    ) -> Columns:
        """Settled samples; with `first` those that stand first by (ts, series), past `after`."""
        points = self._narrowed(series_ids, time_range)
        if after is not None:
            ts_us, series_id = after
            later = (points.ts_us > ts_us) | ((points.ts_us == ts_us) & (points.series_ids > series_id))
            points = points.take(later)
        if first is not None:
            points = points.take(np.lexsort((points.series_ids, points.ts_us))[:first])
        return self._counted(points)

    async def settled_values(self, lines: Lines, time_range: TimeRange, head: Columns) -> Sequence[Columns]:
        """Values of settled samples that `head` does not override, one `Columns` a line."""
        points = self._counted(without(self._narrowed(lines.series_ids, time_range), head))
        timeless = Columns(points.series_ids, np.zeros(len(points), np.int64), points.values)
        line_of = lines_of(points, lines.series_ids, lines.lines)
        return [timeless.take(line_of == line) for line in range(lines.count)]

    async def settled_partials(
        self,
        lines: Lines,
        time_range: TimeRange,
        step_us: int,
        head: Columns,
        *,
        ends: bool,  # noqa: ARG002 - first and last cost nothing here
    ) -> Sequence[Partials]:
        """Their partial aggregates, first and last always among them."""
        points = self._counted(without(self._narrowed(lines.series_ids, time_range), head))
        return [partials_of(points, lines_of(points, lines.series_ids, lines.lines), step_us)]

    async def settled_last(self, series_ids: Int32s, before_us: int, since_us: int) -> Columns:
        """Each series' last settled sample in ``[since_us, before_us)``."""
        points = rows_of_series(self._settled, self._own(series_ids))
        return self._counted(last_of_each(in_range(points, since_us, before_us)))

    def _own(self, series_ids: Int32s) -> Int32s:
        """Those of `series_ids` that are the tenant's."""
        series = self._database.series
        own = [
            series_id
            for series_id in series_ids.tolist()
            if series_id in series and series[series_id].tenant_id == self._tenant_id
        ]
        return np.array(own, np.int32)

    def _narrowed(self, series_ids: Int32s, time_range: TimeRange) -> Columns:
        points = rows_of_series(self._settled, self._own(series_ids))
        return in_range(points, time_range.start_us, time_range.end_us)

    def _counted(self, points: Columns) -> Columns:
        self._points_read += len(points)
        points_max = self._limits.query_points_max
        if self._points_read > points_max:
            raise TooExpensive(f"the query reads more than {points_max} samples", limit=points_max)
        return points


class MemorySampleReader:
    """Implements `SampleReader`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    @asynccontextmanager
    async def snapshot(self, tenant_id: int, limits: Limits) -> AsyncIterator[Snapshot]:
        """A snapshot of the present."""
        yield MemorySnapshot(self._database, tenant_id, limits)

    async def names(self, tenant_id: int, prefix: str, limit: int) -> Sequence[str]:
        """Metric names with that prefix, ascending."""
        names = {row.identity.name for row in self._database.series_of(tenant_id)}
        return sorted(name for name in names if name.startswith(prefix))[:limit]

    async def label_names(self, tenant_id: int, limit: int) -> Sequence[str]:
        """Label names, ascending."""
        rows = self._database.series_of(tenant_id)
        return sorted({label for row in rows for label, _ in row.identity.labels})[:limit]

    async def label_values(self, tenant_id: int, label: str, limit: int) -> Sequence[str]:
        """Values of one label, ascending."""
        rows = self._database.series_of(tenant_id)
        return sorted({value for row in rows for name, value in row.identity.labels if name == label})[:limit]
