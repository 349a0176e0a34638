"""The head as a state machine: commits of several writers, polled in any interleaving, settled, narrowed."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from core.domain.head import Head, JournalBlock
from tests.property.strategies import SERIES_MAX, columns, ranges, series_ids, values
from tests.support.oracle import last_values, model_rows, narrowed, rows

Points = list[tuple[int, int, float]]
instants = st.integers(0, 4)
WRITERS = (1, 2, 3)


def tenant_of(series_id: int) -> int:
    """Two tenants have series."""
    return 7 if series_id <= 2 else 9


def block_of(writer: int, sequence: int, order: int, points: Points) -> JournalBlock:
    """A group commit of both tenants' points."""
    by_series = sorted(points, key=lambda point: point[0])
    first_end = sum(tenant_of(point[0]) == 7 for point in points)
    return JournalBlock(writer, sequence, order, (7, 9), (first_end, len(points)), columns(by_series))


class HeadMachine(RuleBasedStateMachine):
    """A journal of blocks in commit order beside the head that follows it."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.head = Head()
        self.log: list[JournalBlock] = []
        self.polled: dict[int, int] = {}
        self.settled = 0

    @initialize(tail_points=st.sampled_from([0, 5, 1_000]), lookup_ids=st.sampled_from([2, 1_000]))
    def limits(self, tail_points: int, lookup_ids: int) -> None:
        """Small limits, so that merging and both ways of looking up happen."""
        self.patch.setattr("core.domain.head.TAIL_POINTS_MIN", tail_points)
        self.patch.setattr("core.domain.head.LOOKUP_IDS_MAX", lookup_ids)

    @rule(
        writer=st.sampled_from(WRITERS),
        points=st.lists(st.tuples(series_ids, instants, values), max_size=8),
    )
    def commit(self, writer: int, points: Points) -> None:
        """A writer commits a block, possibly an empty one."""
        sequence = 1 + sum(block.writer == writer for block in self.log)
        self.log.append(block_of(writer, sequence, len(self.log) + 1, points))

    @rule(writers=st.permutations(WRITERS), again=st.booleans())
    def poll(self, writers: list[int], again: bool) -> None:
        """The head is given every block it lacks, stream by stream, some of them twice."""
        for writer in writers:
            seen = 0 if again else self.head.seen.get(writer, 0)
            self.head.add(block for block in self.log if block.writer == writer and block.sequence > seen)
        assert dict(self.head.seen).items() >= self.last_sequences().items()

    @rule(blocks=st.integers(1, 5), told=st.booleans())
    def settle(self, blocks: int, told: bool) -> None:
        """The settler moves on over the first blocks, and the head is told or not yet."""
        self.settled = min(self.settled + blocks, len(self.log))
        if told:
            self.head.drop_settled(self.cursors())

    @rule(
        wanted=st.one_of(st.just(set(range(1, SERIES_MAX + 1))), st.sets(series_ids)),
        time_range=ranges(),
        writers=st.permutations(WRITERS),
        tenant_id=st.sampled_from([7, 9, 1]),
    )
    def narrow(self, wanted: set[int], time_range: tuple[int, int], writers: list[int], tenant_id: int) -> None:
        """What a snapshot reads is the last committed value of every unsettled (series, ts) of its tenant."""
        self.poll(writers, False)
        found = self.head.narrow(tenant_id, np.array(sorted(wanted), np.int32), *time_range, self.cursors())
        unsettled = [point for block in self.log[self.settled :] for point in rows(block.points)]
        own = {series_id for series_id in wanted if tenant_of(series_id) == tenant_id}
        assert rows(found) == model_rows(narrowed(last_values(unsettled), own, *time_range))

    @invariant()
    def bounded(self) -> None:
        """The head never holds more than was committed."""
        assert len(self.head) <= sum(len(block.points) for block in self.log)

    def cursors(self) -> Mapping[int, int]:
        """Writer → its last settled sequence."""
        return {block.writer: block.sequence for block in self.log[: self.settled]}

    def last_sequences(self) -> dict[int, int]:
        """Writer → its last committed sequence."""
        return {block.writer: block.sequence for block in self.log}

    def teardown(self) -> None:
        """Puts the limits back."""
        self.patch.undo()


HeadMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=30, deadline=None)
TestHead = HeadMachine.TestCase


def test_everything_settled_is_dropped() -> None:
    """When all is settled, the head is empty and keeps its positions."""
    head = Head()
    head.add([block_of(1, 1, 1, [(series_id, 1, 1.0) for series_id in range(1, SERIES_MAX + 1)])])
    head.drop_settled({1: 1})
    assert len(head) == 0
    assert head.seen == {1: 1}
