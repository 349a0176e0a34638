"""The definition store port: metric definitions, per tenant."""

import asyncio

import msgspec
import pytest

from core.domain.definitions import (
    RETENTION_DAYS_MAX,
    TEXT_CHARS_MAX,
    Aggregation,
    AlertThreshold,
    MetricDefinition,
    MetricType,
)
from core.domain.errors import Conflict, NotFound
from tests.support.storages import Storage, Store, Tenancy

PLAIN = MetricDefinition(name="cpu")
FULL = MetricDefinition(
    name="http.requests:total",
    display_name="Requests – “all” ✓",
    description="x" * TEXT_CHARS_MAX,
    unit="1/s",
    type=MetricType.COUNTER,
    aggregation=Aggregation.P99,
    retention_days=RETENTION_DAYS_MAX,
    alert_threshold=AlertThreshold(warning=0.1, critical=-1.7976931348623157e308),
)


@pytest.mark.parametrize(
    "definition",
    [
        PLAIN,
        FULL,
        MetricDefinition(name="a", alert_threshold=AlertThreshold(warning=1.0)),
        MetricDefinition(name="a", alert_threshold=AlertThreshold(critical=0.0)),
        MetricDefinition(name="a", display_name="", description="", unit=""),
        *(MetricDefinition(name="a", type=each) for each in MetricType),
        *(MetricDefinition(name="a", aggregation=each) for each in Aggregation),
    ],
)
async def test_kept_as_given(tenancy: Tenancy, store: Store, definition: MetricDefinition) -> None:
    """Every field comes back as it was given, in any process."""
    await tenancy.storage.definitions.create(tenancy.id, definition)
    async with store.open() as later:
        assert await later.definitions.get(tenancy.id, definition.name) == definition
        assert list(await later.definitions.list(tenancy.id)) == [definition]


async def test_create_once(storage: Storage, tenancy: Tenancy) -> None:
    """A name that is taken is a conflict, and what was there stays."""
    await storage.definitions.create(tenancy.id, PLAIN)
    with pytest.raises(Conflict):
        await storage.definitions.create(tenancy.id, msgspec.structs.replace(PLAIN, unit="%"))
    assert await storage.definitions.get(tenancy.id, "cpu") == PLAIN


async def test_create_at_once(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """Of several that create the same name at once, one succeeds."""
    definitions = [msgspec.structs.replace(PLAIN, unit=str(n)) for n in range(6)]
    answers = await asyncio.gather(
        *((storage, other_storage)[n % 2].definitions.create(tenancy.id, each) for n, each in enumerate(definitions)),
        return_exceptions=True,
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["Conflict"] * 5 + ["NoneType"]
    assert await storage.definitions.get(tenancy.id, "cpu") == definitions[answers.index(None)]


async def test_put(storage: Storage, tenancy: Tenancy) -> None:
    """Putting creates, then replaces every field, and says which."""
    named = msgspec.structs.replace(FULL, name="cpu")
    assert await storage.definitions.put(tenancy.id, named) is True
    assert await storage.definitions.put(tenancy.id, PLAIN) is False
    assert await storage.definitions.get(tenancy.id, "cpu") == PLAIN
    assert await storage.definitions.put(tenancy.id, named) is False
    assert await storage.definitions.get(tenancy.id, "cpu") == named


async def test_delete(storage: Storage, tenancy: Tenancy) -> None:
    """What was deleted is gone, deleting it again is not found, and the name is free."""
    await storage.definitions.create(tenancy.id, PLAIN)
    await storage.definitions.delete(tenancy.id, "cpu")
    with pytest.raises(NotFound):
        await storage.definitions.get(tenancy.id, "cpu")
    with pytest.raises(NotFound):
        await storage.definitions.delete(tenancy.id, "cpu")
    await storage.definitions.create(tenancy.id, FULL)


async def test_list_by_name(storage: Storage, tenancy: Tenancy) -> None:
    """The list ascends by name, code point by code point."""
    names = ["cpu", "cpu_load", "Cpu", "cpu.load", "_x", "memory", "cpuX"]
    for name in names:
        await storage.definitions.create(tenancy.id, MetricDefinition(name=name))
    assert [definition.name for definition in await storage.definitions.list(tenancy.id)] == sorted(names)


async def test_tenants_apart(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """A definition is its tenant's alone: the neighbour neither sees, changes nor deletes it."""
    await storage.definitions.create(tenancy.id, PLAIN)
    assert list(await storage.definitions.list(neighbour.id)) == []
    with pytest.raises(NotFound):
        await storage.definitions.get(neighbour.id, "cpu")
    with pytest.raises(NotFound):
        await storage.definitions.delete(neighbour.id, "cpu")
    assert await storage.definitions.put(neighbour.id, msgspec.structs.replace(PLAIN, unit="%")) is True
    assert await storage.definitions.get(tenancy.id, "cpu") == PLAIN


async def test_policy_follows(storage: Storage, tenancy: Tenancy) -> None:
    """Every change of a definition changes the policy's revision; its retention is in the policy."""
    revisions = [(await storage.tenants.policy(tenancy.id)).definitions_revision]
    await storage.definitions.create(tenancy.id, PLAIN)
    revisions.append((await storage.tenants.policy(tenancy.id)).definitions_revision)
    await storage.definitions.put(tenancy.id, msgspec.structs.replace(PLAIN, retention_days=3))
    policy = await storage.tenants.policy(tenancy.id)
    assert dict(policy.retention_days) == {"cpu": 3}
    revisions.append(policy.definitions_revision)
    await storage.definitions.delete(tenancy.id, "cpu")
    policy = await storage.tenants.policy(tenancy.id)
    assert dict(policy.retention_days) == {}
    revisions.append(policy.definitions_revision)
    assert len(set(revisions)) == 4
