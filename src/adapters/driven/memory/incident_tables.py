"""Incidents with their signals, edges and history, in memory."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

import msgspec

from adapters.driven import incident_history as history
from adapters.driven.incident_history import Move, NewChange
from adapters.driven.signals import instant_of
from core.domain.errors import NotFound
from core.domain.incidents import (
    SIGNALS_MAX,
    Incident,
    IncidentAnalysis,
    IncidentChange,
    IncidentDetail,
    IncidentState,
    LearnedLag,
    Signal,
    SignalEdge,
)
from core.domain.times import EPOCH


class IncidentRow(msgspec.Struct, eq=False, kw_only=True):
    """One incident; `signals_revision` counts the changes of its signals, which make its analysis stale."""

    tenant_id: int
    incident: Incident
    analysis: IncidentAnalysis | None = None
    signals_revision: int = 0
    analysed_revision: int = 0


class SignalRow(msgspec.Struct, eq=False, kw_only=True):
    """One signal of an incident."""

    incident_id: int
    signal: Signal


class ChangeRow(msgspec.Struct, eq=False, kw_only=True):
    """One entry of an incident's history."""

    tenant_id: int
    change: IncidentChange


class IncidentTables:
    """Incidents with their signals, edges and history; all by tenant."""

    def __init__(self) -> None:
        self.led = False
        self.incidents: dict[int, IncidentRow] = {}
        self.signals: dict[tuple[int, str], SignalRow] = {}  # by tenant and key
        self.edges: dict[tuple[int, str, str], SignalEdge] = {}  # by tenant and both keys
        self.changes: dict[int, ChangeRow] = {}
        self.lags: dict[int, tuple[LearnedLag, ...]] = {}  # by tenant
        self.correlated_alerts: set[int] = set()
        self._last_ids: Counter[str] = Counter()

    def row(self, tenant_id: int, incident_id: int) -> IncidentRow:
        """An incident of this tenant, or `NotFound`."""
        row = self.incidents.get(incident_id)
        if row is None or row.tenant_id != tenant_id:
            raise NotFound("incident", str(incident_id))
        return row

    def rows_of(self, tenant_id: int) -> list[IncidentRow]:
        """The tenant's incidents, newest first."""
        return [row for _, row in sorted(self.incidents.items(), reverse=True) if row.tenant_id == tenant_id]

    def signals_of(self, tenant_id: int, incident_id: int) -> list[Signal]:
        """The signals that are kept of an incident, ascending in time."""
        found = [
            row.signal
            for (owner, _), row in self.signals.items()
            if owner == tenant_id and row.incident_id == incident_id
        ]
        return sorted(found, key=lambda signal: (signal.at_us, signal.key))

    def keys_of(self, row: IncidentRow) -> list[str]:
        """The keys of the signals that are kept of an incident, ascending."""
        return sorted(signal.key for signal in self.signals_of(row.tenant_id, row.incident.id))

    def change(self, incident_id: int, change_id: int) -> IncidentChange:
        """An entry of an incident's history, or `NotFound`."""
        entry = self.changes.get(change_id)
        if entry is None or entry.change.incident_id != incident_id:
            raise NotFound("change", str(change_id))
        return entry.change

    def standing_moves(self, move: Move) -> list[IncidentChange]:
        """The merges and splits, not undone, of both incidents."""
        both = [*self.history_of(move.from_id), *self.history_of(move.into_id)]
        return [entry for entry in both if entry.kind in history.MOVES and not entry.undone]

    def history_of(self, incident_id: int) -> list[IncidentChange]:
        """An incident's history, oldest first."""
        return [row.change for _, row in sorted(self.changes.items()) if row.change.incident_id == incident_id]

    def detail_of(self, row: IncidentRow) -> IncidentDetail:
        """Everything that is known of an incident."""
        timeline = self.signals_of(row.tenant_id, row.incident.id)[:SIGNALS_MAX]
        keys = {signal.key for signal in timeline}
        links = [
            edge
            for (owner, first, then), edge in self.edges.items()
            if owner == row.tenant_id and first in keys and then in keys
        ]
        return IncidentDetail(
            incident=row.incident,
            timeline=tuple(timeline),
            links=tuple(sorted(links, key=lambda edge: (-edge.score, edge.first, edge.then))),
            analysis=row.analysis,
            history=tuple(self.history_of(row.incident.id)),
        )

    def add(self, tenant_id: int, title: str, *, synthetic: bool, now: datetime) -> IncidentRow:
        """A new incident, to be recounted once it has its signals."""
        self._last_ids["incidents"] += 1
        incident = Incident(
            id=self._last_ids["incidents"],
            state=IncidentState.OPEN,
            title=title,
            severe=False,
            started_at=EPOCH,
            last_signal_at=EPOCH,
            hosts=(),
            services=(),
            signals=0,
            synthetic=synthetic,
            acknowledged_at=None,
            acknowledged_by=None,
            resolved_at=None,
            resolved_by=None,
            merged_into=None,
            narrative=None,
            revision=0,
            created_at=now,
            updated_at=now,
        )
        row = IncidentRow(tenant_id=tenant_id, incident=incident)
        self.incidents[incident.id] = row
        return row

    def move(self, tenant_id: int, keys: Iterable[str], incident_id: int) -> None:
        """Makes signals another incident's."""
        for key in keys:
            self.signals[tenant_id, key].incident_id = incident_id

    def recount(
        self, row: IncidentRow, signals: int, *, now: datetime, last_at: datetime = EPOCH, severe: bool = False
    ) -> None:
        """Notes what its signals, `signals` by now, make of an incident; makes its analysis stale.

        Of signals that are not kept only what was noted when they came is known: `last_at` and `severe` say it of those
        that came just now.
        """
        before = row.incident
        kept = self.signals_of(row.tenant_id, before.id)
        row.signals_revision += 1
        row.incident = msgspec.structs.replace(before, signals=signals, revision=before.revision + 1, updated_at=now)
        if not kept:
            return
        own_last, own_severe = instant_of(kept[-1].at_us), any(signal.severe for signal in kept)
        if signals > len(kept):
            own_last = max(own_last, last_at, before.last_signal_at)
            own_severe = own_severe or severe or before.severe
        row.incident = msgspec.structs.replace(
            row.incident,
            severe=own_severe,
            started_at=instant_of(kept[0].at_us),
            last_signal_at=own_last,
            hosts=tuple(sorted({signal.host for signal in kept if signal.host})),
            services=tuple(sorted({signal.service for signal in kept if signal.service})),
        )

    def stand(self, row: IncidentRow, state: IncidentState, *, by: str, now: datetime, why: str = "") -> None:
        """Acknowledges, resolves or reopens an incident, and writes it to its history."""
        before = row.incident
        acknowledged = {
            IncidentState.ACKNOWLEDGED: (now, by),
            IncidentState.RESOLVED: (before.acknowledged_at, before.acknowledged_by),
        }
        acknowledged_at, acknowledged_by = acknowledged.get(state, (None, None))
        resolved_at, resolved_by = (now, by) if state is IncidentState.RESOLVED else (None, None)
        row.incident = msgspec.structs.replace(
            before,
            state=state,
            acknowledged_at=acknowledged_at,
            acknowledged_by=acknowledged_by,
            resolved_at=resolved_at,
            resolved_by=resolved_by,
            revision=before.revision + 1,
            updated_at=now,
        )
        self.write(row.tenant_id, history.stood(before.id, state, why), by=by, now=now)

    def write(self, tenant_id: int, change: NewChange, *, by: str, now: datetime) -> None:
        """Adds an entry to an incident's history."""
        self._last_ids["changes"] += 1
        entry = IncidentChange(
            id=self._last_ids["changes"],
            incident_id=change.incident_id,
            kind=change.kind,
            at=now,
            by=by,
            summary=change.summary,
            detail=change.detail,
        )
        self.changes[entry.id] = ChangeRow(tenant_id=tenant_id, change=entry)

    def delete(self, incident_id: int) -> None:
        """Deletes an incident with everything that is its own."""
        row = self.incidents.pop(incident_id)
        gone = {signal.key for signal in self.signals_of(row.tenant_id, incident_id)}
        for key in gone:
            del self.signals[row.tenant_id, key]
        self.edges = {
            ends: edge
            for ends, edge in self.edges.items()
            if ends[0] != row.tenant_id or not gone.intersection(ends[1:])
        }
        self.changes = {
            change_id: entry for change_id, entry in self.changes.items() if entry.change.incident_id != incident_id
        }
