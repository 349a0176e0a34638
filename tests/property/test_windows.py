"""Sliding windows in arrays against the same written out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.columns import Columns, keep_last
from core.domain.compiled_rule import past
from core.domain.definitions import Aggregation
from core.domain.rules import Condition, Threshold, holds
from core.domain.times import SECOND_US
from core.domain.windows import readings_of

LINES = np.array([0, 0, 1, 2], np.int32)
"""Of series 0 to 3: the first two make one line."""
FAR_US = 2**62 // 10
"""Instants so far apart that line and instant no longer fit one key."""

samples = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 60), st.sampled_from([-5.0, 0.0, 1.5, 2.0, 1e9])), max_size=40
)


def naive(
    rows: list[tuple[int, int, float]], aggregation: Aggregation, window: int, after: int
) -> dict[tuple[int, int], float]:
    """By (line, instant) the aggregate of the window, one at a time."""
    stored = {(series, ts): value for series, ts, value in rows}
    found: dict[tuple[int, int], float] = {}
    for series, ts in stored:
        line = int(LINES[series])
        if ts <= after:
            continue
        inside = [
            (at, one, value) for (one, at), value in stored.items() if LINES[one] == line and ts - window < at <= ts
        ]
        values = [value for _, _, value in inside]
        match aggregation:
            case Aggregation.RATE | Aggregation.INCREASE:
                steps = [step for at, one, _ in inside if (step := increase(stored, one, at)) is not None]
                if increase_at(stored, line, ts):
                    found[line, ts] = sum(steps) / (window if aggregation is Aggregation.RATE else 1)
            case Aggregation.LAST:
                found[line, ts] = max(value for at, _, value in inside if at == ts)
            case Aggregation.P95:
                found[line, ts] = float(np.percentile(values, 95))
            case Aggregation.AVG:
                found[line, ts] = math.fsum(values) / len(values)
            case Aggregation.SUM:
                found[line, ts] = math.fsum(values)
            case Aggregation.COUNT:
                found[line, ts] = len(values)
            case _:
                found[line, ts] = min(values) if aggregation is Aggregation.MIN else max(values)
    return found


def increase(stored: dict[tuple[int, int], float], series: int, ts: int) -> float | None:
    """A counter's step up to a sample; None for its first one."""
    before = [at for one, at in stored if one == series and at < ts]
    if not before:
        return None
    old, new = stored[series, max(before)], stored[series, ts]
    return new if new < old else new - old


def increase_at(stored: dict[tuple[int, int], float], line: int, ts: int) -> bool:
    """Whether any series of the line has a step at that instant."""
    return any(at == ts and LINES[one] == line and increase(stored, one, at) is not None for one, at in stored)


@given(
    rows=samples,
    aggregation=st.sampled_from(
        [
            Aggregation.LAST,
            Aggregation.AVG,
            Aggregation.MIN,
            Aggregation.MAX,
            Aggregation.SUM,
            Aggregation.COUNT,
            Aggregation.P95,
            Aggregation.RATE,
            Aggregation.INCREASE,
        ]
    ),
    window=st.sampled_from([1, 5, 30]),
    after=st.sampled_from([-1, 20]),
    far=st.booleans(),
)
def test_every_window_is_what_is_in_it(
    rows: list[tuple[int, int, float]], aggregation: Aggregation, window: int, after: int, far: bool
) -> None:
    """Each aggregate, at each instant after the last evaluated one, whatever the spread of instants."""
    unit_us = SECOND_US if not far else FAR_US // 60
    points = keep_last(
        Columns(
            np.array([series for series, _, _ in rows], np.int32),
            np.array([ts * unit_us for _, ts, _ in rows], np.int64),
            np.array([value for _, _, value in rows], np.float64),
        )
    )
    lines = LINES[points.series_ids]
    after_us = np.full(3, after * unit_us, np.int64)
    window_us = window * unit_us
    found = readings_of(points, lines, aggregation, window_us, after_us, 61 * unit_us)
    scale = unit_us / SECOND_US if aggregation is Aggregation.RATE else 1.0
    got = {
        (line, ts // unit_us): value * scale
        for line, ts, value in zip(found.lines.tolist(), found.ts_us.tolist(), found.values.tolist(), strict=True)
    }
    expected = naive(rows, aggregation, window, after)
    assert got.keys() == expected.keys()
    for key, value in expected.items():
        assert got[key] == pytest.approx(value, rel=1e-9, abs=1e-9)


thresholds = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0]), st.tuples(st.sampled_from([-1.0, 0.0]), st.sampled_from([0.0, 2.0]))
)


@given(threshold=thresholds, values=st.lists(st.floats(-3, 3), max_size=10), condition=st.sampled_from(Condition))
def test_thresholds_in_arrays(threshold: Threshold, values: list[float], condition: Condition) -> None:
    """`past` is `holds`, value by value."""
    if isinstance(threshold, tuple) is not (condition in (Condition.INSIDE, Condition.OUTSIDE)):
        return
    found = past(condition, np.array(values), threshold).tolist()
    assert found == [holds(condition, value, threshold) for value in values]
