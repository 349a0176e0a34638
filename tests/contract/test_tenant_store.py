"""The tenant store and key store ports."""

import asyncio
import secrets
from datetime import UTC, datetime, timedelta

import pytest

from core.domain.errors import Conflict, NotFound
from core.domain.tenants import ApiKey, Scope
from ports.driven.tenant_store import LimitOverrides
from tests.support.storages import Storage, Store, Tenancy, unique

LIMITS = LimitOverrides(
    samples_per_s=1.5, samples_burst=2.5, series_max=3, query_points_max=5_000_000_000, query_timeout_s=0.5
)
NO_LIMITS = LimitOverrides()
SOON = datetime.now(UTC).replace(microsecond=123_456) + timedelta(days=1)


async def new_key(
    tenancy: Tenancy, *, sha256: bytes | None = None, expires_at: datetime | None = None, name: str | None = None
) -> tuple[ApiKey, bytes]:
    """A key of a tenant, and its hash."""
    digest = sha256 or secrets.token_bytes(32)
    scopes = frozenset({Scope.INGEST, Scope.QUERY})
    key = await tenancy.storage.keys.create(
        tenancy.tenant, name=name, prefix="abc123", sha256=digest, scopes=scopes, expires_at=expires_at
    )
    return key, digest


async def test_tenants(storage: Storage, store: Store) -> None:
    """A tenant is found by its name and by its id, in any process, and listed by name."""
    created = [await storage.tenants.create(unique(prefix), NO_LIMITS) for prefix in ("zebra", "alpha", "a_b", "a-b")]
    async with store.open() as later:
        for tenant in created:
            assert await later.tenants.get(tenant.name) == tenant
            assert await later.tenants.get(str(tenant.id)) == tenant
        listed = list(await later.tenants.list())
    assert {tenant.id for tenant in created} <= {tenant.id for tenant in listed}
    assert [tenant.name for tenant in listed] == sorted(tenant.name for tenant in listed)
    assert len({tenant.id for tenant in listed}) == len(listed)
    assert all(tenant.created_at.tzinfo is not None for tenant in created)
    assert abs(created[0].created_at - datetime.now(UTC)) < timedelta(hours=1)


@pytest.mark.parametrize("name", ["no-such-tenant", "999999999", "99999999999999999999", "", "-1", "0x1", "1.0"])
async def test_no_such_tenant(storage: Storage, name: str) -> None:
    """What is no tenant's name or id is not found."""
    with pytest.raises(NotFound):
        await storage.tenants.get(name)


async def test_a_name_that_is_a_number(storage: Storage, tenancy: Tenancy) -> None:
    """A tenant may be called like another's id; then the name counts."""
    called = await storage.tenants.create(str(tenancy.id), NO_LIMITS)
    assert await storage.tenants.get(str(tenancy.id)) == called
    assert await storage.tenants.get(tenancy.tenant.name) == tenancy.tenant


async def test_name_taken(storage: Storage, other_storage: Storage) -> None:
    """Of several that create one name at once, one succeeds; the others conflict."""
    name = unique("tenant")
    answers = await asyncio.gather(
        *((storage, other_storage)[n % 2].tenants.create(name, NO_LIMITS) for n in range(5)), return_exceptions=True
    )
    assert sum(isinstance(answer, Conflict) for answer in answers) == 4
    assert await storage.tenants.get(name) in answers


