"""Anomalies: what a detector found in a series, from when it was first seen until it was no longer.

A finding is what one look at a stretch of samples gives, and anybody with the samples can compute it again. An anomaly
is the record of findings of one detector about one series that follow one another.
"""

import enum
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

MOMENTS_MAX: Final = 200
"""Kept of one finding, the newest; all are counted."""
NOTE_CHARS_MAX: Final = 1_000


class Detector(enum.Enum):
    """Which detector."""

    VARIANCE = "variance"
    SPIKE = "spike"
    TREND = "trend"
    STREAMING = "streaming"


CLASSIC: Final = (Detector.VARIANCE, Detector.SPIKE, Detector.TREND)


class Moment(msgspec.Struct, frozen=True):
    """A sample that stands out."""

    ts_us: int
    value: float


class AnomalyFinding(msgspec.Struct, frozen=True, kw_only=True):
    """What one detector found in one series; numbers are in the unit of the values."""

    series_id: int
    detector: Detector
    component: str | None = None
    """Of the streaming detector: which component spoke (`core.detection.streaming_alert.Component`)."""
    risk: float
    """In [0, 1]."""
    start_us: int
    """The first row of the window that the statistic is of."""
    end_us: int
    """Just after its last row."""
    baseline_start_us: int
    baseline_end_us: int
    """The stretch that is compared with; of a trend the whole window, of spikes the first `baseline_share` of its rows,
    which is all of them by default."""
    usual_low: float
    usual_high: float
    """What was usual there: of the classic three one number twice (the first window's standard deviation; the mean;
    the line's start), of the streaming detector the band of its statistic."""
    observed: float
    """The last window's standard deviation; the largest value; the line's end; the streaming statistic."""
    count: int
    """Windows compared, spikes, rows of the line; 1 for the streaming detector."""
    phrase: str
    """In words, without the series and the risk, such as ``variance escalated 4.30x``."""
    moments: tuple[Moment, ...] = ()
    """Spikes, or the row that raised the streaming alert; ascending, at most `MOMENTS_MAX`, the newest. Empty for
    variance and trend, which are conditions, not moments."""

    def text(self, fingerprint: str) -> str:
        """The finding in words: ``host-stressed:cpu variance escalated 4.30x (risk 1.00)``."""
        return f"{fingerprint} {self.phrase} (risk {self.risk:.2f})"


class Verdict(enum.Enum):
    """What an operator says of an anomaly; precision is counted from these."""

    TRUE = "true"
    FALSE = "false"
    """Not worth anybody's attention: it raises no alert, and ends the one it raised."""


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's verdict."""

    verdict: Verdict
    by: str
    at: datetime
    note: str | None = None


class Anomaly(msgspec.Struct, frozen=True, kw_only=True):
    """A stored anomaly with its latest finding."""

    id: UUID
    metric: str
    labels: dict[str, str]
    host: str | None
    service: str | None
    fingerprint: str
    finding: AnomalyFinding
    """The latest; after `ended_at` the last one."""
    risk_max: float
    """The highest it has been."""
    first_seen_at: datetime
    """When the run that found it first ran; the finding's own times say when it happened."""
    last_seen_at: datetime
    ended_at: datetime | None
    """When a run no longer found it; None while it is open."""
    shadow: bool
    """It was recorded while detection was in shadow mode, and raises no alert."""
    synthetic: bool
    mark: Mark | None = None

    @property
    def text(self) -> str:
        """The finding in words."""
        return self.finding.text(self.fingerprint)


class AnomalyFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which anomalies are wanted; None means any. The range is over `last_seen_at`, half-open."""

    start_us: int | None = None
    end_us: int | None = None
    detector: Detector | None = None
    metric: str | None = None
    host: str | None = None
    service: str | None = None
    fingerprint: str | None = None
    open: bool | None = None
    risk_min: float | None = None
    marked: bool | None = None
    synthetic: bool | None = None


class Precision(msgspec.Struct, frozen=True, kw_only=True):
    """How often a detector was right, by the operators' verdicts."""

    detector: Detector
    anomalies: int
    marked_true: int
    marked_false: int
    precision: float | None
    """`marked_true` of all that were marked; None where none was."""


def precision_of(detector: Detector, anomalies: int, marked_true: int, marked_false: int) -> Precision:
    """From what was counted."""
    marked = marked_true + marked_false
    return Precision(
        detector=detector,
        anomalies=anomalies,
        marked_true=marked_true,
        marked_false=marked_false,
        precision=marked_true / marked if marked else None,
    )
