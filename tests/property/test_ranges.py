"""Properties of time-range arithmetic and of planning which stored aggregate answers what."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from adapters.driven.timescale.reader import WIDTHS_US, plan
from core.domain.ranges import Span, at_most, subtract, union, whole_buckets, widened
from core.domain.times import DAY_US, HOUR_US, MINUTE_US

spans = st.tuples(st.integers(0, 200), st.integers(1, 50)).map(lambda pair: (pair[0], pair[0] + pair[1]))
span_lists = st.lists(spans, max_size=12)


def instants(of: list[Span]) -> set[int]:
    return {instant for start, end in of for instant in range(start, end)}


def is_disjoint_and_ascending(of: list[Span]) -> bool:
    return all(start < end for start, end in of) and all(
        before[1] < after[0] for before, after in pairwise(of)
    )


@given(span_lists)
def test_union_covers_the_same_instants_once(some: list[Span]) -> None:
    """`union` gives disjoint, ascending spans over exactly the same instants."""
    joined = union(some)
    assert instants(joined) == instants(some)
    assert is_disjoint_and_ascending(joined)


@given(span_lists, st.integers(1, 6))
def test_at_most_never_loses_an_instant(some: list[Span], count: int) -> None:
    """`at_most` bounds the number of spans and covers at least what it was given."""
    joined = union(some)
    fewer = at_most(joined, count)
    assert len(fewer) <= count
    assert instants(fewer) >= instants(joined)
    assert is_disjoint_and_ascending(fewer)


@given(spans, span_lists)
def test_subtract_is_set_difference(whole: Span, holes: list[Span]) -> None:
    """`subtract` leaves the instants of the span that no hole covers."""
    left = subtract(whole, holes)
    assert instants(left) == instants([whole]) - instants(holes)
    assert is_disjoint_and_ascending(left)


@given(spans, st.integers(1, 30))
def test_whole_buckets_fit_inside_and_widened_ones_around(span: Span, width: int) -> None:
    """The inner run of whole buckets is the largest inside, the outer the smallest around."""
    outer = widened(span, width)
    assert outer[0] % width == outer[1] % width == 0
    assert span[0] - width < outer[0] <= span[0] < span[1] <= outer[1] < span[1] + width
    inner = whole_buckets(span, width)
    if inner is None:
        assert span[1] // width <= -(-span[0] // width)
    else:
        assert inner[0] % width == inner[1] % width == 0
        assert span[0] <= inner[0] < span[0] + width
        assert span[1] - width < inner[1] <= span[1]


minutes = st.integers(0, 5 * 24 * 60).map(lambda minute: minute * MINUTE_US)
time_spans = st.tuples(minutes, minutes).filter(lambda pair: pair[0] < pair[1])


@given(
    time_spans,
    st.sampled_from([MINUTE_US, 5 * MINUTE_US, 15 * MINUTE_US, HOUR_US, 6 * HOUR_US, DAY_US]),
    st.dictionaries(st.sampled_from(sorted(WIDTHS_US)), st.lists(time_spans, max_size=10)),
)
def test_a_plan_is_a_partition_that_uses_only_sound_aggregates(
    span: Span, step_us: int, stale: dict[int, list[Span]]
) -> None:
    """Every instant is answered once; an aggregate only for whole buckets, that divide the step, where it holds."""
    pieces = plan(span, step_us, stale)
    ordered = sorted(piece for _, piece in pieces)
    assert ordered[0][0] == span[0]
    assert ordered[-1][1] == span[1]
    assert all(before[1] == after[0] for before, after in pairwise(ordered))
    for width_us, (start, end) in pieces:
        if width_us is None:
            continue
        assert step_us % width_us == 0
        assert start % width_us == end % width_us == 0
        assert all(end <= hole_start or start >= hole_end for hole_start, hole_end in stale.get(width_us, ()))


def test_a_day_of_hours_comes_from_the_widest_aggregates() -> None:
    """With nothing stale, whole days answer a daily step, hours the edges, raw samples only the ragged ends."""
    span = (DAY_US - 30 * MINUTE_US - 1, 3 * DAY_US + HOUR_US)
    assert plan(span, DAY_US, {}) == [
        (DAY_US, (DAY_US, 3 * DAY_US)),
        (HOUR_US, (3 * DAY_US, 3 * DAY_US + HOUR_US)),
        (5 * MINUTE_US, (DAY_US - 30 * MINUTE_US, DAY_US)),
        (None, (DAY_US - 30 * MINUTE_US - 1, DAY_US - 30 * MINUTE_US)),
    ]
