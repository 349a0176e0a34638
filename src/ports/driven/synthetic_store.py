"""Purging what the simulator wrote, and what was concluded from it. Only synthetic rows are ever touched.

A purge is asked for by a request and done by the keeper, which alone may delete samples; both survive crashes.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec


class Purge(msgspec.Struct, frozen=True, kw_only=True):
    """A purge and how far it is."""

    id: int
    requested_at: datetime
    requested_by: str
    finished_at: datetime | None
    """None: it waits, for some seconds."""
    samples: int | None
    """How many were deleted; None until it is finished. The same of the others."""
    events: int | None
    anomalies: int | None
    incidents: int | None


class SyntheticStore(Protocol):
    """One tenant's purges."""

    async def request(self, tenant_id: int, *, by: str, now: datetime) -> Purge:
        """Asks for one; while one waits, that one is the answer. Open alerts with the label ``synthetic=true`` are
        asked to close."""
        ...

    async def get(self, tenant_id: int, purge_id: int) -> Purge:
        """One; raises `NotFound`."""
        ...


class SyntheticPurger(Protocol):
    """The keeper's side, over all tenants. Safe on several servers at once."""

    async def waiting(self) -> Sequence[int]:
        """Ids of purges to do, oldest first."""
        ...

    async def purge(self, purge_id: int, *, now: datetime) -> bool:
        """Deletes in one transaction the samples of series labelled ``synthetic=true``, synthetic events, anomalies,
        published risks, incidents, instances, capacity snapshots, configuration changes, drift events and
        recommendations, and the checkpoints of synthetic one-off sources, which begin anew; and marks the purge as
        finished.

        False where points of such series are still unsettled in the journal, or somebody settles now: settle
        everything and come again. False as well while a run of the tenant's detection is under way, which would write
        back what it saw before; another one begins only after the purge. True where it was done already, or somebody
        does it now.

        Stored aggregates over the emptied range follow by the next refresh, before which no query shows what was
        deleted. The series stay, and take what is sent for them later.
        """
        ...
