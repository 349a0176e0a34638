"""Where tenants, their limits and their API keys are kept."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from core.domain.tenants import ApiKey, KeyRecord, Limits, Scope, Tenant


class LimitOverrides(msgspec.Struct, frozen=True, kw_only=True):
    """One tenant's own limits; None takes the server's."""

    samples_per_s: float | None = None
    samples_burst: float | None = None
    series_max: int | None = None
    query_points_max: int | None = None
    query_timeout_s: float | None = None

    def applied(self, defaults: Limits) -> Limits:
        """The limits in force."""
        own = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}
        return msgspec.structs.replace(defaults, **own)


class TenantPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What ingest must know of a tenant."""

    limits: LimitOverrides
    retention_days: Mapping[str, int]
    """Metric name → days, for the names that have a definition."""
    series_active: int
    definitions_revision: int
    """Changes whenever a definition or a limit of the tenant does."""


class TenantStore(Protocol):
    """Each method is one transaction; all raise `Unavailable`."""

    async def list(self) -> Sequence[Tenant]:
        """All tenants, by name."""
        ...

    async def get(self, tenant: str) -> Tenant:
        """The tenant of that name or decimal id; raises `NotFound`."""
        ...

    async def create(self, name: str, limits: LimitOverrides) -> Tenant:
        """Adds one; raises `Conflict` where the name is taken."""
        ...

    async def policy(self, tenant_id: int) -> TenantPolicy:
        """What holds for the tenant's samples now; raises `NotFound`."""
        ...

    async def set_limits(self, tenant_id: int, limits: LimitOverrides) -> None:
        """Replaces the tenant's own limits; raises `NotFound`."""
        ...


class KeyStore(Protocol):
    """Keys. Each method is one transaction; all raise `Unavailable`."""

    async def find(self, sha256: bytes) -> KeyRecord | None:
        """The key with that hash, expired and revoked ones too."""
        ...

    async def list(self, tenant_id: int) -> Sequence[ApiKey]:
        """The tenant's keys, newest last, revoked ones too."""
        ...

    async def create(
        self,
        tenant: Tenant,
        *,
        name: str | None,
        prefix: str,
        sha256: bytes,
        scopes: frozenset[Scope],
        expires_at: datetime | None,
    ) -> ApiKey:
        """Adds one; raises `Conflict` where the same key exists already."""
        ...

    async def revoke(self, tenant_id: int, key_id: int) -> None:
        """Ends it now; safe to repeat; raises `NotFound` where the tenant has no such key."""
        ...
