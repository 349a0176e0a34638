"""Columns: the last of each (series, ts), ranges, overriding."""

from hypothesis import given
from hypothesis import strategies as st

from core.domain.columns import concat_columns, in_range, keep_last, overriding, without
from core.domain.times import TIME_US_MAX
from tests.property.strategies import columns, point_lists, ranges
from tests.support.oracle import last_values, model_rows, rows

wide_ids = st.sampled_from([1, 2, 2**31 - 2, 2**31 - 1])
wide_instants = st.sampled_from([0, 1, TIME_US_MAX - 2, TIME_US_MAX - 1])
Points = list[tuple[int, int, float]]


@given(point_lists)
def test_keep_last(points: Points) -> None:
    """`keep_last` sorts by (series, ts) and keeps of equal ones the last, as a dict does."""
    assert rows(keep_last(columns(points))) == model_rows(last_values(points))


@given(st.lists(st.tuples(wide_ids, wide_instants, st.sampled_from([1.0, 2.0])), max_size=30))
def test_keep_last_far_apart(points: Points) -> None:
    """The same where series and instants lie as far apart as they can."""
    assert rows(keep_last(columns(points))) == model_rows(last_values(points))


@given(point_lists)
def test_keep_last_twice(points: Points) -> None:
    """Keeping the last of each twice changes nothing."""
    once = keep_last(columns(points))
    assert rows(keep_last(once)) == rows(once)


@given(point_lists, point_lists)
def test_overriding(settled: Points, newer: Points) -> None:
    """A newer point takes the place of a settled one at the same (series, ts), and only there."""
    joined = overriding(keep_last(columns(settled)), keep_last(columns(newer)))
    assert rows(joined) == model_rows({**last_values(settled), **last_values(newer)})


@given(point_lists, point_lists)
def test_without(points: Points, replaced_by: Points) -> None:
    """The points that stay are those whose (series, ts) is in no row of the others."""
    left = without(keep_last(columns(points)), columns(replaced_by))
    gone = last_values(replaced_by)
    expected = {key: value for key, value in last_values(points).items() if key not in gone}
    assert rows(left) == model_rows(expected)


@given(point_lists, ranges())
def test_in_range(points: Points, time_range: tuple[int, int]) -> None:
    """A range holds its start and not its end, and keeps the order."""
    start_us, end_us = time_range
    expected = [point for point in points if start_us <= point[1] < end_us]
    assert rows(in_range(columns(points), start_us, end_us)) == expected


@given(point_lists, point_lists)
def test_concat(first: Points, second: Points) -> None:
    """Concatenating keeps everything in order, whether there are many parts, one or none."""
    assert rows(concat_columns([columns(first), columns(second)])) == first + second
    assert rows(concat_columns([columns(first)])) == first
    assert rows(concat_columns([])) == []
