"""How detection looks, as a tenant sets it: which detectors, over how long, which series, and what raises an alert.

Settings are written as they travel: durations and patterns are texts, checked when the settings are made.
"""

import math
from typing import Final

import msgspec

from core.detection.classic import SpikeParameters, TrendParameters, VarianceParameters
from core.domain.alerts import check_matchers
from core.domain.anomalies import Detector
from core.domain.errors import InvalidInput
from core.domain.incidents import CorrelationSettings
from core.domain.matchers import LabelMatcher, MatchOp
from core.domain.rules import AlertRule, RuleMode
from core.domain.times import DAY_US, HOUR_US, MINUTE_US, parse_duration

RISK_METRIC: Final = "sextant_anomaly_risk"
"""The highest risk of each fingerprint's anomalies that are to alert is a series of this metric, which a rule watches;
detection never looks at it."""
RISK_RULE: Final = "anomaly risk"
WINDOW_US_MIN: Final = HOUR_US
WINDOW_US_MAX: Final = 31 * DAY_US
INTERVAL_US_MIN: Final = MINUTE_US
INTERVAL_US_MAX: Final = 7 * DAY_US
PATTERNS_MAX: Final = 50


class VarianceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of variance escalation: whether the last window varies more than the first."""

    window: str = "4h"
    """How long the windows are."""
    increase_min: float = 0.5
    """Reported above: 0.5 is half as much variance again."""
    increase_full: float = 2.0
    """The increase that is a risk of 1: 2.0 is three times the variance."""
    errors_min: float = 3.0
    """Reported above so many standard errors of the ratio's logarithm; 0 also reports what chance gives."""
    fill_min: float = 0.5
    """Windows with less than this part of the fullest window's samples are left out."""


class SpikeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of spikes: values far above the mean."""

    deviations: float = 2.5
    """How many standard deviations above the mean a spike is."""
    baseline_share: float = 1.0
    """Mean and deviation are of this first part of the samples."""
    share_full: float = 0.05
    """Spikes among so large a part of the samples are half the risk."""
    deviations_full: float = 5.0
    """A largest value so many deviations above the mean is the other half."""


class TrendSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of trend: a line through the samples that rises."""

    increase_min: float = 0.3
    """Reported above: the line's end against its start, 0.3 is 30 %."""
    increase_full: float = 1.0
    """The increase that is a risk of 1: 1.0 is doubling."""
    errors_min: float = 4.0
    """Reported above so many standard errors of the rise; 0 also reports what chance gives."""


class StreamingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of the streaming detector, which follows means of buckets where samples are denser than them."""

    bucket: str = "5m"
    """How long a bucket is."""


class DetectionPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which detectors look, and how. Raises `InvalidInput` naming the field that is wrong."""

    detectors: tuple[Detector, ...] = tuple(Detector)
    variance: VarianceSettings = VarianceSettings()
    spike: SpikeSettings = SpikeSettings()
    trend: TrendSettings = TrendSettings()
    streaming: StreamingSettings = StreamingSettings()

    def __post_init__(self) -> None:
        if not self.detectors or len(set(self.detectors)) < len(self.detectors):
            raise InvalidInput("detectors", "name at least one, each once")
        _check_duration("variance.window", self.variance.window, MINUTE_US, WINDOW_US_MAX)
        _check_duration("streaming.bucket", self.streaming.bucket, 1, DAY_US)
        for field, value in (
            ("variance.increase_min", self.variance.increase_min),
            ("spike.deviations", self.spike.deviations),
            ("trend.increase_min", self.trend.increase_min),
            ("trend.errors_min", self.trend.errors_min),
            ("variance.errors_min", self.variance.errors_min),
        ):
            _check_number(field, value, zero=True)
        for field, value in (
            ("variance.increase_full", self.variance.increase_full),
            ("spike.share_full", self.spike.share_full),
            ("spike.deviations_full", self.spike.deviations_full),
            ("trend.increase_full", self.trend.increase_full),
        ):
            _check_number(field, value, zero=False)
        for field, share in (
            ("variance.fill_min", self.variance.fill_min),
            ("spike.baseline_share", self.spike.baseline_share),
        ):
            if not 0.0 < share <= 1.0:
                raise InvalidInput(field, "must be above 0 and at most 1")

    @property
    def variance_parameters(self) -> VarianceParameters:
        """As the detector takes them."""
        given = self.variance
        return VarianceParameters(
            window_us=parse_duration(given.window, "variance.window"),
            increase_min=given.increase_min,
            increase_full=given.increase_full,
            errors_min=given.errors_min,
            fill_min=given.fill_min,
        )

    @property
    def spike_parameters(self) -> SpikeParameters:
        """As the detector takes them."""
        return SpikeParameters(**msgspec.structs.asdict(self.spike))

    @property
    def trend_parameters(self) -> TrendParameters:
        """As the detector takes them."""
        return TrendParameters(**msgspec.structs.asdict(self.trend))

    @property
    def bucket_us(self) -> int:
        """The streaming detector's bucket."""
        return parse_duration(self.streaming.bucket, "streaming.bucket")


class DetectionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tenant's. Raises `InvalidInput` naming the field that is wrong."""

    enabled: bool = True
    interval: str = "15m"
    """How often detection runs; runs begin at whole multiples of it since the Unix epoch."""
    window: str = "48h"
    """How far back each run looks."""
    include: tuple[str, ...] = ()
    """RE2 patterns over metric names, anchored; empty: all metrics."""
    exclude: tuple[str, ...] = ()
    """The same, taken away."""
    matchers: tuple[str, ...] = ()
    """``env=prod`` and the like over the series' labels; all must hold."""
    time_limit: str = "10m"
    """A run that takes longer stops and says so; the next one begins where it stopped."""
    alert_risk: float = 0.8
    """A finding with a risk above this raises an alert."""
    alert_detectors: tuple[Detector, ...] = (Detector.SPIKE, Detector.TREND)
    """Whose findings raise alerts. Variance and streaming are left out by default: they find something in many series
    with a daily course, or within a week in any noise: evidence for incidents, and no reason to wake anybody."""
    shadow: bool = False
    """Record, and alert nobody."""
    channels: tuple[str, ...] | None = None
    """Names of channels; None: the tenant's default ones."""
    remediation: str | None = None
    """The name of a remediation policy."""
    plan: DetectionPlan = msgspec.field(default_factory=DetectionPlan)
    correlation: CorrelationSettings = msgspec.field(default_factory=CorrelationSettings)

    def __post_init__(self) -> None:
        _check_duration("interval", self.interval, INTERVAL_US_MIN, INTERVAL_US_MAX)
        _check_duration("window", self.window, WINDOW_US_MIN, WINDOW_US_MAX)
        _check_duration("time_limit", self.time_limit, MINUTE_US, DAY_US)
        for field in ("include", "exclude"):
            patterns = getattr(self, field)
            if len(patterns) > PATTERNS_MAX:
                raise InvalidInput(field, f"at most {PATTERNS_MAX} patterns are allowed")
            for pattern in patterns:
                _pattern(field, pattern)
        if self.matchers:
            check_matchers("matchers", self.matchers)
        if not self.alert_detectors or len(set(self.alert_detectors)) < len(self.alert_detectors):
            raise InvalidInput("alert_detectors", "name at least one, each once; shadow mode alerts nobody")
        if not 0.0 <= self.alert_risk < 1.0:
            raise InvalidInput("alert_risk", "must be from 0 to below 1: an alert needs a risk above it")
        self.risk_rule()

    @property
    def interval_us(self) -> int:
        """Microseconds between runs."""
        return parse_duration(self.interval, "interval")

    @property
    def window_us(self) -> int:
        """How far back a run looks."""
        return parse_duration(self.window, "window")

    def looks_at(self, metric: str) -> bool:
        """Whether series of this metric are looked at, whatever their labels."""
        if metric == RISK_METRIC:
            return False
        included = not self.include or any(_pattern("include", one).test()(metric) for one in self.include)
        return included and not any(_pattern("exclude", one).test()(metric) for one in self.exclude)

    def risk_rule(self) -> AlertRule:
        """The rule that watches the risks: it brings silences, channels and remediation to what detection finds."""
        return AlertRule(
            name=RISK_RULE,
            metric=RISK_METRIC,
            warning=self.alert_risk,
            annotations={
                "summary": "{{ labels.fingerprint }} behaves unusually: risk {{ value | round(2) }}",
                "look": "sextant anomalies list",  # no label in a command: somebody will paste it
            },
            channels=self.channels,
            remediation=self.remediation,
            mode=RuleMode.SHADOW if self.shadow else RuleMode.LIVE,
            enabled=self.enabled,
        )


def _pattern(field: str, pattern: str) -> LabelMatcher:
    try:
        return LabelMatcher("name", MatchOp.MATCHES, pattern)
    except InvalidInput as error:
        raise InvalidInput(field, error.reason) from None


def _check_duration(field: str, text: str, low_us: int, high_us: int) -> None:
    if not low_us <= parse_duration(text, field) <= high_us:
        raise InvalidInput(field, f"{text!r} is not between {low_us / MINUTE_US:g} and {high_us / MINUTE_US:g} minutes")


def _check_number(field: str, value: float, *, zero: bool) -> None:
    if not math.isfinite(value) or value < 0.0 or (value == 0.0 and not zero):
        raise InvalidInput(field, "must be a finite number " + ("not below 0" if zero else "above 0"))
