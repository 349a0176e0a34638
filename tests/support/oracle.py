"""Slow, obvious answers to every query, from a mapping (series, ts_us) → last acknowledged value.

Plain Python and numpy's own percentile; nothing of the program's own arithmetic is used.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from core.domain.aggregation import Partials
from core.domain.columns import Columns

Model = Mapping[tuple[int, int], float]
LineOf = Callable[[int], int]


@dataclass(frozen=True)
class Summary:
    """What one (line, bucket) holds; rounding errors scale with `magnitude`, the sum of absolute values."""

    count: int
    sum: float
    min: float
    max: float
    first_ts_us: int
    first: float
    last_ts_us: int
    last: float
    magnitude: float


def last_values(points: Iterable[tuple[int, int, float]]) -> dict[tuple[int, int], float]:
    """The model of points (series, ts_us, value) in the order of their acknowledgement."""
    return {(series_id, ts_us): value for series_id, ts_us, value in points}


def narrowed(model: Model, series_ids: Iterable[int], start_us: int, end_us: int) -> dict[tuple[int, int], float]:
    """The part of `model` that belongs to some series and a range, sorted by (series, ts)."""
    wanted = set(series_ids)
    return {
        (series_id, ts_us): model[series_id, ts_us]
        for series_id, ts_us in sorted(model)
        if series_id in wanted and start_us <= ts_us < end_us
    }


def rows(points: Columns) -> list[tuple[int, int, float]]:
    """Columns as rows."""
    return list(zip(points.series_ids.tolist(), points.ts_us.tolist(), points.values.tolist(), strict=True))


def model_rows(model: Model) -> list[tuple[int, int, float]]:
    """A model as rows, sorted by (series, ts)."""
    return [(series_id, ts_us, model[series_id, ts_us]) for series_id, ts_us in sorted(model)]


def bucketed(model: Model, line_of: LineOf, step_us: int | None) -> dict[tuple[int, int], list[tuple[int, float]]]:
    """(line, bucket) → its samples (ts_us, value); without a step there is one bucket, 0."""
    groups: defaultdict[tuple[int, int], list[tuple[int, float]]] = defaultdict(list)
    for (series_id, ts_us), value in model.items():
        bucket = 0 if step_us is None else ts_us // step_us * step_us
        groups[line_of(series_id), bucket].append((ts_us, value))
    return dict(groups)


def summaries(model: Model, line_of: LineOf, step_us: int | None) -> dict[tuple[int, int], Summary]:
    """(line, bucket) → its summary; of samples at one instant the greater is first, and last."""
    return {group: _summary(samples) for group, samples in bucketed(model, line_of, step_us).items()}


def percentiles(model: Model, line_of: LineOf, step_us: int | None, percent: float) -> dict[tuple[int, int], float]:
    """(line, bucket) → numpy's default percentile."""
    return {
        group: float(np.percentile([value for _, value in samples], percent))
        for group, samples in bucketed(model, line_of, step_us).items()
    }


def increases(
    model: Model, line_of: LineOf, step_us: int, start_us: int, end_us: int
) -> dict[tuple[int, int], list[float]]:
    """(line, bucket) → the deltas between consecutive samples of its series; a drop is a reset to zero.

    A delta belongs to the bucket of its later sample, which is in ``[start_us, end_us)``.
    """
    deltas: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
    previous: dict[int, float] = {}
    for series_id, ts_us in sorted(model):
        value = model[series_id, ts_us]
        if series_id in previous and start_us <= ts_us < end_us:
            delta = value if value < previous[series_id] else value - previous[series_id]
            deltas[line_of(series_id), ts_us // step_us * step_us].append(delta)
        previous[series_id] = value
    return dict(deltas)


def latest(model: Model) -> dict[int, tuple[int, float]]:
    """Series → its newest sample (ts_us, value)."""
    return {series_id: (ts_us, model[series_id, ts_us]) for series_id, ts_us in sorted(model)}


def close(actual: float, expected: float, magnitude: float | None = None) -> bool:
    """Whether two floats differ by rounding only: 1e-12 of what was added up."""
    scale = abs(expected) if magnitude is None else magnitude
    return actual == expected or abs(actual - expected) <= 1e-12 * scale


def check_partials(actual: Partials, expected: Mapping[tuple[int, int], Summary], *, ends: bool = True) -> None:
    """Asserts that merged partials are what `summaries` says; first and last only where `ends` asks for them."""
    groups = list(zip(actual.lines.tolist(), actual.buckets_us.tolist(), strict=True))
    assert groups == sorted(expected)
    for row, group in enumerate(groups):
        summary = expected[group]
        assert actual.counts[row] == summary.count
        assert close(float(actual.sums[row]), summary.sum, summary.magnitude)
        assert (actual.mins[row], actual.maxs[row]) == (summary.min, summary.max)
        if ends:
            assert (actual.first_ts_us[row], actual.firsts[row]) == (summary.first_ts_us, summary.first)
            assert (actual.last_ts_us[row], actual.lasts[row]) == (summary.last_ts_us, summary.last)


def _summary(samples: list[tuple[int, float]]) -> Summary:
    values = [value for _, value in samples]
    first_ts_us, last_ts_us = min(ts_us for ts_us, _ in samples), max(ts_us for ts_us, _ in samples)
    return Summary(
        len(values),
        math.fsum(values),
        min(values),
        max(values),
        first_ts_us,
        max(value for ts_us, value in samples if ts_us == first_ts_us),
        last_ts_us,
        max(value for ts_us, value in samples if ts_us == last_ts_us),
        math.fsum(abs(value) for value in values),
    )
