"""Purges of synthetic data in memory."""

from collections.abc import Sequence
from datetime import datetime
from uuid import uuid4

import msgspec
import numpy as np

from adapters.driven.memory.block_log import SETTLER
from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.event_tables import PurgeRow
from core.domain.alert_state import Phase
from core.domain.alerts import EpisodeState
from core.domain.columns import Int32s
from core.domain.detection_runs import RunState
from core.domain.errors import NotFound
from core.domain.events import is_synthetic
from ports.driven.synthetic_store import Purge


class MemorySyntheticStore:
    """Implements `SyntheticStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def request(self, tenant_id: int, *, by: str, now: datetime) -> Purge:
        """Asks for one, or joins the one that waits."""
        _close_alerts(self._database, tenant_id)
        purges = self._database.events.purges
        for row in purges.values():
            if row.tenant_id == tenant_id and row.purge.finished_at is None:
                return row.purge
        purge = Purge(
            id=self._database.next_id("synthetic_purges"),
            requested_at=now,
            requested_by=by,
            finished_at=None,
            samples=None,
            events=None,
            anomalies=None,
            incidents=None,
        )
        purges[purge.id] = PurgeRow(tenant_id=tenant_id, purge=purge)
        return purge

    async def get(self, tenant_id: int, purge_id: int) -> Purge:
        """One, or `NotFound`."""
        row = self._database.events.purges.get(purge_id)
        if row is None or row.tenant_id != tenant_id:
            raise NotFound("purge", str(purge_id))
        return row.purge


class MemorySyntheticPurger:
    """Implements `SyntheticPurger`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def waiting(self) -> Sequence[int]:
        """Ids of purges to do, oldest first."""
        return [row.purge.id for row in self._database.events.purges.values() if row.purge.finished_at is None]

    async def purge(self, purge_id: int, *, now: datetime) -> bool:
        """Deletes a tenant's synthetic rows."""
        row = self._database.events.purges.get(purge_id)
        if row is None or row.purge.finished_at is not None:
            return True
        series_ids = self._series_ids(row.tenant_id)
        if self._detects(row.tenant_id, now) or self._are_unsettled(series_ids):
            return False
        self._fence(row.tenant_id)
        self._database.collection.forget_synthetic(row.tenant_id)
        self._database.clusters.forget_synthetic(row.tenant_id)
        row.purge = msgspec.structs.replace(
            row.purge,
            finished_at=now,
            samples=self._delete_samples(series_ids),
            events=self._delete_events(row.tenant_id),
            anomalies=self._delete_anomalies(row.tenant_id),
            incidents=self._delete_incidents(row.tenant_id),
        )
        _close_alerts(self._database, row.tenant_id)
        return True

    def _series_ids(self, tenant_id: int) -> Int32s:
        found = [
            row.series_id for row in self._database.series_of(tenant_id) if is_synthetic(dict(row.identity.labels))
        ]
        return np.array(found, np.int32)

    def _detects(self, tenant_id: int, now: datetime) -> bool:
        """Whether a run of detection may still write what it made of synthetic samples."""
        runs = self._database.detection.runs.get(tenant_id, {}).values()
        return any(row.run.state is RunState.RUNNING and row.leased_until > now for row in runs)

    def _fence(self, tenant_id: int) -> None:
        """Ends the claims that have run out: who only slept on one writes nothing any more."""
        for row in self._database.detection.runs.get(tenant_id, {}).values():
            row.token = uuid4()

    def _are_unsettled(self, series_ids: Int32s) -> bool:
        unread = self._database.log.unread(SETTLER)
        return any(np.isin(logged.block.points.series_ids, series_ids).any() for logged in unread)

    def _delete_samples(self, series_ids: Int32s) -> int:
        settled = self._database.settled
        self._database.settled = settled.take(~np.isin(settled.series_ids, series_ids))
        return len(settled) - len(self._database.settled)

    def _delete_events(self, tenant_id: int) -> int:
        events = self._database.events.events
        gone = [key for key, row in events.items() if key[0] == tenant_id and row.event.synthetic]
        for key in gone:
            del events[key]
        return len(gone)

    def _delete_anomalies(self, tenant_id: int) -> int:
        """Deletes them with what was published of them."""
        tables = self._database.detection
        anomalies, published = tables.anomalies.get(tenant_id, {}), tables.published.get(tenant_id, {})
        gone = [anomaly.id for anomaly in anomalies.values() if anomaly.synthetic]
        for anomaly_id in gone:
            del anomalies[anomaly_id]
        for fingerprint in [risk.fingerprint for risk in published.values() if is_synthetic(risk.labels)]:
            del published[fingerprint]
        return len(gone)

    def _delete_incidents(self, tenant_id: int) -> int:
        """Deletes those into which no real one was merged; synthetic alerts are no longer signals of others to come."""
        tables = self._database.incidents
        rows = tables.rows_of(tenant_id)
        kept = {row.incident.merged_into for row in rows if not row.incident.synthetic}
        gone = [row.incident.id for row in rows if row.incident.synthetic and row.incident.id not in kept]
        for incident_id in gone:
            tables.delete(incident_id)
        tables.correlated_alerts.update(
            alert_id
            for alert_id, row in self._database.alerts.items()
            if row.target.tenant_id == tenant_id and row.alert.fired_at is not None and is_synthetic(row.alert.labels)
        )
        return len(gone)


def _close_alerts(database: MemoryDatabase, tenant_id: int) -> None:
    """Asks evaluation to end the tenant's synthetic alerts."""
    for row in database.alerts.values():
        if (
            row.target.tenant_id != tenant_id
            or row.alert.state is EpisodeState.RESOLVED
            or not is_synthetic(row.alert.labels)
        ):
            continue
        stored = database.alert_states.get(row.target)
        if stored is None or stored.state.episode != row.alert.episode or stored.state.phase is Phase.INACTIVE:
            continue
        database.alert_states[row.target] = msgspec.structs.replace(stored, close_requested=True)
        database.alert_revision += 1
