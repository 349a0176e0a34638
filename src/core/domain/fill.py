"""Filling: what stands in the buckets of a range that have no value."""

import numpy as np

from core.domain.columns import Float64s, Int64s
from core.domain.queries import Fill
from core.domain.times import TimeRange


def filled(
    buckets_us: Int64s, values: Float64s, time_range: TimeRange, bucket_us: int, fill: Fill
) -> tuple[Int64s, Float64s]:
    """One line's buckets and values over `time_range`, gaps treated as `fill` says; NaN stands for null.

    `buckets_us` ascending bucket starts. `previous` and `linear` leave null where nothing stands before (for linear,
    on both sides).
    """
    if fill is Fill.NONE:
        return buckets_us, values
    start_us = time_range.start_us // bucket_us * bucket_us
    every = np.arange(start_us, time_range.end_us, bucket_us, dtype=np.int64)
    complete = np.full(len(every), np.nan)
    places = (buckets_us - start_us) // bucket_us
    complete[places] = values
    match fill:
        case Fill.NULL:
            pass
        case Fill.ZERO:
            complete[np.isnan(complete)] = 0.0
        case Fill.PREVIOUS:
            last = np.full(len(every), -1, np.int64)
            last[places] = places
            last = np.maximum.accumulate(last)
            complete = np.where(last >= 0, complete[last], np.nan)
        case Fill.LINEAR:
            complete = np.interp(every, buckets_us, values, left=np.nan, right=np.nan)
            complete[places] = values
    return every, complete
