"""Detection's settings, runs, anomalies and published risks, in memory."""

from datetime import datetime
from uuid import UUID, uuid4

import msgspec

from core.detection.plan import DetectionSettings
from core.domain.anomalies import Anomaly
from core.domain.detection_runs import DetectionRun, RunState
from ports.driven.detection_store import PublishedRisk


class RunRow(msgspec.Struct, eq=False, kw_only=True):
    """One run with its claim."""

    tenant_id: int
    run: DetectionRun
    token: UUID
    leased_until: datetime


class DetectionTables:
    """Detection's settings, runs, anomalies and published risks; all by tenant."""

    def __init__(self) -> None:
        self.settings: dict[int, DetectionSettings] = {}
        self.runs: dict[int, dict[int, RunRow]] = {}  # by tenant, then by id, ascending
        self.anomalies: dict[int, dict[UUID, Anomaly]] = {}  # by tenant, then by id
        self.published: dict[int, dict[str, PublishedRisk]] = {}  # by tenant, then by fingerprint

    def add_run(self, tenant_id: int, run_id: int, *, due_at: datetime, now: datetime, after_series_id: int) -> RunRow:
        """A run that waits for a claim; one that failed covers nothing."""
        rows = self.runs.setdefault(tenant_id, {})
        covering = [row.run.due_at for row in rows.values() if row.run.state in (RunState.DONE, RunState.PARTIAL)]
        run = DetectionRun(
            id=run_id,
            due_at=due_at,
            covers_from=max(covering, default=None),
            state=RunState.RUNNING,
            attempts=0,
            started_at=now,
            finished_at=None,
            after_series_id=after_series_id,
            series=0,
            points=0,
            findings=0,
            error=None,
        )
        rows[run_id] = RunRow(tenant_id=tenant_id, run=run, token=uuid4(), leased_until=now)
        return rows[run_id]
