"""Signal events: what happened at a moment, on a host or a service, beside the samples.

They are posted (error bursts, deployments, configuration changes) or written by detection, one for each anomaly.
"""

import enum
import math
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from core.domain.errors import InvalidInput
from core.domain.series import Labels, check_label, check_name, check_text
from core.domain.times import TIME_US_MAX, TIME_US_MIN, format_time

EVENTS_PER_REQUEST_MAX: Final = 10_000
"""As many as a batch of metrics may have points."""
LABELS_MAX: Final = 40
MESSAGE_CHARS_MAX: Final = 4_000
"""A line of a log, not the log."""
HOST_LABELS: Final = ("host", "instance", "node", "pod", "container")
"""The first of these that a series has names its host."""
SERVICE_LABEL: Final = "service"
SYNTHETIC_LABEL: Final = "synthetic"
"""A series whose label of this name is ``true`` was made by the simulator, and can be purged."""
CHANGE_METRIC: Final = "config_change"
"""The metric of events that tell of a change somebody made: what the correlator takes for a configuration change."""


class EventSeverity(enum.Enum):
    """How bad it is. Incidents are made of ``warn`` and ``error``, and of changes whatever their severity."""

    INFO = "info"
    WARN = "warn"
    ERROR = "error"


class EventSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event as it is sent. Raises `InvalidInput` naming the field that is wrong."""

    metric: str
    """What it is about: ``cpu``, ``memory``, ``disk``, ``error``, or any metric's name."""
    id: UUID | None = None
    """Chosen by the sender, so that sending it again adds nothing; None: a new one."""
    ts: str | None = None
    """RFC 3339 with a zone; None: now."""
    host: str | None = None
    """Where it happened; a host, a service or both."""
    service: str | None = None
    severity: EventSeverity = EventSeverity.INFO
    value: float | None = None
    """How much, such as how many errors; finite."""
    message: str | None = None
    """For people."""
    labels: dict[str, str] = {}
    """What else is known; at most 40."""
    synthetic: bool = False
    """Made up, such as by the simulator; a purge deletes it."""

    def __post_init__(self) -> None:
        check_name(self.metric, "metric")
        if not self.host and not self.service:
            raise InvalidInput("host", "name a host, a service or both")
        for field in ("host", "service"):
            text = getattr(self, field)
            if text is not None:
                check_text(field, text)
        if self.value is not None and not math.isfinite(self.value):
            raise InvalidInput("value", "must be a finite number; leave it out where there is none")
        if self.message is not None:
            check_message("message", self.message)
        if len(self.labels) > LABELS_MAX:
            raise InvalidInput("labels", f"{len(self.labels)} labels; at most {LABELS_MAX} are kept")
        for label, value in self.labels.items():
            check_label(label, value)


class SignalEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A stored event."""

    id: UUID
    ts: datetime
    host: str | None
    service: str | None
    fingerprint: str
    """``host:metric``: events of one fingerprint are about the same thing."""
    severity: EventSeverity
    metric: str
    value: float | None
    message: str | None
    labels: dict[str, str]
    synthetic: bool
    anomaly_id: UUID | None = None
    """The anomaly that it tells of; None for what was posted."""
    created_at: datetime


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are wanted; None means any. The range is over `ts`, half-open."""

    start_us: int | None = None
    end_us: int | None = None
    severity: EventSeverity | None = None
    host: str | None = None
    service: str | None = None
    metric: str | None = None
    fingerprint: str | None = None
    synthetic: bool | None = None
    anomalies: bool | None = None
    """True: only those that tell of an anomaly; False: only those that were posted."""


def check_message(field: str, text: str) -> None:
    """Raises `InvalidInput` unless `text` can be an event's message, or a note."""
    if not 1 <= len(text) <= MESSAGE_CHARS_MAX:
        raise InvalidInput(field, f"must have 1 to {MESSAGE_CHARS_MAX} characters")
    if "\x00" in text:
        raise InvalidInput(field, "contains a NUL character, which PostgreSQL cannot store")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(field, "contains half of a surrogate pair, which is not Unicode text") from None


def check_instant(field: str, ts_us: int) -> None:
    """Raises `InvalidInput` unless an event may have happened then."""
    if not TIME_US_MIN <= ts_us < TIME_US_MAX:
        raise InvalidInput(field, f"{format_time(ts_us)} is outside the years 1970 to 2200")


def may_join_incident(severity: EventSeverity, metric: str) -> bool:
    """Whether the correlator has to look at such an event."""
    return severity is not EventSeverity.INFO or metric == CHANGE_METRIC


def host_of(labels: Labels) -> str | None:
    """The host that a series was measured on, or None."""
    return next((labels[label] for label in HOST_LABELS if labels.get(label)), None)


def service_of(labels: Labels) -> str | None:
    """The service that a series belongs to, or None."""
    return labels.get(SERVICE_LABEL) or None


def is_synthetic(labels: Labels) -> bool:
    """Whether the simulator made the series."""
    return labels.get(SYNTHETIC_LABEL) == "true"


def fingerprint_of(host: str | None, service: str | None, metric: str) -> str:
    """``host:metric``; the service's name where there is no host, and the metric's alone where there is neither."""
    place = host or service
    return f"{place}:{metric}" if place else metric
