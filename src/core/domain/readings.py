"""Many readings of one target through its state machine, without looking at those that can change nothing."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from core.domain.alert_state import AlertState, Change, Level, Phase, Timing, advance, deadlines_us
from core.domain.columns import Int64s

Levels = npt.NDArray[np.int8]
"""`Level` of each reading, shape (n,)."""


def walk(
    state: AlertState, timing: Timing, ts_us: Int64s, levels: Levels
) -> Iterator[tuple[int, AlertState, tuple[Change, ...]]]:
    """For each reading that may matter its row, the state after it, and what it caused.

    `ts_us` ascending, parallel to `levels`. The result is that of `advance` over every single reading, but for
    `last_us` of a target that is inactive: good readings leave it as it is. Late readings are passed over.
    """
    late = int(np.searchsorted(ts_us, state.last_us, "right"))
    ts_us, levels = ts_us[late:], levels[late:]
    if len(levels) == 0:
        return
    starts = np.append(0, np.flatnonzero(levels[1:] != levels[:-1]) + 1).tolist()
    for start, end in zip(starts, [*starts[1:], len(levels)], strict=True):
        level = Level(int(levels[start]))
        if level < Level.WARNING and state.phase is Phase.INACTIVE:
            continue
        row = start
        while row < end:
            state, changes = advance(state, int(ts_us[row]), level, timing)
            yield late + row, state, changes
            row = _next_row(state, timing, ts_us, row, end)


def _next_row(state: AlertState, timing: Timing, ts_us: Int64s, row: int, end: int) -> int:
    """The next row of a run of equal levels that can matter: at a deadline, or the last one; `end` past that."""
    last = end - 1
    if row >= last:
        return end
    deadlines = deadlines_us(state, timing)
    if not deadlines:
        return last
    return min(last, row + 1 + int(np.searchsorted(ts_us[row + 1 : end], deadlines[0])))
