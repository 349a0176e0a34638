"""The newest samples of series, from settled ones and the head together."""

import numpy as np

from core.domain.columns import Columns, Int32s, overriding
from core.domain.times import TimeRange
from ports.driven.sample_reader import Snapshot


async def newest_in(snapshot: Snapshot, series_ids: Int32s, time_range: TimeRange) -> Columns:
    """The newest point of each series (ids ascending) that has one in the range; sorted by series."""
    head = last_of_each(snapshot.head(series_ids, time_range))
    settled = await snapshot.settled_last(series_ids, time_range.end_us, time_range.start_us)
    return last_of_each(overriding(settled, head))


def last_of_each(points: Columns) -> Columns:
    """The last row of each series; `points` sorted by (series, ts)."""
    if len(points) == 0:
        return points
    return points.take(np.append(points.series_ids[1:] != points.series_ids[:-1], True))
