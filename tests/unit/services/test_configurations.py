"""Configuration history and baselines, over the in-memory store."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from adapters.driven.memory.clock import FakeClock
from adapters.driven.memory.storage import memory_storage
from core.domain.configurations import ConfigBaseline, ConfigChangeSpec, ConfigFilter, ConfigKind, Difference
from core.domain.errors import Conflict, Forbidden, InvalidInput, NotFound, TooLarge
from core.domain.tenants import Scope
from core.domain.times import EPOCH
from core.services.configurations import ConfigurationService
from core.services.cursors import DOCUMENTS_PAGE_MAX
from tests.support.callers import database, principal, recorded, secrets_in

NOW = EPOCH + timedelta(microseconds=FakeClock().now_us())
HOUR = timedelta(hours=1)
SKEW_S = 600.0
OLD, NEW = {"image": "api:1"}, {"image": "api:2"}


def change(**given: Any) -> ConfigChangeSpec:
    """A new image of the workload `api`, an hour ago."""
    usual: dict[str, Any] = {
        "cluster_id": "prod-eu",
        "namespace": "shop",
        "workload": "api",
        "kind": ConfigKind.IMAGE,
        "before": OLD,
        "after": NEW,
        "ts": NOW - HOUR,
    }
    return ConfigChangeSpec(**{**usual, **given})


def baseline(**document: Any) -> ConfigBaseline:
    """What the environment of `api` is meant to be."""
    return ConfigBaseline(
        cluster_id="prod-eu", namespace="shop", workload="api", kind=ConfigKind.RUNTIME, document=document
    )


class World:
    """The service over its store."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.tables = database(self.clock)
        storage = memory_storage(self.tables)
        self.service = ConfigurationService(storage.configurations, storage.audit_log, self.clock, future_skew_s=SKEW_S)

    async def posted(self, *changes: ConfigChangeSpec) -> list[UUID]:
        """Posts changes as a sender does; returns their ids."""
        return [one.id for one in await self.service.post(principal(Scope.INGEST), changes)]


@pytest.fixture
def world() -> World:
    """A new one."""
    return World()


async def test_a_change_is_recorded_with_its_differences(world: World) -> None:
    """And with an id and a time where the sender gave none."""
    [made] = await world.service.post(principal(Scope.INGEST), [change(ts=None, actor="ada", source="cd")])
    assert (made.ts, made.actor, made.source, made.synthetic) == (NOW, "ada", "cd", False)
    assert made.diff == (Difference(path="/image", op="replace", before="api:1", after="api:2"),)
    assert await world.service.get(principal(Scope.QUERY), made.id) == made
    with pytest.raises(NotFound):
        await world.service.get(principal(tenant_id=3), made.id)


async def test_what_was_sent_before_stays_as_it_was(world: World) -> None:
    """The answer is what is stored; new changes of the same request are recorded."""
    known = uuid4()
    [first] = await world.service.post(principal(), [change(id=known)])
    again = await world.service.post(principal(), [change(id=known, after={"image": "api:3"}), change(workload="db")])
    assert again[0] == first
    assert again[1].workload == "db"
    page = await world.service.list(principal(), ConfigFilter(), limit=10, cursor=None)
    assert {one.id for one in page.data} == {first.id, again[1].id}
    with pytest.raises(InvalidInput, match="id: is that of two changes"):
        await world.posted(change(id=known), change(id=known))


async def test_requests_have_bounds(world: World) -> None:
    """All or none: a change too far ahead of the clock keeps out its neighbours."""
    with pytest.raises(InvalidInput, match="more than 600 s ahead"):
        await world.posted(change(), change(ts=NOW + timedelta(seconds=601)))
    with pytest.raises(InvalidInput, match="outside the years"):
        change(ts=EPOCH - HOUR)
    with pytest.raises(TooLarge):
        await world.posted(*[change()] * 1_001)
    assert await world.posted() == []
    assert (await world.service.list(principal(), ConfigFilter(), limit=10, cursor=None)).data == []
    assert len(await world.posted(change(ts=NOW + timedelta(seconds=600)))) == 1


async def test_history_comes_in_pages(world: World) -> None:
    """Newest first, those that are wanted."""
    ids = await world.posted(*(change(ts=NOW - minutes * timedelta(minutes=1)) for minutes in range(5)))
    await world.posted(change(cluster_id="other"), change(workload="db"))
    wanted = ConfigFilter(cluster_id="prod-eu", workload="api", kind=ConfigKind.IMAGE, end=NOW)
    reader = principal(Scope.ALERTS)
    page = await world.service.list(reader, wanted, limit=3, cursor=None)
    assert [one.id for one in page.data] == ids[1:4]
    rest = await world.service.list(reader, wanted, limit=3, cursor=page.next_cursor)
    assert ([one.id for one in rest.data], rest.next_cursor) == (ids[4:], None)
    for wrong, field in (
        (ConfigFilter(start=NOW, end=NOW), "end"),
        (ConfigFilter(workload=""), "workload"),
        (ConfigFilter(namespace="a\x00"), "namespace"),
    ):
        with pytest.raises(InvalidInput, match=field):
            await world.service.list(reader, wrong, limit=3, cursor=None)
    with pytest.raises(InvalidInput, match="cursor"):
        await world.service.list(reader, wanted, limit=3, cursor="x")
    with pytest.raises(InvalidInput, match="limit"):
        await world.service.list(reader, wanted, limit=0, cursor=None)


