"""Detection's settings, runs, anomalies and verdicts in memory."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.rules import follow_detection
from core.detection.plan import DetectionSettings
from core.domain.anomalies import Anomaly, AnomalyFilter, Detector, Mark, Precision, Verdict, precision_of
from core.domain.detection_runs import DetectionRun, RunState
from core.domain.errors import Conflict, NotFound
from core.domain.times import EPOCH


class MemoryDetectionStore:
    """Implements `DetectionStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._tables = database.detection

    async def settings(self, tenant_id: int) -> DetectionSettings | None:
        """The tenant's own, or None."""
        return self._tables.settings.get(tenant_id)

    async def replace_settings(self, tenant_id: int, settings: DetectionSettings) -> None:
        """Sets them, and the rule that watches the risks."""
        self._tables.settings[tenant_id] = settings
        follow_detection(self._database, tenant_id, settings.risk_rule())

    async def runs(self, tenant_id: int, *, limit: int, before_id: int | None) -> Sequence[DetectionRun]:
        """Newest first."""
        runs = [row.run for row in reversed(self._tables.runs.get(tenant_id, {}).values())]
        return [run for run in runs if before_id is None or run.id < before_id][:limit]

    async def request_run(self, tenant_id: int, *, now: datetime) -> DetectionRun:
        """A run whose claim has run out, or `Conflict`."""
        rows = self._tables.runs.get(tenant_id, {}).values()
        if any(row.run.state is RunState.RUNNING or row.run.due_at == now for row in rows):
            raise Conflict("a run of detection is under way; ask again when it has ended")
        run_id = self._database.next_id("detection_runs")
        return self._tables.add_run(tenant_id, run_id, due_at=now, now=now, after_series_id=0).run

    async def anomalies(
        self, tenant_id: int, wanted: AnomalyFilter, *, limit: int, before: tuple[datetime, UUID] | None
    ) -> Sequence[Anomaly]:
        """Newest first, by (last_seen_at, id)."""
        found = [
            anomaly
            for anomaly in self._tables.anomalies.get(tenant_id, {}).values()
            if (before is None or (anomaly.last_seen_at, anomaly.id) < before) and _is_wanted(anomaly, wanted)
        ]
        return sorted(found, key=lambda anomaly: (anomaly.last_seen_at, anomaly.id), reverse=True)[:limit]

    async def anomaly(self, tenant_id: int, anomaly_id: UUID) -> Anomaly:
        """One, or `NotFound`."""
        anomaly = self._tables.anomalies.get(tenant_id, {}).get(anomaly_id)
        if anomaly is None:
            raise NotFound("anomaly", str(anomaly_id))
        return anomaly

    async def mark(self, tenant_id: int, anomaly_id: UUID, mark: Mark | None) -> Anomaly:
        """Sets or takes back the verdict, or raises `NotFound`."""
        marked = msgspec.structs.replace(await self.anomaly(tenant_id, anomaly_id), mark=mark)
        self._tables.anomalies[tenant_id][anomaly_id] = marked
        return marked

    async def precision(self, tenant_id: int, *, since: datetime) -> Sequence[Precision]:
        """Of each detector, in order."""
        looked_at = [
            anomaly
            for anomaly in self._tables.anomalies.get(tenant_id, {}).values()
            if anomaly.first_seen_at >= since and not anomaly.synthetic
        ]
        return [_precision(detector, looked_at) for detector in Detector]


def _precision(detector: Detector, anomalies: Sequence[Anomaly]) -> Precision:
    marks = [anomaly.mark for anomaly in anomalies if anomaly.finding.detector is detector]
    verdicts = [mark.verdict for mark in marks if mark is not None]
    return precision_of(detector, len(marks), verdicts.count(Verdict.TRUE), verdicts.count(Verdict.FALSE))


def _is_wanted(anomaly: Anomaly, wanted: AnomalyFilter) -> bool:
    """Whether all holds that `wanted` names."""
    seen_us = (anomaly.last_seen_at - EPOCH) // timedelta(microseconds=1)
    return (
        (wanted.start_us is None or wanted.start_us <= seen_us)
        and (wanted.end_us is None or seen_us < wanted.end_us)
        and wanted.detector in (None, anomaly.finding.detector)
        and wanted.metric in (None, anomaly.metric)
        and wanted.host in (None, anomaly.host)
        and wanted.service in (None, anomaly.service)
        and wanted.fingerprint in (None, anomaly.fingerprint)
        and wanted.open in (None, anomaly.ended_at is None)
        and (wanted.risk_min is None or anomaly.finding.risk >= wanted.risk_min)
        and wanted.marked in (None, anomaly.mark is not None)
        and wanted.synthetic in (None, anomaly.synthetic)
    )
