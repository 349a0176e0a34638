"""The streaming detector: one series, one row at a time, a risk for each.

Theory of operation. Six statistics of the series are followed, each by a component with its own `Novelty`, which
knows what was usual of that statistic lately and turns what lies beyond into a risk:

    range    the value itself                                   spikes, drops, records
    season   its distance from what the hour of the day or      a holiday, a missing peak
             of the week usually has, where the data show one
    level    the mean of the sliding window                     slow growth, a lasting step
    spread   the mean absolute deviation in that window         turbulence, a flat line
    change   how far the level is from one window before        a change point
    discord  how unlike all earlier shapes the window's is      a course never seen

Before a value enters the window it is brought to the usual band of the range (winsorised, Tukey 1962), so that level,
spread and shape are those of the series and not of one spike.

The ensemble's risk is the largest of theirs: all count how many margins beyond the usual band their statistic is, in
parts of the values' usual range, and 0.5 is one margin. After an alert the detector stays below 0.5 for the refractory
period, so that one incident is one alert. Time is counted in blocks of at least `block_rows` rows and `block_span_us`
microseconds: a series of one row a second and one of a row an hour are both judged by at least a week and at least
2,000 rows.

There is nothing to tune for a file or a metric: one set of round numbers serves all. They were chosen with the
development half of the Numenta Anomaly Benchmark (Lavin, Ahmad 2015) in view. Blocks, memory and window margin may be a
third off at little cost there; rank and margin matter most.
"""

import math
from collections import deque
from typing import Final

import msgspec

from core.detection.novelty import Novelty
from core.detection.season import Season
from core.detection.sliding import SlidingWindow
from core.detection.streaming_alert import Alert, Component
from core.domain.times import HOUR_US, TimeRange

ALERT_RISK: Final = 0.5
"""From here on a risk is an alert; the risks are calibrated to it."""
HEADROOM: Final = 0.25
"""Values are made so much smaller inside, which is exact: differences of the largest floats must not overflow."""
ROUNDING: Final = 1e-9
"""Relative to the values: statistics of the same rows, added up in another order, differ by far less."""
REFRACTORY_FACTOR: Final = 0.49
"""What is left of a risk in the refractory period: never an alert, still in order."""


class StreamingParameters(msgspec.Struct, frozen=True, kw_only=True):
    """How the streaming detector looks; the defaults are meant for every metric."""

    block_rows: int = 24
    """A block has at least so many rows."""
    block_span_us: int = 2 * HOUR_US
    """A block is at least so long, microseconds."""
    memory_blocks: int = 84
    """What is usual is learned from so many blocks: at the least a week and 2,016 rows."""
    window_blocks: int = 12
    """The sliding window: at the least a day and 288 rows, so that a daily course is no change."""
    warm_up_blocks: int = 12
    """Nobody speaks before: a daily course is seen whole once."""
    window_warm_up_blocks: int = 24
    """Windows are judged once so many blocks of them that do not overlap the newest are known."""
    refractory_blocks: int = 4
    """The silence after an alert: a third of a window."""
    rank: int = 2
    """A value or hour that only one block of the memory has shown is still unusual when it comes back."""
    margin: float = 0.05
    """How far beyond what is usual a risk of 0.5 lies, as a part of the values' usual range: 5 %, as NAB's HTM has."""

    window_margin: float = 0.15
    """The same of what is said of windows, which a few rows cannot move: smaller moves are drift."""

    def __post_init__(self) -> None:
        if min(self.block_rows, self.warm_up_blocks, self.refractory_blocks, self.rank) < 1 or self.window_blocks < 2:
            raise ValueError("block_rows, warm_up_blocks, refractory_blocks and rank are at least 1, window_blocks 2")
        if self.block_span_us < 0 or not (self.margin > 0 and self.window_margin > 0):
            raise ValueError("block_span_us is not negative, the margins are above 0")
        if self.memory_blocks < max(self.warm_up_blocks, self.window_warm_up_blocks, 2 * self.window_blocks):
            raise ValueError("memory_blocks holds the warm-up and two windows")


