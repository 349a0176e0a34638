"""Incidents of one tenant, and the signals that wait to become part of one. All methods raise `Unavailable`."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

import msgspec

from core.domain.anomalies import Anomaly
from core.domain.incidents import (
    CorrelationSettings,
    Incident,
    IncidentAnalysis,
    IncidentDetail,
    IncidentFilter,
    LearnedLag,
    Signal,
    SignalEdge,
)


class IncidentStore(Protocol):
    """What people read and do. All but `list` raise `NotFound`; every change is an entry of the history."""

    async def list(
        self, tenant_id: int, wanted: IncidentFilter, *, limit: int, before_id: int | None
    ) -> Sequence[Incident]:
        """Newest first (descending id), those with an id below `before_id`; fewer than `limit` are all there are."""
        ...

    async def get(self, tenant_id: int, incident_id: int) -> IncidentDetail:
        """One with its signals (the first `SIGNALS_MAX`), links, analysis and history (oldest first)."""
        ...

    async def acknowledge(self, tenant_id: int, incident_id: int, *, by: str, now: datetime) -> Incident:
        """OPEN → ACKNOWLEDGED; repeating it changes nothing. Raises `Conflict` for one resolved or merged."""
        ...

    async def resolve(self, tenant_id: int, incident_id: int, *, by: str, now: datetime) -> Incident:
        """→ RESOLVED; repeating it changes nothing. Raises `Conflict` for one that was merged."""
        ...

    async def reopen(self, tenant_id: int, incident_id: int, *, by: str, now: datetime) -> Incident:
        """RESOLVED → OPEN, acknowledged by nobody; one that is not resolved stays as it is. Raises `Conflict` for one
        that was merged."""
        ...

    async def merge(self, tenant_id: int, incident_id: int, from_id: int, *, by: str, now: datetime) -> Incident:
        """Moves all signals of `from_id` here; it becomes MERGED. Raises `Conflict` where either was merged before, or
        one is synthetic and the other is not, and `InvalidInput` where both are one."""
        ...

    async def split(self, tenant_id: int, incident_id: int, keys: Sequence[str], *, by: str, now: datetime) -> Incident:
        """Moves these signals to a new incident, which is returned; it is open, or resolved where this one is. Raises
        `InvalidInput` where a key is not one of its signals or none would be left, `Conflict` where it was merged."""
        ...

    async def undo(self, tenant_id: int, incident_id: int, change_id: int, *, by: str, now: datetime) -> Incident:
        """Takes a merge or split back, by the id of its entry in either incident's history: the signals that it moved
        go back, a merged incident is what it was before, one that a split made is MERGED with all its signals into
        where they came from.

        Raises `Conflict` where it is undone already, is no merge or split, one of its incidents is no longer kept, or a
        later merge or split of one of them stands on it (that one has to be undone first).
        """
        ...


class OpenIncident(msgspec.Struct, frozen=True, kw_only=True):
    """An incident that a new signal may belong to."""

    incident: Incident
    signals: tuple[Signal, ...]
    """Those of the time that was asked for, ascending."""


class NewIncident(msgspec.Struct, frozen=True, kw_only=True):
    """An incident to be opened."""

    title: str
    signals: tuple[Signal, ...]
    edges: tuple[SignalEdge, ...]


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """Signals to be added to an incident."""

    incident_id: int
    signals: tuple[Signal, ...]
    edges: tuple[SignalEdge, ...]
    reopen: bool
    """It was resolved, and opens again."""


class CorrelationChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What one look of the correlator changes, in one transaction."""

    opened: Sequence[NewIncident] = ()
    grown: Sequence[Growth] = ()
    dropped: Sequence[str] = ()
    """Keys of signals that became part of nothing and will not be looked at again."""


class Unanalysed(msgspec.Struct, frozen=True, kw_only=True):
    """An incident whose signals changed since it was analysed."""

    tenant_id: int
    incident_id: int
    revision: int


class IncidentWork(Protocol):
    """The correlator's side, over all tenants. One process at a time correlates a tenant."""

    def lead(self) -> AbstractAsyncContextManager[bool]:
        """Whether this process is the one that correlates, for as long as the context is open; the end of it, of the
        process or of its connection lets another one. Leave it and ask again from time to time: who lost its connection
        is told by `Unavailable` then."""
        ...

    async def waiting_tenants(self) -> Sequence[int]:
        """Tenants with signals that are part of nothing yet and were not dropped."""
        ...

    async def settings(self, tenant_id: int) -> CorrelationSettings:
        """From the tenant's detection settings, or the defaults."""
        ...

    async def waiting(self, tenant_id: int, *, limit: int) -> Sequence[Signal]:
        """The earliest of them, ascending in time. Signals are events of severity warn or error, changes, and alerts
        that fired, shadow ones left out."""
        ...

    async def surroundings(
        self, tenant_id: int, *, start_us: int, end_us: int, resolved_after: datetime
    ) -> Sequence[OpenIncident]:
        """Incidents, open or acknowledged or resolved since then, with signals in [start, end)."""
        ...

    async def apply(self, tenant_id: int, changes: CorrelationChanges, *, now: datetime) -> Sequence[int]:
        """Writes all of it in one transaction; returns the ids of those of `opened` that were opened, in their order.

        Only signals that still wait are taken, and wait no longer: one that is part of an incident by now, was dropped
        or is gone is passed over, so that repeating it, or two processes doing it at once, changes nothing more. What
        none of whose signals could be taken is neither opened nor grown. Growth of an incident that was merged goes to
        where that one's signals are; where there is no such incident its signals go on waiting. Beyond `SIGNALS_MAX` of
        one incident signals are counted and not kept. Writes ``opened``, ``grew`` and ``reopened`` to the history, by
        ``sextant``; what grew again before anything else happened to it continues its last entry."""
        ...

    async def unanalysed(self, *, limit: int) -> Sequence[Unanalysed]:
        """Incidents of any tenant, longest waiting first; merged ones need none."""
        ...

    async def detail(self, work: Unanalysed) -> IncidentDetail | None:
        """What `IncidentStore.get` gives, for analysis; None where it was deleted, or merged, meanwhile."""
        ...

    async def conditions(
        self, tenant_id: int, *, hosts: Sequence[str], services: Sequence[str], limit: int
    ) -> Sequence[Anomaly]:
        """Open anomalies of trend and variance on any of these hosts or services, the riskiest first; shadow ones and
        those marked false left out."""
        ...

    async def save_analysis(self, work: Unanalysed, analysis: IncidentAnalysis) -> bool:
        """Keeps it unless the incident changed meanwhile (False: analyse again); sets its title and narrative."""
        ...

    async def resolve_quiet(self, *, now: datetime) -> Sequence[tuple[int, int]]:
        """Resolves, by ``sextant``, incidents that had no signal and were not reopened for as long as their tenant's
        settings say, none of whose alerts fires; returns (tenant, incident)."""
        ...

    async def lags(self, tenant_id: int) -> Sequence[LearnedLag]:
        """What was learned."""
        ...

    async def histories(self, tenant_id: int, *, since: datetime, limit: int) -> Sequence[Sequence[Signal]]:
        """Of each of the newest incidents since then that were not synthetic the first signal of every host, service
        and metric, ascending in time: how trouble spread, without what followed where it already was."""
        ...

    async def save_lags(self, tenant_id: int, lags: Sequence[LearnedLag]) -> None:
        """Replaces all of a tenant's."""
        ...

    async def forget(self, *, before: datetime, limit: int) -> int:
        """Deletes up to `limit` incidents resolved or merged before that; returns how many."""
        ...
