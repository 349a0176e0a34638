"""Arithmetic on sets of half-open time ranges, for deciding where an answer may come from."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

Span = tuple[int, int]
"""``[start_us, end_us)``."""


def union(spans: Iterable[Span], *, gap_us: int = 0) -> list[Span]:
    """The same instants as disjoint ascending spans; neighbours no more than `gap_us` apart become one."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start - joined[-1][1] <= gap_us:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        elif end > start:
            joined.append((start, end))
    return joined


def at_most(spans: Sequence[Span], count: int) -> list[Span]:
    """A superset of disjoint ascending `spans` in at most `count` spans, joined where the gaps are smallest."""
    if len(spans) <= count:
        return list(spans)
    gaps = sorted((after[0] - before[1] for before, after in pairwise(spans)), reverse=True)
    return at_most(union(spans, gap_us=gaps[count - 1] if count > 0 else gaps[0]), count)


def subtract(span: Span, holes: Iterable[Span]) -> list[Span]:
    """What `union(holes)` leaves of `span`, ascending."""
    left, start = [], span[0]
    for hole_start, hole_end in union(holes):
        if hole_start >= span[1]:
            break
        if hole_start > start:
            left.append((start, hole_start))
        start = max(start, hole_end)
    if start < span[1]:
        left.append((start, span[1]))
    return left


def whole_buckets(span: Span, width_us: int) -> Span | None:
    """The largest part of `span` that consists of whole buckets, or None."""
    start, end = -(-span[0] // width_us) * width_us, span[1] // width_us * width_us
    return (start, end) if end > start else None


def widened(span: Span, width_us: int) -> Span:
    """The smallest run of whole buckets that holds `span`."""
    return span[0] // width_us * width_us, -(-span[1] // width_us) * width_us

