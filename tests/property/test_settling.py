"""What the settler makes of journal blocks, and the block format itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.driven.postgres.block import CorruptBlock, pack, unpack
from adapters.driven.postgres.settling import assert_sorted, late_rows, merge, newest_by_tenant, spans
from core.domain.columns import Columns
from core.domain.times import MINUTE_US
from ports.driven.journal import JournalEntry
from tests.property.strategies import columns

Row = tuple[int, int, float]
"""Series, microseconds, value."""

rows = st.lists(
    st.tuples(st.integers(1, 9), st.integers(-(2**40), 2**52), st.floats(allow_nan=False, allow_infinity=False)),
    min_size=1,
    max_size=40,
)
entries = st.lists(st.tuples(st.integers(1, 3), rows), min_size=1, max_size=5)


def entry_of(tenant_id: int, points: list[Row]) -> JournalEntry:
    """Series ids of different tenants never meet, as in the catalog."""
    return JournalEntry(tenant_id, columns([(series * 3 + tenant_id, ts, value) for series, ts, value in points]))


@given(entries)
def test_a_block_holds_every_point_in_order(made: list[tuple[int, list[Row]]]) -> None:
    """Packing and unpacking loses nothing; within a series the order of arrival is kept."""
    sent = [entry_of(tenant_id, points) for tenant_id, points in made]
    block = unpack(pack(sent).block, writer=1, sequence=2, order=3)
    start = 0
    for tenant_id, end in zip(block.tenant_ids, block.tenant_ends, strict=True):
        expected: dict[int, list[tuple[int, float]]] = {}
        for entry in sent:
            if entry.tenant_id == tenant_id:
                for series_id, ts, value in _rows(entry.points):
                    expected.setdefault(series_id, []).append((ts, value))
        got: dict[int, list[tuple[int, float]]] = {}
        for series_id, ts, value in _rows(block.points.take(slice(start, end))):
            got.setdefault(series_id, []).append((ts, value))
        assert got == expected
        assert list(got) == sorted(got)
        start = end
    assert start == len(block.points) == sum(len(entry.points) for entry in sent)


@given(st.binary(max_size=60), st.integers(0, 59))
def test_a_damaged_block_is_named(noise: bytes, cut: int) -> None:
    """Bytes that are no block raise `CorruptBlock`, never anything else and never wrong points."""
    whole = pack([entry_of(1, [(1, 5, 2.0), (2, 6, 3.0)])]).block
    for damaged in (noise, whole[: min(cut, len(whole) - 1)]):
        with pytest.raises(CorruptBlock):
            unpack(damaged, writer=1, sequence=1, order=1)


@given(st.lists(entries, min_size=1, max_size=4))
def test_merging_keeps_the_last_value_of_each_point(
    commits: list[list[tuple[int, list[Row]]]],
) -> None:
    """Over blocks in commit order, every (series, ts) comes out once, sorted, with its last value and its tenant."""
    expected: dict[tuple[int, int, int], float] = {}
    blocks = []
    for number, made in enumerate(commits, start=1):
        sent = [entry_of(tenant_id, points) for tenant_id, points in made]
        blocks.append(unpack(pack(sent).block, writer=1, sequence=number, order=number))
        for entry in sent:
            for series_id, ts, value in _rows(entry.points):
                expected[entry.tenant_id, series_id, ts] = value
    merged = merge(blocks)
    assert_sorted(merged)
    got = dict(
        zip(
            zip(
                merged.tenant_ids.tolist(),
                merged.points.series_ids.tolist(),
                merged.points.ts_us.tolist(),
                strict=True,
            ),
            merged.points.values.tolist(),
            strict=True,
        )
    )
    assert got == expected
    assert len(merged) == len(expected)
    newest = {tenant: max(ts for one, _, ts in expected if one == tenant) for tenant, _, _ in expected}
    assert newest_by_tenant(merged) == newest


def test_unsorted_rows_never_reach_the_columnstore() -> None:
    """`assert_sorted` fails for rows out of order or repeated."""
    block = unpack(pack([entry_of(1, [(1, 5, 2.0), (1, 6, 3.0)])]).block, writer=1, sequence=1, order=1)
    merged = merge([block])
    for wrong in (np.array([1, 0]), np.array([0, 0])):
        with pytest.raises(AssertionError):
            assert_sorted(merged.take(wrong))


@given(rows, st.dictionaries(st.integers(1, 9), st.integers(0, 2**52)))
def test_late_is_not_newer_than_the_newest_settled(points: list[Row], newest: dict[int, int]) -> None:
    """A point is late exactly where its series has a settled sample at or after it."""
    taken = columns([row for row in points if row[1] >= 0])
    ids = np.array(sorted(newest), np.int32)
    late = late_rows(taken, ids, np.array([newest[series] for series in ids.tolist()], np.int64))
    assert late.tolist() == [ts <= newest.get(series, -1) for series, ts, _ in _rows(taken)]


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=30))
def test_spans_cover_every_point(minutes: list[int]) -> None:
    """Each point's bucket is in a span, and spans consist of whole buckets."""
    points = columns([(1, minute * MINUTE_US, 0.0) for minute in minutes])
    width_us = 5 * MINUTE_US
    found = spans(points.ts_us, width_us, gap_us=width_us)
    assert all(start % width_us == end % width_us == 0 for start, end in found)
    assert all(any(start <= ts < end for start, end in found) for ts in points.ts_us.tolist())


def _rows(points: Columns) -> list[tuple[int, int, float]]:
    return list(zip(points.series_ids.tolist(), points.ts_us.tolist(), points.values.tolist(), strict=True))
