"""Bucket mathematics against slow oracles."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.domain.aggregation import (
    DECOMPOSABLE,
    Buckets,
    Partials,
    finish,
    increases_of,
    lines_of,
    merge_partials,
    partials_of,
    per_second,
    percentiles_of,
)
from core.domain.columns import Columns, Int32s, keep_last
from core.domain.definitions import Aggregation
from tests.property.strategies import SERIES_MAX, columns, point_lists, ranges, steps
from tests.support import oracle

Points = list[tuple[int, int, float]]

SERIES_IDS: Int32s = np.arange(1, SERIES_MAX + 1, dtype=np.int32)
line_tables = st.lists(st.integers(0, 2), min_size=SERIES_MAX, max_size=SERIES_MAX)


def distinct(points: Points) -> tuple[Columns, dict[tuple[int, int], float]]:
    """The points as the store gives them, and their model."""
    return keep_last(columns(points)), oracle.last_values(points)


def partials(points: Columns, lines: list[int], step_us: int | None) -> Partials:
    """Partial aggregates of raw points under a table of lines."""
    return partials_of(points, lines_of(points, SERIES_IDS, np.array(lines, np.int32)), step_us)


def as_mapping(buckets: Buckets) -> dict[tuple[int, int], float]:
    """Finished values by (line, bucket), asserting that they are sorted and distinct."""
    groups = list(zip(buckets.lines.tolist(), buckets.buckets_us.tolist(), strict=True))
    assert groups == sorted(set(groups))
    return dict(zip(groups, buckets.values.tolist(), strict=True))


def check_partials(actual: Partials, model: oracle.Model, lines: list[int], step_us: int | None) -> None:
    """Asserts that merged partials are what the oracle says."""
    oracle.check_partials(actual, oracle.summaries(model, lambda series_id: lines[series_id - 1], step_us))


@given(point_lists, line_tables, steps)
def test_partials(points: Points, lines: list[int], step_us: int | None) -> None:
    """Count, sum, min, max, first and last of every bucket equal a loop's, whatever the points."""
    raw, model = distinct(points)
    check_partials(partials(raw, lines, step_us), model, lines, step_us)


@given(point_lists, line_tables, steps, st.data())
def test_partials_merge(points: Points, lines: list[int], step_us: int | None, data: st.DataObject) -> None:
    """However points are split, and in whatever order the parts come, they merge into the partials of all."""
    raw, model = distinct(points)
    part_of = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(raw), max_size=len(raw))), np.int64)
    order = data.draw(st.permutations(range(4)))
    parts = [partials(raw.take(part_of == part), lines, step_us) for part in order]
    check_partials(merge_partials(parts), model, lines, step_us)


@given(point_lists, line_tables, st.sampled_from([(1, 10), (7, 70), (1, None), (5, 10)]))
def test_partials_coarsen(points: Points, lines: list[int], step_pair: tuple[int, int | None]) -> None:
    """Partials of fine buckets, moved to the coarse ones that hold them, merge into the coarse partials."""
    fine_us, coarse_us = step_pair
    raw, model = distinct(points)
    fine = partials(raw, lines, fine_us)
    fields = {name: getattr(fine, name) for name in Partials.__struct_fields__}
    fields["buckets_us"] = (
        np.zeros_like(fine.buckets_us) if coarse_us is None else fine.buckets_us // coarse_us * coarse_us
    )
    check_partials(merge_partials([Partials(**fields)]), model, lines, coarse_us)


@given(point_lists, line_tables, steps, st.sampled_from(sorted(DECOMPOSABLE, key=str)))
def test_finish(points: Points, lines: list[int], step_us: int | None, aggregation: Aggregation) -> None:
    """Every decomposable aggregation's value is the oracle's; an empty bucket is absent."""
    raw, model = distinct(points)
    actual = as_mapping(finish(merge_partials([partials(raw, lines, step_us)]), aggregation))
    expected = oracle.summaries(model, lambda series_id: lines[series_id - 1], step_us)
    assert actual.keys() == expected.keys()
    for group, summary in expected.items():
        wanted = summary.sum / summary.count if aggregation is Aggregation.AVG else getattr(summary, aggregation.value)
        assert oracle.close(actual[group], wanted, summary.magnitude)


@given(point_lists, line_tables, steps, st.sampled_from([0.0, 1.0, 50.0, 90.0, 95.0, 99.0, 100.0]))
def test_percentiles(points: Points, lines: list[int], step_us: int | None, percent: float) -> None:
    """Percentiles equal numpy.percentile's default to 1e-12."""
    raw, model = distinct(points)
    line_of = lines_of(raw, SERIES_IDS, np.array(lines, np.int32))
    [actual] = percentiles_of(raw, line_of, step_us, [percent])
    expected = oracle.percentiles(model, lambda series_id: lines[series_id - 1], step_us, percent)
    found = as_mapping(actual)
    assert found.keys() == expected.keys()
    assert all(oracle.close(found[group], expected[group]) for group in expected)


@given(point_lists, line_tables, st.sampled_from([1, 7, 10, 1_000]), ranges())
def test_increases(points: Points, lines: list[int], step_us: int, time_range: tuple[int, int]) -> None:
    """Deltas of consecutive samples add up; a drop is a reset; the sample before the range lends a value."""
    start_us, end_us = time_range
    raw, model = distinct(points)
    earlier = [
        max((ts for sid, ts in model if sid == series_id and ts < start_us), default=None)
        for series_id in range(1, SERIES_MAX + 1)
    ]
    wanted = [
        start_us <= ts_us < end_us or ts_us == earlier[series_id - 1]
        for series_id, ts_us in zip(raw.series_ids.tolist(), raw.ts_us.tolist(), strict=True)
    ]
    given_points = raw.take(np.array(wanted, np.bool_))
    actual = increases_of(given_points, SERIES_IDS, np.array(lines, np.int32), step_us, start_us=start_us)
    expected = oracle.increases(model, lambda series_id: lines[series_id - 1], step_us, start_us, end_us)
    found, rates = as_mapping(actual), as_mapping(per_second(actual, step_us))
    assert found.keys() == rates.keys() == expected.keys()
    for group, deltas in expected.items():
        magnitude = math.fsum(abs(delta) for delta in deltas)
        assert oracle.close(found[group], math.fsum(deltas), magnitude)
        assert oracle.close(rates[group], found[group] / (step_us / 1e6))
