"""Drift events in memory, and when clusters were last looked at."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from adapters.driven.drift_records import IN_VAIN, NO_LONGER_FOUND, NO_LONGER_PROPOSED, UNAPPLIED_MAX
from adapters.driven.memory.cluster_tables import RecommendationRow, recommendation_row
from adapters.driven.memory.database import MemoryDatabase
from core.domain.drift import SEXTANT, DriftEvent, DriftFilter, DriftStatus
from core.domain.errors import NotFound
from core.domain.recommendations import Recommendation
from core.domain.telemetry import CLUSTER, STANDARD_METRICS
from ports.driven.drift_store import DriftClaim

UNSETTLED = (DriftStatus.OPEN, DriftStatus.ACKNOWLEDGED)
"""What detection resolves."""


class MemoryDriftStore:
    """Implements `DriftStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._tables = database.clusters

    async def add(self, tenant_id: int, event: DriftEvent) -> tuple[DriftEvent, bool]:
        """The stored event, and whether it is new."""
        events = self._tables.drift.setdefault(tenant_id, {})
        is_new = event.drift_id not in events
        return events.setdefault(event.drift_id, event), is_new

    async def get(self, tenant_id: int, drift_id: str) -> DriftEvent:
        """One, or `NotFound`."""
        event = self._tables.drift.get(tenant_id, {}).get(drift_id)
        if event is None:
            raise NotFound("drift event", drift_id)
        return event

    async def list(
        self, tenant_id: int, wanted: DriftFilter, *, limit: int, before: tuple[datetime, str] | None
    ) -> Sequence[DriftEvent]:
        """Newest first, by (start_ts, drift_id)."""
        found = [
            event
            for event in self._tables.drift.get(tenant_id, {}).values()
            if (before is None or _position(event) < before) and _is_wanted(event, wanted)
        ]
        return sorted(found, key=_position, reverse=True)[:limit]

    async def set_status(
        self, tenant_id: int, drift_id: str, status: DriftStatus, *, by: str, note: str | None, now: datetime
    ) -> DriftEvent:
        """Changes where it stands."""
        event = _standing(await self.get(tenant_id, drift_id), status, by=by, note=note, now=now)
        self._tables.drift[tenant_id][drift_id] = event
        return event

    async def save_found(
        self,
        tenant_id: int,
        cluster_id: str,
        found: Sequence[tuple[DriftEvent, Recommendation | None]],
        *,
        now: datetime,
    ) -> tuple[int, int]:
        """Opens new ones, says of known ones what is now known, resolves those that are gone."""
        events = self._tables.drift.setdefault(tenant_id, {})
        opened = 0
        for event, recommendation in found:
            known = events.get(event.drift_id)
            lasts = known is None or _ends(known, cluster_id)
            if recommendation is not None and lasts:
                self._propose(tenant_id, recommendation, now)
            elif lasts and event.last_seen_at == now:
                self._withdraw(tenant_id, event.drift_id, now)
            if known is None:
                events[event.drift_id] = event
                opened += 1
            elif _is_found_again(known, cluster_id):
                events[event.drift_id] = msgspec.structs.replace(
                    known,
                    severity=event.severity,
                    confidence_score=event.confidence_score,
                    message=event.message,
                    evidence=event.evidence,
                    last_seen_at=event.last_seen_at,
                    updated_at=now,
                )
        seen = {event.drift_id for event, _ in found}
        gone = [one for one in events.values() if _ends(one, cluster_id) and one.drift_id not in seen]
        for event in gone:
            events[event.drift_id] = _standing(event, DriftStatus.RESOLVED, by=SEXTANT, note=NO_LONGER_FOUND, now=now)
        return opened, len(gone)

    def _propose(self, tenant_id: int, new: Recommendation, now: datetime) -> None:
        """Adds it, or renews the one whose decision is open, or open again."""
        rows = self._tables.recommendations.setdefault(tenant_id, {})
        row = rows.setdefault(new.rec_id, recommendation_row(new))
        old = row.recommendation
        if not old.automatic or old.drift_id != new.drift_id:
            return
        is_other = (old.recommendation_type, old.recommendation_json) != (
            new.recommendation_type,
            new.recommendation_json,
        )
        is_open = row.approved is None
        if self._is_open_again(row, now, is_other=is_other):
            row.approved, row.applying_id, is_open = None, None, True
            old = msgspec.structs.replace(old, decided_at=None, decided_by=None, reason=None, updated_at=new.updated_at)
        if is_open:
            row.recommendation = msgspec.structs.replace(
                old,
                recommendation_type=new.recommendation_type,
                recommendation_json=new.recommendation_json,
                estimated_savings_usd=new.estimated_savings_usd,
                updated_at=new.updated_at if is_other else old.updated_at,
            )

    def _is_open_again(self, row: RecommendationRow, now: datetime, *, is_other: bool) -> bool:
        """Whether it was withdrawn, or it is another one now and was applied in vain, or for long not at all."""
        decided_at = row.recommendation.decided_at
        if not row.approved or decided_at is None:
            return row.approved is False and row.recommendation.decided_by == SEXTANT
        if row.applying_id is None:
            return is_other and decided_at <= now - UNAPPLIED_MAX
        return is_other and self._database.remediations[row.applying_id].remediation.state in IN_VAIN

    def _withdraw(self, tenant_id: int, drift_id: str, now: datetime) -> None:
        """Rejects what nobody has decided on."""
        for row in self._tables.recommendations.get(tenant_id, {}).values():
            one = row.recommendation
            if one.drift_id == drift_id and one.automatic and row.approved is None:
                row.approved = False
                row.recommendation = msgspec.structs.replace(
                    one, decided_at=now, decided_by=SEXTANT, reason=NO_LONGER_PROPOSED, updated_at=now
                )


class MemoryDriftSchedule:
    """Implements `DriftSchedule`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._tables = database.clusters

    async def claim(self, *, now: datetime, interval_s: float) -> DriftClaim | None:
        """The one that was looked at longest ago, if that is long ago."""
        looks = self._tables.looks
        due = [
            tenant_id
            for tenant_id in self._database.tenants
            if (tenant_id not in looks or looks[tenant_id] <= now - timedelta(seconds=interval_s))
            and self._has_clusters(tenant_id)
        ]
        if not due:
            return None
        tenant_id = min(due, key=lambda each: (each in looks, looks.get(each, now), each))
        looks[tenant_id] = now
        return DriftClaim(tenant_id=tenant_id, tenant=self._database.tenants[tenant_id].tenant.name)

    def _has_clusters(self, tenant_id: int) -> bool:
        if self._tables.snapshots.get(tenant_id) or self._tables.baselines.get(tenant_id):
            return True
        names = {metric.name for metric in STANDARD_METRICS}
        return any(
            row.identity.name in names and CLUSTER in dict(row.identity.labels)
            for row in self._database.series_of(tenant_id)
        )


def _position(event: DriftEvent) -> tuple[datetime, str]:
    return event.start_ts, event.drift_id


def _is_found_again(event: DriftEvent, cluster_id: str) -> bool:
    """Whether detection in that cluster may say what is now known of it."""
    return event.automatic and event.cluster_id == cluster_id and event.status is not DriftStatus.RESOLVED


def _ends(event: DriftEvent, cluster_id: str) -> bool:
    """Whether it is over where detection in that cluster does not find it, and worth mending where it does."""
    return event.automatic and event.cluster_id == cluster_id and event.status in UNSETTLED


def _standing(event: DriftEvent, status: DriftStatus, *, by: str, note: str | None, now: datetime) -> DriftEvent:
    end_ts = None if event.status is DriftStatus.RESOLVED else event.end_ts
    if status is DriftStatus.RESOLVED:
        end_ts = event.end_ts or max(now, event.start_ts)
    return msgspec.structs.replace(
        event,
        status=status,
        status_by=by,
        status_note=note,
        end_ts=end_ts,
        updated_at=now,
    )


def _is_wanted(event: DriftEvent, wanted: DriftFilter) -> bool:
    return (
        wanted.cluster_id in (None, event.cluster_id)
        and wanted.env in (None, event.env)
        and wanted.drift_category in (None, event.drift_category)
        and wanted.severity in (None, event.severity)
        and wanted.status in (None, event.status)
        and wanted.workload_name in (None, event.workload_name)
        and wanted.namespace in (None, event.namespace)
        and (wanted.start is None or wanted.start <= event.start_ts)
        and (wanted.end is None or event.start_ts < wanted.end)
    )
