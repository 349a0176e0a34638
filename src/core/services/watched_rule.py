"""One rule that needs more than the sample that just came: a window, a group, or a wait for late samples.

Theory of operation. The rule keeps the samples that its windows can still reach, for each of its lines (a line is what
has an alert of its own: a series or a group). New samples are merged into their lines' rows, a repeated (series, ts)
replacing the one before; then every instant of these lines that is due and newer than the line's last evaluated one is
evaluated, and what no window reaches any more is dropped. Only lines with new or waiting samples are touched.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np

from core.domain.columns import (
    Bools,
    Columns,
    Int32s,
    Int64s,
    concat_columns,
    empty_columns,
    keep_last,
    rows_of,
)
from core.domain.compiled_rule import CompiledRule
from core.domain.definitions import Aggregation
from core.domain.windows import Readings, readings_of

POINTS_MAX: Final = 20_000_000
"""Samples one rule may keep, 320 MB: past it the oldest go, and windows reach less far back."""
NEVER_US: Final = -1
BETWEEN: Final = frozenset(Aggregation) - {
    Aggregation.SUM,
    Aggregation.COUNT,
    Aggregation.RATE,
    Aggregation.INCREASE,
}
"""Whose value lies between the least and the greatest sample."""


class Line(msgspec.Struct, frozen=True):
    """What has an alert of its own under a rule."""

    key: str
    labels: dict[str, str]


class WatchedRule:
    """A rule with the samples its windows need. Its owner calls it from one event loop only."""

    def __init__(self, compiled: CompiledRule) -> None:
        self.compiled = compiled
        self.lines: list[Line] = []
        self.truncated = False
        """Whether samples within a window had to be dropped."""
        self._line_of_key: dict[str, int] = {}
        self._series_ids = np.empty(0, np.int32)  # ascending
        self._series_lines = np.empty(0, np.int32)
        self._evaluated_us = np.empty(0, np.int64)
        self._points = empty_columns()
        self._point_lines = np.empty(0, np.int32)

    def bind(self, series: Sequence[tuple[int, Line]]) -> list[int]:
        """Makes series the rule's, each under its line; returns the ids that were not before."""
        known = set(self._series_ids.tolist())
        added = [(series_id, line) for series_id, line in series if series_id not in known]
        if not added:
            return []
        lines = []
        for _, line in added:
            number = self._line_of_key.setdefault(line.key, len(self.lines))
            if number == len(self.lines):
                self.lines.append(line)
            lines.append(number)
        ids = np.append(self._series_ids, np.array([series_id for series_id, _ in added], np.int32))
        order = np.argsort(ids)
        self._series_ids = ids[order]
        self._series_lines = np.append(self._series_lines, np.array(lines, np.int32))[order]
        missing = len(self.lines) - len(self._evaluated_us)
        self._evaluated_us = np.append(self._evaluated_us, np.full(missing, NEVER_US, np.int64))
        return [series_id for series_id, _ in added]

    def remember(self, history: Columns) -> None:
        """Takes samples, sorted by (series, ts), that were evaluated already, by whoever led before: they fill windows
        and are not judged."""
        rows, lines = self._mine(history)
        np.maximum.at(self._evaluated_us, lines, rows.ts_us)
        self._points, self._point_lines = (
            concat_columns([self._points, rows]),
            np.append(self._point_lines, lines),
        )

    def observe(self, points: Columns, now_us: int, active: Sequence[int]) -> Readings:
        """Takes new samples, sorted by (series, ts), and returns what is due by `now_us`; of lines that are not among
        `active`, only where it may matter."""
        rows, lines = self._mine(points)
        until_us = now_us - self.compiled.delay_us if self.compiled.delay_us else np.iinfo(np.int64).max
        touched = np.zeros(len(self.lines), np.bool_)
        touched[lines] = True
        if self.compiled.delay_us:
            waiting = self._points.ts_us > self._evaluated_us[self._point_lines]
            touched[self._point_lines[waiting & (self._points.ts_us <= until_us)]] = True
        if not touched.any():
            return Readings(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float64))
        mine = touched[self._point_lines]
        others = self._points.take(~mine), self._point_lines[~mine]
        merged = keep_last(concat_columns([self._points if mine.all() else self._points.take(mine), rows]))
        merged_lines = self._lines_of(merged)
        readings = self._judged(merged, merged_lines, int(until_us), active)
        keep = self._reachable(merged, merged_lines)
        self._points = concat_columns([others[0], merged.take(keep)])
        self._point_lines = np.append(others[1], merged_lines[keep])
        self._bound()
        return readings

    def _judged(self, merged: Columns, lines: Int32s, until_us: int, active: Sequence[int]) -> Readings:
        """What is due of `merged`, and has now been evaluated."""
        aggregation, window_us = self.compiled.rule.aggregation, self.compiled.window_us
        loud = self._loud(merged, lines, active)
        passed = ~loud & (merged.ts_us <= until_us)
        readings = readings_of(merged.take(loud), lines[loud], aggregation, window_us, self._evaluated_us, until_us)
        np.maximum.at(self._evaluated_us, readings.lines, readings.ts_us)
        np.maximum.at(self._evaluated_us, lines[passed], merged.ts_us[passed])
        return readings

    def _loud(self, merged: Columns, lines: Int32s, active: Sequence[int]) -> Bools:
        """The rows of lines that must be looked at: others have no sample past a threshold, so no average, percentile
        or extreme of theirs is past it either."""
        if self.compiled.rule.aggregation not in BETWEEN:
            return np.ones(len(merged), np.bool_)
        low, high = self.compiled.quiet_band()
        loud = np.zeros(len(self.lines), np.bool_)
        loud[lines[(merged.values >= high) | (merged.values <= low)]] = True
        loud[list(active)] = True
        rows: Bools = loud[lines]
        return rows

    def numbers_of(self, keys: Iterable[str]) -> list[int]:
        """The numbers of the lines with these keys, as far as they are the rule's."""
        return [self._line_of_key[key] for key in keys if key in self._line_of_key]

    def newest_us(self) -> Int64s:
        """When each line was last evaluated, `NEVER_US` where it was not; shape (lines,)."""
        return self._evaluated_us

    def _mine(self, points: Columns) -> tuple[Columns, Int32s]:
        """The rows of the rule's series, and the line of each."""
        if len(points) == 0 or len(self._series_ids) == 0:
            return empty_columns(), np.empty(0, np.int32)
        rows, counts = rows_of(points, self._series_ids)
        return points.take(rows), np.repeat(self._series_lines, counts)

    def _lines_of(self, points: Columns) -> Int32s:
        """The line of each of the rule's points, sorted by series."""
        starts = np.flatnonzero(np.append(True, points.series_ids[1:] != points.series_ids[:-1]))
        lines = self._series_lines[np.searchsorted(self._series_ids, points.series_ids[starts])]
        return np.repeat(lines, np.diff(np.append(starts, len(points))))

    def _reachable(self, points: Columns, lines: Int32s) -> Bools:
        """Which rows a later window can hold, and each series' one before those: a difference's other end."""
        horizon_us = self._evaluated_us[lines] - (self.compiled.window_us or 0)
        keep: Bools = points.ts_us > horizon_us
        keep[:-1] |= keep[1:] & (points.series_ids[1:] == points.series_ids[:-1])
        return keep

    def _bound(self) -> None:
        excess = len(self._points) - POINTS_MAX
        if excess > 0:
            self.truncated = True
            oldest_us = np.partition(self._points.ts_us, excess)[excess]
            keep = self._points.ts_us >= oldest_us
            self._points, self._point_lines = self._points.take(keep), self._point_lines[keep]
