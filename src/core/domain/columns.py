"""Points as columns: parallel numpy arrays, which every stage after decoding works on."""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


INT64_MAX: Final = 2**63 - 1


class Columns(msgspec.Struct, frozen=True, eq=False):
    """Points of any number of series.

    `series_ids` int32, `ts_us` int64 (microseconds since the Unix epoch), `values` float64, all of shape (n,).
    """

    series_ids: Int32s
    ts_us: Int64s
    values: Float64s

    def __post_init__(self) -> None:
        if not self.series_ids.shape == self.ts_us.shape == self.values.shape:
            raise ValueError("columns differ in length")

    def __len__(self) -> int:
        return len(self.series_ids)

    def take(self, rows: Int64s | Bools | slice) -> "Columns":
        """The rows chosen by index, mask or slice."""
        return Columns(self.series_ids[rows], self.ts_us[rows], self.values[rows])


def empty_columns() -> Columns:
    """No points."""
    return Columns(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float64))


def concat_columns(parts: Sequence[Columns]) -> Columns:
    """All points of `parts`, in their order."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return empty_columns()
    return Columns(
        np.concatenate([part.series_ids for part in parts]),
        np.concatenate([part.ts_us for part in parts]),
        np.concatenate([part.values for part in parts]),
    )


def ascending(points: Columns) -> bool:
    """Whether `points` ascend strictly by (series, ts), as most columns do; looking is far cheaper than sorting."""
    series_ids, ts_us = points.series_ids, points.ts_us
    later = (series_ids[1:] == series_ids[:-1]) & (ts_us[1:] > ts_us[:-1])
    return bool((later | (series_ids[1:] > series_ids[:-1])).all())


def order_of(points: Columns) -> Int64s:
    """The stable order of rows by (series, ts)."""
    if len(points) == 0:
        return np.empty(0, np.int64)
    first_us, first_id = int(points.ts_us.min()), int(points.series_ids.min())
    span_us, span_ids = int(points.ts_us.max()) - first_us + 1, int(points.series_ids.max()) - first_id + 1
    if span_us * span_ids > INT64_MAX:
        return np.lexsort((points.ts_us, points.series_ids))
    # One key instead of two: it mostly consists of a few ascending runs, which are merged, not sorted.
    keys = (points.series_ids.astype(np.int64) - first_id) * span_us + (points.ts_us - first_us)
    return np.argsort(keys, kind="stable")


def keep_last(points: Columns) -> Columns:
    """Sorted by (series, ts), one point for each: the one that stood last in `points`."""
    if ascending(points):
        return points
    order = order_of(points)
    series_ids, ts_us = points.series_ids[order], points.ts_us[order]
    last = np.empty(len(order), np.bool_)
    last[-1] = True
    np.not_equal(series_ids[1:], series_ids[:-1], out=last[:-1])
    last[:-1] |= ts_us[1:] != ts_us[:-1]
    if last.all():
        return Columns(series_ids, ts_us, points.values[order])
    return Columns(series_ids[last], ts_us[last], points.values[order[last]])


def in_range(points: Columns, start_us: int, end_us: int) -> Columns:
    """The points with ``start_us <= ts < end_us``."""
    return points.take((points.ts_us >= start_us) & (points.ts_us < end_us))


def rows_of(points: Columns, series_ids: Int32s) -> tuple[Int64s, Int64s]:
    """Which rows of `points`, sorted by series, are of `series_ids`, in their order, and how many each of them has."""
    starts = np.searchsorted(points.series_ids, series_ids, "left")
    counts = np.searchsorted(points.series_ids, series_ids, "right") - starts
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(int(counts.sum())), counts


def overriding(settled: Columns, newer: Columns) -> Columns:
    """Both together, a point of `newer` replacing one of `settled` at the same (series, ts); sorted."""
    return keep_last(concat_columns([settled, newer]))


def without(points: Columns, replaced_by: Columns) -> Columns:
    """The rows of `points` whose (series, ts) no row of `replaced_by` has; sorted by (series, ts)."""
    if len(points) == 0 or len(replaced_by) == 0:
        return points
    both = concat_columns([points, replaced_by])
    newer = np.arange(len(both)) >= len(points)
    order = np.lexsort((newer, both.ts_us, both.series_ids))
    series_ids, ts_us = both.series_ids[order], both.ts_us[order]
    keep = ~newer[order]
    replaced = (series_ids[1:] == series_ids[:-1]) & (ts_us[1:] == ts_us[:-1]) & newer[order][1:]
    keep[:-1] &= ~replaced
    return both.take(order[keep])
