"""Metric definitions: what a name means, how it is aggregated, how long it is kept."""

import enum
import math
from typing import Final

import msgspec

from core.domain.errors import InvalidInput
from core.domain.series import check_name
from core.domain.times import DAY_US, day_start

RETENTION_DAYS_DEFAULT: Final = 30
RETENTION_DAYS_MAX: Final = 36_500
"""A hundred years: whoever wants for ever gets it."""
TEXT_CHARS_MAX: Final = 2_000
"""A description is read by people; longer belongs behind a link."""


class MetricType(enum.Enum):
    """The four kinds of metric, in Prometheus' sense."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"


class Aggregation(enum.Enum):
    """How the samples of one bucket become one value."""

    AVG = "avg"
    MIN = "min"
    MAX = "max"
    SUM = "sum"
    COUNT = "count"
    FIRST = "first"
    LAST = "last"
    RATE = "rate"
    INCREASE = "increase"
    P50 = "p50"
    P90 = "p90"
    P95 = "p95"
    P99 = "p99"


class AlertThreshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Values above which a metric is worth a warning, or critical; None where not set."""

    warning: float | None = None
    critical: float | None = None

    def __post_init__(self) -> None:
        for field, value in (("warning", self.warning), ("critical", self.critical)):
            if value is not None and not math.isfinite(value):
                raise InvalidInput(f"alert_threshold.{field}", "must be a finite number")


class MetricDefinition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one metric name means for one tenant."""

    name: str
    display_name: str | None = None
    description: str | None = None
    unit: str | None = None
    type: MetricType = MetricType.GAUGE
    aggregation: Aggregation | None = None
    """None: the default of `type`."""
    retention_days: int = RETENTION_DAYS_DEFAULT
    alert_threshold: AlertThreshold | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        for field in ("display_name", "description", "unit"):
            text = getattr(self, field)
            if text is None:
                continue
            if len(text) > TEXT_CHARS_MAX:
                raise InvalidInput(field, f"{len(text)} characters; at most {TEXT_CHARS_MAX} are allowed")
            if "\x00" in text:
                raise InvalidInput(field, "contains a NUL character, which PostgreSQL cannot store")
        if not 1 <= self.retention_days <= RETENTION_DAYS_MAX:
            raise InvalidInput("retention_days", f"must be from 1 to {RETENTION_DAYS_MAX}")

    @property
    def default_aggregation(self) -> Aggregation:
        """What a query uses that names no aggregation."""
        return self.aggregation or default_aggregation(self.type)


def default_aggregation(metric_type: MetricType) -> Aggregation:
    """Gauge and summary avg, counter rate, histogram p95."""
    match metric_type:
        case MetricType.GAUGE | MetricType.SUMMARY:
            return Aggregation.AVG
        case MetricType.COUNTER:
            return Aggregation.RATE
        case MetricType.HISTOGRAM:
            return Aggregation.P95


def retention_cutoff(now_us: int, retention_days: int) -> int:
    """The oldest instant kept: midnight UTC `retention_days` days before today's midnight."""
    return day_start(now_us) - retention_days * DAY_US
