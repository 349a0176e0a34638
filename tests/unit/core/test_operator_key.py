"""The first start gives the operator one key, and later starts give none."""

import pytest

from adapters.driven.memory.clock import FakeClock
from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.storage import MemoryStorage, memory_storage
from core.domain.errors import Conflict, InvalidInput
from core.domain.tenants import OPERATOR_TENANT, Scope, key_sha256
from core.domain.times import DAY_US, EPOCH
from core.services.operator_key import ensure_operator_key, ensure_operator_tenant
from ports.driven.tenant_store import LimitOverrides

CHOSEN = "chosen-by-the-operator"


@pytest.fixture
def clock() -> FakeClock:
    """The present."""
    return FakeClock()


@pytest.fixture
def storage(clock: FakeClock) -> MemoryStorage:
    """An empty store."""
    return memory_storage(MemoryDatabase(clock))


async def ensure(storage: MemoryStorage, clock: FakeClock, chosen: str | None = None) -> str | None:
    """One start."""
    return await ensure_operator_key(storage.tenants, storage.keys, clock, chosen=chosen)


async def test_the_first_start_makes_a_key_with_all_scopes(storage: MemoryStorage, clock: FakeClock) -> None:
    """It belongs to the operator's tenant, and the text that comes back is the key."""
    made = await ensure(storage, clock)
    assert made is not None
    record = await storage.keys.find(key_sha256(made))
    assert record is not None
    assert record.key.tenant == OPERATOR_TENANT
    assert record.key.scopes == frozenset(Scope)
    assert record.key.expires_at is None


async def test_later_starts_make_none(storage: MemoryStorage, clock: FakeClock) -> None:
    """One admin key is enough."""
    await ensure(storage, clock)
    assert await ensure(storage, clock) is None
    tenant = await storage.tenants.get(OPERATOR_TENANT)
    assert len(await storage.keys.list(tenant.id)) == 1


@pytest.mark.parametrize("ended", ["revoked", "expired", "no admin"])
async def test_a_key_that_cannot_administer_does_not_count(
    ended: str, storage: MemoryStorage, clock: FakeClock
) -> None:
    """Nobody is locked out for good: the next start mends it."""
    tenant = await ensure_operator_tenant(storage.tenants)
    key = await storage.keys.create(
        tenant,
        name=None,
        prefix="x",
        sha256=key_sha256(CHOSEN),
        scopes=frozenset({Scope.QUERY}) if ended == "no admin" else frozenset(Scope),
        expires_at=EPOCH if ended == "expired" else None,
    )
    if ended == "revoked":
        await storage.keys.revoke(tenant.id, key.id)
    clock.advance(DAY_US)
    assert await ensure(storage, clock) is not None


async def test_a_chosen_key_is_added_once_and_never_shown(storage: MemoryStorage, clock: FakeClock) -> None:
    """It is known to whoever chose it."""
    assert await ensure(storage, clock, CHOSEN) is None
    assert await ensure(storage, clock, CHOSEN) is None
    tenant = await storage.tenants.get(OPERATOR_TENANT)
    (key,) = await storage.keys.list(tenant.id)
    assert Scope.ADMIN in key.scopes


async def test_a_revoked_chosen_key_stays_revoked(storage: MemoryStorage, clock: FakeClock) -> None:
    """A restart does not undo a revocation."""
    await ensure(storage, clock, CHOSEN)
    tenant = await storage.tenants.get(OPERATOR_TENANT)
    (key,) = await storage.keys.list(tenant.id)
    await storage.keys.revoke(tenant.id, key.id)
    await ensure(storage, clock, CHOSEN)
    (key,) = await storage.keys.list(tenant.id)
    assert key.revoked_at is not None


@pytest.mark.parametrize("chosen", ["short", "with spaces in it, long", "ünïcödé-ünïcödé-ünïcödé"])
async def test_a_chosen_key_must_be_one(chosen: str, storage: MemoryStorage, clock: FakeClock) -> None:
    """What cannot stand in a header, or can be guessed, is refused."""
    with pytest.raises(InvalidInput):
        await ensure(storage, clock, chosen)


async def test_another_tenants_key_is_not_taken(storage: MemoryStorage, clock: FakeClock) -> None:
    """It would not administer the server, whatever the settings say."""
    other = await storage.tenants.create("acme", LimitOverrides())
    await storage.keys.create(
        other, name=None, prefix="x", sha256=key_sha256(CHOSEN), scopes=frozenset(Scope), expires_at=None
    )
    with pytest.raises(Conflict, match="acme"):
        await ensure(storage, clock, CHOSEN)
