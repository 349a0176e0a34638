"""What may be asked about events, detection and anomalies.

Reading needs scope ``query`` or ``alerts``, posting events ``ingest``, changing settings and marks ``alerts``, purging
``admin``. All raise `Forbidden`, `Unavailable`, and for what is not there `NotFound`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from core.detection.plan import DetectionPlan, DetectionSettings
from core.domain.anomalies import Anomaly, AnomalyFilter, AnomalyFinding, Precision, Verdict
from core.domain.dependencies import Dependency
from core.domain.detection_runs import DetectionRun
from core.domain.events import EventFilter, EventSpec, SignalEvent
from core.domain.points import Rejection
from core.domain.tenants import Principal
from core.domain.times import TimeRange
from ports.driven.synthetic_store import Purge


class EventsReply(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch of events."""

    accepted: int
    """Stored now, or stored before under the same id."""
    rejected: int
    errors: tuple[Rejection, ...] = ()
    """The first `ERRORS_SHOWN_MAX` refusals."""
    ids: tuple[UUID, ...] = ()
    """Of the accepted ones, in the order sent."""


class EventPage(msgspec.Struct, frozen=True):
    """Events, newest first, and the cursor of the next page where there is one."""

    data: Sequence[SignalEvent]
    next_cursor: str | None


class AnomalyPage(msgspec.Struct, frozen=True):
    """Anomalies, last seen first, and the cursor of the next page where there is one."""

    data: Sequence[Anomaly]
    next_cursor: str | None


class RunPage(msgspec.Struct, frozen=True):
    """Runs, newest first, and the cursor of the next page where there is one."""

    data: Sequence[DetectionRun]
    next_cursor: str | None


class SeriesFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A finding with the series that it is about."""

    metric: str
    labels: dict[str, str]
    fingerprint: str
    text: str
    """In words, with the risk."""
    finding: AnomalyFinding


class Detection(msgspec.Struct, frozen=True, kw_only=True):
    """What one look at stored samples found; nothing is recorded of it."""

    start: datetime
    end: datetime
    series: int
    """Looked at."""
    samples: int
    findings: Sequence[SeriesFinding]
    """The highest risk first; at most `FINDINGS_MAX`."""
    findings_total: int


class DetectionBacktestStep(msgspec.Struct, frozen=True, kw_only=True):
    """What one scheduled run would have found."""

    at: datetime
    findings: int
    alarming: Sequence[SeriesFinding]
    """Those above the alert risk that the run before did not have."""


class DetectionBacktest(msgspec.Struct, frozen=True, kw_only=True):
    """What scheduled detection would have done over a range of history."""

    start: datetime
    end: datetime
    series: int
    samples: int
    runs: int
    alerts: int
    """Fingerprints that would have begun to alert, counted each time."""
    alerting_s: float
    """Of all of them together."""
    steps: Sequence[DetectionBacktestStep]
    """Runs with something new above the alert risk; at most `STEPS_MAX`."""


class Events(Protocol):
    """Signal events, the service graph, and purging what was simulated."""

    async def post(self, principal: Principal, events: Sequence[EventSpec | Rejection]) -> EventsReply:
        """Stores the valid ones; a `Rejection` is one that could not be read, in its place. Raises `TooLarge`."""
        ...

    async def list(self, principal: Principal, wanted: EventFilter, *, limit: int, cursor: str | None) -> EventPage:
        """Newest first. Raises `InvalidInput`."""
        ...

    async def get(self, principal: Principal, event_id: UUID) -> SignalEvent:
        """One."""
        ...

    async def dependencies(self, principal: Principal) -> Sequence[Dependency]:
        """The service graph, ascending."""
        ...

    async def replace_dependencies(self, principal: Principal, dependencies: Sequence[Dependency]) -> None:
        """Declares the whole graph. Raises `InvalidInput`."""
        ...

    async def purge(self, principal: Principal) -> Purge:
        """Asks for all synthetic data to be deleted; it is done within seconds."""
        ...

    async def purge_status(self, principal: Principal, purge_id: int) -> Purge:
        """How far that is."""
        ...


class Detections(Protocol):
    """Detection on demand, what scheduled detection found, and how it is set."""

    async def detect(
        self,
        principal: Principal,
        metric: str | None,
        matchers: Sequence[str],
        time_range: TimeRange,
        plan: DetectionPlan,
    ) -> Detection:
        """Looks now; without `metric` at all metrics. Raises `InvalidInput`, `TooExpensive`."""
        ...

    async def backtest(
        self, principal: Principal, settings: DetectionSettings, time_range: TimeRange
    ) -> DetectionBacktest:
        """What scheduled detection with these settings would have done; each run sees only what was before it.
        Raises `InvalidInput`, `TooExpensive`."""
        ...

    async def anomalies(
        self, principal: Principal, wanted: AnomalyFilter, *, limit: int, cursor: str | None
    ) -> AnomalyPage:
        """Last seen first. Raises `InvalidInput`."""
        ...

    async def anomaly(self, principal: Principal, anomaly_id: UUID) -> Anomaly:
        """One."""
        ...

    async def mark(self, principal: Principal, anomaly_id: UUID, verdict: Verdict | None, note: str | None) -> Anomaly:
        """Says whether it was right; None takes that back. One marked as false ends its alert with the next run."""
        ...

    async def precision(self, principal: Principal, *, days: int) -> Sequence[Precision]:
        """How often each detector was right, of anomalies first seen in the last `days`."""
        ...

    async def settings(self, principal: Principal) -> DetectionSettings:
        """How detection is set."""
        ...

    async def replace_settings(self, principal: Principal, settings: DetectionSettings) -> DetectionSettings:
        """Sets it whole; raises `InvalidInput` where a channel or policy is not there. One that names a remediation
        policy needs scope ``remediate`` as well."""
        ...

    async def runs(self, principal: Principal, *, limit: int, cursor: str | None) -> RunPage:
        """What scheduled detection did, newest first."""
        ...

    async def request_run(self, principal: Principal) -> DetectionRun:
        """Asks for a run now instead of at the next due instant; it begins within seconds. Raises `Conflict` while one
        is under way, or where detection is switched off."""
        ...


class DetectionRound(msgspec.Struct, frozen=True, kw_only=True):
    """What one look for due runs did, for the log and the one who triggered it."""

    tenant: str | None = None
    """Whose run it was; None: none was due."""
    due_at: datetime | None = None
    state: str | None = None
    resumed: bool = False
    series: int = 0
    points: int = 0
    findings: int = 0
    opened: int = 0
    ended: int = 0
    alarming: int = 0
    took_s: float = 0.0
    away: str | None = None
    """Why nothing was done, where the database was not available."""


class DetectionWork(Protocol):
    """Scheduled detection, for whoever keeps the schedule."""

    async def run_due(self, *, overdue_s: float = 0.0) -> DetectionRound:
        """Does one run that is due since `overdue_s`, whole; `tenant` None where there is none. Never raises
        `Unavailable`: `away` says so."""
        ...
