"""Incidents: signals that belong together, what they say together, and what people did about them."""

import enum
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from core.domain.errors import InvalidInput
from core.domain.times import HOUR_US, parse_duration

SIGNALS_MAX: Final = 5_000
"""Of one incident: a storm's later signals are counted, not kept."""
SIGNALS_MIN_MAX: Final = 100
WINDOW_US_MAX: Final = HOUR_US
"""Signals further apart than that are joined by what was learned, not by their nearness."""


class SignalKind(enum.Enum):
    """What a signal is."""

    ANOMALY = "anomaly"
    ERROR = "error"
    """A posted event of severity warn or error."""
    ALERT = "alert"
    CHANGE = "change"
    """An event of metric ``config_change``, whatever its severity."""


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened at a moment: an event or the beginning of an alert's episode."""

    key: str
    """``event:<uuid>`` or ``alert:<id>``: the row behind it."""
    kind: SignalKind
    at_us: int
    host: str | None
    service: str | None
    metric: str
    value: float | None
    text: str
    """In words, as it was recorded."""
    labels: dict[str, str]
    severe: bool
    """An error, a critical alert, an anomaly with a risk above 0.8."""
    synthetic: bool
    anomaly_id: UUID | None = None
    seen_us: int | None = None
    """When it became known (an event was stored, an alert fired); None: when it happened."""

    @property
    def entity(self) -> str:
        """Where it happened: the host, else the service, else the metric."""
        return self.host or self.service or self.metric


class SignalEdge(msgspec.Struct, frozen=True, kw_only=True):
    """Why two signals are taken to belong together; `first` is not later than `then`."""

    first: str
    then: str
    score: float
    """In (0, 1]."""
    reasons: tuple[str, ...]
    """In words, the weightiest first, such as ``same host host-a`` or ``checkout calls payment``."""


class IncidentState(enum.Enum):
    """Where an incident stands."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    MERGED = "merged"
    """Its signals are another incident's now; `merged_into` says whose."""


class ReferenceKind(enum.Enum):
    """What a reference leads to."""

    EVENT = "event"
    ANOMALY = "anomaly"
    ALERT = "alert"
    SAMPLES = "samples"


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """The row, or the samples, behind a sentence."""

    kind: ReferenceKind
    id: str | None = None
    """Of an event, anomaly or alert."""
    metric: str | None = None
    labels: dict[str, str] = {}
    start: datetime | None = None
    end: datetime | None = None
    """Of samples: which, half-open."""


class Sentence(msgspec.Struct, frozen=True, kw_only=True):
    """One sentence, with everything it rests on."""

    text: str
    references: tuple[Reference, ...]


class CauseHypothesis(msgspec.Struct, frozen=True, kw_only=True):
    """What may have caused the incident."""

    entity: str
    """The service or host that is suspected."""
    score: float
    """Comparable within one incident only; higher is likelier."""
    text: str
    evidence: tuple[Sentence, ...]
    counter_evidence: tuple[str, ...]


class GraphNode(msgspec.Struct, frozen=True, kw_only=True):
    """A host or service of the causal graph."""

    entity: str
    signals: int
    first_at: datetime | None
    """When it first moved; None for one that did not and only connects others."""
    score: float
    """Of its hypothesis; 0 where it is not suspected."""


class GraphEdge(msgspec.Struct, frozen=True, kw_only=True):
    """That one entity's trouble may have led to another's."""

    cause: str
    effect: str
    score: float
    reasons: tuple[str, ...]


class IncidentAnalysis(msgspec.Struct, frozen=True, kw_only=True):
    """What was made of an incident's signals; computed again whenever they change."""

    title: str
    narrative: tuple[Sentence, ...]
    hypotheses: tuple[CauseHypothesis, ...]
    """Likeliest first."""
    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]
    analysed_at: datetime

    @property
    def text(self) -> str:
        """The narrative as one text."""
        return " ".join(sentence.text for sentence in self.narrative)


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """A stored incident."""

    id: int
    state: IncidentState
    title: str
    severe: bool
    """One of its signals is."""
    started_at: datetime
    last_signal_at: datetime
    hosts: tuple[str, ...]
    services: tuple[str, ...]
    signals: int
    synthetic: bool
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    resolved_at: datetime | None
    resolved_by: str | None
    """``sextant`` where it grew quiet by itself."""
    merged_into: int | None
    narrative: str | None
    """None until it was analysed, some seconds after it opened."""
    revision: int
    """Counts every change from 1."""
    created_at: datetime
    updated_at: datetime


class IncidentFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which incidents are wanted; None means any. The range is over `started_at`, half-open."""

    state: IncidentState | None = None
    active: bool | None = None
    """True: open or acknowledged."""
    start_us: int | None = None
    end_us: int | None = None
    host: str | None = None
    service: str | None = None
    text: str | None = None
    """Stands in the title or the narrative, whatever the case of its letters."""
    synthetic: bool | None = None


class ChangeKind(enum.Enum):
    """What became of an incident."""

    OPENED = "opened"
    GREW = "grew"
    REOPENED = "reopened"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    MERGED = "merged"
    """Another incident's signals came to it, or its own went to another."""
    SPLIT = "split"
    UNDONE = "undone"


class IncidentChange(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of an incident's history."""

    id: int
    incident_id: int
    kind: ChangeKind
    at: datetime
    by: str
    """``sextant`` or ``key:<id>``."""
    summary: str
    detail: dict[str, Any]
    """Of a merge: ``from``, ``into``, ``keys``; of a split: ``from``, ``into``, ``keys``; of an undo: ``change``."""
    undone: bool = False


class IncidentDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One incident with all that is known of it."""

    incident: Incident
    timeline: tuple[Signal, ...]
    """Ascending in time."""
    links: tuple[SignalEdge, ...]
    """Why the signals belong together."""
    analysis: IncidentAnalysis | None
    history: tuple[IncidentChange, ...]


class CorrelationSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How signals are joined."""

    window: str = "5m"
    """Signals up to this far apart may belong together."""
    signals_min: int = 3
    """Fewer make no incident; a severe alert always does."""
    reopen_within: str = "30m"
    """A signal this soon after an incident was resolved opens it again instead of another one."""
    resolve_after: str = "1h"
    """An incident this long without a signal, and without a firing alert, is resolved."""

    def __post_init__(self) -> None:
        if not 1 <= self.signals_min <= SIGNALS_MIN_MAX:
            raise InvalidInput("correlation.signals_min", f"must be from 1 to {SIGNALS_MIN_MAX}")
        if parse_duration(self.window, "correlation.window") > WINDOW_US_MAX:
            raise InvalidInput("correlation.window", f"{self.window!r} is longer than the 1h that is allowed")
        for field in ("reopen_within", "resolve_after"):
            parse_duration(getattr(self, field), f"correlation.{field}")


class LearnedLag(msgspec.Struct, frozen=True, kw_only=True):
    """How long after one entity another one usually moves, learned from earlier incidents."""

    first: str
    then: str
    lag_us: int
    """The median."""
    spread_us: int
    """The median absolute deviation from it."""
    incidents: int
    """How many it was learned from."""
