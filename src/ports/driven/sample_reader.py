"""Reading: one consistent snapshot over settled samples and the journal's unsettled blocks.

What a snapshot sees is everything acknowledged before it was opened, exactly once.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from core.domain.aggregation import Partials
from core.domain.columns import Columns, Int32s
from core.domain.definitions import MetricDefinition
from core.domain.matchers import LabelMatcher
from core.domain.series import Series
from core.domain.tenants import Limits
from core.domain.times import TimeRange


class SeriesTable(msgspec.Struct, frozen=True, eq=False):
    """Series of one metric name, ascending by id; `series_ids` int32, shape (n,), parallel to `series`."""

    series_ids: Int32s
    series: Sequence[Series]


class Lines(msgspec.Struct, frozen=True, eq=False):
    """Which line of the answer each series belongs to; both int32, shape (n,), `series_ids` ascending."""

    series_ids: Int32s
    lines: Int32s
    count: int


class Snapshot(Protocol):
    """A consistent view of one tenant's data. Not safe for concurrent calls.

    `settled_*` methods answer from settled samples alone; whoever asks joins them with the head. `settled_values` and
    `settled_partials` leave out the samples that `head` overrides (same series and timestamp), `settled_points` and
    `settled_last` may hold them: join those with `overriding`. All raise `TooExpensive` past the tenant's limits and
    `Unavailable`.
    """

    async def definition(self, name: str) -> MetricDefinition | None:
        """The tenant's definition of a metric."""
        ...

    async def find(self, name: str, matchers: Sequence[LabelMatcher]) -> SeriesTable:
        """The series of a metric that satisfy all matchers."""
        ...

    def head(self, series_ids: Int32s, time_range: TimeRange) -> Columns:
        """Acknowledged points that are not settled: sorted by (series, ts), one for each, the last value."""
        ...

    async def settled_points(
        self,
        series_ids: Int32s,
        time_range: TimeRange,
        *,
        first: int | None = None,
        after: tuple[int, int] | None = None,
    ) -> Columns:
        """Settled samples, in any order; with `first` only that many, the first by (ts, series).

        `after` is a (ts_us, series_id) that all must be greater than.
        """
        ...

    async def settled_values(self, lines: Lines, time_range: TimeRange, head: Columns) -> Sequence[Columns]:
        """The same without times, for statistics: one `Columns` per line whose `ts_us` are all 0."""
        ...

    async def settled_partials(
        self, lines: Lines, time_range: TimeRange, step_us: int, head: Columns, *, ends: bool
    ) -> Sequence[Partials]:
        """Partial aggregates of settled samples per (line, bucket), in parts to be merged.

        First and last are only meant where `ends` asks for them; they cost more.
        """
        ...

    async def settled_last(self, series_ids: Int32s, before_us: int, since_us: int) -> Columns:
        """Each series' last settled sample with ``since_us <= ts < before_us``, where it has one."""
        ...


class SampleReader(Protocol):
    """Opens snapshots. Safe to call concurrently."""

    def snapshot(self, tenant_id: int, limits: Limits) -> AbstractAsyncContextManager[Snapshot]:
        """A snapshot of the present; everything acknowledged before this call is in it."""
        ...

    async def names(self, tenant_id: int, prefix: str, limit: int) -> Sequence[str]:
        """Metric names of the tenant that begin with `prefix`, ascending."""
        ...

    async def label_names(self, tenant_id: int, limit: int) -> Sequence[str]:
        """Names of labels that any series of the tenant carries, ascending."""
        ...

    async def label_values(self, tenant_id: int, label: str, limit: int) -> Sequence[str]:
        """Values of one label among the tenant's series, ascending."""
        ...
