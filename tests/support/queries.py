"""Answers of a snapshot: settled samples and the head joined, by the shortest way that the ports allow."""

import numpy as np

from core.domain.aggregation import Partials, lines_of, merge_partials, partials_of
from core.domain.columns import Columns, Int32s, overriding
from core.domain.times import TimeRange
from ports.driven.sample_reader import Lines, Snapshot
from tests.support.oracle import LineOf


def one_line(series_ids: Int32s) -> Lines:
    """All series on one line."""
    return Lines(series_ids, np.zeros(len(series_ids), np.int32), 1)


def lines_by(series_ids: Int32s, line_of: LineOf) -> Lines:
    """Every series on the line that `line_of` says."""
    lines = np.array([line_of(series_id) for series_id in series_ids.tolist()], np.int32)
    return Lines(series_ids, lines, int(lines.max()) + 1)


async def raw_points(snapshot: Snapshot, series_ids: Int32s, time_range: TimeRange) -> Columns:
    """All samples, sorted by (series, ts)."""
    settled = await snapshot.settled_points(series_ids, time_range)
    return overriding(settled, snapshot.head(series_ids, time_range))


async def first_points(
    snapshot: Snapshot, series_ids: Int32s, time_range: TimeRange, first: int, after: tuple[int, int] | None
) -> list[tuple[int, int, float]]:
    """One page of samples by (ts, series), past `after`."""
    settled = await snapshot.settled_points(series_ids, time_range, first=first, after=after)
    points = overriding(settled, snapshot.head(series_ids, time_range))
    rows = zip(points.ts_us.tolist(), points.series_ids.tolist(), points.values.tolist(), strict=True)
    return sorted(row for row in rows if after is None or row[:2] > after)[:first]


async def partials(
    snapshot: Snapshot, lines: Lines, time_range: TimeRange, step_us: int, *, ends: bool = True
) -> Partials:
    """Partial aggregates of every (line, bucket)."""
    head = snapshot.head(lines.series_ids, time_range)
    settled = await snapshot.settled_partials(lines, time_range, step_us, head, ends=ends)
    unsettled = partials_of(head, lines_of(head, lines.series_ids, lines.lines), step_us)
    return merge_partials([*settled, unsettled])


async def values_by_line(snapshot: Snapshot, lines: Lines, time_range: TimeRange) -> list[list[float]]:
    """All values of each line, ascending."""
    head = snapshot.head(lines.series_ids, time_range)
    settled = await snapshot.settled_values(lines, time_range, head)
    line_of = lines_of(head, lines.series_ids, lines.lines)
    return [
        sorted([*settled[line].values.tolist(), *head.values[line_of == line].tolist()]) for line in range(lines.count)
    ]


async def latest(snapshot: Snapshot, series_ids: Int32s, time_range: TimeRange) -> dict[int, tuple[int, float]]:
    """Series → its newest sample (ts_us, value)."""
    settled = await snapshot.settled_last(series_ids, time_range.end_us, time_range.start_us)
    points = overriding(settled, snapshot.head(series_ids, time_range))
    rows = zip(points.series_ids.tolist(), points.ts_us.tolist(), points.values.tolist(), strict=True)
    return {series_id: (ts_us, value) for series_id, ts_us, value in rows}
