"""What a tenant has of events, detection and incidents, for tests of who may see it."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx

from core.domain.anomalies import Anomaly, AnomalyFinding, Detector
from core.domain.detection_runs import RunState
from core.domain.incidents import IncidentAnalysis, Sentence
from core.domain.times import HOUR_US
from ports.driven.detection_store import AnomalyChanges, RunProgress
from tests.integration.in_process import InProcess
from tests.support.incident_rows import open_incident
from tests.support.storages import RECENT_US, Tenancy

LEASE_S = 60.0
WAITING_MAX = 1_000


async def detection_things(
    server: InProcess, tenancy: Tenancy, client: httpx.AsyncClient, secret: str
) -> dict[str, Any]:
    """One of everything, with `secret` in it; the ids as `Subject` has them."""
    event_id = str(uuid4())
    event = {"id": event_id, "metric": "error", "host": secret, "severity": "error", "message": secret}
    for method, path, body in (
        ("POST", "events", {"events": [event, {**event, "id": str(uuid4())}]}),
        ("PUT", "dependencies", {"data": [{"client": secret, "server": "db"}]}),
        ("PUT", "detect/settings", {"exclude": [secret]}),
    ):
        made = await client.request(method, f"/api/v1/{path}", json=body)
        assert made.status_code == 200, made.text
    anomaly_id = await _anomaly(server, tenancy, secret)  # before the purge: no run begins while one waits
    purge = await client.post("/api/v1/synthetic/purge")
    assert purge.status_code == 202, purge.text
    return {
        "event_id": event_id,
        "anomaly_id": str(anomaly_id),
        "incident_id": await _incident(server, tenancy, secret),
        "purge_id": purge.json()["id"],
    }


async def _anomaly(server: InProcess, tenancy: Tenancy, secret: str) -> UUID:
    """The id of an anomaly that a finished run found."""
    now = datetime.now(UTC)
    finding = AnomalyFinding(
        series_id=1,
        detector=Detector.TREND,
        risk=0.5,
        start_us=RECENT_US,
        end_us=RECENT_US + HOUR_US,
        baseline_start_us=RECENT_US,
        baseline_end_us=RECENT_US + HOUR_US,
        usual_low=1.0,
        usual_high=1.0,
        observed=2.0,
        count=60,
        phrase=secret,
    )
    anomaly = Anomaly(
        id=uuid4(),
        metric=secret,
        labels={"host": secret},
        host=secret,
        service=None,
        fingerprint=f"{secret}:{secret}",
        finding=finding,
        risk_max=0.5,
        first_seen_at=now,
        last_seen_at=now,
        ended_at=None,
        shadow=False,
        synthetic=False,
    )
    runs = server.storage.detection_runs
    claim = await runs.claim(now=now, overdue_s=0.0, lease_s=LEASE_S, tenant_id=tenancy.id)
    assert claim is not None
    progress = RunProgress(after_series_id=1, series=1, points=60, findings=1)
    await runs.save(claim, progress, AnomalyChanges(opened=[anomaly]), now=now, lease_s=LEASE_S)
    await runs.finish(claim, RunState.DONE, now=now)
    return anomaly.id


async def _incident(server: InProcess, tenancy: Tenancy, secret: str) -> int:
    """The id of an analysed incident of all signals that wait."""
    work, now = server.storage.incident_work, datetime.now(UTC)
    signals = await work.waiting(tenancy.id, limit=WAITING_MAX)
    assert len(signals) >= 2
    incident_id = await open_incident(server.storage, tenancy.id, signals, title=secret, now=now)
    analysis = IncidentAnalysis(
        title=secret,
        narrative=(Sentence(text=secret, references=()),),
        hypotheses=(),
        nodes=(),
        edges=(),
        analysed_at=now,
    )
    [found] = [one for one in await work.unanalysed(limit=WAITING_MAX) if one.incident_id == incident_id]
    assert await work.save_analysis(found, analysis)
    return incident_id
