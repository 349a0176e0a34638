"""Pure functions over settled samples: columns sorted by (series, ts), one point for each."""

import numpy as np

from core.domain.columns import Columns, Int32s, concat_columns


def rows_of_series(settled: Columns, series_ids: Int32s) -> Columns:
    """The samples of `series_ids` (ascending), in order."""
    starts = np.searchsorted(settled.series_ids, series_ids, "left")
    ends = np.searchsorted(settled.series_ids, series_ids, "right")
    return concat_columns([settled.take(slice(start, end)) for start, end in zip(starts, ends, strict=True)])


def last_of_each(points: Columns) -> Columns:
    """The last point of each series; `points` sorted by (series, ts)."""
    last = np.ones(len(points), np.bool_)
    last[:-1] = points.series_ids[1:] != points.series_ids[:-1]
    return points.take(last)
