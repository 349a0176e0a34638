"""From a metric's name, source and raw label bytes to its series id, for one tenant, bounded.

Two generations: what is looked up often stays in the young one; when that is full it becomes the old one, and what is
not asked for again goes with it. The key is the sender's own label bytes, so one series may stand here under several
spellings; they all lead to the same id.
"""

from collections.abc import Sequence
from operator import attrgetter

import numpy as np

from core.domain.columns import Int32s
from core.domain.points import Point

_source = attrgetter("source")

Group = str | tuple[str, str]
"""A metric's name, with its source where it has one."""


def group_of(point: Point) -> Group:
    """What the labels are looked up under."""
    return point.name if point.source is None else (point.name, point.source)


class SeriesCache:
    """At most about twice `entries_max` series."""

    def __init__(self, entries_max: int) -> None:
        self._entries_max = entries_max
        self._young: dict[Group, dict[bytes, int]] = {}
        self._old: dict[Group, dict[bytes, int]] = {}
        self._entries = 0

    def ids(self, points: Sequence[Point]) -> Int32s | None:
        """The series of all `points`, int32 in their order, where every one is known; else None."""
        young = self._young
        try:
            if any(map(_source, points)):
                found = [young[group_of(point)][bytes(point.labels)] for point in points]
            else:
                found = [young[point.name][bytes(point.labels)] for point in points]
        except KeyError:
            return None
        return np.array(found, np.int32)

    def get(self, point: Point) -> int | None:
        """One point's series, where it is known."""
        group, labels = group_of(point), bytes(point.labels)
        series_id = self._young.get(group, {}).get(labels)
        if series_id is None:
            series_id = self._old.get(group, {}).get(labels)
            if series_id is not None:
                self.put(point, series_id)
        return series_id

    def put(self, point: Point, series_id: int) -> None:
        """Remembers a point's series."""
        if self._entries >= self._entries_max:
            self._old, self._young, self._entries = self._young, {}, 0
        self._young.setdefault(group_of(point), {})[bytes(point.labels)] = series_id
        self._entries += 1
