"""The points of a source's answer as rows that can be compared and stored, and which of them those are."""

from collections import Counter
from typing import Final

import msgspec
import numpy as np

from core.domain.collection import Counts
from core.domain.columns import Bools, Columns, Int32s, Int64s, concat_columns
from core.domain.series import SeriesIdentity
from core.domain.times import TIME_US_MAX, TIME_US_MIN, TimeRange
from core.services.ingest import VALUE_ABS_MAX
from ports.driven.metric_source import SeriesPoints

REASONS_MAX: Final = 20
"""Different reasons remembered of one item; all refusals are counted."""


class Tally:
    """What became of an item's points so far."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.refusals: Counter[str] = Counter()
        """By their reason."""
        self.no_room: set[SeriesIdentity] = set()
        """Series that were refused because the tenant has as many as it may."""

    def count(self, **counted: int) -> None:
        """Adds to `counts`."""
        self.counts = self.counts.plus(Counts(**counted))

    def refuse(self, points: int, reason: str) -> None:
        """Counts points that are not taken, for a reason that the item's result is to name."""
        if points:
            self.count(refused=points)
            if reason in self.refusals or len(self.refusals) < REASONS_MAX:
                self.refusals[reason] += points

    def add(self, other: "Tally") -> None:
        """Adds what became of further points."""
        self.counts = self.counts.plus(other.counts)
        self.no_room |= other.no_room
        for reason, points in other.refusals.items():
            if reason in self.refusals or len(self.refusals) < REASONS_MAX:
                self.refusals[reason] += points


class Rows(msgspec.Struct, frozen=True, eq=False):
    """Points, and whose they are: `owners`, int32, shape (n,), parallel to `points`."""

    points: Columns
    owners: Int32s

    def __len__(self) -> int:
        return len(self.points)

    def take(self, chosen: Int64s | Bools | slice) -> "Rows":
        """The rows chosen by index, mask or slice."""
        return Rows(self.points.take(chosen), self.owners[chosen])


def fit_rows(
    points: SeriesPoints, series_id: int, owner: int, tally: Tally, *, since_us: int, until_us: int, now_us: int
) -> Rows:
    """The points in ``[since_us, until_us]``, and those of the future, which ingest judges; all with finite values.

    Others in the past are passed over: they were not asked for. What cannot be stored at all is refused: values that
    are not finite are counted only, because vendors write absent values so.
    """
    ts_us = np.asarray(points.ts_us, np.int64)
    values = np.asarray(points.values, np.float64)
    timely = (ts_us >= TIME_US_MIN) & (ts_us < TIME_US_MAX)
    tally.refuse(int((~timely).sum()), "the timestamp is outside the years 1970 to 2200")
    wanted = timely & (ts_us >= since_us) & ((ts_us <= until_us) | (ts_us > now_us))
    finite = np.isfinite(values)
    tally.count(refused=int((wanted & ~finite).sum()))
    storable = np.abs(values) <= VALUE_ABS_MAX
    tally.refuse(int((wanted & finite & ~storable).sum()), f"the value is beyond ±{VALUE_ABS_MAX:g}")
    keep = wanted & storable
    ids = np.full(int(keep.sum()), series_id, np.int32)
    return Rows(Columns(ids, ts_us[keep], values[keep]), np.full(len(ids), owner, np.int32))


def joined(parts: list[Rows]) -> Rows:
    """All rows sorted by (series, ts); of equal ones the last."""
    points = concat_columns([part.points for part in parts])
    owners = np.concatenate([part.owners for part in parts]) if parts else np.empty(0, np.int32)
    order = np.lexsort((points.ts_us, points.series_ids))
    rows = Rows(points.take(order), owners[order])
    return rows.take(~_same_as(rows.points, np.arange(1, len(rows) + 1)))


def range_of(points: Columns) -> TimeRange:
    """The least range that holds all points, of which there is one at least."""
    return TimeRange(int(points.ts_us.min()), int(points.ts_us.max()) + 1)


def compared(rows: Rows, stored: Columns) -> tuple[Bools, Bools]:
    """Which rows are new, and which replace another value; the others are stored as they are.

    Both sorted by (series, ts), and unique in that.
    """
    both = concat_columns([stored, rows.points])
    fetched = np.arange(len(both)) >= len(stored)
    order = np.lexsort((fetched, both.ts_us, both.series_ids))
    sorted_points, is_fetched = both.take(order), fetched[order]
    # A stored point stands right before the fetched one at the same (series, ts).
    is_known = _same_as(sorted_points, np.arange(-1, len(both) - 1))[is_fetched]
    before = sorted_points.values[np.flatnonzero(is_fetched) - 1]
    new: Bools = ~is_known
    revised: Bools = is_known & (before != rows.points.values)
    return new, revised


def _same_as(points: Columns, neighbours: Int64s) -> Bools:
    """Which points have the (series, ts) of the one at `neighbours`; one that lies outside has none."""
    count = len(points)
    inside = (neighbours >= 0) & (neighbours < count)
    others = np.where(inside, neighbours, 0)
    if count == 0:
        return np.empty(0, np.bool_)
    same: Bools = inside & (points.series_ids == points.series_ids[others]) & (points.ts_us == points.ts_us[others])
    return same
