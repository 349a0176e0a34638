"""Metric sources, their runs with claims, checkpoints, and instances. All methods raise `Unavailable`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

import msgspec

from core.domain.collection import (
    CollectionRequest,
    CollectionRun,
    CollectionRunDetail,
    CollectionState,
    Instance,
    InstanceFilter,
    ItemResult,
    Problem,
    ProblemKind,
    Progress,
)
from core.domain.source_configs import SourceKind
from core.domain.sources import SourceSpec, StoredSource
from ports.driven.metric_source import SeenInstance

SCHEDULE: Final = "schedule"
"""Who asks for the runs that nobody asks for."""
SOURCE_DELETED: Final = Problem(
    kind=ProblemKind.CONFIGURATION, message="the source was deleted before its run had ended"
)


class SourceStore(Protocol):
    """Sources of one tenant. Credentials come sealed and are never read back here."""

    async def list(self, tenant_id: int) -> Sequence[StoredSource]:
        """All, by name."""
        ...

    async def get(self, tenant_id: int, name: str) -> StoredSource:
        """One; raises `NotFound`."""
        ...

    async def create(
        self, tenant_id: int, spec: SourceSpec, credential_names: Sequence[str], sealed: bytes | None, *, now: datetime
    ) -> StoredSource:
        """Adds one, due at once where it has an interval; raises `Conflict` where the name is taken."""
        ...

    async def replace(
        self,
        tenant_id: int,
        name: str,
        spec: SourceSpec,
        credentials: tuple[Sequence[str], bytes | None] | None,
        *,
        revision: int,
        now: datetime,
    ) -> StoredSource:
        """Replaces one, which is then due at once where it has an interval; `credentials` (names, sealed) None keeps
        those it has. Raises `NotFound`, and `Conflict` where the new name is taken or the source is of another revision
        than the caller has seen: what may be kept depends on what is there."""
        ...

    async def delete(self, tenant_id: int, name: str) -> None:
        """Removes one with its checkpoints; its runs stay. Raises `NotFound`."""
        ...


class RunOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A run that somebody asks for."""

    spec: SourceSpec
    scope: str
    """Which checkpoints it reads and moves."""
    sealed: bytes | None
    """The credentials of a one-off run; those of a stored source are read when the run begins."""
    stored: bool
    """Whether it is a stored source's: then `spec` is as it was when asked for, and its latest one is used."""
    request: CollectionRequest
    requested_by: str


class CollectionRunStore(Protocol):
    """Runs of one tenant, and asking for them."""

    async def request(self, tenant_id: int, orders: Sequence[RunOrder], *, now: datetime) -> Sequence[CollectionRun]:
        """Puts them in line, all or none. Raises `Conflict` where the tenant has too many waiting."""
        ...

    async def list(
        self, tenant_id: int, *, source: str | None, state: CollectionState | None, limit: int, before_id: int | None
    ) -> Sequence[CollectionRun]:
        """Newest first (descending id), those with an id below `before_id`."""
        ...

    async def get(self, tenant_id: int, run_id: int) -> CollectionRunDetail:
        """One; raises `NotFound`."""
        ...


class CollectionClaim(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A run that this process does: nobody else may while `token` holds and its lease has not ended."""

    tenant_id: int
    tenant: str
    run: CollectionRun
    spec: SourceSpec
    scope: str
    sealed: bytes | None
    token: UUID
    finished_items: frozenset[str]
    """Keys of items that an earlier attempt at this run finished."""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of one item (and of one of its series, where `series` is not empty) up to here is stored."""

    item: str
    series: str
    through: datetime


class CollectionWorkStore(Protocol):
    """For collectors, of all tenants. Methods that take a claim raise `Conflict` where it was lost."""

    async def claim(self, *, now: datetime, lease_s: float, running_max: int) -> CollectionClaim | None:
        """The next run: one whose lease has ended, else one that waits, else a scheduled source that is due.

        A scope has one run at a time; of one tenant at most `running_max` run. A scheduled source gets its next due
        instant with the claim: runs missed while no server was there are one run.
        """
        ...

    async def checkpoints(self, claim: CollectionClaim) -> Sequence[Checkpoint]:
        """Those of the claim's scope."""
        ...

    async def advance(
        self,
        claim: CollectionClaim,
        *,
        checkpoints: Sequence[Checkpoint],
        caught_up: Sequence[Checkpoint],
        results: Sequence[ItemResult],
        finished: Sequence[str],
        progress: Progress,
        now: datetime,
        lease_s: float,
    ) -> None:
        """Moves checkpoints (never back), removes those of series that have caught up and of items that are gone, adds
        results, notes finished items' keys, records the progress and extends the lease; all in one transaction."""
        ...

    async def extend(self, claims: Sequence[CollectionClaim], *, now: datetime, lease_s: float) -> None:
        """Extends the leases of those of the claims that still hold; the others are passed over."""
        ...

    async def see_instances(
        self, claim: CollectionClaim, provider: SourceKind, instances: Sequence[SeenInstance], *, now: datetime
    ) -> int:
        """Adds or updates instances; returns how many are new."""
        ...

    async def finish(
        self, claim: CollectionClaim, state: CollectionState, problem: Problem | None, *, now: datetime
    ) -> None:
        """Ends the run; a one-off run's credentials are forgotten."""
        ...

    async def forget(self, *, before: datetime, limit: int) -> int:
        """Deletes up to `limit` ended runs of any tenant that are older; returns how many. Keeper's work."""
        ...


class InstanceStore(Protocol):
    """Instances of one tenant."""

    async def list(
        self, tenant_id: int, wanted: InstanceFilter, *, limit: int, after_id: int | None
    ) -> Sequence[Instance]:
        """By id, those above `after_id`."""
        ...

    async def get(self, tenant_id: int, instance_id: int) -> Instance:
        """One; raises `NotFound`."""
        ...


class Sealing(Protocol):
    """Encrypting what is to be kept secret even from who reads the database. Safe to call concurrently."""

    def seal(self, secrets: Mapping[str, str]) -> bytes:
        """The secrets, encrypted and authenticated."""
        ...

    def fingerprint(self, told: bytes) -> str:
        """The same for the same bytes, which nobody can guess from it who does not have the key; hexadecimal."""
        ...

    def unseal(self, sealed: bytes) -> Mapping[str, str]:
        """What was sealed; raises `SealError` where no key of this server opens it."""
        ...


class SealError(Exception):
    """No key of this server opens it; says which setting holds the keys."""
