"""What was usual of a statistic lately, and how far beyond it a value lies.

Theory of operation. The block maxima method of extreme value theory (Gumbel 1958, chapter 6; Coles 2001, chapter 3):
the rows of a series are cut into blocks, and of each block only the largest and the smallest value of the statistic
are kept, for a bounded number of blocks. The usual band reaches from the `rank`-th smallest block minimum to the
`rank`-th largest block maximum: with rank 2, what one block alone has ever shown is still unusual when it comes back,
so that one incident does not hide the next. No distribution is assumed, so heavy tails need no tuning; and a daily
course is inside the band as soon as the memory holds two days.

A value beyond the band by one `unit` has the risk 0.5, by four 0.8; inside the band it is 0.
"""

from collections import deque
from heapq import nlargest, nsmallest
from typing import Final

_INFINITE: Final = float("inf")


class Novelty:
    """The usual band of one statistic, causal and of bounded memory (2 numbers a block). Not for concurrent use."""

    __slots__ = (
        "_block_high",
        "_block_low",
        "_blocks_min",
        "_delay",
        "_highs",
        "_lows",
        "_rank",
        "_waiting",
        "high",
        "low",
        "unit",
    )

    def __init__(self, *, blocks: int, blocks_min: int, rank: int, delay: int = 0) -> None:
        """Remembers `blocks` blocks and judges from `blocks_min` on.

        A block counts as usual only `delay` blocks later: a statistic of a window that slides over `delay` blocks
        would otherwise be compared with windows that share its rows, and no change would ever look large.
        """
        self._highs: deque[float] = deque(maxlen=blocks)
        self._lows: deque[float] = deque(maxlen=blocks)
        self._waiting: deque[tuple[float, float]] = deque()
        self._delay = delay
        self._blocks_min = blocks_min
        self._rank = rank
        self._block_high = -_INFINITE
        self._block_low = _INFINITE
        self.high = _INFINITE
        """The upper end of the usual band; infinite until it is known."""
        self.low = -_INFINITE
        self.unit = 0.0
        """How far beyond the band is a risk of 0.5, in the statistic's unit, at least 0; the owner's to set."""

    def above(self, value: float) -> float:
        """The risk, in [0, 1], of a value that is unusual only when large; remembers it. `value` is finite."""
        if value > self._block_high:
            self._block_high = value
        if value < self._block_low:
            self._block_low = value
        return self._risk(value - self.high) if value > self.high else 0.0

    def beyond(self, value: float) -> float:
        """The risk, in [0, 1], of a value that is unusual on either side of the band; remembers it."""
        if value > self._block_high:
            self._block_high = value
        if value < self._block_low:
            self._block_low = value
        if value > self.high:
            return self._risk(value - self.high)
        return self._risk(self.low - value) if value < self.low else 0.0

    def magnitude(self) -> float:
        """The largest absolute value of the memory, 0 where it is empty."""
        return max(map(abs, (*self._highs, *self._lows)), default=0.0)

    def end_block(self) -> None:
        """Keeps the extremes of the rows since the last call; the band moves only here."""
        if self._block_high < self._block_low:
            return
        self._waiting.append((self._block_high, self._block_low))
        self._block_high, self._block_low = -_INFINITE, _INFINITE
        if len(self._waiting) <= self._delay:
            return
        high, low = self._waiting.popleft()
        self._highs.append(high)
        self._lows.append(low)
        if len(self._highs) >= self._blocks_min:
            ends = nlargest(self._rank, self._highs)[-1], nsmallest(self._rank, self._lows)[-1]
            self.low, self.high = min(ends), max(ends)  # of fewer than 2 * rank - 1 blocks the ends may cross

    def _risk(self, excess: float) -> float:
        return excess / (excess + self.unit)
