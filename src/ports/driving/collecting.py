"""What may be asked about metric sources, their runs, and instances."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec

from core.domain.collection import (
    CollectionRequest,
    CollectionRun,
    CollectionRunDetail,
    CollectionState,
    Instance,
    InstanceFilter,
    OneOffSource,
)
from core.domain.source_configs import SourceKind
from core.domain.sources import SourceSpec, StoredSource
from core.domain.tenants import Principal


class RunPage(msgspec.Struct, frozen=True):
    """Runs, newest first, and the cursor of the next page where there is one."""

    data: Sequence[CollectionRun]
    next_cursor: str | None


class InstancePage(msgspec.Struct, frozen=True):
    """Instances by id, and the cursor of the next page where there is one."""

    data: Sequence[Instance]
    next_cursor: str | None


class StartedRuns(msgspec.Struct, frozen=True, kw_only=True):
    """The runs that were put in line, and what could not be."""

    runs: Sequence[CollectionRun]
    errors: Mapping[str, str] = {}
    """By source: why it was not."""


class Sources(Protocol):
    """Metric sources of the caller's tenant. Reading needs scope ``query``, ``ingest`` or ``admin``, starting a run
    ``ingest``, changing a source ``admin``. All raise `Forbidden`, `Unavailable`, and `NotFound` for what is not there.
    """

    async def list(self, principal: Principal) -> Sequence[StoredSource]:
        """All, by name."""
        ...

    async def get(self, principal: Principal, name: str) -> StoredSource:
        """One."""
        ...

    async def create(self, principal: Principal, spec: SourceSpec, credentials: Mapping[str, str]) -> StoredSource:
        """Adds one; raises `Conflict`, `InvalidInput`."""
        ...

    async def replace(
        self, principal: Principal, name: str, spec: SourceSpec, credentials: Mapping[str, str] | None
    ) -> StoredSource:
        """Replaces one; `credentials` None keeps those it has, as long as neither kind nor address changes."""
        ...

    async def delete(self, principal: Principal, name: str) -> None:
        """Removes one; what it collected stays."""
        ...

    async def start(
        self,
        principal: Principal,
        kind: SourceKind | None,
        request: CollectionRequest,
        one_off: OneOffSource | None,
        *,
        name: str | None = None,
    ) -> StartedRuns:
        """Puts runs in line: of `one_off` where it is given, else of the stored source of this `name` where it is given
        (whether or not it is enabled), else of all enabled stored sources of `kind` (None: of every kind), and of what
        the server's own environment configures for that kind where nothing is stored (for tenants that the operator
        trusts). Raises `InvalidInput` saying what to set where there is nothing of the kind."""
        ...

    async def runs(
        self,
        principal: Principal,
        *,
        source: str | None,
        state: CollectionState | None,
        limit: int,
        cursor: str | None,
    ) -> RunPage:
        """Runs, newest first."""
        ...

    async def run(self, principal: Principal, run_id: int) -> CollectionRunDetail:
        """One, with its items."""
        ...

    async def finished(
        self, principal: Principal, run_ids: Sequence[int], *, wait_s: float
    ) -> Sequence[CollectionRunDetail]:
        """The runs once all have ended, or as they are after so many seconds."""
        ...

    async def instances(
        self, principal: Principal, wanted: InstanceFilter, *, limit: int, cursor: str | None
    ) -> InstancePage:
        """Instances by id."""
        ...

    async def instance(self, principal: Principal, instance_id: int) -> Instance:
        """One."""
        ...


EXTEND_S: Final = 10.0
"""How often leases of runs under way are extended; they last three times as long."""


class CollectionRound(msgspec.Struct, frozen=True, kw_only=True):
    """What one round of the collector did."""

    tenant: str | None = None
    """None: there was nothing to do."""
    run: CollectionRun | None = None
    """As it ended; None where it was lost to another process."""
    took_s: float = 0.0
    away: str | None = None
    """Why the database could not be used."""


class CollectionWork(Protocol):
    """The collector's work."""

    async def round(self) -> CollectionRound:
        """Claims one run and does it. Safe to call concurrently: each call does another run."""
        ...

    async def extend(self) -> None:
        """Extends the leases of the runs under way, as long as none of them is to be taken over: to be called every
        `EXTEND_S` seconds or sooner. Safe beside `round`. Raises `Unavailable`."""
        ...
