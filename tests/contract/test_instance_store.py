"""The instance store port: instances of one tenant, made and refreshed by what collectors see."""

from datetime import datetime

import msgspec
import pytest

from core.domain.collection import Instance, InstanceFilter
from core.domain.errors import Conflict, NotFound
from core.domain.source_configs import SourceKind
from ports.driven.metric_source import SeenInstance
from ports.driven.source_store import Checkpoint, CollectionClaim
from tests.support.collection_rows import (
    FULL,
    NOON,
    advance,
    claimed,
    create,
    finish,
    forget_collection,
    later,
    order,
    request,
    spec,
)
from tests.support.storages import Storage, Store, Tenancy

WEB = SeenInstance(
    external_id="i-1 “ö” ✓", kind="ec2", region="eu-central-1", name="web", tags={"team": "größe", "a=b": "\t\\"}
)
NODE = SeenInstance(external_id="node-1", kind="node")
ANY = InstanceFilter()


@pytest.fixture
async def claim(store: Store, storage: Storage, tenancy: Tenancy) -> CollectionClaim:
    """Return a claim on a run of the tenant's."""
    forget_collection(store.place)
    await request(storage, tenancy, order())
    return await claimed(storage)


async def see(
    storage: Storage,
    claim: CollectionClaim,
    *seen: SeenInstance,
    provider: SourceKind = SourceKind.CLOUDWATCH,
    now: datetime = NOON,
) -> int:
    """Tells of instances."""
    return await storage.collection_work.see_instances(claim, provider, seen, now=now)


async def shown(storage: Storage, tenancy: Tenancy, wanted: InstanceFilter = ANY) -> list[Instance]:
    """The tenant's instances."""
    return list(await storage.instances.list(tenancy.id, wanted, limit=100, after_id=None))


async def test_created_on_sight(
    storage: Storage, other_storage: Storage, tenancy: Tenancy, claim: CollectionClaim
) -> None:
    """Each once, with everything the source tells; of the same id another provider has another."""
    assert await see(storage, claim, WEB, NODE, WEB) == 2
    assert await see(storage, claim, WEB, provider=SourceKind.SYNTHETIC, now=later(hours=1)) == 1
    assert await see(storage, claim) == 0
    web, synthetic = [each for each in await shown(other_storage, tenancy) if each.external_id == WEB.external_id]
    assert web == Instance(
        id=web.id,
        provider=SourceKind.CLOUDWATCH,
        external_id=WEB.external_id,
        kind="ec2",
        region="eu-central-1",
        name="web",
        tags=WEB.tags,
        first_seen_at=NOON,
        last_seen_at=NOON,
        synthetic=False,
    )
    assert (synthetic.provider, synthetic.synthetic) == (SourceKind.SYNTHETIC, True)
    assert await other_storage.instances.get(tenancy.id, web.id) == web


async def test_seen_again(storage: Storage, tenancy: Tenancy, claim: CollectionClaim) -> None:
    """It stays the same instance with what is new of it; what is not told stays; it was never seen earlier."""
    await see(storage, claim, WEB)
    [made] = await shown(storage, tenancy)
    moved = msgspec.structs.replace(WEB, region="eu-west-1", name="web-2", kind="spot", tags={"team": "b"})
    assert await see(storage, claim, moved, now=later(hours=1)) == 0
    assert await shown(storage, tenancy) == [
        msgspec.structs.replace(
            made, region="eu-west-1", name="web-2", kind="spot", tags={"team": "b"}, last_seen_at=later(hours=1)
        )
    ]
    await see(storage, claim, SeenInstance(external_id=WEB.external_id, kind="spot"), now=later(minutes=1))
    [kept] = await shown(storage, tenancy)
    assert (kept.region, kept.name, kept.tags, kept.last_seen_at) == (
        "eu-west-1",
        "web-2",
        {"team": "b"},
        later(hours=1),
    )


