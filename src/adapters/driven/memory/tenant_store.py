"""Tenants, their limits and their API keys in memory."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from adapters.driven.memory.database import MemoryDatabase, TenantRow
from core.domain.errors import Conflict, NotFound
from core.domain.tenants import ApiKey, KeyRecord, Scope, Tenant
from ports.driven.tenant_store import LimitOverrides, TenantPolicy


class MemoryTenantStore:
    """Implements `TenantStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def list(self) -> Sequence[Tenant]:
        """All tenants, by name."""
        return sorted((row.tenant for row in self._database.tenants.values()), key=lambda tenant: tenant.name)

    async def get(self, tenant: str) -> Tenant:
        """The tenant of that name or decimal id, a name first; or `NotFound`."""
        rows = self._database.tenants.values()
        for row in rows:
            if row.tenant.name == tenant:
                return row.tenant
        for row in rows:
            if str(row.tenant.id) == tenant:
                return row.tenant
        raise NotFound("tenant", tenant)

    async def create(self, name: str, limits: LimitOverrides) -> Tenant:
        """Adds one, or raises `Conflict`."""
        tenants = self._database.tenants
        if any(row.tenant.name == name for row in tenants.values()):
            raise Conflict(f"there is a tenant {name!r} already")
        tenant = Tenant(id=len(tenants) + 1, name=name, created_at=self._database.now())
        tenants[tenant.id] = TenantRow(tenant, limits)
        return tenant

    async def policy(self, tenant_id: int) -> TenantPolicy:
        """What holds for the tenant's samples now."""
        row = self._row(tenant_id)
        retention_days = {
            name: definition.retention_days
            for (owner, name), definition in self._database.definitions.items()
            if owner == tenant_id
        }
        return TenantPolicy(
            limits=row.limits,
            retention_days=retention_days,
            series_active=row.series_active,
            definitions_revision=row.revision,
        )

    async def set_limits(self, tenant_id: int, limits: LimitOverrides) -> None:
        """Replaces the tenant's own limits."""
        row = self._row(tenant_id)
        row.limits = limits
        row.revision += 1

    def _row(self, tenant_id: int) -> TenantRow:
        row = self._database.tenants.get(tenant_id)
        if row is None:
            raise NotFound("tenant", str(tenant_id))
        return row


class MemoryKeyStore:
    """Implements `KeyStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def find(self, sha256: bytes) -> KeyRecord | None:
        """The key with that hash, whatever its state."""
        return next((record for record in self._database.keys.values() if record.sha256 == sha256), None)

    async def list(self, tenant_id: int) -> Sequence[ApiKey]:
        """The tenant's keys, newest last."""
        return [record.key for record in self._database.keys.values() if record.tenant_id == tenant_id]

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
        """Adds one, or raises `Conflict`."""
        if await self.find(sha256) is not None:
            raise Conflict("the same key exists already")
        key = ApiKey(
            id=len(self._database.keys) + 1,
            tenant=tenant.name,
            name=name,
            prefix=prefix,
            scopes=scopes,
            created_at=self._database.now(),
            expires_at=expires_at,
        )
        self._database.keys[key.id] = KeyRecord(key=key, tenant_id=tenant.id, sha256=sha256)
        return key

    async def revoke(self, tenant_id: int, key_id: int) -> None:
        """Ends it now; one that has ended keeps its time."""
        record = self._database.keys.get(key_id)
        if record is None or record.tenant_id != tenant_id:
            raise NotFound("key", str(key_id))
        if record.key.revoked_at is None:
            revoked = msgspec.structs.replace(record.key, revoked_at=self._database.now())
            self._database.keys[key_id] = msgspec.structs.replace(record, key=revoked)
