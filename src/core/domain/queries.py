"""Answers to queries, in the shape they are asked for."""

import enum
from collections.abc import Sequence
from typing import Final

import msgspec

from core.domain.columns import Float64s, Int64s

LIMIT_DEFAULT: Final = 1_000
LIMIT_MAX: Final = 10_000
"""One page of raw samples; more comes by cursor."""
BUCKETS_PER_LINE_MAX: Final = 11_000
"""A week of minutes; Prometheus' own bound on points per series, and more than any screen shows."""
POINTS_ANSWERED_MAX: Final = 1_000_000
"""Buckets of all lines together: an answer of about 60 MB of JSON."""
CATALOG_ANSWER_MAX: Final = 100_000
"""Names or label values in one answer."""


class Fill(enum.Enum):
    """What stands in a bucket that has no value."""

    NONE = "none"
    NULL = "null"
    PREVIOUS = "previous"
    LINEAR = "linear"
    ZERO = "zero"


class RawSample(msgspec.Struct, frozen=True):
    """One stored sample."""

    timestamp: str
    name: str
    labels: dict[str, str]
    source: str | None
    value: float


class RawPage(msgspec.Struct, frozen=True):
    """Samples in time order, and the cursor of the next page where there is one."""

    data: list[RawSample]
    next_cursor: str | None


class LatestSample(msgspec.Struct, frozen=True):
    """The newest sample of one series."""

    name: str
    labels: dict[str, str]
    source: str | None
    timestamp: str
    value: float


class AggregateRow(msgspec.Struct, frozen=True):
    """Statistics of one line; percentiles are continuous (linear interpolation)."""

    labels: dict[str, str]
    count: int
    avg: float
    min: float
    max: float
    sum: float
    p50: float
    p95: float
    p99: float


class AggregateResult(msgspec.Struct, frozen=True):
    """Statistics over a range."""

    name: str
    data: list[AggregateRow]


class Line(msgspec.Struct, frozen=True, eq=False):
    """One line of a series answer: `buckets_us` ascending starts, `values` with NaN where a filled bucket is null."""

    labels: dict[str, str]
    buckets_us: Int64s
    values: Float64s


class SeriesResult(msgspec.Struct, frozen=True, eq=False):
    """Values by bucket."""

    name: str
    bucket_us: int
    aggregation: str
    lines: Sequence[Line]
