"""The first start: the operator's tenant and a key for it, so that somebody can administer the server."""

from datetime import UTC, datetime, timedelta

from core.domain.errors import Conflict, NotFound
from core.domain.tenants import (
    OPERATOR_TENANT,
    ApiKey,
    Scope,
    Tenant,
    check_key,
    key_prefix,
    key_sha256,
    new_key,
)
from core.domain.times import EPOCH
from ports.driven.clock import Clock
from ports.driven.tenant_store import KeyStore, LimitOverrides, TenantStore

KEY_NAME = "first start"
"""What the key is called in lists, so that its origin is known when it is to be replaced."""


async def ensure_operator_tenant(tenants: TenantStore) -> Tenant:
    """The operator's tenant, made if there is none; safe to call on several servers at once."""
    try:
        return await tenants.get(OPERATOR_TENANT)
    except NotFound:
        try:
            return await tenants.create(OPERATOR_TENANT, LimitOverrides())
        except Conflict:
            return await tenants.get(OPERATOR_TENANT)


async def ensure_operator_key(tenants: TenantStore, keys: KeyStore, clock: Clock, *, chosen: str | None) -> str | None:
    """Sees to it that the operator has a key; returns its text only where a random one was made.

    `chosen` is added unless it exists already; where it was revoked it stays so. Without it a random key is
    made if no admin key of the operator is valid. Raises `InvalidInput` where `chosen` cannot be a key,
    `Conflict` where it is another tenant's, and `Unavailable`.
    """
    tenant = await ensure_operator_tenant(tenants)
    if chosen is not None:
        check_key(chosen)
        await _ensure(keys, tenant, chosen)
        return None
    now = EPOCH + timedelta(microseconds=clock.now_us())
    if any(_administers(key, now) for key in await keys.list(tenant.id)):
        return None
    made = new_key()
    await _add(keys, tenant, made)
    return made


async def _ensure(keys: KeyStore, tenant: Tenant, key: str) -> None:
    found = await keys.find(key_sha256(key))
    if found is None:
        try:
            await _add(keys, tenant, key)
        except Conflict:  # another server has just added it
            found = await keys.find(key_sha256(key))
    if found is not None and found.tenant_id != tenant.id:
        raise Conflict(f"the bootstrap key is one of tenant {found.key.tenant!r}; choose another")


async def _add(keys: KeyStore, tenant: Tenant, key: str) -> None:
    await keys.create(
        tenant,
        name=KEY_NAME,
        prefix=key_prefix(key),
        sha256=key_sha256(key),
        scopes=frozenset(Scope),
        expires_at=None,
    )


def _administers(key: ApiKey, now: datetime) -> bool:
    expired = key.expires_at is not None and key.expires_at.astimezone(UTC) <= now
    return Scope.ADMIN in key.scopes and key.revoked_at is None and not expired
