"""Signal events, the service graph and asking for purges, over the in-memory store."""

from uuid import UUID

import pytest

from adapters.driven.memory.audit import MemoryAuditLog
from adapters.driven.memory.clock import FakeClock
from adapters.driven.memory.dependencies import MemoryDependencyStore
from adapters.driven.memory.events import MemoryEventStore
from adapters.driven.memory.synthetic import MemorySyntheticStore
from core.domain.dependencies import DEPENDENCIES_MAX, Dependency
from core.domain.errors import Forbidden, InvalidInput, NotFound, TooLarge
from core.domain.events import (
    CHANGE_METRIC,
    EVENTS_PER_REQUEST_MAX,
    EventFilter,
    EventSeverity,
    EventSpec,
    SignalEvent,
)
from core.domain.points import ERRORS_SHOWN_MAX, Rejection
from core.domain.tenants import Scope
from core.domain.times import SECOND_US, format_time
from core.services.events import EventService
from tests.support.callers import database, principal, recorded

ANY = EventFilter()
SPEC = EventSpec(metric="cpu", host="host-a")
ID = UUID(int=7)
GRAPH = [Dependency("shop", "payment"), Dependency("shop", "cart")]


class World:
    """The service over its stores."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.tables = database(self.clock)
        self.service = EventService(
            MemoryEventStore(self.tables),
            MemoryDependencyStore(self.tables),
            MemorySyntheticStore(self.tables),
            MemoryAuditLog(self.tables),
            self.clock,
            future_skew_s=600.0,
        )

    def ahead(self, seconds: int) -> str:
        """A moment that far from now, as it is sent."""
        return format_time(self.clock.now_us() + seconds * SECOND_US)

    @property
    def told(self) -> list[str]:
        """What the audit trail says."""
        return [entry.record.summary for entry in recorded(self.tables)]


@pytest.fixture
def world() -> World:
    """A new one."""
    return World()


async def test_what_is_left_out_is_filled_in(world: World) -> None:
    """The moment is now, the id a new one, the fingerprint of host, else service, and metric."""
    other_spec = EventSpec(metric="error", service="shop", host="", labels={"synthetic": "true"})
    reply = await world.service.post(principal(Scope.INGEST), [SPEC, other_spec])
    assert (reply.accepted, reply.rejected, len(set(reply.ids))) == (2, 0, 2)
    plain, other = [await world.service.get(principal(Scope.QUERY), event_id) for event_id in reply.ids]
    assert (plain.ts, plain.created_at, plain.fingerprint) == (world.tables.now(), world.tables.now(), "host-a:cpu")
    assert (other.host, other.fingerprint) == (None, "shop:error")
    assert (plain.synthetic, other.synthetic) == (False, True)


async def test_one_bad_event_costs_the_others_nothing(world: World) -> None:
    """Refused ones are answered with index, field and reason, in order; the ids are those of the others."""
    unread = Rejection(1, "metric", "is missing")
    reply = await world.service.post(
        principal(),
        [
            EventSpec(metric="cpu", host="a", ts="yesterday"),
            unread,
            EventSpec(metric="cpu", host="a", id=ID, ts=world.ahead(600)),
            EventSpec(metric="cpu", host="a", ts=world.ahead(601)),
        ],
    )
    assert (reply.accepted, reply.rejected, reply.ids) == (1, 3, (ID,))
    assert [(error.index, error.field) for error in reply.errors] == [(0, "ts"), (1, "metric"), (3, "ts")]
    assert "600 s ahead" in reply.errors[2].reason
    assert len((await world.service.list(principal(), ANY, limit=10, cursor=None)).data) == 1


async def test_all_bad(world: World) -> None:
    """The first refusals are shown, all are counted, nothing is stored."""
    bad = [EventSpec(metric="cpu", host="a", ts="") for _ in range(ERRORS_SHOWN_MAX + 5)]
    reply = await world.service.post(principal(), bad)
    assert (reply.accepted, reply.rejected, len(reply.errors)) == (0, ERRORS_SHOWN_MAX + 5, ERRORS_SHOWN_MAX)
    assert world.tables.events.events == {}


async def test_sending_again_adds_nothing(world: World) -> None:
    """An id that was taken counts as accepted, and what is stored stays."""
    spec = EventSpec(metric="cpu", host="host-a", id=ID, value=1.0)
    first = await world.service.post(principal(), [spec])
    world.clock.advance(SECOND_US)
    assert await world.service.post(principal(), [spec, spec]) == type(first)(accepted=2, rejected=0, ids=(ID, ID))
    assert (await world.service.get(principal(), ID)).ts == world.tables.now().replace(second=0)


async def test_too_many(world: World) -> None:
    """A request holds so many events and no more."""
    most = [SPEC] * EVENTS_PER_REQUEST_MAX
    assert (await world.service.post(principal(), most)).accepted == EVENTS_PER_REQUEST_MAX
    with pytest.raises(TooLarge):
        await world.service.post(principal(), [*most, SPEC])


async def test_what_waits_for_the_correlator(world: World) -> None:
    """Warnings, errors, and changes of whatever severity."""
    specs = [
        SPEC,
        EventSpec(metric="cpu", host="a", severity=EventSeverity.WARN),
        EventSpec(metric="cpu", host="a", severity=EventSeverity.ERROR),
        EventSpec(metric=CHANGE_METRIC, host="a"),
    ]
    await world.service.post(principal(), specs)
    assert [row.waiting for row in world.tables.events.events.values()] == [False, True, True, True]


async def test_pages(world: World) -> None:
    """A cursor leads from page to page, newest first; the last page has none."""
    await world.service.post(principal(), [EventSpec(metric="cpu", host="a", ts=world.ahead(-n)) for n in range(5)])
    found: list[SignalEvent] = []
    cursor = None
    for left in (3, 1, 0):
        page = await world.service.list(principal(Scope.ALERTS), ANY, limit=2, cursor=cursor)
        found += page.data
        cursor = page.next_cursor
        assert (cursor is not None) == (left > 0)
    assert [event.ts for event in found] == sorted((event.ts for event in found), reverse=True)
    assert len({event.id for event in found}) == 5


@pytest.mark.parametrize(
    ("wanted", "limit", "cursor", "field"),
    [
        (ANY, 0, None, "limit"),
        (ANY, 1_001, None, "limit"),
        (ANY, 1, "nonsense", "cursor"),
        (ANY, 1, "MQ", "cursor"),
        (EventFilter(start_us=5, end_us=5), 1, None, "end"),
        (EventFilter(host="a\x00"), 1, None, "host"),
        (EventFilter(fingerprint="\ud800"), 1, None, "fingerprint"),
    ],
)
async def test_what_cannot_be_listed(
    world: World, wanted: EventFilter, limit: int, cursor: str | None, field: str
) -> None:
    """A page, a cursor or a filter that cannot be is refused by name."""
    with pytest.raises(InvalidInput) as error:
        await world.service.list(principal(), wanted, limit=limit, cursor=cursor)
    assert error.value.field == field


async def test_dependencies(world: World) -> None:
    """Declaring replaces the graph and is recorded, where it changes anything, with what it changed."""
    await world.service.replace_dependencies(principal(Scope.ALERTS), GRAPH)
    await world.service.replace_dependencies(principal(), GRAPH)
    await world.service.replace_dependencies(principal(), [GRAPH[0], Dependency("cart", "shop")])
    assert list(await world.service.dependencies(principal(Scope.QUERY))) == [Dependency("cart", "shop"), GRAPH[0]]
    assert world.told == ["declared dependencies: 2 added, 0 removed", "declared dependencies: 1 added, 1 removed"]
    assert recorded(world.tables)[-1].record.details["after"] == {
        "added": ({"client": "cart", "server": "shop"},),
        "removed": ({"client": "shop", "server": "cart"},),
    }


async def test_too_large_a_graph(world: World) -> None:
    """Is refused, and the one before stays."""
    await world.service.replace_dependencies(principal(), GRAPH)
    with pytest.raises(InvalidInput, match="dependencies"):
        await world.service.replace_dependencies(
            principal(), [Dependency(str(n), "a") for n in range(DEPENDENCIES_MAX + 1)]
        )
    assert list(await world.service.dependencies(principal())) == sorted(GRAPH)


async def test_purging_is_recorded_once(world: World) -> None:
    """While one purge waits, asking again is answered with that one."""
    purge = await world.service.purge(principal(Scope.ADMIN))
    assert (purge.requested_by, purge.requested_at, purge.finished_at) == ("key:5", world.tables.now(), None)
    assert await world.service.purge(principal(key_id=6)) == purge
    assert await world.service.purge_status(principal(Scope.QUERY), purge.id) == purge
    assert world.told == ["asked for synthetic data to be purged"]
    with pytest.raises(NotFound):
        await world.service.purge_status(principal(), purge.id + 1)


async def test_scopes(world: World) -> None:
    """Posting, reading, declaring and purging each need a scope of their own."""
    await world.service.post(principal(), [EventSpec(metric="cpu", host="a", id=ID)])
    reader, sender = principal(Scope.QUERY, Scope.ALERTS), principal(Scope.INGEST)
    service = world.service
    for attempt in (
        service.post(principal(Scope.QUERY, Scope.ALERTS, Scope.ADMIN), [SPEC]),
        service.list(sender, ANY, limit=1, cursor=None),
        service.get(sender, ID),
        service.dependencies(sender),
        service.replace_dependencies(principal(Scope.QUERY, Scope.INGEST, Scope.ADMIN), GRAPH),
        service.purge(reader),
        service.purge_status(sender, 1),
    ):
        with pytest.raises(Forbidden):
            await attempt
    with pytest.raises(NotFound):
        await service.get(principal(tenant_id=3), ID)
