"""Alert rules: what is compared with what, over which samples, and who is told.

A rule is written as it travels: durations and matchers are texts, checked when the rule is made. What evaluation works
with, in microseconds and arrays, is `core.domain.compiled_rule`.
"""

import enum
import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from core.domain.annotations import check_template
from core.domain.definitions import Aggregation, AlertThreshold
from core.domain.errors import InvalidInput
from core.domain.matchers import MATCHERS_MAX, parse_matchers
from core.domain.series import check_label, check_label_name, check_name
from core.domain.times import DAY_US, HOUR_US, parse_duration

NAME_CHARS_MAX: Final = 200
"""A name is for a list on a screen, and part of what a pager says."""
WINDOW_US_MAX: Final = DAY_US
"""A window is kept in memory for every series of the rule."""
HOLD_US_MAX: Final = 7 * DAY_US
"""A condition that must hold for longer is a report, not an alert."""
DELAY_US_MAX: Final = HOUR_US
"""Samples wait in memory for this long."""
GROUP_BY_MAX: Final = 10
"""More labels than a person tells apart."""
LABELS_MAX: Final = 20
ANNOTATIONS_MAX: Final = 20
CHANNELS_MAX: Final = 20
TEXT_CHARS_MAX: Final = 2_000
NO_DATA_AFTER_DEFAULT: Final = "5m"
"""Some times the usual interval between samples, so that one lost sample is no alarm."""

Band = tuple[float, float]
Threshold = float | Band
"""A number, or ``[low, high]`` for `outside` and `inside`."""


class Severity(enum.Enum):
    """How bad it is; `critical` is worse."""

    WARNING = "warning"
    CRITICAL = "critical"


class Condition(enum.Enum):
    """How a value compares with a threshold when something is wrong; the bounds of a band count as inside."""

    ABOVE = ">"
    AT_LEAST = ">="
    BELOW = "<"
    AT_MOST = "<="
    EQUAL = "=="
    NOT_EQUAL = "!="
    OUTSIDE = "outside"
    INSIDE = "inside"


BANDS: Final = frozenset({Condition.OUTSIDE, Condition.INSIDE})


class NoData(enum.Enum):
    """What samples that stay away mean. Whatever it is, only a good sample resolves."""

    OK = "ok"
    """Nothing is wrong: a pending alert is dropped."""
    KEEP = "keep"
    """Nothing is known: everything stays as it is."""
    ALERT = "alert"
    """Something is wrong: the alert fires, at the rule's lowest severity."""


class RuleMode(enum.Enum):
    """Whether anybody is told."""

    LIVE = "live"
    SHADOW = "shadow"
    """Evaluated and recorded; nobody is told and nothing is repaired."""


class RuleOrigin(enum.Enum):
    """Where a rule comes from."""

    API = "api"
    DEFINITION = "definition"
    """It is a metric definition's `alert_threshold`, and changes with it."""
    DETECTION = "detection"
    """It watches the risks that detection publishes, and changes with detection's settings."""


class AlertRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"for_": "for"}):
    """One rule of one tenant. Raises `InvalidInput` naming the field that is wrong."""

    name: str
    metric: str
    matchers: tuple[str, ...] = ()
    """``host=a``, ``host!=a``, ``host=~a.*``, ``host!~a.*``; all must hold."""
    aggregation: Aggregation = Aggregation.LAST
    window: str | None = None
    """The samples in ``(t - window, t]`` make one value; None: each sample by itself, which only `last` can do."""
    group_by: tuple[str, ...] | None = None
    """None: every series has an alert of its own; a list: one for each distinct set of these labels, [] one for all."""
    condition: Condition = Condition.ABOVE
    warning: Threshold | None = None
    critical: Threshold | None = None
    clear: Threshold | None = None
    """A firing alert stays so while the condition holds against this; None: against its lowest threshold."""
    for_: str | None = None
    """How long the condition must hold, in samples' time, before it fires."""
    keep_firing_for: str | None = None
    """How long it must be good again before it resolves."""
    no_data: NoData = NoData.KEEP
    no_data_after: str = NO_DATA_AFTER_DEFAULT
    evaluation_delay: str | None = None
    """How long to wait for late samples before an instant is judged."""
    labels: dict[str, str] = {}
    """Added to the alert's own labels; they route and inhibit."""
    annotations: dict[str, str] = {}
    """Templates over ``value``, ``threshold``, ``severity``, ``metric``, ``rule`` and ``labels``."""
    runbook_url: str | None = None
    channels: tuple[str, ...] | None = None
    """Names of channels; None: the tenant's default ones."""
    remediation: str | None = None
    """The name of a remediation policy."""
    mode: RuleMode = RuleMode.LIVE
    enabled: bool = True

    def __post_init__(self) -> None:
        _check_text("name", self.name, chars_max=NAME_CHARS_MAX)
        check_name(self.metric, "metric")
        self._check_selection()
        self._check_thresholds()
        self._check_times()
        self._check_words()

    def _check_selection(self) -> None:
        if len(self.matchers) > MATCHERS_MAX:
            raise InvalidInput("matchers", f"{len(self.matchers)} matchers; at most {MATCHERS_MAX} are allowed")
        with _named("matchers"):
            parse_matchers(self.matchers)
        if self.group_by is not None:
            if len(self.group_by) > GROUP_BY_MAX or len(set(self.group_by)) < len(self.group_by):
                raise InvalidInput("group_by", f"at most {GROUP_BY_MAX} labels, each once")
            for label in self.group_by:
                check_label_name(label, "group_by")
        if self.window is None and self.aggregation is not Aggregation.LAST:
            raise InvalidInput("window", f"{self.aggregation.value!r} needs a window such as 5m")
        if self.window is None and self.group_by is not None:
            raise InvalidInput("window", "group_by needs a window such as 5m: series do not report at the same instant")

    def _check_thresholds(self) -> None:
        if self.warning is None and self.critical is None:
            raise InvalidInput("warning", "give a threshold: warning, critical or both")
        for field in ("warning", "critical", "clear"):
            _check_threshold(field, getattr(self, field), self.condition)
        if self.warning is not None and self.critical is not None:
            _check_order("critical", self.critical, "warning", self.warning, self.condition)
        if self.clear is not None:
            lowest = self.warning if self.warning is not None else self.critical
            assert lowest is not None
            field = "warning" if self.warning is not None else "critical"
            _check_order(field, lowest, "clear", self.clear, self.condition)

    def _check_times(self) -> None:
        for field, longest_us in (
            ("window", WINDOW_US_MAX),
            ("for_", HOLD_US_MAX),
            ("keep_firing_for", HOLD_US_MAX),
            ("no_data_after", HOLD_US_MAX),
            ("evaluation_delay", DELAY_US_MAX),
        ):
            text = getattr(self, field)
            name = field.rstrip("_")
            if text is not None and parse_duration(text, name) > longest_us:
                raise InvalidInput(name, f"{text!r} is longer than the {longest_us // HOUR_US}h that are allowed")

    def _check_words(self) -> None:
        check_labels("labels", self.labels)
        if len(self.annotations) > ANNOTATIONS_MAX:
            raise InvalidInput("annotations", f"at most {ANNOTATIONS_MAX} are allowed")
        for name, template in self.annotations.items():
            check_label_name(name, "annotations")
            _check_text(f"annotations.{name}", template, chars_max=TEXT_CHARS_MAX)
            check_template(f"annotations.{name}", template)
        if self.runbook_url is not None:
            _check_text("runbook_url", self.runbook_url, chars_max=TEXT_CHARS_MAX)
            if not self.runbook_url.startswith(("https://", "http://")):
                raise InvalidInput("runbook_url", "must begin with https:// or http://")
        if self.channels is not None and len(self.channels) > CHANNELS_MAX:
            raise InvalidInput("channels", f"at most {CHANNELS_MAX} are allowed")
        for name in self.channels or ():
            _check_text("channels", name, chars_max=NAME_CHARS_MAX)
        if self.remediation is not None:
            _check_text("remediation", self.remediation, chars_max=NAME_CHARS_MAX)

    @property
    def subject(self) -> tuple[object, ...]:
        """What the rule watches; an edit that changes it ends the rule's open episodes."""
        return (self.metric, self.matchers, self.aggregation, self.window, self.group_by, self.mode)


def definition_rule(metric: str, threshold: AlertThreshold) -> AlertRule | None:
    """The rule that a definition's `alert_threshold` is; None where it names no threshold.

    A critical threshold below the warning one means that low values are bad.
    """
    warning, critical = threshold.warning, threshold.critical
    if warning is None and critical is None:
        return None
    falling = warning is not None and critical is not None and critical < warning
    return AlertRule(
        name=definition_rule_name(metric),
        metric=metric,
        condition=Condition.BELOW if falling else Condition.ABOVE,
        warning=warning,
        critical=critical,
    )


