"""Settling: from journal blocks to sorted, distinct rows, split into what is new and what is late. Pure."""

from collections.abc import Sequence

import msgspec
import numpy as np

from core.domain.columns import Bools, Columns, Int32s, Int64s, concat_columns, keep_last
from core.domain.head import JournalBlock
from core.domain.ranges import Span, union
from core.domain.times import DAY_US


class Merged(msgspec.Struct, frozen=True, eq=False):
    """Rows for the samples table: sorted by (tenant, series, ts), one for each (series, ts)."""

    points: Columns
    tenant_ids: Int32s
    """Parallel to `points`."""

    def __len__(self) -> int:
        return len(self.points)

    def take(self, rows: Bools) -> "Merged":
        """The rows chosen by mask."""
        return Merged(self.points.take(rows), self.tenant_ids[rows])


def merge(blocks: Sequence[JournalBlock]) -> Merged:
    """All points of `blocks` (in commit order), the last of each (series, ts)."""
    points = keep_last(concat_columns([block.points for block in blocks]))
    tenants = _tenant_of_series(blocks)
    tenant_ids = tenants[points.series_ids]
    if len(points) and (np.diff(tenant_ids) < 0).any():  # series ids of tenants interleave
        order = np.argsort(tenant_ids, kind="stable")
        points, tenant_ids = points.take(order), tenant_ids[order]
    return Merged(points, tenant_ids)


def assert_sorted(merged: Merged) -> None:
    """Raises AssertionError unless rows ascend strictly by (tenant, series, ts): the columnstore trusts this order."""
    tenant, series, ts = merged.tenant_ids, merged.points.series_ids, merged.points.ts_us
    later = (tenant[1:] > tenant[:-1]) | (
        (tenant[1:] == tenant[:-1])
        & ((series[1:] > series[:-1]) | ((series[1:] == series[:-1]) & (ts[1:] > ts[:-1])))
    )
    if not later.all():
        raise AssertionError("rows to settle are not strictly ascending by (tenant, series, ts)")


def late_rows(points: Columns, newest_ids: Int32s, newest_ts_us: Int64s) -> Bools:
    """Which points are not newer than their series' newest settled one; series without one have none."""
    if len(points) == 0:
        return np.zeros(0, np.bool_)
    newest = np.full(int(max(points.series_ids.max(), newest_ids.max(initial=0))) + 1, -1, np.int64)
    newest[newest_ids] = newest_ts_us
    return points.ts_us <= newest[points.series_ids]


def days(points: Columns) -> list[int]:
    """Midnights (UTC, microseconds) of the days that have points, ascending."""
    return [int(day) * DAY_US for day in np.unique(points.ts_us // DAY_US)]


def spans(ts_us: Int64s, width_us: int, *, gap_us: int) -> list[Span]:
    """The runs of whole buckets that hold these instants; runs no more than `gap_us` apart are one."""
    buckets = np.unique(ts_us // width_us) * width_us
    return union(((int(bucket), int(bucket) + width_us) for bucket in buckets), gap_us=gap_us)


def newest_by_tenant(merged: Merged) -> dict[int, int]:
    """Tenant → its newest timestamp among the rows."""
    tenants, starts = np.unique(merged.tenant_ids, return_index=True)
    return dict(zip(tenants.tolist(), np.maximum.reduceat(merged.points.ts_us, starts).tolist(), strict=True))


def _tenant_of_series(blocks: Sequence[JournalBlock]) -> Int32s:
    """Series id → tenant id, for the series in `blocks`."""
    largest = max((int(block.points.series_ids.max()) for block in blocks if len(block.points)), default=0)
    tenants = np.zeros(largest + 1, np.int32)
    for block in blocks:
        start = 0
        for tenant_id, end in zip(block.tenant_ids, block.tenant_ends, strict=True):
            tenants[block.points.series_ids[start:end]] = tenant_id
            start = end
    return tenants
