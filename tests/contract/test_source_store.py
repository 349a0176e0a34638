"""The source store port: metric sources of one tenant, and their credentials, which it never gives back."""

import asyncio
from typing import Any

import msgspec
import pytest

from core.domain.errors import Conflict, NotFound
from core.domain.source_configs import SyntheticConfig
from core.domain.sources import SOURCES_MAX
from tests.support.collection_rows import FULL, NOON, SPEC, forget_collection, later, look, spec
from tests.support.storages import Storage, Store, Tenancy


async def test_kept_as_given(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """Every field comes back as it was given, in any process, by name; credentials by their names only."""
    full = await storage.sources.create(tenancy.id, FULL, ("password", "username"), b"\x00sealed\xff", now=NOON)
    plain = await storage.sources.create(tenancy.id, SPEC, (), None, now=later(seconds=1))
    assert (full.spec, full.credential_names, full.revision) == (FULL, ("password", "username"), 1)
    assert (full.created_at, full.updated_at) == (NOON, NOON)
    assert (plain.spec, plain.credential_names, plain.scope) == (SPEC, (), f"source:{plain.id}")
    assert list(await other_storage.sources.list(tenancy.id)) == [plain, full]
    assert await other_storage.sources.get(tenancy.id, FULL.name) == full


@pytest.mark.parametrize(
    ("changes", "due"), [({}, True), ({"interval": None}, False), ({"enabled": False}, False)], ids=str
)
async def test_due_at_once(storage: Storage, tenancy: Tenancy, changes: dict[str, Any], due: bool) -> None:
    """A source is due when it is made or changed, if it is collected by itself at all."""
    made = await storage.sources.create(tenancy.id, spec(**changes), (), None, now=NOON)
    assert made.next_run_at == (NOON if due else None)
    again = await storage.sources.replace(tenancy.id, "fleet", spec(**changes), None, revision=1, now=later(hours=1))
    assert again.next_run_at == (later(hours=1) if due else None)


async def test_a_name_is_taken_once(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """Until its source is renamed or deleted; of several that ask at once one gets it."""
    attempts = [one.sources.create(tenancy.id, SPEC, (), None, now=NOON) for one in (storage, other_storage) * 2]
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 3
    await storage.sources.create(tenancy.id, spec("other"), (), None, now=NOON)
    with pytest.raises(Conflict, match="'other'"):
        await storage.sources.replace(tenancy.id, "fleet", spec("other"), None, revision=1, now=NOON)
    await storage.sources.replace(tenancy.id, "fleet", spec("renamed"), None, revision=1, now=NOON)
    await storage.sources.delete(tenancy.id, "other")
    for name in ("fleet", "other"):
        await storage.sources.create(tenancy.id, spec(name), (), None, now=NOON)
    assert [source.spec.name for source in await storage.sources.list(tenancy.id)] == ["fleet", "other", "renamed"]


async def test_replace(store: Store, storage: Storage, tenancy: Tenancy) -> None:
    """Everything changes but its id and when it was made; credentials only where new ones are given."""
    forget_collection(store.place)
    made = await storage.sources.create(tenancy.id, SPEC, ("api_key",), b"first", now=NOON)
    larger = spec(config=SyntheticConfig(instances=7))
    kept = await storage.sources.replace(tenancy.id, "fleet", larger, None, revision=1, now=later(hours=1))
    assert kept == msgspec.structs.replace(
        made, spec=larger, revision=2, updated_at=later(hours=1), next_run_at=later(hours=1)
    )
    claim = await look(storage, later(hours=1))
    assert claim is not None
    assert (claim.spec, claim.sealed) == (larger, b"first")
    changed = await storage.sources.replace(
        tenancy.id, "fleet", SPEC, (("b", "a"), b"second"), revision=2, now=later(hours=2)
    )
    assert (changed.credential_names, changed.revision) == (("b", "a"), 3)
    taken_over = await look(storage, later(hours=2))
    assert taken_over is not None
    assert (taken_over.spec, taken_over.sealed) == (SPEC, b"second"), "a run goes on with what was changed"
    without = await storage.sources.replace(tenancy.id, "fleet", SPEC, ((), None), revision=3, now=later(hours=2))
    assert without.credential_names == ()
    last = await look(storage, later(hours=3))
    assert last is not None
    assert last.sealed is None
    assert await storage.sources.get(tenancy.id, "fleet") == without


async def test_only_what_the_caller_has_seen_is_replaced(
    storage: Storage, other_storage: Storage, tenancy: Tenancy
) -> None:
    """Of several that change the same revision one does; the others are told."""
    await storage.sources.create(tenancy.id, SPEC, (), None, now=NOON)
    attempts = [
        one.sources.replace(
            tenancy.id, "fleet", spec(config=SyntheticConfig(seed=seed)), None, revision=1, now=later(hours=1)
        )
        for seed, one in enumerate((storage, other_storage) * 2)
    ]
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 3
    assert await storage.sources.get(tenancy.id, "fleet") in outcomes


async def test_no_more_than_so_many(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """The last free place is taken once; a deleted source makes room."""
    for index in range(SOURCES_MAX - 1):
        await storage.sources.create(tenancy.id, spec(f"s{index}", interval=None), (), None, now=NOON)
    attempts = [
        one.sources.create(tenancy.id, spec(f"last{index}", interval=None), (), None, now=NOON)
        for index, one in enumerate((storage, other_storage) * 2)
    ]
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 3
    await storage.sources.delete(tenancy.id, "s0")
    await storage.sources.create(tenancy.id, spec("s0", interval=None), (), None, now=NOON)


async def test_tenants_apart(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """The neighbour neither sees, changes nor deletes what is not its own, and may use the same name."""
    made = await storage.sources.create(tenancy.id, SPEC, (), None, now=NOON)
    assert list(await storage.sources.list(neighbour.id)) == []
    for attempt in (
        storage.sources.get(neighbour.id, "fleet"),
        storage.sources.replace(neighbour.id, "fleet", SPEC, None, revision=1, now=NOON),
        storage.sources.delete(neighbour.id, "fleet"),
    ):
        with pytest.raises(NotFound, match="source"):
            await attempt
    await storage.sources.create(neighbour.id, SPEC, (), None, now=NOON)
    assert list(await storage.sources.list(tenancy.id)) == [made]
