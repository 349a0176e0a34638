"""Filling gaps, against an oracle that walks bucket by bucket."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.fill import filled
from core.domain.queries import Fill
from core.domain.times import TimeRange

STEP_US = 10


@given(
    st.integers(0, 55),
    st.integers(1, 120),
    st.dictionaries(st.integers(0, 17), st.floats(-1e6, 1e6), min_size=1),
    st.sampled_from(Fill),
)
def test_every_bucket_holds_what_the_rule_says(
    start_us: int, length_us: int, values: dict[int, float], fill: Fill
) -> None:
    """Buckets with a value keep it; the others follow the rule, and stand exactly once each, in order."""
    time_range = TimeRange(start_us, start_us + length_us)
    every = list(range(start_us // STEP_US, -(-time_range.end_us // STEP_US)))
    known = {bucket: values[bucket] for bucket in sorted(values) if bucket in every}
    if not known:
        return
    buckets_us, got = filled(
        np.array([bucket * STEP_US for bucket in known], np.int64),
        np.array(list(known.values())),
        time_range,
        STEP_US,
        fill,
    )
    wanted = list(known) if fill is Fill.NONE else every
    assert (buckets_us // STEP_US).tolist() == wanted
    for bucket, value in zip(wanted, got.tolist(), strict=True):
        expected = known[bucket] if bucket in known else _rule(fill, bucket, known)
        assert math.isnan(value) if math.isnan(expected) else value == pytest.approx(expected, rel=1e-9, abs=1e-9)


def _rule(fill: Fill, bucket: int, known: dict[int, float]) -> float:
    before = max((one for one in known if one < bucket), default=None)
    after = min((one for one in known if one > bucket), default=None)
    match fill:
        case Fill.ZERO:
            return 0.0
        case Fill.PREVIOUS if before is not None:
            return known[before]
        case Fill.LINEAR if before is not None and after is not None:
            share = (bucket - before) / (after - before)
            return known[before] + share * (known[after] - known[before])
    return math.nan
