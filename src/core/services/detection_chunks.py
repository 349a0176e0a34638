"""How much scheduled detection takes in hand at once.

Theory of operation. Between two chunks the claim on a run is renewed, so a chunk must not take as long as the claim
lasts: else two servers would take the run from each other for ever, each losing what it computed. How long a chunk
takes is only known afterwards. So chunks follow the time that the last one took, and each attempt at a run begins with
half as much as the one before, which was perhaps too slow.
"""

from typing import Final

from core.domain.times import TimeRange

LEASE_S: Final = 30.0
"""A claim is renewed with every chunk, which takes a second or two; a dead server's run is taken up within so long."""
CHUNK_S_MAX: Final = LEASE_S / 4
"""The next chunk is smaller after one that took longer: room for a machine that is suddenly four times as busy."""
CHUNK_SERIES: Final = 300
"""48 hours of minutes of them are 860,000 points: large enough for one query to be cheap, small enough for memory."""
HALVINGS_MAX: Final = 20
"""Of the window, where one series alone holds too much; 48 hours are a fifth of a second then."""


class ChunkSize:
    """So many series, and of one that alone is too much so much of the window."""

    def __init__(self, attempts: int) -> None:
        self.series = max(1, CHUNK_SERIES >> (attempts - 1))
        self.halvings = 0
        """How often the window is halved."""

    def part_of(self, window: TimeRange) -> TimeRange:
        """The newest part of `window`, which is to be read."""
        return TimeRange(window.end_us - ((window.end_us - window.start_us) >> self.halvings), window.end_us)

    @property
    def is_least(self) -> bool:
        """Whether it cannot be halved any more."""
        return self.halvings == HALVINGS_MAX

    def halve(self, series: int) -> None:
        """To be called where so many `series` were too much."""
        if series > 1:
            self.series = series // 2
        else:
            self.halvings += 1

    def follow(self, series: int, took_s: float) -> None:
        """To be called after a chunk of so many `series`."""
        self.halvings = 0
        if took_s > CHUNK_S_MAX:
            self.series = max(1, series // 2)
        elif took_s <= CHUNK_S_MAX / 2:
            self.series = min(CHUNK_SERIES, 2 * self.series)
