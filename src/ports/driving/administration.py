"""What an administrator, or a tenant about itself, may ask."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from core.domain.definitions import MetricDefinition
from core.domain.tenants import ApiKey, Limits, Principal, Scope, Tenant
from ports.driven.tenant_store import LimitOverrides


class CreatedKey(msgspec.Struct, frozen=True):
    """A new key: the only time its text exists outside its owner's hands."""

    key: ApiKey
    secret: str

    def __repr__(self) -> str:
        return f"CreatedKey({self.key!r}, …)"


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant's limits and how near it is to them."""

    tenant: str
    limits: Limits
    series_active: int
    samples_available: float
    """What the rate limit would let through at once, in this server process."""


class Authentication(Protocol):
    """Who is calling."""

    async def authenticate(self, key: str) -> Principal:
        """The owner of an API key; raises `Unauthenticated`."""
        ...


class Administration(Protocol):
    """Safe to call concurrently. An operator (an admin key of the tenant ``default``) acts on every tenant, other
    admins on their own. All raise `Forbidden` and `Unavailable`."""

    async def tenants(self, principal: Principal) -> Sequence[Tenant]:
        """The tenants that this admin may see."""
        ...

    async def create_tenant(self, principal: Principal, name: str, limits: LimitOverrides) -> Tenant:
        """Adds a tenant; operators only. Raises `InvalidInput`, `Conflict`."""
        ...

    async def set_limits(self, principal: Principal, tenant: str, limits: LimitOverrides) -> Tenant:
        """Replaces a tenant's own limits; operators only. Raises `NotFound`."""
        ...

    async def keys(self, principal: Principal, tenant: str | None) -> Sequence[ApiKey]:
        """A tenant's keys (default: the caller's). Raises `NotFound`."""
        ...

    async def create_key(
        self,
        principal: Principal,
        tenant: str | None,
        *,
        name: str | None,
        scopes: frozenset[Scope],
        expires_at: datetime | None,
    ) -> CreatedKey:
        """Makes a key for a tenant (default: the caller's). Raises `InvalidInput`, `NotFound`."""
        ...

    async def revoke_key(self, principal: Principal, key_id: int) -> None:
        """Ends a key at once; safe to repeat. Raises `NotFound`."""
        ...

    async def usage(self, principal: Principal) -> Usage:
        """The caller's limits and use."""
        ...


class Definitions(Protocol):
    """Metric definitions of the caller's tenant. Reading needs scope ``query``, changing ``admin``."""

    async def list(self, principal: Principal) -> Sequence[MetricDefinition]:
        """All, by name."""
        ...

    async def get(self, principal: Principal, name: str) -> MetricDefinition:
        """One; raises `NotFound`."""
        ...

    async def create(self, principal: Principal, definition: MetricDefinition) -> None:
        """Adds one; raises `Conflict`."""
        ...

    async def put(self, principal: Principal, definition: MetricDefinition) -> bool:
        """Creates or replaces it; says whether it was created."""
        ...

    async def delete(self, principal: Principal, name: str) -> None:
        """Removes it; raises `NotFound`."""
        ...
