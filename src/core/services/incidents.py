"""Incidents as people read and change them."""

import re
from collections.abc import Sequence
from typing import Final

from core.domain.errors import InvalidInput
from core.domain.incidents import SIGNALS_MAX, Incident, IncidentDetail, IncidentFilter, IncidentState
from core.domain.series import check_text
from core.domain.tenants import Principal, Scope
from core.domain.times import TimeRange
from core.services.cursors import check_page, cut, decode_row_cursor, encode_cursor
from core.services.recording import READ_ALERTS, Recorder, actor
from ports.driven.audit_log import AuditLog
from ports.driven.clock import Clock
from ports.driven.incident_store import IncidentStore
from ports.driving.investigating import IncidentPage

_SIGNAL_KEY: Final = re.compile(r"(?:event:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|alert:[0-9]{1,19})\Z", re.ASCII)


class IncidentService:
    """Implements `ports.driving.investigating.Incidents`."""

    def __init__(self, incidents: IncidentStore, audit: AuditLog, clock: Clock) -> None:
        self._incidents = incidents
        self._recorder = Recorder(audit, clock)

    async def list(
        self, principal: Principal, wanted: IncidentFilter, *, limit: int, cursor: str | None
    ) -> IncidentPage:
        """See `Incidents.list`."""
        principal.require_any(*READ_ALERTS)
        check_page(limit)
        _check_filter(wanted)
        before_id = decode_row_cursor(cursor)
        found = await self._incidents.list(principal.tenant_id, wanted, limit=limit + 1, before_id=before_id)
        page, more = cut(found, limit)
        return IncidentPage(page, encode_cursor(page[-1].id) if more else None)

    async def get(self, principal: Principal, incident_id: int) -> IncidentDetail:
        """See `Incidents.get`."""
        principal.require_any(*READ_ALERTS)
        return await self._incidents.get(principal.tenant_id, incident_id)

    async def acknowledge(self, principal: Principal, incident_id: int) -> Incident:
        """See `Incidents.acknowledge`."""
        principal.require(Scope.ALERTS)
        by = actor(principal)
        incident = await self._incidents.acknowledge(principal.tenant_id, incident_id, by=by, now=self._recorder.now())
        if incident.acknowledged_by == by:
            # An incident that opened again may be acknowledged again: the time tells which of them this was.
            key = f"incident-{incident_id}-acknowledged-{incident.acknowledged_at}"
            await self._recorder.changed(principal, f"acknowledged the incident {incident_id}", key=key)
        return incident

    async def resolve(self, principal: Principal, incident_id: int) -> Incident:
        """See `Incidents.resolve`."""
        principal.require(Scope.ALERTS)
        by = actor(principal)
        incident = await self._incidents.resolve(principal.tenant_id, incident_id, by=by, now=self._recorder.now())
        if incident.resolved_by == by:
            key = f"incident-{incident_id}-resolved-{incident.resolved_at}"
            await self._recorder.changed(principal, f"resolved the incident {incident_id}", key=key)
        return incident

    async def reopen(self, principal: Principal, incident_id: int) -> Incident:
        """See `Incidents.reopen`."""
        principal.require(Scope.ALERTS)
        before = await self._incidents.get(principal.tenant_id, incident_id)
        incident = await self._incidents.reopen(
            principal.tenant_id, incident_id, by=actor(principal), now=self._recorder.now()
        )
        if before.incident.state is IncidentState.RESOLVED:
            key = f"incident-{incident_id}-reopened-{before.incident.resolved_at}"
            await self._recorder.changed(principal, f"reopened the incident {incident_id}", key=key)
        return incident

    async def merge(self, principal: Principal, incident_id: int, from_id: int) -> Incident:
        """See `Incidents.merge`."""
        principal.require(Scope.ALERTS)
        if incident_id == from_id:
            raise InvalidInput("from", f"{from_id} is the incident itself")
        incident = await self._incidents.merge(
            principal.tenant_id, incident_id, from_id, by=actor(principal), now=self._recorder.now()
        )
        await self._recorder.changed(principal, f"merged the incident {from_id} into {incident_id}")
        return incident

    async def split(self, principal: Principal, incident_id: int, keys: Sequence[str]) -> Incident:
        """See `Incidents.split`; keys that are repeated count once."""
        principal.require(Scope.ALERTS)
        _check_keys(keys)
        made = await self._incidents.split(
            principal.tenant_id,
            incident_id,
            tuple(dict.fromkeys(keys)),
            by=actor(principal),
            now=self._recorder.now(),
        )
        await self._recorder.changed(
            principal, f"split {made.signals} of the signals of the incident {incident_id} off to {made.id}"
        )
        return made

    async def undo(self, principal: Principal, incident_id: int, change_id: int) -> Incident:
        """See `Incidents.undo`."""
        principal.require(Scope.ALERTS)
        incident = await self._incidents.undo(
            principal.tenant_id, incident_id, change_id, by=actor(principal), now=self._recorder.now()
        )
        await self._recorder.changed(principal, f"took the change {change_id} of the incident {incident_id} back")
        return incident


def _check_keys(keys: Sequence[str]) -> None:
    """Raises `InvalidInput` unless these can be keys of one incident's signals."""
    if not 1 <= len(keys) <= SIGNALS_MAX:
        raise InvalidInput("keys", f"name 1 to {SIGNALS_MAX} signals, as an incident has no more")
    for key in keys:
        if not _SIGNAL_KEY.match(key):
            raise InvalidInput("keys", f"{key[:64]!r} is not a signal's key, such as event:<uuid> or alert:<id>")


def _check_filter(wanted: IncidentFilter) -> None:
    """Raises `InvalidInput` where a filter cannot be read."""
    for field, text in (("host", wanted.host), ("service", wanted.service), ("text", wanted.text)):
        if text is not None:
            check_text(field, text)
    if wanted.start_us is not None and wanted.end_us is not None:
        TimeRange(wanted.start_us, wanted.end_us)
