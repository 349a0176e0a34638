"""What may be asked about incidents.

Reading needs scope ``query`` or ``alerts``, changing ``alerts``. All raise `Forbidden`, `Unavailable`, and for what is
not there `NotFound`; what is changed is recorded in the incident's history and in the audit trail.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from core.domain.incidents import Incident, IncidentDetail, IncidentFilter
from core.domain.tenants import Principal


class IncidentPage(msgspec.Struct, frozen=True):
    """Incidents, newest first, and the cursor of the next page where there is one."""

    data: Sequence[Incident]
    next_cursor: str | None


class Incidents(Protocol):
    """Incidents."""

    async def list(
        self, principal: Principal, wanted: IncidentFilter, *, limit: int, cursor: str | None
    ) -> IncidentPage:
        """Newest first. Raises `InvalidInput`."""
        ...

    async def get(self, principal: Principal, incident_id: int) -> IncidentDetail:
        """One, with its timeline, graph, hypotheses, evidence, narrative and history."""
        ...

    async def acknowledge(self, principal: Principal, incident_id: int) -> Incident:
        """Somebody is on it. Raises `Conflict`."""
        ...

    async def resolve(self, principal: Principal, incident_id: int) -> Incident:
        """It is over. Raises `Conflict`."""
        ...

    async def reopen(self, principal: Principal, incident_id: int) -> Incident:
        """It was not over. Raises `Conflict`."""
        ...

    async def merge(self, principal: Principal, incident_id: int, from_id: int) -> Incident:
        """Takes another incident's signals into this one. Raises `Conflict`, `InvalidInput`."""
        ...

    async def split(self, principal: Principal, incident_id: int, keys: Sequence[str]) -> Incident:
        """Makes a new incident of some of its signals, which is returned. Raises `Conflict`, `InvalidInput`."""
        ...

    async def undo(self, principal: Principal, incident_id: int, change_id: int) -> Incident:
        """Takes a merge or a split back, by its id in the history. Raises `Conflict`."""
        ...


class CorrelationRound(msgspec.Struct, frozen=True, kw_only=True):
    """What one round of correlation did, for the log."""

    signals: int = 0
    opened: int = 0
    grown: int = 0
    reopened: int = 0
    dropped: int = 0
    analysed: int = 0
    resolved: int = 0
    away: str | None = None


class CorrelationWork(Protocol):
    """Correlation, for the background process."""

    async def round(self) -> tuple[CorrelationRound, float]:
        """Does what is due; returns what was done and how many seconds to wait before the next. Never raises
        `Unavailable`: `away` says so."""
        ...
