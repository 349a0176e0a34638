"""Drift: where a cluster has moved away from what was asked for, declared or planned."""

import enum
from datetime import date, datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from core.domain.configurations import Document, check_document
from core.domain.errors import InvalidInput
from core.domain.names import check_cluster_id, check_text_encodable
from core.domain.times import check_instant

ID_CHARS_MAX: Final = 200
MESSAGE_CHARS_MAX: Final = 2_000

SEXTANT: Final = "sextant"
"""Who settled an event where no person did."""

Confidence = Annotated[float, Meta(ge=0, le=1)]


class DriftCategory(enum.Enum):
    """What moved."""

    CPU_MEMORY_DRIFT = "CPU_MEMORY_DRIFT"
    CONFIG_DRIFT = "CONFIG_DRIFT"
    CAPACITY_DRIFT = "CAPACITY_DRIFT"
    LATENCY_DRIFT = "LATENCY_DRIFT"
    ERROR_DRIFT = "ERROR_DRIFT"
    COST_DRIFT = "COST_DRIFT"
    OTHER_DRIFT = "OTHER_DRIFT"


class DriftSeverity(enum.Enum):
    """How much it matters."""

    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"


class DetectionMethod(enum.Enum):
    """How it was found."""

    ANOMALY = "anomaly"
    """Against its own baseline."""
    THRESHOLD = "threshold"
    """Against requests, limits or a plan."""
    CONFIG_DIFF = "config_diff"
    MANUAL = "manual"


class DriftStatus(enum.Enum):
    """Where it stands."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    IGNORED = "ignored"


class DriftSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A drift event as it is reported. Raises `InvalidInput` naming the field."""

    cluster_id: str
    env: str = "production"
    drift_date: date | None = None
    """None: the day of `start_ts`, UTC."""
    drift_id: str | None = None
    """Of the sender's own: sending it again is the same event. None: made up."""
    drift_category: DriftCategory
    severity: DriftSeverity
    workload_name: str | None = None
    namespace: str | None = None
    start_ts: datetime
    end_ts: datetime | None = None
    """None: it goes on."""
    detection_method: DetectionMethod = DetectionMethod.MANUAL
    confidence_score: Confidence = 1.0
    status: DriftStatus = DriftStatus.OPEN
    message: str | None = None
    evidence: Document = {}
    """What shows it: metric, observed, expected …"""
    synthetic: bool = False

    def __post_init__(self) -> None:
        for field in ("cluster_id", "env", "workload_name", "namespace"):
            text = getattr(self, field)
            if text is not None:
                check_cluster_id(field, text)
        if self.drift_id is not None:
            check_id("drift_id", self.drift_id)
        for field in ("start_ts", "end_ts"):
            instant = getattr(self, field)
            if instant is not None:
                check_instant(field, instant)
        if self.end_ts is not None and self.end_ts < self.start_ts:
            raise InvalidInput("end_ts", "must not be before start_ts")
        if self.message is not None:
            if len(self.message) > MESSAGE_CHARS_MAX or "\x00" in self.message:
                raise InvalidInput("message", f"at most {MESSAGE_CHARS_MAX} characters, none of them NUL")
            check_text_encodable("message", self.message)
        check_document("evidence", self.evidence)


class DriftEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One stored drift event."""

    cluster_id: str
    env: str
    drift_date: date
    drift_id: str
    drift_category: DriftCategory
    severity: DriftSeverity
    workload_name: str | None
    namespace: str | None
    start_ts: datetime
    end_ts: datetime | None
    last_seen_at: datetime
    """When it was last found, or reported."""
    detection_method: DetectionMethod
    confidence_score: float
    status: DriftStatus
    message: str | None
    evidence: Document
    automatic: bool
    """Found by Sextant itself, which also resolves it when it is no longer found."""
    synthetic: bool
    created_at: datetime
    updated_at: datetime
    status_by: str | None
    status_note: str | None


class DriftFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which drift events to list; None means any. The range is over `start_ts`, half-open."""

    cluster_id: str | None = None
    env: str | None = None
    drift_category: DriftCategory | None = None
    severity: DriftSeverity | None = None
    status: DriftStatus | None = None
    workload_name: str | None = None
    namespace: str | None = None
    start: datetime | None = None
    end: datetime | None = None


class FoundDrift(msgspec.Struct, frozen=True, kw_only=True):
    """Drift that detection found, under a key that is the same as long as it is the same drift."""

    key: str
    """Without the day: ``cpu-over-request/shop/checkout``."""
    drift: DriftSpec
    recommendation: "ProposedRecommendation | None" = None


class ProposedRecommendation(msgspec.Struct, frozen=True, kw_only=True):
    """What detection would do about it."""

    recommendation_type: str
    recommendation_json: dict[str, Any]
    """As `core.domain.recommendations` reads it."""
    estimated_savings_usd: float | None = None


def check_id(field: str, text: str) -> None:
    """Raises `InvalidInput` unless it can be an id: it stands in paths."""
    if not 1 <= len(text) <= ID_CHARS_MAX or not text.isprintable() or not text.isascii() or "/" in text:
        raise InvalidInput(field, f"must have 1 to {ID_CHARS_MAX} printable ASCII characters, none of them /")
