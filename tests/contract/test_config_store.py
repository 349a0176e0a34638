"""The configuration store port: changes with their events, what is observed, and baselines."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest

from core.domain.config_diff import DIFFERENCES_MAX
from core.domain.configurations import (
    BASELINES_SIZE_BYTES_MAX,
    ConfigBaseline,
    ConfigChange,
    ConfigFilter,
    ConfigKind,
    Document,
    ObservedConfiguration,
    StoredBaseline,
)
from core.domain.errors import Conflict, NotFound
from core.domain.events import CHANGE_METRIC, MESSAGE_CHARS_MAX, EventFilter, EventSeverity, SignalEvent
from tests.support.cluster_rows import HARD_DOCUMENT, NOON, change
from tests.support.storages import Storage, Tenancy

TICK = timedelta(microseconds=1)
V1: Document = {"containers": {"app": "v1"}}
V2: Document = {"containers": {"app": "v2"}}
ANY = ConfigFilter()


async def listed(
    tenancy: Tenancy,
    wanted: ConfigFilter = ANY,
    *,
    limit: int = 1_000,
    before: tuple[datetime, UUID] | None = None,
) -> list[ConfigChange]:
    """A page of a tenant's changes."""
    return list(await tenancy.storage.configurations.list(tenancy.id, wanted, limit=limit, before=before))


async def events_of(tenancy: Tenancy) -> list[SignalEvent]:
    """A tenant's events, oldest first."""
    return list(await tenancy.storage.events.list(tenancy.id, EventFilter(), limit=1_000, before=None))[::-1]


def seen(document: Document = V1, **fields: object) -> ObservedConfiguration:
    """A configuration as it is found."""
    found = ObservedConfiguration(
        cluster_id="prod", namespace="shop", workload="checkout", kind=ConfigKind.IMAGE, document=document
    )
    return msgspec.structs.replace(found, **fields)


async def observe(tenancy: Tenancy, *found: ObservedConfiguration, now: datetime = NOON) -> int:
    """Finds configurations."""
    return await tenancy.storage.configurations.observe(tenancy.id, found, source="eks", now=now)


def as_json(changes: Sequence[ConfigChange]) -> bytes:
    """Changes with their numbers' types, which equality does not tell; PostgreSQL knows no negative zero."""
    return msgspec.json.encode(changes, order="deterministic").replace(b"-0.0,", b"0.0,")


