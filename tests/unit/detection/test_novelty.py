"""The usual band of a statistic."""

import pytest

from core.detection.novelty import Novelty


def taught(*blocks: tuple[float, ...], rank: int = 1, memory: int = 10) -> Novelty:
    novelty = Novelty(blocks=memory, blocks_min=2, rank=rank)
    novelty.unit = 1.0
    for block in blocks:
        for value in block:
            novelty.beyond(value)
        novelty.end_block()
    return novelty


def test_nothing_is_unusual_before_enough_blocks() -> None:
    """However far it lies."""
    assert taught((1.0, 2.0)).beyond(1e9) == 0.0
    assert taught((1.0, 2.0), (1.0, 2.0)).beyond(1e9) > 0.99


def test_one_unit_beyond_the_band_is_a_half() -> None:
    """On both sides, and inside it is 0."""
    novelty = taught((0.0, 10.0), (3.0, 5.0))
    assert (novelty.low, novelty.high) == (0.0, 10.0)
    assert novelty.beyond(11.0) == pytest.approx(0.5)
    assert novelty.beyond(-1.0) == pytest.approx(0.5)
    assert novelty.beyond(13.0) == pytest.approx(0.75)
    assert novelty.beyond(10.0) == novelty.beyond(0.0) == 0.0


def test_above_looks_up_only() -> None:
    """A distance is never too small."""
    novelty = taught((5.0, 6.0), (5.0, 6.0))
    assert novelty.above(0.0) == 0.0
    assert novelty.above(7.1) > 0.5


def test_with_rank_two_one_incident_does_not_hide_the_next() -> None:
    """What only one block has shown is still unusual; what two have shown is not."""
    calm = [(0.0, 1.0)] * 5
    once = taught(*calm, (0.0, 9.0), *calm[:2], rank=2)
    assert once.beyond(9.0) > 0.8
    twice = taught(*calm, (0.0, 9.0), *calm[:1], (0.0, 9.0), rank=2)
    assert twice.beyond(9.0) == 0.0


def test_what_is_older_than_the_memory_is_forgotten() -> None:
    """The band narrows again."""
    novelty = taught((0.0, 9.0), *[(0.0, 1.0)] * 3, memory=3)
    assert novelty.high == 1.0
    assert novelty.magnitude() == 1.0


def test_with_no_unit_everything_beyond_the_band_has_the_risk_1() -> None:
    """Where all values were 0 there is no scale to measure by."""
    novelty = taught((0.0,), (0.0,))
    novelty.unit = 0.0
    assert novelty.beyond(0.0) == 0.0
    assert novelty.beyond(1e-300) == novelty.beyond(-1e-300) == 1.0


def test_a_block_without_rows_is_none() -> None:
    """A statistic that was not yet there keeps its memory for when it is."""
    novelty = taught()
    novelty.end_block()
    novelty.end_block()
    assert novelty.beyond(1e9) == 0.0
    assert novelty.magnitude() == 0.0
