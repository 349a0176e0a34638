"""How much scheduled detection takes in hand at once."""

from core.domain.times import HOUR_US, TimeRange
from core.services.detection_chunks import CHUNK_S_MAX, CHUNK_SERIES, HALVINGS_MAX, ChunkSize


def test_chunks_follow_the_time_that_they_take() -> None:
    """Half as many series after one that took too long, twice as many only where that will not take too long."""
    size = ChunkSize(1)
    assert size.series == CHUNK_SERIES
    size.follow(CHUNK_SERIES, CHUNK_S_MAX + 0.1)
    assert size.series == CHUNK_SERIES // 2
    size.follow(size.series, CHUNK_S_MAX * 0.6)
    assert size.series == CHUNK_SERIES // 2
    for _ in range(3):
        size.follow(size.series, CHUNK_S_MAX / 2)
    assert size.series == CHUNK_SERIES
    for _ in range(20):
        size.follow(size.series, 60.0)
    assert size.series == 1


def test_each_attempt_begins_with_half_as_much() -> None:
    """Down to a single series."""
    assert [ChunkSize(attempts).series for attempts in (2, 3, 9, 10, 1_000)] == [150, 75, 1, 1, 1]


def test_one_series_that_is_too_much() -> None:
    """The newest part of the window is read, until what is read is too little; the next series begins with all."""
    size, window = ChunkSize(9), TimeRange(HOUR_US, 5 * HOUR_US)
    assert size.part_of(window) == window
    size.halve(1)
    assert size.part_of(window) == TimeRange(3 * HOUR_US, 5 * HOUR_US)
    for _ in range(HALVINGS_MAX - 1):
        assert not size.is_least
        size.halve(1)
    assert size.is_least
    size.follow(1, 0.1)
    assert size.part_of(window) == window
    assert size.series == 2