async def test_kept_as_given(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """Every field comes back as it was given, in any process, whatever the documents hold."""
    made = change(after=HARD_DOCUMENT, kind=ConfigKind.RUNTIME, actor=None, ts=NOON + TICK)
    moved = change(before=HARD_DOCUMENT, after={"floats": HARD_DOCUMENT["floats"], "a": [2**64, 1e300]}, synthetic=True)
    gone = change(before={}, kind=ConfigKind.POLICY, actor="Größe ✓ “1”", source="x" * 253, ts=NOON - TICK)
    assert await storage.configurations.append(tenancy.id, [moved, gone, made]) == 3
    kept = await other_storage.configurations.list(tenancy.id, ANY, limit=10, before=None)
    assert list(kept) == [made, moved, gone]
    assert as_json(kept) == as_json([made, moved, gone])
    assert await other_storage.configurations.get(tenancy.id, moved.id) == moved


async def test_a_change_is_an_event(storage: Storage, tenancy: Tenancy) -> None:
    """It tells who changed what of which workload, once however often the change is sent."""
    first = change(before=V1, after=V2)
    other = msgspec.structs.replace(first, after={}, actor="bob")
    assert await storage.configurations.append(tenancy.id, [first, other]) == 1
    assert await storage.configurations.append(tenancy.id, [other]) == 0
    assert await listed(tenancy) == [first]
    [event] = await events_of(tenancy)
    assert event == SignalEvent(
        id=event.id,
        ts=NOON,
        host=None,
        service="checkout",
        fingerprint=f"checkout:{CHANGE_METRIC}",
        severity=EventSeverity.INFO,
        metric=CHANGE_METRIC,
        value=None,
        message="image of shop/checkout: /containers/app: v1 → v2",
        labels={
            "cluster_id": "prod",
            "namespace": "shop",
            "workload": "checkout",
            "kind": "image",
            "actor": "alice",
        },
        synthetic=False,
        created_at=event.created_at,
    )
    [signal] = await storage.incident_work.waiting(tenancy.id, limit=10)
    assert signal.key == f"event:{event.id}"


async def test_what_events_say(storage: Storage, tenancy: Tenancy) -> None:
    """What was made, removed and replaced, cut where it is long; synthetic where the change is."""
    long = {"a" * 5_000: {"b": "x" * 5_000}}
    many: Document = {f"{n:04}": n for n in range(DIFFERENCES_MAX + 1)}
    for n, (before, after) in enumerate(
        [
            (None, V1),
            (V1, None),
            ({"n": 1, "list": [1]}, {"n": 2, "list": [1, {"a": None}], "x": 1, "y": 2}),
            ({}, long),
            ({}, many),
        ]
    ):
        made = change(before=before, after=after, actor=None, synthetic=True, ts=NOON + n * TICK)
        await storage.configurations.append(tenancy.id, [made])
    events = await events_of(tenancy)
    assert all(event.synthetic and "actor" not in event.labels for event in events)
    messages = [(event.message or "").removeprefix("image of shop/checkout: ") for event in events]
    assert messages[:3] == ["added", "removed", '/list/1: added {"a":null}; /n: 1 → 2; /x: added 1; 1 more']
    assert messages[4] == "replaced as a whole"
    assert len(messages[3]) < 400 < MESSAGE_CHARS_MAX


async def test_observing(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """The first sight is recorded without an event; the same again is nothing; what differs is a change."""
    assert await observe(tenancy, seen(V1, actor="alice", changed_at=NOON - timedelta(days=2))) == 0
    [first] = await listed(tenancy)
    assert (first.before, first.after, first.ts, first.actor) == (None, V1, NOON - timedelta(days=2), "alice")
    assert await events_of(tenancy) == []

    assert await observe(tenancy, seen(V1, actor="bob", changed_at=NOON), now=NOON + TICK) == 0
    later = NOON + timedelta(minutes=5)
    changed = seen(V2, actor="bob", changed_at=NOON, synthetic=True)
    assert await observe(tenancy, changed, now=later) == 1
    assert await other_storage.configurations.observe(tenancy.id, [changed], source="eks", now=later) == 0
    newest, _ = await listed(tenancy)
    assert newest == change(before=V1, after=V2, ts=NOON, id=newest.id, actor="bob", source="eks", synthetic=True)
    [event] = await events_of(tenancy)
    assert (event.ts, event.message, event.synthetic) == (
        NOON,
        "image of shop/checkout: /containers/app: v1 → v2",
        True,
    )


async def test_the_newest_is_what_was_found_last(storage: Storage, tenancy: Tenancy) -> None:
    """Whatever the source says of when it changed, and also where a change was posted from the future."""
    for step, document in enumerate((V1, V2, V1, V2)):
        found = seen(document, changed_at=NOON - timedelta(days=step))
        assert await observe(tenancy, found, now=NOON) == bool(step)
    ahead = change(before=V2, after={"x": 1}, ts=NOON + timedelta(hours=1))
    await storage.configurations.append(tenancy.id, [ahead])
    assert await observe(tenancy, seen(V2, changed_at=NOON + timedelta(days=9)), now=NOON + TICK) == 1
    changes = await listed(tenancy)
    assert [each.after for each in changes] == [V2, {"x": 1}, V2, V1, V2, V1]
    assert [each.before for each in changes] == [{"x": 1}, V2, V1, V2, V1, None]
    assert changes[0].ts == ahead.ts + TICK
    assert len({each.id for each in changes}) == 6
    assert await observe(tenancy, seen(V2), now=NOON + TICK) == 0


async def test_a_removed_one_that_is_found_again(storage: Storage, tenancy: Tenancy) -> None:
    """That it was removed is known, so that finding it is a change."""
    await storage.configurations.append(tenancy.id, [change(before=V1)])
    assert await observe(tenancy, seen(V1), now=NOON + TICK) == 1
    assert [event.message for event in await events_of(tenancy)] == [
        "image of shop/checkout: removed",
        "image of shop/checkout: added",
    ]


async def test_many_at_once(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """More than are compared at a time; one that comes twice in a call is compared with itself; tenants are apart."""
    found = [
        seen(HARD_DOCUMENT, cluster_id=f"c{n % 3}", namespace=f"n{n % 5}", workload=f"w{n % 90}", kind=kind)
        for n in range(90)
        for kind in ConfigKind
    ]
    assert await observe(tenancy, *found) == 0
    assert await observe(tenancy, *found) == 0
    assert len(await listed(tenancy)) == len(found)
    turned = [msgspec.structs.replace(each, document=V1) for each in found]
    again = msgspec.structs.replace(turned[0], document=V2)
    assert await observe(tenancy, *turned, again, again) == len(found) + 1
    assert await observe(neighbour, *found[:3]) == 0
    assert len(await events_of(tenancy)) == len(found) + 1
    assert await events_of(neighbour) == []
    assert len(await listed(neighbour)) == 3
    assert await observe(tenancy) == 0


async def test_observed_by_two_at_once(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """One after the other, so that a change is recorded once."""
    await observe(tenancy, seen(V1))
    counted = await asyncio.gather(
        *(
            one.configurations.observe(tenancy.id, [seen(V2)], source="eks", now=NOON + TICK)
            for one in (storage, other_storage, storage)
        )
    )
    assert sorted(counted) == [0, 0, 1]
    assert len(await listed(tenancy)) == 2


async def test_pages(storage: Storage, tenancy: Tenancy) -> None:
    """Pages are newest first and join without gap or repeat, through changes of one moment as well."""
    changes = [change(after={"n": n}, ts=NOON - n // 4 * TICK) for n in range(18)]
    await storage.configurations.append(tenancy.id, changes)
    found: list[ConfigChange] = []
    before = None
    while page := await listed(tenancy, limit=5, before=before):
        found += page
        before = (page[-1].ts, page[-1].id)
    assert found == sorted(changes, key=lambda each: (each.ts, each.id), reverse=True)


async def test_filters(storage: Storage, tenancy: Tenancy) -> None:
    """Each filter holds by itself and with a position; the range is half-open."""
    usual = change(after=V1)
    other = change(after=V1, ts=NOON + TICK, cluster_id="test", namespace="n", workload="w", kind=ConfigKind.RESOURCE)
    await storage.configurations.append(tenancy.id, [usual, other])
    for wanted in (
        ConfigFilter(start=NOON + TICK),
        ConfigFilter(cluster_id="test"),
        ConfigFilter(namespace="n"),
        ConfigFilter(workload="w"),
        ConfigFilter(kind=ConfigKind.RESOURCE),
        ConfigFilter(cluster_id="test", namespace="n", workload="w", kind=ConfigKind.RESOURCE, start=NOON),
    ):
        assert await listed(tenancy, wanted) == [other]
        assert await listed(tenancy, wanted, before=(other.ts, other.id)) == []
    assert await listed(tenancy, ConfigFilter(end=NOON + TICK)) == [usual]
    assert await listed(tenancy, ConfigFilter(start=NOON, end=NOON + 2 * TICK)) == [other, usual]
    assert await listed(tenancy, ConfigFilter(cluster_id="test", workload="checkout")) == []


async def test_the_state_at_an_instant(storage: Storage, tenancy: Tenancy) -> None:
    """The last change by then of each namespace and kind; a removal is one; others' are left out."""
    changes = [
        change(after=V1, ts=NOON),
        change(before=V1, after=V2, ts=NOON + 2 * TICK),
        change(after=V1, kind=ConfigKind.RESOURCE, ts=NOON + TICK),
        change(before=V1, kind=ConfigKind.RESOURCE, ts=NOON + 3 * TICK),
        change(after=V1, namespace="Shop", ts=NOON + TICK),
        change(after=V1, namespace="zz", kind=ConfigKind.POLICY, ts=NOON + 2 * TICK),
    ]
    image, image_later, resource, removed, capital, policy = changes
    others = [change(after=V1, cluster_id="test"), change(after=V1, workload="cart")]
    await storage.configurations.append(tenancy.id, [*others, *changes])

    async def at(ticks: int, namespace: str | None = None) -> list[ConfigChange]:
        found = await storage.configurations.at(
            tenancy.id, "prod", "checkout", namespace=namespace, ts=NOON + ticks * TICK
        )
        return list(found)

    assert await at(-1) == []
    assert await at(0) == [image]
    assert await at(1) == [capital, image, resource]
    assert await at(9) == [capital, image_later, removed, policy]
    assert await at(2, "shop") == [image_later, resource]
    assert await at(2, "none") == []
    first, second = sorted(change(after=V1, ts=NOON + 9 * TICK).id for _ in range(2))
    await storage.configurations.append(
        tenancy.id, [change(after=V1, ts=NOON + 9 * TICK, id=each) for each in (second, first)]
    )
    assert (await at(9, "shop"))[0].id == second


async def test_baselines(storage: Storage, other_storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Declared, replaced, listed by place and removed, each tenant's own."""
    places = [("b", "n", "w"), ("B", "n", "w"), ("b", "m", "w"), ("b", "n", "v"), ("ä", "n", "w")]
    made = [
        StoredBaseline(
            baseline=ConfigBaseline(
                cluster_id=cluster, namespace=namespace, workload=workload, kind=kind, document=HARD_DOCUMENT
            ),
            declared_by="alice",
            declared_at=NOON,
        )
        for cluster, namespace, workload in places
        for kind in (ConfigKind.RUNTIME, ConfigKind.IMAGE)
    ]
    store = storage.configurations
    for each in made:
        await store.put_baseline(tenancy.id, each.baseline, by="alice", now=NOON)
    expected = sorted(
        made,
        key=lambda each: (
            each.baseline.cluster_id,
            each.baseline.namespace,
            each.baseline.workload,
            each.baseline.kind.value,
        ),
    )
    other = other_storage.configurations
    assert list(await other.baselines(tenancy.id, cluster_id=None, workload=None)) == expected
    assert len(await other.baselines(tenancy.id, cluster_id="b", workload="w")) == 4
    assert len(await other.baselines(tenancy.id, cluster_id=None, workload="v")) == 2
    assert list(await other.baselines(neighbour.id, cluster_id=None, workload=None)) == []

    changed = msgspec.structs.replace(expected[0].baseline, document={})
    await store.put_baseline(tenancy.id, changed, by="bob", now=NOON + TICK)
    [first, *_] = await other.baselines(tenancy.id, cluster_id=None, workload=None)
    assert first == StoredBaseline(baseline=changed, declared_by="bob", declared_at=NOON + TICK)

    place = (changed.cluster_id, changed.namespace, changed.workload, changed.kind)
    with pytest.raises(NotFound):
        await store.delete_baseline(neighbour.id, *place)
    await store.delete_baseline(tenancy.id, *place)
    with pytest.raises(NotFound):
        await store.delete_baseline(tenancy.id, *place)
    assert list(await other.baselines(tenancy.id, cluster_id=None, workload=None)) == expected[1:]


async def test_tenants_apart(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """The neighbour sees nothing of it, and may use the same id."""
    made = change(after=V1)
    await storage.configurations.append(tenancy.id, [made])
    for tenant_id, change_id in ((neighbour.id, made.id), (tenancy.id, uuid4())):
        with pytest.raises(NotFound):
            await storage.configurations.get(tenant_id, change_id)
    assert await listed(neighbour) == []
    assert list(await storage.configurations.at(neighbour.id, "prod", "checkout", namespace=None, ts=NOON)) == []
    assert await storage.configurations.append(neighbour.id, [msgspec.structs.replace(made, after=V2)]) == 1
    assert await storage.configurations.get(tenancy.id, made.id) == made


async def test_what_stands(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """All that a source has ever found, whoever spoke of it since, and that is not removed."""

    async def standing(*namespaces: str, source: str = "eks") -> list[tuple[str, str]]:
        found = await storage.configurations.standing(tenancy.id, "prod", namespaces, source=source)
        return [(namespace, workload) for namespace, workload, kind in found if kind is ConfigKind.IMAGE]

    gone, elsewhere = seen(workload="gone"), seen(namespace="Zoo")
    await observe(tenancy, seen(), gone, elsewhere, seen(workload="removed by hand"), seen(cluster_id="other"))
    await observe(neighbour, seen(workload="a neighbour's"))
    posted = change(workload="checkout", before=V1, after=V2, source="ci", ts=NOON + TICK)
    removed = change(workload="removed by hand", before=V1, after=None, source="ci", ts=NOON + TICK)
    only_posted = change(workload="never found", after=V1, source="ci", ts=NOON)
    await storage.configurations.append(tenancy.id, [posted, removed, only_posted])
    assert await standing() == [("Zoo", "checkout"), ("shop", "checkout"), ("shop", "gone")]
    assert await standing("shop", "absent") == [("shop", "checkout"), ("shop", "gone")]
    assert await standing(source="synthetic") == []
    assert await observe(tenancy, msgspec.structs.replace(gone, document=None), now=NOON + TICK) == 1
    assert await standing("shop") == [("shop", "checkout")]
    [told] = [event for event in await events_of(tenancy) if event.service == "gone"]
    assert told.message == "image of shop/gone: removed"
    assert await observe(tenancy, gone, now=NOON + 2 * TICK) == 1
    assert await standing("shop") == [("shop", "checkout"), ("shop", "gone")]


async def test_baselines_have_room_for_so_much(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """All of a tenant's together; replacing one, removing one and other tenants' do not count against it."""
    store = storage.configurations

    def wide(index: int) -> ConfigBaseline:
        document = {"text": "x" * 255_000}
        return ConfigBaseline(cluster_id="c", workload=f"w{index}", kind=ConfigKind.RUNTIME, document=document)

    fitting = BASELINES_SIZE_BYTES_MAX // 255_100
    for index in range(fitting):
        await store.put_baseline(tenancy.id, wide(index), by="alice", now=NOON)
    with pytest.raises(Conflict, match="16 MiB"):
        await store.put_baseline(tenancy.id, wide(fitting), by="alice", now=NOON)
    await store.put_baseline(tenancy.id, wide(0), by="bob", now=NOON)
    await store.put_baseline(neighbour.id, wide(fitting), by="eve", now=NOON)
    await store.delete_baseline(tenancy.id, "c", "default", "w0", ConfigKind.RUNTIME)
    await store.put_baseline(tenancy.id, wide(fitting), by="alice", now=NOON)
