"""Silences and inhibitions, over the in-memory store."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from adapters.driven.memory.audit import MemoryAuditLog
from adapters.driven.memory.clock import FakeClock
from adapters.driven.memory.silences import MemorySilenceStore
from core.domain.alerts import InhibitionSpec, SilenceSpec
from core.domain.errors import Conflict, Forbidden, InvalidInput, NotFound
from core.domain.tenants import Scope
from core.domain.times import HOUR_US
from core.services.silences import SilenceService
from tests.support.callers import database, principal, recorded

HOUR = timedelta(hours=1)
INHIBITION = InhibitionSpec(name="site down", source=("alertname=down",), target=("alertname=busy",))


class World:
    """The service over its store."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.tables = database(self.clock)
        self.service = SilenceService(MemorySilenceStore(self.tables), MemoryAuditLog(self.tables), self.clock)

    def spec(self, **changes: object) -> SilenceSpec:
        """A silence of one hour from now."""
        usual = SilenceSpec(matchers=("host=a",), ends_at=self.tables.now() + HOUR, reason="upgrade")
        return msgspec.structs.replace(usual, **changes)

    @property
    def told(self) -> list[str]:
        """What the audit trail says."""
        return [entry.record.summary for entry in recorded(self.tables)]


@pytest.fixture
def world() -> World:
    """A new one."""
    return World()


async def test_a_silence_begins_now_in_the_callers_name(world: World) -> None:
    """And stands in the list until it ends, in that of the ended ones afterwards."""
    made = await world.service.create(principal(Scope.ALERTS), world.spec())
    assert (made.starts_at, made.ends_at) == (world.tables.now(), world.tables.now() + HOUR)
    assert made.author == "key:5"
    assert await world.service.list(principal(Scope.QUERY), ended=False) == [made]
    world.clock.advance(HOUR_US)
    assert await world.service.list(principal(), ended=False) == []
    assert await world.service.list(principal(), ended=True) == [made]
    assert world.told == [f"made the silence {made.id}"]


async def test_ending_one_is_recorded_once(world: World) -> None:
    """Repeating it changes nothing."""
    made = await world.service.create(principal(), world.spec())
    world.clock.advance(HOUR_US // 2)
    await world.service.end(principal(), made.id)
    await world.service.end(principal(), made.id)
    assert (await world.service.get(principal(), made.id)).ends_at == world.tables.now()
    assert world.told == [f"made the silence {made.id}", f"ended the silence {made.id}"]


async def test_replacing_one_keeps_its_start_and_author(world: World) -> None:
    """Unless another start is named."""
    made = await world.service.create(principal(), world.spec())
    world.clock.advance(HOUR_US // 2)
    changed = await world.service.replace(principal(key_id=6), made.id, world.spec(reason="longer"))
    assert (changed.starts_at, changed.ends_at, changed.author) == (made.starts_at, made.ends_at + HOUR / 2, "key:5")
    assert recorded(world.tables)[-1].record.details == {
        "before": {"ends_at": "2026-01-01T01:00:00Z", "reason": "upgrade"},
        "after": {"ends_at": "2026-01-01T01:30:00Z", "reason": "longer"},
    }


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"ends_at": datetime(2025, 12, 31, tzinfo=UTC)}, "ends_at"),
        ({"ends_at": datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=12)))}, "ends_at"),
        ({"starts_at": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=12)))}, "starts_at"),
    ],
)
async def test_a_silence_of_impossible_times_is_refused(world: World, changes: dict[str, object], field: str) -> None:
    """Whether it is made or changed."""
    made = await world.service.create(principal(), world.spec())
    for refused in (
        world.service.create(principal(), world.spec(**changes)),
        world.service.replace(principal(), made.id, world.spec(**changes)),
    ):
        with pytest.raises(InvalidInput) as error:
            await refused
        assert error.value.field == field


async def test_a_planned_silence_cannot_end_before_it_begins(world: World) -> None:
    """A replacement without a start keeps the planned one."""
    later = world.tables.now() + 2 * HOUR
    made = await world.service.create(principal(), world.spec(starts_at=later, ends_at=later + HOUR))
    with pytest.raises(InvalidInput, match="ends_at"):
        await world.service.replace(principal(), made.id, world.spec())


async def test_inhibitions(world: World) -> None:
    """Made once a name, and deleted; both are recorded."""
    made = await world.service.create_inhibition(principal(), INHIBITION)
    with pytest.raises(Conflict):
        await world.service.create_inhibition(principal(), INHIBITION)
    assert await world.service.inhibitions(principal(Scope.QUERY)) == [made]
    await world.service.delete_inhibition(principal(), made.id)
    assert await world.service.inhibitions(principal()) == []
    assert world.told == ["made the inhibition 'site down'", "deleted the inhibition 'site down'"]


async def test_scopes_and_tenants(world: World) -> None:
    """Reading needs alerts or query, changing alerts; others' are not there."""
    made = await world.service.create(principal(), world.spec())
    inhibition = await world.service.create_inhibition(principal(), INHIBITION)
    weak, none, stranger = principal(Scope.QUERY), principal(Scope.INGEST), principal(tenant_id=3)
    for refused in (
        world.service.list(none, ended=True),
        world.service.get(none, made.id),
        world.service.inhibitions(none),
        world.service.create(weak, world.spec()),
        world.service.replace(weak, made.id, world.spec()),
        world.service.end(weak, made.id),
        world.service.create_inhibition(weak, INHIBITION),
        world.service.delete_inhibition(weak, inhibition.id),
    ):
        with pytest.raises(Forbidden):
            await refused
    for missing in (
        world.service.get(stranger, made.id),
        world.service.replace(stranger, made.id, world.spec()),
        world.service.end(stranger, made.id),
        world.service.delete_inhibition(stranger, inhibition.id),
    ):
        with pytest.raises(NotFound):
            await missing
