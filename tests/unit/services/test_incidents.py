"""Incidents as people read and change them, over the in-memory stores."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from adapters.driven.memory.audit import MemoryAuditLog
from adapters.driven.memory.clock import FakeClock
from adapters.driven.memory.events import MemoryEventStore
from adapters.driven.memory.incident_work import MemoryIncidentWork
from adapters.driven.memory.incidents import MemoryIncidentStore
from core.domain.errors import Conflict, Forbidden, InvalidInput, NotFound
from core.domain.events import EventSeverity
from core.domain.incidents import SIGNALS_MAX, ChangeKind, IncidentFilter, IncidentState
from core.domain.tenants import Scope
from core.domain.times import MINUTE_US
from core.services.incidents import IncidentService
from ports.driven.incident_store import CorrelationChanges, NewIncident
from tests.support.callers import database, principal, recorded
from tests.support.signal_events import signal_event

OPERATOR = principal(Scope.ALERTS)
Attempt = Callable[[IncidentService, int], Awaitable[object]]
CHANGES: dict[str, Attempt] = {
    "acknowledge": lambda service, incident_id: service.acknowledge(OPERATOR, incident_id),
    "resolve": lambda service, incident_id: service.resolve(OPERATOR, incident_id),
    "reopen": lambda service, incident_id: service.reopen(OPERATOR, incident_id),
    "merge": lambda service, incident_id: service.merge(OPERATOR, incident_id, 2**40),
    "split": lambda service, incident_id: service.split(OPERATOR, incident_id, [key(1)]),
    "undo": lambda service, incident_id: service.undo(OPERATOR, incident_id, 1),
}


def key(number: int) -> str:
    """The key of a signal."""
    return f"event:{UUID(int=number)}"


class World:
    """The service over one database."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.tables = database(self.clock)
        self._work = MemoryIncidentWork(self.tables)
        self.service = IncidentService(MemoryIncidentStore(self.tables), MemoryAuditLog(self.tables), self.clock)

    async def opened(self, *numbers: int, tenant_id: int = 2) -> int:
        """An incident of such signals."""
        now = self.tables.now()
        events = [signal_event(now, UUID(int=one), severity=EventSeverity.ERROR) for one in numbers]
        await MemoryEventStore(self.tables).append(tenant_id, events)
        signals = await self._work.waiting(tenant_id, limit=len(events))
        changes = CorrelationChanges(opened=[NewIncident(title="Errors", signals=tuple(signals), edges=())])
        [incident_id] = await self._work.apply(tenant_id, changes, now=now)
        return incident_id

    @property
    def told(self) -> list[str]:
        """What the audit trail says."""
        return [entry.record.summary for entry in recorded(self.tables)]


@pytest.fixture
def world() -> World:
    """A new one."""
    return World()


async def test_pages_join(world: World) -> None:
    """Every incident of the tenant once, newest first."""
    ids = [await world.opened(number) for number in range(1, 6)]
    await world.opened(1, tenant_id=3)
    found: list[int] = []
    cursor = None
    while True:
        page = await world.service.list(principal(Scope.QUERY), IncidentFilter(), limit=2, cursor=cursor)
        found += [one.id for one in page.data]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == ids[::-1]


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (IncidentFilter(host="a\x00b"), "host"),
        (IncidentFilter(service="\ud800"), "service"),
        (IncidentFilter(text="x" * 3_000), "text"),
        (IncidentFilter(start_us=5, end_us=5), "end"),
    ],
)
async def test_a_filter_that_cannot_be_is_refused(world: World, wanted: IncidentFilter, field: str) -> None:
    """Naming its field."""
    with pytest.raises(InvalidInput) as refused:
        await world.service.list(principal(), wanted, limit=1, cursor=None)
    assert refused.value.field == field


@pytest.mark.parametrize(("limit", "cursor"), [(0, None), (1_001, None), (1, "x"), (1, "LTE")])
async def test_a_page_that_cannot_be_is_refused(world: World, limit: int, cursor: str | None) -> None:
    """A length out of bounds, or a cursor that this server did not give."""
    with pytest.raises(InvalidInput):
        await world.service.list(principal(), IncidentFilter(), limit=limit, cursor=cursor)