def definition_rule_name(metric: str) -> str:
    """What the rule of a definition is called: a name for each metric, so one too long ends in a part of its hash."""
    name = f"threshold of {metric}"
    if len(name) <= NAME_CHARS_MAX:
        return name
    digest = hashlib.sha256(metric.encode()).hexdigest()[:16]
    return f"{name[: NAME_CHARS_MAX - 17]}~{digest}"


def detection_rule_names(name: str) -> Iterator[str]:
    """What the rule that follows detection's settings may be called, best first: a tenant's own rules keep theirs."""
    yield name
    yield f"{name} (detection)"
    yield from (f"{name} (detection {number})" for number in itertools.count(2))


def check_labels(field: str, labels: Mapping[str, str]) -> None:
    """Raises `InvalidInput` unless `labels` can be added to an alert's."""
    if len(labels) > LABELS_MAX:
        raise InvalidInput(field, f"at most {LABELS_MAX} are allowed")
    for label, value in labels.items():
        with _named(field):
            check_label(label, value)


def holds(condition: Condition, value: float, threshold: Threshold) -> bool:
    """Whether `value` is wrong by `condition` against `threshold`."""
    if isinstance(threshold, tuple):
        inside = threshold[0] <= value <= threshold[1]
        return inside is (condition is Condition.INSIDE)
    match condition:
        case Condition.ABOVE:
            return value > threshold
        case Condition.AT_LEAST:
            return value >= threshold
        case Condition.BELOW:
            return value < threshold
        case Condition.AT_MOST:
            return value <= threshold
        case Condition.EQUAL:
            return value == threshold
        case Condition.NOT_EQUAL:
            return value != threshold
        case Condition.OUTSIDE | Condition.INSIDE:
            raise ValueError(f"{condition} needs a band")


class _named:  # noqa: N801  # reads as a statement where it is used
    """Gives an `InvalidInput` raised inside the name of the rule's field."""

    def __init__(self, field: str) -> None:
        self._field = field

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InvalidInput):
            raise InvalidInput(self._field, error.reason) from None


def _check_text(field: str, text: str, *, chars_max: int) -> None:
    if not 1 <= len(text) <= chars_max:
        raise InvalidInput(field, f"must have 1 to {chars_max} characters")
    if any(ord(character) < 32 and character not in "\n\t" for character in text):
        raise InvalidInput(field, "contains control characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(field, "contains half of a surrogate pair, which is not Unicode text") from None


def _check_threshold(field: str, threshold: Threshold | None, condition: Condition) -> None:
    if threshold is None:
        return
    if condition in BANDS:
        if not isinstance(threshold, tuple):
            raise InvalidInput(field, f"{condition.value!r} needs a band [low, high]")
        if not (math.isfinite(threshold[0]) and math.isfinite(threshold[1]) and threshold[0] <= threshold[1]):
            raise InvalidInput(field, "must be two finite numbers [low, high], the lower first")
    elif isinstance(threshold, tuple):
        raise InvalidInput(field, f"{condition.value!r} needs one number; bands are for outside and inside")
    elif not math.isfinite(threshold):
        raise InvalidInput(field, "must be a finite number")


def _check_order(
    worse: str, worse_value: Threshold, better: str, better_value: Threshold, condition: Condition
) -> None:
    """Refuses a threshold that can be passed without passing a lower one first."""
    match condition:
        case Condition.ABOVE | Condition.AT_LEAST:
            wrong = worse_value < better_value  # type: ignore[operator]  # both are numbers: checked before
            said = "must not be below"
        case Condition.BELOW | Condition.AT_MOST:
            wrong = worse_value > better_value  # type: ignore[operator]  # the same
            said = "must not be above"
        case Condition.OUTSIDE | Condition.INSIDE:
            assert isinstance(worse_value, tuple)
            assert isinstance(better_value, tuple)
            further_out = condition is Condition.OUTSIDE
            outer, inner = (worse_value, better_value) if further_out else (better_value, worse_value)
            wrong = not (outer[0] <= inner[0] and inner[1] <= outer[1])
            said = "must enclose" if further_out else "must lie within"
        case Condition.EQUAL | Condition.NOT_EQUAL:
            return
    if wrong:
        raise InvalidInput(worse, f"{said} {better} where the condition is {condition.value!r}")
