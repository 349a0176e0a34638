"""Alerts as they are recorded and shown: one row per episode of one target of one rule; silences and inhibition."""

import enum
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from core.domain.errors import InvalidInput
from core.domain.matchers import MATCHERS_MAX, label_filter, parse_matchers
from core.domain.rules import AlertRule, RuleOrigin, Severity, Threshold
from core.domain.series import Labels, check_label_name

REASON_CHARS_MAX: Final = 1_000
EQUAL_LABELS_MAX: Final = 10
RESERVED_LABELS: Final = frozenset({"alertname", "metric", "severity"})
"""What silences and inhibitions match besides an alert's own labels, named as Alertmanager names them."""


class EpisodeState(enum.Enum):
    """Where an episode stands."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class Resolution(enum.Enum):
    """Why an episode ended."""

    RECOVERED = "recovered"
    RULE_CHANGED = "rule_changed"
    """The rule was deleted, disabled or pointed at something else."""
    CLOSED = "closed"
    """By a person."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One episode."""

    id: int
    rule: str
    rule_id: int
    metric: str
    labels: dict[str, str]
    """The series' or group's labels and the rule's own."""
    state: EpisodeState
    severity: Severity | None
    """The worst it has been; None while pending."""
    value: float | None
    """What was compared last when the state changed; None where samples stayed away."""
    threshold: Threshold | None
    started_at: datetime
    """The first bad sample's instant."""
    fired_at: datetime | None
    resolved_at: datetime | None
    resolution: Resolution | None
    episode: int
    """Counts the target's episodes under this rule from 1."""
    no_data: bool
    """It fired because samples stayed away."""
    shadow: bool
    announced: bool
    """Whether anybody was to be told. False for what had resolved, or was long past, before it could be said."""
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    annotations: dict[str, str]
    runbook_url: str | None
    remediation: int | None
    """The id of the remediation it caused."""

    @property
    def matched_labels(self) -> dict[str, str]:
        """What silences and inhibitions see: the labels and the `RESERVED_LABELS`."""
        severity = {"severity": self.severity.value} if self.severity is not None else {}
        return {**self.labels, "alertname": self.rule, "metric": self.metric, **severity}


class AlertFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which alerts to list; None means any. Ranges are over `started_at`, half-open."""

    state: EpisodeState | None = None
    severity: Severity | None = None
    rule: str | None = None
    metric: str | None = None
    matchers: tuple[str, ...] = ()
    acknowledged: bool | None = None
    shadow: bool | None = None
    start_us: int | None = None
    end_us: int | None = None


class StoredRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule with what the store knows of it."""

    id: int
    origin: RuleOrigin
    rule: AlertRule
    revision: int
    """Counts changes of the rule from 1."""
    created_at: datetime
    updated_at: datetime


class SilenceSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A silence as it is asked for: who is not told of what, from when to when; also a maintenance window."""

    matchers: tuple[str, ...]
    """Over an alert's labels, ``alertname``, ``metric`` and ``severity``; at least one."""
    starts_at: datetime | None = None
    """None: now."""
    ends_at: datetime
    reason: str

    def __post_init__(self) -> None:
        check_matchers("matchers", self.matchers)
        _check_reason(self.reason)
        for field in ("starts_at", "ends_at"):
            instant = getattr(self, field)
            if instant is not None and instant.tzinfo is None:
                raise InvalidInput(field, "has no time zone; add Z or an offset such as +02:00")
        if self.starts_at is not None and self.ends_at <= self.starts_at:
            raise InvalidInput("ends_at", "must be after starts_at")

    def begin(self, unless_named: datetime) -> datetime:
        """When it starts; raises `InvalidInput` where it would have ended by then."""
        starts_at = self.starts_at or unless_named
        if self.ends_at <= starts_at:
            raise InvalidInput("ends_at", "must be after its start")
        return starts_at


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """A silence; half-open ``[starts_at, ends_at)``."""

    id: int
    matchers: tuple[str, ...]
    starts_at: datetime
    ends_at: datetime
    author: str
    reason: str
    created_at: datetime

    def covers(self, alert: Alert, at: datetime) -> bool:
        """Whether nobody is to be told of `alert` at that time."""
        return self.starts_at <= at < self.ends_at and matches(self.matchers, alert.matched_labels)


class InhibitionSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """While an alert that matches `source` fires, nobody is told of one that matches `target` and has the same values
    of the `equal` labels. As Alertmanager's inhibit_rules (https://prometheus.io/docs/alerting/latest/configuration/).
    """

    name: str
    source: tuple[str, ...]
    target: tuple[str, ...]
    equal: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= 200 or "\x00" in self.name:
            raise InvalidInput("name", "must have 1 to 200 characters, none of them NUL")
        check_matchers("source", self.source)
        check_matchers("target", self.target)
        if len(self.equal) > EQUAL_LABELS_MAX:
            raise InvalidInput("equal", f"at most {EQUAL_LABELS_MAX} labels")
        for label in self.equal:
            check_label_name(label, "equal")

    def inhibits(self, target: Alert, firing: Sequence[Alert]) -> bool:
        """Whether one of `firing`, another alert, holds `target` back; one that matches both sides never does."""
        labels = target.matched_labels
        if not matches(self.target, labels) or matches(self.source, labels):
            return False
        return any(
            source.id != target.id
            and matches(self.source, source.matched_labels)
            and all(source.matched_labels.get(name, "") == labels.get(name, "") for name in self.equal)
            for source in firing
        )


class Inhibition(msgspec.Struct, frozen=True, kw_only=True):
    """A stored inhibition."""

    id: int
    spec: InhibitionSpec
    created_at: datetime


def check_matchers(field: str, matchers: tuple[str, ...]) -> None:
    """Raises `InvalidInput` unless `matchers` are some, and can be read."""
    if not 1 <= len(matchers) <= MATCHERS_MAX:
        raise InvalidInput(field, f"give 1 to {MATCHERS_MAX} matchers such as host=a")
    try:
        parse_matchers(matchers)
    except InvalidInput as error:
        raise InvalidInput(field, error.reason) from None


def matches(matchers: tuple[str, ...], labels: Labels) -> bool:
    """Whether all `matchers` hold for `labels`."""
    return label_filter(parse_matchers(matchers))(labels)


def _check_reason(reason: str) -> None:
    if not 1 <= len(reason) <= REASON_CHARS_MAX or "\x00" in reason:
        raise InvalidInput("reason", f"must have 1 to {REASON_CHARS_MAX} characters, none of them NUL")
