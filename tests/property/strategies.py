"""Points as hypothesis draws them: few series and instants, so that collisions are the rule."""

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from core.domain.columns import Columns

SERIES_MAX = 5
TS_US_MAX = 40

series_ids = st.integers(1, SERIES_MAX)
instants = st.integers(0, TS_US_MAX)
values = st.one_of(
    st.integers(-3, 3).map(float), st.floats(-1e300, 1e300), st.sampled_from([1e300, -1e300, 5e-324, 0.1])
)
point_lists = st.lists(st.tuples(series_ids, instants, values), max_size=60)
steps = st.sampled_from([None, 1, 7, 10, 1_000])


def columns(points: Sequence[tuple[int, int, float]]) -> Columns:
    """Rows (series, ts_us, value) as columns, in their order."""
    return Columns(
        np.array([series_id for series_id, _, _ in points], np.int32),
        np.array([ts_us for _, ts_us, _ in points], np.int64),
        np.array([value for _, _, value in points], np.float64),
    )


@st.composite
def ranges(draw: st.DrawFn, end_max: int = TS_US_MAX + 1) -> tuple[int, int]:
    """A half-open range of instants that is not empty."""
    start = draw(st.integers(0, end_max - 1))
    return start, draw(st.integers(start + 1, end_max))