async def test_policy(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """A new tenant has no limits of its own, no retention, no series; its series are counted, nobody else's."""
    policy = await storage.tenants.policy(tenancy.id)
    assert (policy.limits, dict(policy.retention_days), policy.series_active) == (NO_LIMITS, {}, 0)
    await tenancy.series(host="a")
    await tenancy.series(host="b")
    await neighbour.series(host="a")
    assert (await storage.tenants.policy(tenancy.id)).series_active == 2


async def test_limits(storage: Storage, neighbour: Tenancy) -> None:
    """A tenant's own limits are kept exactly, replaced as a whole, and seen as a new revision."""
    tenant = await storage.tenants.create(unique("tenant"), LIMITS)
    first = await storage.tenants.policy(tenant.id)
    assert first.limits == LIMITS
    await storage.tenants.set_limits(tenant.id, LimitOverrides(series_max=7))
    second = await storage.tenants.policy(tenant.id)
    assert second.limits == LimitOverrides(series_max=7)
    assert second.definitions_revision != first.definitions_revision
    assert (await storage.tenants.policy(neighbour.id)).limits == NO_LIMITS


async def test_limits_of_nobody(storage: Storage) -> None:
    """A tenant that does not exist has no policy and takes no limits."""
    with pytest.raises(NotFound):
        await storage.tenants.policy(999_999_999)
    with pytest.raises(NotFound):
        await storage.tenants.set_limits(999_999_999, LIMITS)


async def test_key_found_by_hash(tenancy: Tenancy, store: Store) -> None:
    """A key is found by its hash, in any process, with all that authentication needs."""
    key, sha256 = await new_key(tenancy, expires_at=SOON, name="ci – ✓")
    assert key.scopes == {Scope.INGEST, Scope.QUERY}
    assert (key.tenant, key.name, key.prefix) == (tenancy.tenant.name, "ci – ✓", "abc123")
    assert (key.expires_at, key.revoked_at) == (SOON, None)
    async with store.open() as later:
        record = await later.keys.find(sha256)
    assert record is not None
    assert (record.key, record.tenant_id, record.sha256) == (key, tenancy.id, sha256)


async def test_unknown_key(storage: Storage) -> None:
    """A hash that was never stored finds nothing, nor does a part of one."""
    assert await storage.keys.find(secrets.token_bytes(32)) is None
    assert await storage.keys.find(b"") is None


async def test_same_key_twice(tenancy: Tenancy, neighbour: Tenancy) -> None:
    """One key belongs to one tenant: storing it again conflicts, for anybody."""
    key, sha256 = await new_key(tenancy)
    for other in (tenancy, neighbour):
        with pytest.raises(Conflict):
            await new_key(other, sha256=sha256)
    record = await tenancy.storage.keys.find(sha256)
    assert record is not None
    assert record.key == key


async def test_expired_key_is_found(tenancy: Tenancy) -> None:
    """An expired key is found with its expiry: refusing it is the service's work."""
    past = SOON - timedelta(days=400)
    _, sha256 = await new_key(tenancy, expires_at=past)
    record = await tenancy.storage.keys.find(sha256)
    assert record is not None
    assert record.key.expires_at == past


async def test_list_keys(tenancy: Tenancy, neighbour: Tenancy) -> None:
    """A tenant's keys are listed newest last, revoked ones too, and nobody else's."""
    keys = [(await new_key(tenancy))[0] for _ in range(3)]
    await new_key(neighbour)
    await tenancy.storage.keys.revoke(tenancy.id, keys[1].id)
    listed = list(await tenancy.storage.keys.list(tenancy.id))
    assert [key.id for key in listed] == [key.id for key in keys]
    assert [key.revoked_at is not None for key in listed] == [False, True, False]


async def test_revoke(tenancy: Tenancy) -> None:
    """A revoked key is found with the time it ended; revoking it again keeps that time."""
    key, sha256 = await new_key(tenancy)
    await tenancy.storage.keys.revoke(tenancy.id, key.id)
    first = await tenancy.storage.keys.find(sha256)
    await tenancy.storage.keys.revoke(tenancy.id, key.id)
    assert first is not None
    assert first.key.revoked_at is not None
    assert abs(first.key.revoked_at - datetime.now(UTC)) < timedelta(hours=1)
    assert await tenancy.storage.keys.find(sha256) == first


async def test_revoke_anothers_key(tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Another tenant's key, and one that does not exist, are not found, and nothing is revoked."""
    key, sha256 = await new_key(tenancy)
    for key_id in (key.id, 999_999_999):
        with pytest.raises(NotFound):
            await neighbour.storage.keys.revoke(neighbour.id, key_id)
    record = await tenancy.storage.keys.find(sha256)
    assert record is not None
    assert record.key.revoked_at is None