class StreamingDetector:
    """One series; causal, some 1,500 numbers of memory whatever its length. Not for concurrent use."""

    def __init__(self, parameters: StreamingParameters | None = None) -> None:
        self._parameters = chosen = parameters or StreamingParameters()
        memory = chosen.memory_blocks
        self._range, self._course = (
            Novelty(blocks=memory, blocks_min=chosen.warm_up_blocks, rank=chosen.rank) for _ in range(2)
        )
        # What one window showed, those that overlap it did too: a rank above 1 would not tell them apart.
        self._level, self._spread, self._change, self._discord = (
            Novelty(blocks=memory, blocks_min=chosen.window_warm_up_blocks, rank=1, delay=chosen.window_blocks)
            for _ in range(4)
        )
        self._season = Season()
        self._window = SlidingWindow(blocks=chosen.window_blocks, memory=chosen.memory_blocks)
        self._block_starts_us: deque[int] = deque(maxlen=memory + chosen.window_blocks + 1)
        self._block_rows = 0
        self._ts_us = 0
        self._rows = 0
        self._alert_ts_us = 0
        self._alert_row: int | None = None
        self.alert: Alert | None = None
        """The alert that the latest row raised, if it did."""

    def update(self, ts_us: int, value: float) -> float:
        """The risk, in [0, 1], of the next row; it depends on this row and those before it only.

        `ts_us`: microseconds since the Unix epoch; a row older than the one before counts as of the same time. A value
        that is not finite is a gap: its risk is 0 and nothing is learned from it.
        """
        self.alert = None
        if not math.isfinite(value):
            return 0.0
        self._ts_us = ts_us = max(ts_us, self._ts_us)
        value *= HEADROOM
        shape_distance = self._end_block() if self._block_is_over() else None
        if not self._block_rows:
            self._block_starts_us.append(ts_us)
        self._block_rows += 1
        self._rows += 1
        said = self._said(value, shape_distance)
        loudest = max(said, key=_risk_of)
        risk = loudest[1]
        if risk < ALERT_RISK:
            return risk
        if self._is_refractory():
            return risk * REFRACTORY_FACTOR
        self._alert_ts_us, self._alert_row = ts_us, self._rows
        self.alert = self._explained(value, said, loudest)
        return risk

    def _said(self, value: float, shape_distance: float | None) -> "list[_Said]":
        """What each component that is not silent says of this row."""
        window = self._window
        said: list[_Said] = [(Component.RANGE, self._range.beyond(value), value, self._range)]
        distance = self._season.distance(self._ts_us, value)
        if distance is not None:
            risk = self._course.above(distance)
            if self._season.shown:
                said.append((Component.SEASON, risk, distance, self._course))
        window.add(min(max(value, self._range.low), self._range.high))  # robust: one spike moves no window
        if window.full:
            level, spread, change = window.level, window.spread, window.change()
            said.append((Component.LEVEL, self._level.beyond(level), level, self._level))
            said.append((Component.SPREAD, self._spread.beyond(spread), spread, self._spread))
            if change is not None:
                said.append((Component.CHANGE, self._change.above(change), change, self._change))
        if shape_distance is not None:
            risk = self._discord.above(shape_distance)
            said.append((Component.DISCORD, risk, shape_distance, self._discord))
        return said

    def _block_is_over(self) -> bool:
        chosen = self._parameters
        return self._block_rows >= chosen.block_rows and self._ts_us - self._block_starts_us[-1] >= chosen.block_span_us

    def _end_block(self) -> float | None:
        """Lets everyone learn the block; returns the distance of the window's shape, once there is one."""
        self._block_rows = 0
        components = (self._range, self._course, self._level, self._spread, self._change, self._discord)
        for novelty in components:
            novelty.end_block()
        usual = self._range
        width, rounding = usual.high - usual.low, ROUNDING * usual.magnitude()
        for novelty in components[:2]:
            novelty.unit = self._parameters.margin * width + rounding
        for novelty in components[2:]:
            novelty.unit = self._parameters.window_margin * width + rounding
        return self._window.end_block()

    def _is_refractory(self) -> bool:
        if self._alert_row is None:
            return False
        chosen = self._parameters
        return (
            self._rows - self._alert_row <= chosen.refractory_blocks * chosen.block_rows
            or self._ts_us - self._alert_ts_us <= chosen.refractory_blocks * chosen.block_span_us
        )

    def _explained(self, value: float, said: "list[_Said]", loudest: "_Said") -> Alert:
        component, risk, statistic, novelty = loudest
        chosen = self._parameters
        starts_us = self._block_starts_us
        window_us = self._ts_us
        baseline_us, baseline_end_us = starts_us[-min(len(starts_us), chosen.memory_blocks + 1)], starts_us[-1]
        if component is Component.SEASON:
            window_us -= self._ts_us % HOUR_US
        elif component is not Component.RANGE:
            window_us = baseline_end_us = starts_us[-min(len(starts_us), chosen.window_blocks)]
            baseline_us = starts_us[0]
        return Alert(
            ts_us=self._ts_us,
            value=value / HEADROOM,
            risk=risk,
            component=component,
            risks={who: its_risk for who, its_risk, _, _ in said if its_risk > 0},
            window=TimeRange(window_us, self._ts_us + 1),
            baseline=TimeRange(baseline_us, max(baseline_end_us, baseline_us + 1)),
            statistic=statistic / HEADROOM,
            usual_low=novelty.low / HEADROOM,
            usual_high=novelty.high / HEADROOM,
        )


_Said = tuple[Component, float, float, Novelty]
"""A component, its risk, its statistic, and what is usual of that."""


def _risk_of(said: _Said) -> float:
    return said[1]
