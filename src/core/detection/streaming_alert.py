"""What the streaming detector says when it alerts, with everything the alert rests on."""

import enum
from typing import Final

import msgspec

from core.domain.times import TimeRange


class Component(enum.StrEnum):
    """What spoke."""

    RANGE = "range"
    SEASON = "season"
    LEVEL = "level"
    SPREAD = "spread"
    CHANGE = "change"
    DISCORD = "discord"


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert with what it rests on; anyone with the rows can compute it again."""

    ts_us: int
    """The row that raised it, microseconds since the Unix epoch."""
    value: float
    risk: float
    """In [0.5, 1]."""
    component: Component
    """The one whose risk was the largest."""
    risks: dict[Component, float]
    """Of every component that was not silent."""
    window: TimeRange
    """The rows that the statistic is of."""
    baseline: TimeRange
    """The rows that the usual band is of."""
    statistic: float
    """In the unit of the values."""
    usual_low: float
    usual_high: float
    """The band of the statistic in the baseline; both in the unit of the values."""

    @property
    def phrase(self) -> str:
        """The finding in words, without the series and the risk."""
        statistic, low, high = (f"{number:.6g}" for number in (self.statistic, self.usual_low, self.usual_high))
        return f"{_PHRASES[self.component]} {statistic}, usually {low} to {high}"

    def text(self, series: str) -> str:
        """The finding in words: ``cpu value 97.1, usually 20.4 to 61.8 (risk 0.83)``."""
        return f"{series} {self.phrase} (risk {self.risk:.2f})"


_PHRASES: Final = {
    Component.RANGE: "value",
    Component.SEASON: "distance from its usual course",
    Component.LEVEL: "level",
    Component.SPREAD: "spread",
    Component.CHANGE: "level changed by",
    Component.DISCORD: "shape unlike any before by",
}