@pytest.mark.parametrize("change", CHANGES)
async def test_changing_needs_the_scope(world: World, change: str) -> None:
    """A key that may only query changes nothing; one that may neither reads nothing."""
    incident_id = await world.opened(1, 2)
    service = world.service
    for caller in (principal(Scope.QUERY), principal(Scope.REMEDIATE, Scope.INGEST, Scope.ADMIN)):
        arguments: dict[str, tuple[object, ...]] = {"merge": (1,), "split": ([key(1)],), "undo": (1,)}
        with pytest.raises(Forbidden):
            await getattr(service, change)(caller, incident_id, *arguments.get(change, ()))
    with pytest.raises(Forbidden):
        await service.get(principal(Scope.INGEST), incident_id)
    with pytest.raises(Forbidden):
        await service.list(principal(Scope.INGEST), IncidentFilter(), limit=1, cursor=None)
    assert (await service.get(principal(Scope.QUERY), incident_id)).incident.state is IncidentState.OPEN
    assert world.told == []


@pytest.mark.parametrize("change", CHANGES)
async def test_of_another_tenant(world: World, change: str) -> None:
    """It is not there, and stays as it was."""
    theirs = await world.opened(1, 2, tenant_id=3)
    with pytest.raises(NotFound):
        await CHANGES[change](world.service, theirs)
    with pytest.raises(NotFound):
        await world.service.get(OPERATOR, theirs)
    detail = await world.service.get(principal(tenant_id=3), theirs)
    assert (detail.incident.state, len(detail.history)) == (IncidentState.OPEN, 1)
    assert world.told == []


async def test_nothing_of_another_tenant_is_merged(world: World) -> None:
    """Nor told from one that exists nowhere."""
    ours, theirs = await world.opened(1, 2), await world.opened(3, 4, tenant_id=3)
    with pytest.raises(NotFound):
        await world.service.merge(OPERATOR, ours, theirs)
    assert world.told == []


async def test_states(world: World) -> None:
    """Who did what is in the audit trail, once for each time that it came to be so."""
    incident_id = await world.opened(1, 2)
    for _ in range(2):
        await world.service.acknowledge(OPERATOR, incident_id)
    for _ in range(2):
        assert (await world.service.resolve(OPERATOR, incident_id)).resolved_by == "key:5"
    with pytest.raises(Conflict):
        await world.service.acknowledge(OPERATOR, incident_id)
    for _ in range(2):
        assert (await world.service.reopen(OPERATOR, incident_id)).state is IncidentState.OPEN
    world.clock.advance(MINUTE_US)
    await world.service.acknowledge(principal(Scope.ALERTS, key_id=6), incident_id)
    await world.service.acknowledge(OPERATOR, incident_id)
    assert world.told == [
        f"acknowledged the incident {incident_id}",
        f"resolved the incident {incident_id}",
        f"reopened the incident {incident_id}",
        f"acknowledged the incident {incident_id}",
    ]
    assert [entry.record.actor for entry in recorded(world.tables)][-1] == "key:6"


async def test_merge_split_and_back(world: World) -> None:
    """Signals move, and go back; every step is recorded."""
    first, second = await world.opened(1, 2), await world.opened(3)
    merged = await world.service.merge(OPERATOR, first, second)
    assert merged.signals == 3
    with pytest.raises(Conflict):
        await world.service.merge(OPERATOR, first, second)
    made = await world.service.split(OPERATOR, first, [key(1), key(1)])
    assert made.signals == 1
    history = (await world.service.get(OPERATOR, first)).history
    changes = {change.kind: change.id for change in history}
    await world.service.undo(OPERATOR, first, changes[ChangeKind.SPLIT])
    await world.service.undo(OPERATOR, first, changes[ChangeKind.MERGED])
    timeline = (await world.service.get(OPERATOR, second)).timeline
    assert [signal.key for signal in timeline] == [key(3)]
    assert world.told == [
        f"merged the incident {second} into {first}",
        f"split 1 of the signals of the incident {first} off to {made.id}",
        f"took the change {changes[ChangeKind.SPLIT]} of the incident {first} back",
        f"took the change {changes[ChangeKind.MERGED]} of the incident {first} back",
    ]


@pytest.mark.parametrize(
    "keys", [[], ["event:1"], ["alert:"], ["alert:1\x00"], [f"alert:{'1' * 20}"], ["alert:1"] * (SIGNALS_MAX + 1)]
)
async def test_keys_that_cannot_be(world: World, keys: list[str]) -> None:
    """None, more than an incident has, or what is no signal's key, is refused before the store is asked."""
    incident_id = await world.opened(1, 2)
    with pytest.raises(InvalidInput) as refused:
        await world.service.split(OPERATOR, incident_id, keys)
    assert refused.value.field == "keys"


async def test_an_incident_is_not_merged_with_itself(world: World) -> None:
    """That is the caller's mistake."""
    incident_id = await world.opened(1, 2)
    with pytest.raises(InvalidInput):
        await world.service.merge(OPERATOR, incident_id, incident_id)
