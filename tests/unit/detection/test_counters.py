"""Counters, as detectors look at them."""

import math

import numpy as np
import pytest

from core.detection.counters import rates_of
from core.detection.level_shift import increments_per_s
from core.domain.columns import Columns, concat_columns, empty_columns
from core.domain.times import SECOND_US


def column(series_id: int, ts_us: np.ndarray, values: np.ndarray) -> Columns:
    """One series."""
    return Columns(np.full(len(ts_us), series_id, np.int32), ts_us, values)


def rows(points: Columns) -> list[tuple[int, int, float]]:
    """As tuples, to compare."""
    return list(zip(points.series_ids.tolist(), points.ts_us.tolist(), points.values.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(4))
def test_rates_of_many_series(seed: int) -> None:
    """Those of each counter by itself, to the last bit, through resets, gaps and the largest floats; other series stay
    as they are."""
    rng = np.random.default_rng(seed)
    given, expected = [], []
    for series_id in range(30):
        ts_us = np.cumsum(rng.integers(1, 90 * SECOND_US, int(rng.integers(1, 40))))
        values = np.cumsum(rng.integers(0, 9, len(ts_us))) * 10.0 ** float(rng.choice([0, 305]))
        values[rng.random(len(ts_us)) < 0.1] = 2.0
        values[rng.random(len(ts_us)) < 0.1] = math.nan
        one = column(series_id, ts_us, values)
        given.append(one)
        if series_id % 3:
            finite = one.take(np.isfinite(values))
            one = column(series_id, *increments_per_s(finite.ts_us, finite.values))
        expected += rows(one)
    counters = np.array([one for one in range(30) if one % 3], np.int32)
    got = rows(rates_of(concat_columns(given), counters))
    assert repr(got) == repr(expected)
    assert all(math.isfinite(value) for series_id, _, value in got if series_id % 3)


def test_no_counters() -> None:
    """Nothing happens."""
    points = column(1, np.array([1, 2]), np.array([3.0, math.nan]))
    assert rates_of(points, np.array([2], np.int32)) is points
    assert len(rates_of(empty_columns(), np.array([2], np.int32))) == 0
