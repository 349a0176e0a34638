"""Incidents in memory, as people read and change them."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from adapters.driven import incident_history as history
from adapters.driven.incident_history import Move, NewChange
from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.incident_tables import IncidentRow
from adapters.driven.signals import microseconds
from core.domain.errors import InvalidInput
from core.domain.incidents import (
    ChangeKind,
    Incident,
    IncidentDetail,
    IncidentFilter,
    IncidentState,
)


class MemoryIncidentStore:
    """Implements `IncidentStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._tables = database.incidents

    async def list(
        self, tenant_id: int, wanted: IncidentFilter, *, limit: int, before_id: int | None
    ) -> Sequence[Incident]:
        """Newest first."""
        found = [
            row.incident
            for row in self._tables.rows_of(tenant_id)
            if (before_id is None or row.incident.id < before_id) and _is_wanted(row.incident, wanted)
        ]
        return found[:limit]

    async def get(self, tenant_id: int, incident_id: int) -> IncidentDetail:
        """One with everything, or `NotFound`."""
        return self._tables.detail_of(self._tables.row(tenant_id, incident_id))

    async def acknowledge(self, tenant_id: int, incident_id: int, *, by: str, now: datetime) -> Incident:
        """OPEN → ACKNOWLEDGED."""
        row = self._unmerged(tenant_id, incident_id)
        history.check_acknowledged(row.incident)
        if row.incident.state is IncidentState.OPEN:
            self._tables.stand(row, IncidentState.ACKNOWLEDGED, by=by, now=now)
        return row.incident

    async def resolve(self, tenant_id: int, incident_id: int, *, by: str, now: datetime) -> Incident:
        """→ RESOLVED."""
        row = self._unmerged(tenant_id, incident_id)
        if row.incident.state is not IncidentState.RESOLVED:
            self._tables.stand(row, IncidentState.RESOLVED, by=by, now=now)
        return row.incident

    async def reopen(self, tenant_id: int, incident_id: int, *, by: str, now: datetime) -> Incident:
        """RESOLVED → OPEN."""
        row = self._unmerged(tenant_id, incident_id)
        if row.incident.state is IncidentState.RESOLVED:
            self._tables.stand(row, IncidentState.OPEN, by=by, now=now)
        return row.incident

    async def merge(self, tenant_id: int, incident_id: int, from_id: int, *, by: str, now: datetime) -> Incident:
        """Moves all signals of `from_id` here."""
        if incident_id == from_id:
            raise InvalidInput("from", "an incident cannot be merged into itself")
        row, source = self._unmerged(tenant_id, incident_id), self._unmerged(tenant_id, from_id)
        history.check_alike(row.incident, source.incident)
        move = Move(from_id, incident_id, self._tables.keys_of(source), source.incident.signals)
        self._swallow(row, source, now=now)
        self._write(tenant_id, history.merged(move), by=by, now=now)
        return row.incident

    async def split(self, tenant_id: int, incident_id: int, keys: Sequence[str], *, by: str, now: datetime) -> Incident:
        """Moves these signals to a new incident."""
        row = self._unmerged(tenant_id, incident_id)
        before, wanted = row.incident, sorted(set(keys))
        history.check_split(wanted, self._tables.keys_of(row))
        made = self._tables.add(tenant_id, before.title, synthetic=before.synthetic, now=now)
        if before.state is IncidentState.RESOLVED:
            made.incident = msgspec.structs.replace(
                made.incident, state=before.state, resolved_at=before.resolved_at, resolved_by=before.resolved_by
            )
        self._tables.move(tenant_id, wanted, made.incident.id)
        self._tables.recount(made, len(wanted), now=now)
        self._tables.recount(row, before.signals - len(wanted), now=now)
        self._write(tenant_id, history.split(Move(incident_id, made.incident.id, wanted, len(wanted))), by=by, now=now)
        return made.incident

    async def undo(self, tenant_id: int, incident_id: int, change_id: int, *, by: str, now: datetime) -> Incident:
        """Takes a merge or split back."""
        row = self._tables.row(tenant_id, incident_id)
        change = self._tables.change(incident_id, change_id)
        move = history.move_to_undo(change)
        entries = history.check_last(change, self._tables.standing_moves(move))
        source, target = self._tables.row(tenant_id, move.from_id), self._tables.row(tenant_id, move.into_id)
        if change.kind is ChangeKind.MERGED:
            source.incident = msgspec.structs.replace(
                source.incident, state=history.state_before(source.incident), merged_into=None
            )
            self._tables.move(tenant_id, move.keys, move.from_id)
            self._tables.recount(source, move.signals, now=now)
            self._tables.recount(target, target.incident.signals - move.signals, now=now)
        else:
            self._swallow(source, target, now=now)
        for entry in entries:
            self._tables.changes[entry.id].change = msgspec.structs.replace(entry, undone=True)
        self._write(tenant_id, [history.undone(entry) for entry in entries], by=by, now=now)
        return row.incident

    def _unmerged(self, tenant_id: int, incident_id: int) -> IncidentRow:
        row = self._tables.row(tenant_id, incident_id)
        history.check_unmerged(row.incident)
        return row

    def _swallow(self, row: IncidentRow, source: IncidentRow, *, now: datetime) -> None:
        """Moves all signals of `source` to `row`."""
        taken = source.incident
        self._tables.move(row.tenant_id, self._tables.keys_of(source), row.incident.id)
        source.incident = msgspec.structs.replace(taken, state=IncidentState.MERGED, merged_into=row.incident.id)
        self._tables.recount(source, 0, now=now)
        self._tables.recount(
            row, row.incident.signals + taken.signals, now=now, last_at=taken.last_signal_at, severe=taken.severe
        )

    def _write(self, tenant_id: int, changes: Sequence[NewChange], *, by: str, now: datetime) -> None:
        for change in changes:
            self._tables.write(tenant_id, change, by=by, now=now)


def _is_wanted(incident: Incident, wanted: IncidentFilter) -> bool:
    """Whether all holds that `wanted` names."""
    started_us = microseconds(incident.started_at)
    active = incident.state in (IncidentState.OPEN, IncidentState.ACKNOWLEDGED)
    text = (wanted.text or "").lower()
    return (
        wanted.state in (None, incident.state)
        and wanted.active in (None, active)
        and (wanted.start_us is None or wanted.start_us <= started_us)
        and (wanted.end_us is None or started_us < wanted.end_us)
        and (wanted.host is None or wanted.host in incident.hosts)
        and (wanted.service is None or wanted.service in incident.services)
        and (text in incident.title.lower() or text in (incident.narrative or "").lower())
        and wanted.synthetic in (None, incident.synthetic)
    )
