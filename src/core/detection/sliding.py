"""The sliding window of a series in blocks: its level, its spread, its level one window earlier, its shape.

Means are kept as means and joined by their weights, never as sums of values or of squares, so that nothing overflows
or cancels for values as large as floats go; the spread is the mean absolute deviation from the level at the time.
"""

from collections import deque

import numpy as np


class SlidingWindow:
    """The last `blocks` blocks of rows, the unfinished one included. Causal; 4 numbers a block of `memory`."""

    __slots__ = (
        "_block_level",
        "_block_rows",
        "_block_spread",
        "_blocks",
        "_done",
        "_levels",
        "_past_level",
        "_past_rows",
        "_past_spread",
        "_shape",
        "level",
        "spread",
    )

    def __init__(self, *, blocks: int, memory: int) -> None:
        """`blocks`: at least 2; `memory`: the blocks that shapes are compared with."""
        self._blocks = blocks
        self._done: deque[tuple[int, float, float]] = deque(maxlen=blocks - 1)
        self._levels: deque[float] = deque(maxlen=blocks)
        self._shape: deque[float] = deque(maxlen=memory)
        self._past_rows, self._past_level, self._past_spread = 0, 0.0, 0.0
        self._block_rows, self._block_level, self._block_spread = 0, 0.0, 0.0
        self.level = 0.0
        """The mean of the window's rows."""
        self.spread = 0.0
        """The mean absolute deviation of the window's rows from the level."""

    @property
    def full(self) -> bool:
        """Whether the window has its whole length."""
        return len(self._done) == self._blocks - 1

    def add(self, value: float) -> None:
        """Takes one row."""
        self._block_rows = rows = self._block_rows + 1
        self._block_level += (value - self._block_level) / rows
        weight = rows / (self._past_rows + rows)
        self.level = self._past_level + weight * (self._block_level - self._past_level)
        self._block_spread += (abs(value - self.level) - self._block_spread) / rows
        self.spread = self._past_spread + weight * (self._block_spread - self._past_spread)

    def change(self) -> float | None:
        """How far the level is from that of the window before, at least 0; None until there was one."""
        return abs(self.level - self._levels[0]) if len(self._levels) == self._blocks else None

    def end_block(self) -> float | None:
        """Ends a block. Returns how far the window's shape is from the one most like it in the memory, if any.

        The shape is the means of the window's blocks (piecewise aggregate approximation, Keogh et al. 2001); its
        distance to the nearest neighbour that does not overlap it is that of a discord (Keogh, Lin, Fu 2005), here
        the mean absolute difference, in the unit of the values.
        """
        self._shape.append(self._block_level)
        self._levels.append(self.level)
        self._done.append((self._block_rows, self._block_level, self._block_spread))
        self._block_rows, self._block_level, self._block_spread = 0, 0.0, 0.0
        self._past_rows = sum(rows for rows, _, _ in self._done)
        self._past_level = sum(rows / self._past_rows * level for rows, level, _ in self._done)
        self._past_spread = sum(rows / self._past_rows * spread for rows, _, spread in self._done)
        if len(self._shape) < 2 * self._blocks:
            return None
        shapes = np.lib.stride_tricks.sliding_window_view(np.array(self._shape), self._blocks)
        return float(np.abs(shapes[: -self._blocks] - shapes[-1]).mean(axis=1).min())