async def test_a_page_holds_no_more_documents_than_fit_into_memory(world: World) -> None:
    """However many were asked for; the cursor leads to the others."""
    await world.posted(*(change(ts=NOW - minutes * timedelta(minutes=1)) for minutes in range(DOCUMENTS_PAGE_MAX + 1)))
    page = await world.service.list(principal(Scope.ALERTS), ConfigFilter(), limit=1_000, cursor=None)
    assert len(page.data) == DOCUMENTS_PAGE_MAX
    rest = await world.service.list(principal(Scope.ALERTS), ConfigFilter(), limit=1_000, cursor=page.next_cursor)
    assert (len(rest.data), rest.next_cursor) == (1, None)


async def test_the_state_at_an_instant_is_the_last_change_of_each_kind(world: World) -> None:
    """What was removed is told from what nobody knows of."""
    first, second, env, gone = await world.posted(
        change(before=None, after=OLD, ts=NOW - 4 * HOUR),
        change(ts=NOW - 2 * HOUR),
        change(kind=ConfigKind.RUNTIME, before=None, after={"replicas": 3}, ts=NOW - 3 * HOUR),
        change(kind=ConfigKind.RUNTIME, before={"replicas": 3}, after=None, ts=NOW - HOUR),
    )
    reader = principal(Scope.QUERY)
    state = await world.service.at(reader, "prod-eu", "api", namespace=None, ts=NOW - 2 * HOUR - HOUR / 2)
    assert (state.namespace, state.ts) == ("shop", NOW - 2 * HOUR - HOUR / 2)
    assert {kind: (entry.document, entry.change_id) for kind, entry in state.configuration.items()} == {
        "image": (OLD, first),
        "runtime": ({"replicas": 3}, env),
    }
    now = await world.service.at(reader, "prod-eu", "api", namespace="shop", ts=None)
    assert now.ts == NOW
    assert {kind: (entry.document, entry.change_id) for kind, entry in now.configuration.items()} == {
        "image": (NEW, second),
        "runtime": (None, gone),
    }
    assert now.configuration["image"].since == NOW - 2 * HOUR
    for namespace, ts in (("bank", None), (None, NOW - 5 * HOUR)):
        with pytest.raises(NotFound):
            await world.service.at(reader, "prod-eu", "api", namespace=namespace, ts=ts)
    with pytest.raises(InvalidInput, match="ts: needs a time zone"):
        await world.service.at(reader, "prod-eu", "api", namespace=None, ts=NOW.replace(tzinfo=None))


async def test_a_workload_of_several_namespaces_needs_one_named(world: World) -> None:
    """Those in which it was removed do not count."""
    await world.posted(change(), change(namespace="bank"), change(namespace="old", after=None))
    with pytest.raises(Conflict, match="name one of bank, shop"):
        await world.service.at(principal(), "prod-eu", "api", namespace=None, ts=None)
    assert (await world.service.at(principal(), "prod-eu", "api", namespace="old", ts=None)).namespace == "old"
    await world.posted(change(namespace="bank", before=NEW, after=None, ts=NOW))
    assert (await world.service.at(principal(), "prod-eu", "api", namespace=None, ts=None)).namespace == "shop"


async def test_a_baseline_is_declared_on_record_without_its_contents(world: World) -> None:
    """The trail tells where it changed, not to what: environments hold secrets."""
    declarer = principal(Scope.ALERTS)
    await world.service.put_baseline(declarer, baseline(env={"TOKEN": "hunter2"}, replicas=3))
    await world.service.put_baseline(declarer, baseline(env={"TOKEN": "hunter3"}, replicas=3))
    await world.service.put_baseline(declarer, baseline(env={"TOKEN": "hunter3"}, replicas=3))
    [stored] = await world.service.baselines(principal(Scope.QUERY), cluster_id="prod-eu", workload=None)
    assert (stored.baseline.document["env"], stored.declared_by) == ({"TOKEN": "hunter3"}, "key:5")
    assert await world.service.baselines(principal(), cluster_id=None, workload="db") == []
    await world.service.delete_baseline(declarer, "prod-eu", "shop", "api", ConfigKind.RUNTIME)
    with pytest.raises(NotFound):
        await world.service.delete_baseline(declarer, "prod-eu", "shop", "api", ConfigKind.RUNTIME)
    trail = recorded(world.tables)
    assert [entry.record.summary for entry in trail] == [
        "declared the runtime baseline of shop/api in cluster 'prod-eu'",
        "declared the runtime baseline of shop/api in cluster 'prod-eu'",
        "removed the runtime baseline of shop/api in cluster 'prod-eu'",
    ]
    assert [entry.record.details for entry in trail] == [
        {"after": {"paths": ("",), "changed": 1}},
        {"after": {"paths": ("/env/TOKEN",), "changed": 1}},
        {},
    ]
    assert secrets_in(trail, "hunter2", "hunter3") == []


async def test_the_trail_names_so_many_places(world: World) -> None:
    """The rest is counted."""
    await world.service.put_baseline(principal(), baseline(**{f"key{index:03}": 1 for index in range(150)}))
    await world.service.put_baseline(principal(), baseline(**{f"key{index:03}": 2 for index in range(150)}))
    details = recorded(world.tables)[-1].record.details["after"]
    assert (len(details["paths"]), details["changed"]) == (100, 150)


async def test_scopes_are_asked_for(world: World) -> None:
    """Sending is not reading, reading is neither sending nor declaring."""
    sender, reader = principal(Scope.INGEST), principal(Scope.QUERY)
    for asked in (
        world.service.post(reader, []),
        world.service.put_baseline(reader, baseline()),
        world.service.delete_baseline(reader, "prod-eu", "shop", "api", ConfigKind.RUNTIME),
        world.service.list(sender, ConfigFilter(), limit=1, cursor=None),
        world.service.get(sender, uuid4()),
        world.service.at(sender, "prod-eu", "api", namespace=None, ts=None),
        world.service.baselines(sender, cluster_id=None, workload=None),
    ):
        with pytest.raises(Forbidden):
            await asked
