"""How long after one entity another one usually moves, learned from earlier incidents.

Theory of operation. In each incident an entity's first signal is when it moved. Over the incidents that have both, the
differences of two entities' moves are a lag where they have one sign and little spread: the median, and the median
absolute deviation from it (P. J. Huber, Robust Statistics, 1981). What moved at the same time has no lag; that it is
one incident shows by its nearness.
"""

import itertools
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from core.domain.incidents import LearnedLag, Signal
from core.domain.times import HOUR_US, SECOND_US

INCIDENTS_MIN: Final = 3
"""Twice may be chance."""
LAG_US_MIN: Final = 5 * SECOND_US
"""Shorter ones are within what clocks and evaluation intervals differ by."""
LAG_US_MAX: Final = HOUR_US
"""Beyond it a relation could no longer be told from things that happen every day."""
SPREAD_SHARE_MAX: Final = 0.25
"""Of the lag. With more, as in moves that are independent of each other, nothing can be foretold."""
ENTITIES_MAX: Final = 50
"""Of one incident, the first to move; a storm's pairs would be millions."""
LAGS_MAX: Final = 1_000
"""Kept of one tenant: those that were seen most often."""
TOLERANCE_US_MIN: Final = 30 * SECOND_US
"""What clocks and sampling intervals add to any spread."""
_TOLERANCE_SPREADS: Final = 3 * 1.4826
"""Three standard deviations, where a median absolute deviation is 1 / 1.4826 of one."""


def learn_lags(histories: Iterable[Sequence[Signal]]) -> list[LearnedLag]:
    """The lags that incidents show, in alphabetical order; of each incident its signals in any order."""
    lags_us = defaultdict[tuple[str, str], list[int]](list)
    for signals in histories:
        for (first, first_us), (then, then_us) in itertools.combinations(_first_moves(signals), 2):
            if first < then:
                lags_us[first, then].append(then_us - first_us)
            else:
                lags_us[then, first].append(first_us - then_us)
    learned = [lag for (first, then), found in lags_us.items() if (lag := _lag(first, then, found)) is not None]
    learned.sort(key=lambda lag: (-lag.incidents, lag.spread_us / lag.lag_us, lag.first, lag.then))
    return sorted(learned[:LAGS_MAX], key=lambda lag: (lag.first, lag.then))


def tolerance_us(lag: LearnedLag) -> int:
    """How far from the lag a difference may be and still be taken for it."""
    return max(TOLERANCE_US_MIN, int(_TOLERANCE_SPREADS * lag.spread_us))


def farthest_us(lag: LearnedLag) -> int:
    """The longest difference that is taken for the lag."""
    return lag.lag_us + tolerance_us(lag)


def _first_moves(signals: Iterable[Signal]) -> list[tuple[str, int]]:
    """When each entity moved first, ascending; at most `ENTITIES_MAX`."""
    moved: dict[str, int] = {}
    for signal in signals:
        moved[signal.entity] = min(signal.at_us, moved.get(signal.entity, signal.at_us))
    return sorted(moved.items(), key=lambda move: (move[1], move[0]))[:ENTITIES_MAX]


def _lag(first: str, then: str, lags_us: Sequence[int]) -> LearnedLag | None:
    if len(lags_us) < INCIDENTS_MIN or min(lags_us) <= 0 <= max(lags_us):
        return None
    if lags_us[0] < 0:
        first, then, lags_us = then, first, [-lag_us for lag_us in lags_us]
    lag_us = statistics.median_low(lags_us)
    spread_us = statistics.median_low(abs(one - lag_us) for one in lags_us)
    if not LAG_US_MIN <= lag_us <= LAG_US_MAX or spread_us > SPREAD_SHARE_MAX * lag_us:
        return None
    return LearnedLag(first=first, then=then, lag_us=lag_us, spread_us=spread_us, incidents=len(lags_us))