async def test_listed(storage: Storage, tenancy: Tenancy, claim: CollectionClaim) -> None:
    """By id, in pages; each filter keeps what matches it."""
    await see(storage, claim, WEB)
    await see(storage, claim, NODE, provider=SourceKind.EKS, now=later(hours=1))
    web, node = await shown(storage, tenancy)
    assert web.id < node.id
    for wanted, expected in (
        (InstanceFilter(provider=SourceKind.EKS), [node]),
        (InstanceFilter(kind="ec2"), [web]),
        (InstanceFilter(region="eu-central-1"), [web]),
        (InstanceFilter(tag=("a=b", "\t\\")), [web]),
        (InstanceFilter(tag=("team", "gr")), []),
        (InstanceFilter(tag=("“", "größe")), []),
        (InstanceFilter(seen_since=later(hours=1)), [node]),
        (InstanceFilter(seen_since=later(hours=1, microseconds=1)), []),
        (InstanceFilter(provider=SourceKind.EKS, kind="ec2"), []),
    ):
        assert await shown(storage, tenancy, wanted) == expected, wanted
    assert list(await storage.instances.list(tenancy.id, ANY, limit=1, after_id=None)) == [web]
    assert list(await storage.instances.list(tenancy.id, ANY, limit=9, after_id=web.id)) == [node]


async def test_only_with_a_claim(storage: Storage, tenancy: Tenancy, claim: CollectionClaim) -> None:
    """Who lost its run adds nothing."""
    await finish(storage, claim)
    with pytest.raises(Conflict):
        await see(storage, claim, WEB)
    assert await shown(storage, tenancy) == []


async def test_tenants_apart(storage: Storage, tenancy: Tenancy, neighbour: Tenancy, claim: CollectionClaim) -> None:
    """The neighbour sees none, and has one of the same id for itself."""
    await see(storage, claim, WEB)
    [web] = await shown(storage, tenancy)
    assert await shown(storage, neighbour) == []
    for tenant_id, wanted in ((neighbour.id, web.id), (tenancy.id, 0), (tenancy.id, -1), (tenancy.id, 2**62)):
        with pytest.raises(NotFound, match="instance"):
            await storage.instances.get(tenant_id, wanted)
    await finish(storage, claim)
    await request(storage, neighbour, order())
    assert await see(storage, await claimed(storage), WEB) == 1
    assert await shown(storage, tenancy) == [web]


async def test_synthetic_ones_are_purged(
    storage: Storage, tenancy: Tenancy, neighbour: Tenancy, claim: CollectionClaim
) -> None:
    """With the tenant's other synthetic data; they may come again."""
    await see(storage, claim, WEB)
    await see(storage, claim, WEB, NODE, provider=SourceKind.SYNTHETIC)
    await finish(storage, claim)
    await request(storage, neighbour, order())
    await see(storage, await claimed(storage), NODE, provider=SourceKind.SYNTHETIC)
    asked = await storage.synthetic.request(tenancy.id, by="key:1", now=NOON)
    assert await storage.synthetic_purger.purge(asked.id, now=later(minutes=1))
    assert [instance.provider for instance in await shown(storage, tenancy)] == [SourceKind.CLOUDWATCH]
    assert len(await shown(storage, neighbour)) == 1
    await request(storage, tenancy, order())
    again = await claimed(storage)
    assert await see(storage, again, NODE, provider=SourceKind.SYNTHETIC) == 1


async def test_what_was_purged_is_made_up_again(
    storage: Storage, store: Store, tenancy: Tenancy, neighbour: Tenancy
) -> None:
    """A synthetic source that was asked once begins anew; stored ones, other kinds and other tenants go on."""
    forget_collection(store.place)
    stored = await create(storage, tenancy)
    orders = [
        (tenancy, order("once:a")),
        (tenancy, order("once:b", spec=FULL)),
        (tenancy, order(stored, spec=spec(), stored=True)),
        (neighbour, order("once:a")),
    ]
    reached = (Checkpoint(item="a", series="", through=NOON),)
    for owner, one in orders:
        await request(storage, owner, one)
        claim = await claimed(storage)
        await advance(storage, claim, checkpoints=reached)
        await finish(storage, claim)
    asked = await storage.synthetic.request(tenancy.id, by="key:1", now=NOON)
    assert await storage.synthetic_purger.purge(asked.id, now=later(minutes=1))
    left = []
    for owner, one in orders:
        await request(storage, owner, one)
        claim = await claimed(storage)
        left.append(len(await storage.collection_work.checkpoints(claim)))
        await finish(storage, claim)
    assert left == [0, 1, 1, 1]
