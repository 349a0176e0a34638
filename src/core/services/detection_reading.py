"""The samples that detection looks at."""

from collections.abc import Sequence

import numpy as np

from core.domain.columns import Columns, empty_columns, overriding
from core.domain.definitions import RETENTION_DAYS_DEFAULT, retention_cutoff
from core.domain.series import Series
from core.domain.times import TimeRange
from ports.driven.sample_reader import Snapshot


async def samples_of(snapshot: Snapshot, series: Sequence[Series], time_range: TimeRange, *, now_us: int) -> Columns:
    """What is kept of `series` (ascending by id) in the range, settled or not, as detectors take it: sorted by
    (series, ts), unique. Raises `TooExpensive` past the snapshot's limits.

    What a metric's retention keeps no longer is left out, because it may be deleted at any time.
    """
    if not series:
        return empty_columns()
    series_ids = np.array([one.series_id for one in series], np.int32)
    points = overriding(await snapshot.settled_points(series_ids, time_range), snapshot.head(series_ids, time_range))
    cutoffs = await _cutoffs_us(snapshot, series, now_us)
    kept_from = np.array([cutoffs[one.name] for one in series], np.int64)
    kept = points.ts_us >= kept_from[np.searchsorted(series_ids, points.series_ids)]
    return points if kept.all() else points.take(kept)


async def _cutoffs_us(snapshot: Snapshot, series: Sequence[Series], now_us: int) -> dict[str, int]:
    """By metric, the oldest instant that its retention keeps."""
    cutoffs = {}
    for name in {one.name for one in series}:
        definition = await snapshot.definition(name)
        days = definition.retention_days if definition is not None else RETENTION_DAYS_DEFAULT
        cutoffs[name] = retention_cutoff(now_us, days)
    return cutoffs
