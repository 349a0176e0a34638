"""What a series usually is at this hour of the day and of the week, where its data show such a course.

Two tables are learned side by side, 24 hours of the day and 168 hours of the week (UTC), each hour an exponentially
weighted mean of its own past (Holt 1957, Winters 1960, the additive seasonal part). Which one speaks, and whether any
does, is decided by their errors so far against those of a plain level. A value is compared with the band of the hour
and its two neighbours: edges of a course move by minutes every day, and by an hour twice a year where a
daylight-saving rule shifts people and UTC stays.
"""

from typing import Final

from core.domain.times import HOUR_US

DAY_HOURS: Final = 24
WEEK_HOURS: Final = 168
LEARNING_RATE: Final = 0.3
"""Of an hour's newest mean: half of what is known is from the last two days (weeks)."""
LEVEL_RATE: Final = 0.02
"""Of the plain level that a course must beat: the last fifty rows."""
ERROR_RATE: Final = 0.002
"""Of the errors that are compared: some 500 rows, so that one incident does not decide."""
GAIN: Final = 0.7
"""A course speaks only while its error is less than this part of the plain level's."""


class Season:
    """The hourly courses of one series, causal, 192 numbers of memory. Not for concurrent use."""

    __slots__ = ("_day", "_hour", "_hour_mean", "_hour_rows", "_level", "_level_error", "_week", "shown")

    def __init__(self) -> None:
        self._day, self._week = _Course(DAY_HOURS), _Course(WEEK_HOURS)
        self._hour: int | None = None
        self._hour_mean = 0.0
        self._hour_rows = 0
        self._level: float | None = None
        self._level_error = _MeanError()
        self.shown = False
        """Whether the data up to the latest row show a course."""

    def distance(self, ts_us: int, value: float) -> float | None:
        """How far `value` (finite) is from what its hour usually has, at least 0; None where the hour is new.

        Rows come in order of `ts_us`, microseconds since the Unix epoch.
        """
        hour = ts_us // HOUR_US
        if hour != self._hour:
            self._begin_hour(hour)
        self._hour_rows += 1
        self._hour_mean += (value - self._hour_mean) / self._hour_rows
        level = value if self._level is None else self._level
        self._level = level + LEVEL_RATE * (value - level)
        if not self._day.knows(hour):
            return None
        self._level_error.add(abs(value - level))
        self._day.judge(hour, value)
        best = self._day
        if self._week.knows(hour):
            self._week.judge(hour, value)
            if self._week.error.mean < self._day.error.mean:
                best = self._week
        self.shown = best.error.mean < GAIN * self._level_error.mean
        return best.distance(hour, value)

    def _begin_hour(self, hour: int) -> None:
        if self._hour is not None and self._hour_rows:
            for course in (self._day, self._week):
                course.learn(self._hour, self._hour_mean)
        self._hour, self._hour_mean, self._hour_rows = hour, 0.0, 0


class _MeanError:
    """The mean of errors, exponentially weighted once there are many."""

    __slots__ = ("mean", "rows")

    def __init__(self) -> None:
        self.rows = 0
        self.mean = 0.0

    def add(self, error: float) -> None:
        self.rows += 1
        self.mean += max(1.0 / self.rows, ERROR_RATE) * (error - self.mean)


class _Course:
    """One table of hours and how well it has predicted."""

    __slots__ = ("_levels", "error")

    def __init__(self, hours: int) -> None:
        self._levels: list[float | None] = [None] * hours
        self.error = _MeanError()

    def knows(self, hour: int) -> bool:
        return self._levels[hour % len(self._levels)] is not None

    def judge(self, hour: int, value: float) -> None:
        level = self._levels[hour % len(self._levels)]
        assert level is not None
        self.error.add(abs(value - level))

    def learn(self, hour: int, mean: float) -> None:
        place = hour % len(self._levels)
        level = self._levels[place]
        self._levels[place] = mean if level is None else level + LEARNING_RATE * (mean - level)

    def distance(self, hour: int, value: float) -> float:
        """From the band of the hour and its neighbours."""
        levels = self._levels
        place = hour % len(levels)
        low = high = levels[place]
        assert low is not None
        assert high is not None
        for neighbour in (levels[place - 1], levels[(place + 1) % len(levels)]):
            if neighbour is not None:
                if neighbour < low:
                    low = neighbour
                elif neighbour > high:
                    high = neighbour
        if value > high:
            return value - high
        return low - value if value < low else 0.0
