"""Points of a vendor's answer as columns, and series in parts of bounded size."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from adapters.driven.sources.surroundings import PART_POINTS_MAX
from core.domain.columns import Float64s, Int64s
from core.domain.times import TIME_US_MAX, TIME_US_MIN, TimeRange
from ports.driven.metric_source import Collected, SeenInstance, SeriesPoints


class NotPoints(ValueError):
    """The vendor's points are none; says why."""


def columns(pairs: Sequence[Any], unit_us: int, within: TimeRange, *, nulls: bool) -> tuple[Int64s, Float64s]:
    """`ts_us` and `values`, both shape (n,), of pairs ``[time, value]`` that lie in the range, in their order.

    Times are in units of `unit_us`; values are numbers or texts of numbers. With `nulls` a value may be null, which is
    an absent one and left out; NaN from a text stays. Raises `NotPoints`.
    """
    if not pairs:
        return np.empty(0, np.int64), np.empty(0, np.float64)
    try:
        numbers = np.array(pairs, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        raise NotPoints("points that are not pairs of a time and a number") from None
    if numbers.ndim != 2 or numbers.shape[1] != 2:
        raise NotPoints("points that are not pairs of a time and a number")
    times_us = numbers[:, 0] * unit_us
    # Written so that a NaN is outside.
    if not ((times_us >= TIME_US_MIN) & (times_us < TIME_US_MAX)).all():
        raise NotPoints("a point outside the years 1970 to 2200")
    ts_us: Int64s = np.rint(times_us).astype(np.int64)
    keep = (ts_us >= within.start_us) & (ts_us < within.end_us)
    if nulls:
        keep &= ~np.isnan(numbers[:, 1])
    return ts_us[keep], numbers[keep, 1]


def series_points(
    name: str, labels: Mapping[str, str], points: tuple[Int64s, Float64s], instance: SeenInstance | None = None
) -> SeriesPoints:
    """The points of one series, named."""
    return SeriesPoints(name=name, labels=labels, ts_us=points[0], values=points[1], instance=instance)


def in_parts(key: str, series: Iterable[SeriesPoints], *, answered_until_us: int | None = None) -> Iterator[Collected]:
    """The series in parts of at most `PART_POINTS_MAX` points, none of them `complete`; empty series are left out.

    The last part says `answered_until_us`, if that is given; there is one then, even without series.
    """
    part: list[SeriesPoints] = []
    room = PART_POINTS_MAX
    for each in series:
        start = 0
        while start < len(each.ts_us):
            end = min(start + room, len(each.ts_us))
            part.append(msgspec.structs.replace(each, ts_us=each.ts_us[start:end], values=each.values[start:end]))
            room -= end - start
            start = end
            if room == 0:
                yield Collected(key=key, series=part)
                part, room = [], PART_POINTS_MAX
    if part or answered_until_us is not None:
        yield Collected(key=key, series=part, answered_until_us=answered_until_us)
