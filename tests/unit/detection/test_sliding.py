"""The sliding window, against an oracle that keeps every row."""

import numpy as np
import pytest

from core.detection.sliding import SlidingWindow

BLOCK = 5


def test_level_and_spread_are_those_of_the_rows_in_the_window() -> None:
    """The level exactly; the spread of deviations from the level at the time."""
    values = np.random.default_rng(3).normal(100.0, 5.0, 200)
    window = SlidingWindow(blocks=4, memory=20)
    deviations: list[float] = []
    for row, value in enumerate(values):
        if row and row % BLOCK == 0:
            window.end_block()
        window.add(float(value))
        first = max(0, (row // BLOCK - 3) * BLOCK)
        assert window.level == pytest.approx(values[first : row + 1].mean(), rel=1e-12)
        deviations.append(abs(float(value) - window.level))
        assert window.spread == pytest.approx(np.mean(deviations[first:]), rel=1e-12)
        assert window.full == (row // BLOCK >= 3)


def test_change_is_from_the_level_one_window_before() -> None:
    """None until there was one."""
    window = SlidingWindow(blocks=3, memory=20)
    for block in range(12):
        for _ in range(BLOCK):
            window.add(10.0 if block >= 6 else 0.0)
        assert (window.change() is None) == (block < 3)
        if block == 8:
            assert window.change() == 10.0
        window.end_block()


def test_the_shapes_distance_is_to_the_nearest_that_does_not_overlap() -> None:
    """Against a search through all of them."""
    means = np.random.default_rng(4).normal(0.0, 1.0, 30)
    window = SlidingWindow(blocks=4, memory=12)
    for block, mean in enumerate(means):
        for _ in range(BLOCK):
            window.add(float(mean))
        distance = window.end_block()
        known = means[max(0, block + 1 - 12) : block + 1]
        if len(known) < 8:
            assert distance is None
            continue
        newest = known[-4:]
        wanted = min(np.abs(known[at : at + 4] - newest).mean() for at in range(len(known) - 7))
        assert distance == pytest.approx(wanted)


def test_a_course_that_repeats_is_like_itself() -> None:
    """Distance 0 from the second time on."""
    window = SlidingWindow(blocks=3, memory=20)
    distances = []
    for block in range(15):
        for _ in range(BLOCK):
            window.add(float(block % 3))
        distances.append(window.end_block())
    assert distances[-6:] == [pytest.approx(0.0)] * 6
