"""Alerts in memory, as evaluation wrote them."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from adapters.driven.memory.alert_tables import AlertRow, EventRow
from adapters.driven.memory.database import MemoryDatabase
from core.domain.alert_state import Phase
from core.domain.alerts import Alert, AlertFilter, EpisodeState
from core.domain.errors import Conflict, NotFound, TooExpensive
from core.domain.matchers import label_filter, parse_matchers
from core.domain.notifications import AlertEvent
from core.domain.times import EPOCH
from ports.driven.alerting_store import ALERTS_LOOKED_AT_MAX


class MemoryAlertStore:
    """Implements `AlertStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def list(self, tenant_id: int, wanted: AlertFilter, *, limit: int, before_id: int | None) -> Sequence[Alert]:
        """Newest first, those with an id below `before_id`."""
        holds = label_filter(parse_matchers(wanted.matchers))
        rows = sorted(self._database.alerts.values(), key=lambda row: row.alert.id, reverse=True)
        candidates = [
            row.alert
            for row in rows
            if row.target.tenant_id == tenant_id
            and (before_id is None or row.alert.id < before_id)
            and _is_wanted(row.alert, wanted)
        ]
        newest = candidates[:ALERTS_LOOKED_AT_MAX] if wanted.matchers else candidates
        found = [alert for alert in newest if holds(alert.matched_labels)][:limit]
        if len(found) < limit and len(newest) < len(candidates):
            raise TooExpensive("too few of the newest alerts match", limit=ALERTS_LOOKED_AT_MAX)
        return found

    async def get(self, tenant_id: int, alert_id: int) -> Alert:
        """One, or `NotFound`."""
        return self._row(tenant_id, alert_id).alert

    async def acknowledge(self, tenant_id: int, alert_id: int, *, by: str, now: datetime) -> Alert:
        """Marks it as seen, and puts the event into the outbox."""
        row = self._open(tenant_id, alert_id)
        if row.alert.acknowledged_at is None:
            row.alert = msgspec.structs.replace(row.alert, acknowledged_at=now, acknowledged_by=by)
            if row.alert.announced and not row.alert.shadow:
                event = EventRow(
                    id=self._database.next_id("notification_events"),
                    tenant_id=tenant_id,
                    alert_id=alert_id,
                    event=AlertEvent.ACKNOWLEDGED,
                    created_at=now,
                    channels=row.channels,
                )
                self._database.notification_events[event.id] = event
        return row.alert

    async def request_close(self, tenant_id: int, alert_id: int, *, by: str) -> Alert:  # noqa: ARG002  # nobody reads it
        """Asks evaluation to end it."""
        row = self._open(tenant_id, alert_id)
        stored = self._database.alert_states.get(row.target)
        if stored is None or stored.state.episode != row.alert.episode or stored.state.phase is Phase.INACTIVE:
            raise _over(alert_id)
        self._database.alert_states[row.target] = msgspec.structs.replace(stored, close_requested=True)
        self._database.alert_revision += 1
        return row.alert

    def _row(self, tenant_id: int, alert_id: int) -> AlertRow:
        row = self._database.alerts.get(alert_id)
        if row is None or row.target.tenant_id != tenant_id:
            raise NotFound("alert", str(alert_id))
        return row

    def _open(self, tenant_id: int, alert_id: int) -> AlertRow:
        row = self._row(tenant_id, alert_id)
        if row.alert.state is EpisodeState.RESOLVED:
            raise _over(alert_id)
        return row


def _is_wanted(alert: Alert, wanted: AlertFilter) -> bool:
    """Whether all holds that `wanted` names, besides the matchers."""
    started_us = (alert.started_at - EPOCH) // timedelta(microseconds=1)
    return (
        wanted.state in (None, alert.state)
        and wanted.severity in (None, alert.severity)
        and wanted.rule in (None, alert.rule)
        and wanted.metric in (None, alert.metric)
        and wanted.acknowledged in (None, alert.acknowledged_at is not None)
        and wanted.shadow in (None, alert.shadow)
        and (wanted.start_us is None or wanted.start_us <= started_us)
        and (wanted.end_us is None or started_us < wanted.end_us)
    )


def _over(alert_id: int) -> Conflict:
    return Conflict(f"the alert {alert_id} has resolved")
