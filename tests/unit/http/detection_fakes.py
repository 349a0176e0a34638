"""The ports of events, detection and incidents as a few values, to see what HTTP makes of requests and answers."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import msgspec

from core.detection.plan import DetectionPlan, DetectionSettings
from core.domain.anomalies import (
    Anomaly,
    AnomalyFilter,
    AnomalyFinding,
    Detector,
    Mark,
    Moment,
    Precision,
    Verdict,
)
from core.domain.dependencies import Dependency
from core.domain.detection_runs import DetectionRun, RunState
from core.domain.errors import Conflict, NotFound
from core.domain.events import EventFilter, EventSeverity, EventSpec, SignalEvent
from core.domain.incidents import (
    CauseHypothesis,
    ChangeKind,
    GraphEdge,
    GraphNode,
    Incident,
    IncidentAnalysis,
    IncidentChange,
    IncidentDetail,
    IncidentFilter,
    IncidentState,
    Reference,
    ReferenceKind,
    Sentence,
    Signal,
    SignalEdge,
    SignalKind,
)
from core.domain.points import ERRORS_SHOWN_MAX, Rejection
from core.domain.tenants import Principal, Scope
from core.domain.times import EPOCH, HOUR_US, TimeRange
from ports.driven.synthetic_store import Purge
from ports.driving.detecting import (
    AnomalyPage,
    Detection,
    DetectionBacktest,
    DetectionBacktestStep,
    EventPage,
    EventsReply,
    RunPage,
    SeriesFinding,
)
from ports.driving.investigating import IncidentPage
from tests.unit.http.alert_fakes import Alerting
from tests.unit.http.fakes import MADE_AT, FixedClock

NOW_US = FixedClock().now_us()
EVENT_ID = UUID("3f6c1a52-8f0b-4d3e-9c55-6f1f0e6d2b11")
ANOMALY_ID = UUID("7a1d7c1e-52b4-5c0e-8a44-0d3c5f4b9e21")
EVENT = SignalEvent(
    id=EVENT_ID,
    ts=MADE_AT,
    host="a",
    service=None,
    fingerprint="a:error",
    severity=EventSeverity.ERROR,
    metric="error",
    value=13.0,
    message="pool exhausted",
    labels={"region": "eu"},
    synthetic=False,
    created_at=MADE_AT,
)
FINDING = AnomalyFinding(
    series_id=7,
    detector=Detector.SPIKE,
    risk=0.9,
    start_us=NOW_US - HOUR_US,
    end_us=NOW_US + 1,
    baseline_start_us=NOW_US - 2 * HOUR_US,
    baseline_end_us=NOW_US - HOUR_US,
    usual_low=20.5,
    usual_high=20.5,
    observed=94.98,
    count=46,
    phrase="46 spikes up to 94.98",
    moments=(Moment(NOW_US - 500_000, 94.98),),
)
SERIES_FINDING = SeriesFinding(
    metric="cpu", labels={"host": "a"}, fingerprint="a:cpu", text=FINDING.text("a:cpu"), finding=FINDING
)
ANOMALY = Anomaly(
    id=ANOMALY_ID,
    metric="cpu",
    labels={"host": "a"},
    host="a",
    service=None,
    fingerprint="a:cpu",
    finding=FINDING,
    risk_max=0.95,
    first_seen_at=MADE_AT,
    last_seen_at=MADE_AT,
    ended_at=None,
    shadow=False,
    synthetic=True,
)
RUN = DetectionRun(
    id=1,
    due_at=MADE_AT,
    covers_from=None,
    state=RunState.DONE,
    attempts=1,
    started_at=MADE_AT,
    finished_at=MADE_AT,
    after_series_id=7,
    series=1,
    points=10,
    findings=1,
    error=None,
)
INCIDENT = Incident(
    id=1,
    state=IncidentState.OPEN,
    title="a: error burst",
    severe=True,
    started_at=MADE_AT,
    last_signal_at=MADE_AT,
    hosts=("a",),
    services=(),
    signals=2,
    synthetic=False,
    acknowledged_at=None,
    acknowledged_by=None,
    resolved_at=None,
    resolved_by=None,
    merged_into=None,
    narrative="Errors followed a spike. The spike caused them.",
    revision=2,
    created_at=MADE_AT,
    updated_at=MADE_AT,
)
_TO_EVENT = Reference(kind=ReferenceKind.EVENT, id=str(EVENT_ID))
_TO_ANOMALY = Reference(kind=ReferenceKind.ANOMALY, id=str(ANOMALY_ID))
_TO_SAMPLES = Reference(
    kind=ReferenceKind.SAMPLES,
    metric="cpu",
    labels={"host": "a&b", "zone": "é"},
    start=EPOCH,
    end=EPOCH + timedelta(seconds=1, microseconds=5),
)
_TO_ALL_SAMPLES = Reference(kind=ReferenceKind.SAMPLES, start=EPOCH, end=MADE_AT)
ANALYSIS = IncidentAnalysis(
    title=INCIDENT.title,
    narrative=(
        Sentence(text="Errors followed a spike.", references=(_TO_EVENT, _TO_ANOMALY)),
        Sentence(text="The spike caused them.", references=(_TO_ANOMALY, _TO_ALL_SAMPLES)),
    ),
    hypotheses=(
        CauseHypothesis(
            entity="a",
            score=1.5,
            text="a was busy",
            evidence=(Sentence(text="Its cpu moved first.", references=(_TO_SAMPLES,)),),
            counter_evidence=("its memory did not",),
        ),
    ),
    nodes=(GraphNode(entity="a", signals=2, first_at=MADE_AT, score=1.5),),
    edges=(GraphEdge(cause="a", effect="b", score=0.5, reasons=("b calls a",)),),
    analysed_at=MADE_AT,
)
SIGNAL = Signal(
    key="alert:42",
    kind=SignalKind.ALERT,
    at_us=NOW_US - 1,
    host="a",
    service=None,
    metric="cpu",
    value=97.5,
    text="busy",
    labels={"host": "a"},
    severe=True,
    synthetic=False,
)
CHANGE = IncidentChange(
    id=1,
    incident_id=1,
    kind=ChangeKind.MERGED,
    at=MADE_AT,
    by="key:abc123",
    summary="took the signals of incident 2",
    detail={"from": 2, "into": 1, "keys": ["alert:42"]},
)
DETAIL = IncidentDetail(
    incident=INCIDENT,
    timeline=(
        SIGNAL,
        msgspec.structs.replace(SIGNAL, key=f"event:{EVENT_ID}", kind=SignalKind.ANOMALY, anomaly_id=ANOMALY_ID),
    ),
    links=(SignalEdge(first="alert:42", then=f"event:{EVENT_ID}", score=0.8, reasons=("same host a",)),),
    analysis=ANALYSIS,
    history=(CHANGE,),
)


class EventBook(Alerting):
    """Keeps what was posted; shows one event and one purge."""

    def __init__(self) -> None:
        super().__init__()
        self.posted: list[EventSpec | Rejection] = []
        self.graph: Sequence[Dependency] = ()

    async def post(self, principal: Principal, events: Sequence[EventSpec | Rejection]) -> EventsReply:
        self._check()
        principal.require(Scope.INGEST)
        self.posted = list(events)
        refused = [event for event in events if isinstance(event, Rejection)]
        accepted = len(events) - len(refused)
        return EventsReply(
            accepted=accepted,
            rejected=len(refused),
            errors=tuple(refused[:ERRORS_SHOWN_MAX]),
            ids=(EVENT_ID,) * accepted,
        )

    async def list(self, principal: Principal, wanted: EventFilter, *, limit: int, cursor: str | None) -> EventPage:
        self._read(principal, wanted, limit, cursor)
        return EventPage([EVENT], "next")

    async def get(self, principal: Principal, event_id: UUID) -> SignalEvent:
        self._read(principal)
        if event_id != EVENT_ID:
            raise NotFound("event", str(event_id))
        return EVENT

    async def dependencies(self, principal: Principal) -> Sequence[Dependency]:
        self._read(principal)
        return self.graph

    async def replace_dependencies(self, principal: Principal, dependencies: Sequence[Dependency]) -> None:
        self._change(principal)
        self.graph = sorted(set(dependencies))

    async def purge(self, principal: Principal) -> Purge:
        self._check()
        principal.require(Scope.ADMIN)
        return self._purge()

    async def purge_status(self, principal: Principal, purge_id: int) -> Purge:
        self._check()
        if purge_id != 1:
            raise NotFound("purge", str(purge_id))
        return self._purge()

    def _purge(self) -> Purge:
        return Purge(
            id=1,
            requested_at=MADE_AT,
            requested_by="key:abc123",
            finished_at=None,
            samples=None,
            events=None,
            anomalies=None,
            incidents=None,
        )


class DetectionBook(Alerting):
    """One anomaly, one run, and the settings."""

    def __init__(self) -> None:
        super().__init__()
        self.anomaly_now = ANOMALY
        self.settings_now = DetectionSettings()

    async def detect(
        self,
        principal: Principal,
        metric: str | None,
        matchers: Sequence[str],
        time_range: TimeRange,
        plan: DetectionPlan,
    ) -> Detection:
        self._read(principal, metric, tuple(matchers), time_range, plan)
        return Detection(start=MADE_AT, end=MADE_AT, series=1, samples=10, findings=[SERIES_FINDING], findings_total=1)

    async def backtest(
        self, principal: Principal, settings: DetectionSettings, time_range: TimeRange
    ) -> DetectionBacktest:
        self._read(principal, settings, time_range)
        return DetectionBacktest(
            start=MADE_AT,
            end=MADE_AT,
            series=1,
            samples=10,
            runs=96,
            alerts=1,
            alerting_s=900.0,
            steps=[DetectionBacktestStep(at=MADE_AT, findings=1, alarming=[SERIES_FINDING])],
        )

    async def anomalies(
        self, principal: Principal, wanted: AnomalyFilter, *, limit: int, cursor: str | None
    ) -> AnomalyPage:
        self._read(principal, wanted, limit, cursor)
        return AnomalyPage([self.anomaly_now], "next")

    async def anomaly(self, principal: Principal, anomaly_id: UUID) -> Anomaly:
        self._read(principal)
        return self._one(anomaly_id)

    async def mark(self, principal: Principal, anomaly_id: UUID, verdict: Verdict | None, note: str | None) -> Anomaly:
        self._change(principal, verdict, note)
        mark = None if verdict is None else Mark(verdict=verdict, by="key:abc123", at=MADE_AT, note=note)
        self.anomaly_now = msgspec.structs.replace(self._one(anomaly_id), mark=mark)
        return self.anomaly_now

    async def precision(self, principal: Principal, *, days: int) -> Sequence[Precision]:
        self._read(principal, days)
        return [Precision(detector=Detector.SPIKE, anomalies=3, marked_true=1, marked_false=1, precision=0.5)]

    async def settings(self, principal: Principal) -> DetectionSettings:
        self._read(principal)
        return self.settings_now

    async def replace_settings(self, principal: Principal, settings: DetectionSettings) -> DetectionSettings:
        self._change(principal)
        self.settings_now = settings
        return settings

    async def runs(self, principal: Principal, *, limit: int, cursor: str | None) -> RunPage:
        self._read(principal, limit, cursor)
        return RunPage([RUN], None)

    async def request_run(self, principal: Principal) -> DetectionRun:
        self._change(principal)
        if not self.settings_now.enabled:
            raise Conflict("detection is switched off")
        return RUN

    def _one(self, anomaly_id: UUID) -> Anomaly:
        if anomaly_id != ANOMALY_ID:
            raise NotFound("anomaly", str(anomaly_id))
        return self.anomaly_now


class IncidentBook(Alerting):
    """One incident."""

    def __init__(self) -> None:
        super().__init__()
        self.detail = DETAIL

    async def list(
        self, principal: Principal, wanted: IncidentFilter, *, limit: int, cursor: str | None
    ) -> IncidentPage:
        self._read(principal, wanted, limit, cursor)
        return IncidentPage([self.detail.incident], "next")

    async def get(self, principal: Principal, incident_id: int) -> IncidentDetail:
        self._read(principal)
        self._one(incident_id)
        return self.detail

    async def acknowledge(self, principal: Principal, incident_id: int) -> Incident:
        self._change(principal)
        return self._changed(incident_id, IncidentState.ACKNOWLEDGED)

    async def resolve(self, principal: Principal, incident_id: int) -> Incident:
        self._change(principal)
        return self._changed(incident_id, IncidentState.RESOLVED)

    async def reopen(self, principal: Principal, incident_id: int) -> Incident:
        self._change(principal)
        return self._changed(incident_id, IncidentState.OPEN)

    async def merge(self, principal: Principal, incident_id: int, from_id: int) -> Incident:
        self._change(principal, "merge", from_id)
        return self._one(incident_id)

    async def split(self, principal: Principal, incident_id: int, keys: Sequence[str]) -> Incident:
        self._change(principal, "split", tuple(keys))
        return msgspec.structs.replace(self._one(incident_id), id=2, narrative=None)

    async def undo(self, principal: Principal, incident_id: int, change_id: int) -> Incident:
        self._change(principal, "undo", change_id)
        return self._one(incident_id)

    def _one(self, incident_id: int) -> Incident:
        if incident_id != 1:
            raise NotFound("incident", str(incident_id))
        return self.detail.incident

    def _changed(self, incident_id: int, state: IncidentState) -> Incident:
        incident = self._one(incident_id)
        if incident.state is IncidentState.MERGED:
            raise Conflict("the incident was merged into 2")
        changed = msgspec.structs.replace(incident, state=state)
        self.detail = msgspec.structs.replace(self.detail, incident=changed)
        return changed
