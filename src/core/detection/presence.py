"""Whether something that used to report has fallen silent: missing samples are evidence, never zeros.

Time is cut into intervals as long as the series' usual spacing, and only those count in which anything at all
reported: a collector that was away says nothing about a single service.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.detection.metric_meaning import ObservedSeries
from core.domain.times import MINUTE_US

_PRIOR_SEEN: Final = 1
_PRIOR_INTERVALS: Final = 2
"""Laplace's rule of succession: a series that never missed an interval still may."""


class Intervals:
    """The time around an instant, cut into intervals that begin at it."""

    def __init__(self, series: Sequence[ObservedSeries], at_us: int) -> None:
        """Takes the intervals' length and which of them count from all `series`."""
        self._at_us = at_us
        self.length_us = _usual_spacing_us(series)
        counting = self._numbers(series)
        self._before, self._after = counting[counting < 0], counting[counting >= 0]

    def silence(self, replicas: Sequence[Sequence[ObservedSeries]]) -> tuple[float, int | None]:
        """How surprising the silence of `replicas` after the instant is, and since when.

        Each replica is a group of series, any of which shows it to be there. The usual number of replicas is the median
        before the instant; replaced ones do not count as missing. The surprise is the number of standard deviations
        (at least 0) that the intervals seen fall short of a binomial expectation. Since when: the start of the first
        interval after the instant with too few, in microseconds, or None where none is missing.
        """
        before, after = np.zeros(self._before.size, np.int64), np.zeros(self._after.size, np.int64)
        for group in replicas:
            there = self._numbers(group)
            before += np.isin(self._before, there)
            after += np.isin(self._after, there)
        usual = int(np.median(before)) if before.size else 0
        if not usual or not after.size:
            return 0.0, None
        seen_before, seen_after = np.minimum(before, usual).sum(), np.minimum(after, usual).sum()
        share = float(seen_before + _PRIOR_SEEN) / (before.size * usual + _PRIOR_INTERVALS)
        trials = after.size * usual
        surprise = (trials * share - float(seen_after)) / math.sqrt(trials * share * (1 - share))
        missing = self._after[after < usual]
        since_us = self._at_us + int(missing[0]) * self.length_us if missing.size else None
        return max(0.0, surprise), since_us

    def _numbers(self, series: Iterable[ObservedSeries]) -> NDArray[np.int64]:
        """The intervals with a sample, ascending; those before the instant have negative numbers."""
        numbers = [np.unique((one.ts_us - self._at_us) // self.length_us) for one in series]
        return np.unique(np.concatenate(numbers)) if numbers else np.empty(0, np.int64)


def _usual_spacing_us(series: Iterable[ObservedSeries]) -> int:
    """The median over series of their median spacing; a minute where nothing was sampled twice."""
    gaps = [np.diff(np.unique(one.ts_us)) for one in series]
    spacings = [float(np.median(gap)) for gap in gaps if gap.size]
    return max(1, round(float(np.median(spacings)))) if spacings else MINUTE_US
