"""Claims, findings and anomalies as tests of scheduled detection need them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec

from core.domain.anomalies import Anomaly, AnomalyFinding, Detector, Moment
from core.domain.events import EventSeverity, SignalEvent
from ports.driven.detection_store import DetectionRuns, RunClaim, RunProgress
from tests.support.storages import Tenancy

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
"""A whole multiple of the default interval."""
LEASE_S = 60.0
NOTHING = RunProgress(after_series_id=0, series=0, points=0, findings=0)
FINDING = AnomalyFinding(
    series_id=1,
    detector=Detector.SPIKE,
    risk=0.9,
    start_us=1_000_000,
    end_us=2_000_000,
    baseline_start_us=500_000,
    baseline_end_us=2_000_000,
    usual_low=19.75,
    usual_high=20.25,
    observed=0.1 + 0.2,
    count=2,
    phrase="2 spikes up to 30 % – “größer” \\ ✓",
    moments=(Moment(1_000_001, -1e300), Moment(1_999_999, 5e-324)),
)
ANOMALY = Anomaly(
    id=uuid4(),
    metric="cpu",
    labels={"host": "a", "größe": "“1”\t\\"},
    host="a",
    service=None,
    fingerprint="a:cpu",
    finding=FINDING,
    risk_max=0.95,
    first_seen_at=NOON,
    last_seen_at=NOON,
    ended_at=None,
    shadow=False,
    synthetic=False,
)


def anomaly(series_id: int = 1, detector: Detector = Detector.SPIKE, *, risk: float = 0.9, **changes: Any) -> Anomaly:
    """An anomaly with an id of its own."""
    finding = msgspec.structs.replace(FINDING, series_id=series_id, detector=detector, risk=risk)
    return msgspec.structs.replace(ANOMALY, **{"id": uuid4(), "finding": finding, **changes})


def event_of(told: Anomaly, **changes: Any) -> SignalEvent:
    """The event that tells of an anomaly."""
    event = SignalEvent(
        id=uuid4(),
        ts=told.first_seen_at,
        host=told.host,
        service=told.service,
        fingerprint=told.fingerprint,
        severity=EventSeverity.WARN,
        metric=told.metric,
        value=told.finding.observed,
        message=told.text,
        labels=told.labels,
        synthetic=told.synthetic,
        anomaly_id=told.id,
        created_at=told.last_seen_at,
    )
    return msgspec.structs.replace(event, **changes)


def progress(after_series_id: int, *, series: int = 1, points: int = 10, findings: int = 1) -> RunProgress:
    """How far a run is."""
    return RunProgress(after_series_id=after_series_id, series=series, points=points, findings=findings)


async def look(
    runs: DetectionRuns, tenancy: Tenancy, now: datetime, *, overdue_s: float = 0.0, own: UUID | None = None
) -> RunClaim | None:
    """What one look for a due run of this tenant gives."""
    return await runs.claim(now=now, overdue_s=overdue_s, lease_s=LEASE_S, tenant_id=tenancy.id, own=own)


async def claimed(runs: DetectionRuns, tenancy: Tenancy, now: datetime = NOON) -> RunClaim:
    """A run of this tenant, which must be due."""
    claim = await look(runs, tenancy, now)
    assert claim is not None
    return claim


def later(**distance: float) -> datetime:
    """An instant after noon."""
    return NOON + timedelta(**distance)
