"""When the keeper does what, over the in-memory store."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from adapters.driven.memory.clock import FakeClock
from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.storage import MemoryStorage, memory_storage
from core.domain.drift import DriftStatus
from core.domain.errors import Unavailable
from core.domain.events import EventFilter
from core.domain.times import DAY_US, EPOCH, HOUR_US, MINUTE_US, SECOND_US
from core.services.keeper import (
    AWAY_S,
    CLUSTERS_AT_ONCE,
    CLUSTERS_KEPT_US,
    FORGET_AT_ONCE,
    PURGE_AGAIN_S,
    RUNS_AT_ONCE,
    RUNS_KEPT_US,
    KeeperPlan,
    KeeperService,
)
from ports.driven.keeping import Backlog, Keeping, SettleOutcome, StorageStatus
from ports.driven.synthetic_store import SyntheticPurger
from tests.support.cluster_rows import drift_event, snapshot
from tests.support.collection_rows import claimed, finish, order, request
from tests.support.signal_events import signal_event
from tests.support.storages import Tenancy, new_tenancy

PLAN = KeeperPlan(settle_points=1_000, settle_age_s=300.0, compress_after_days=7)


class CountingTelemetry:
    """Remembers what was reported."""

    def __init__(self) -> None:
        self.points: list[int] = []
        self.settles: list[int] = []

    def backlog(self, *, points: int, age_s: float) -> None:
        self.points.append(points)

    def settled(self, *, points: int, late: int, took_s: float) -> None:
        self.settles.append(points)


class ScriptedKeeping:
    """A store with a backlog that a test sets; notes what it was asked to do."""

    def __init__(self) -> None:
        self.waiting = Backlog(points=0, blocks=0, oldest_us=None)
        self.done: list[str] = []
        self.away = False

    async def backlog(self) -> Backlog:
        if self.away:
            raise Unavailable("the database is away")
        return self.waiting

    async def settle(self, *, points_max: int) -> SettleOutcome:
        points = min(points_max, self.waiting.points)
        self.waiting = Backlog(points=self.waiting.points - points, blocks=1, oldest_us=self.waiting.oldest_us)
        self.done.append("settle")
        return SettleOutcome(points=points, rows=points, late=0, replaced=0, blocks=1)

    async def refresh_aggregates(self, *, now_us: int) -> int:
        self.done.append("refresh")
        return 1

    async def compress(self, *, older_than_us: int) -> int:
        self.done.append("compress")
        return 0

    async def drop_expired(self, *, now_us: int) -> int:
        self.done.append("drop")
        return 0

    async def forget_replies(self, *, older_than_us: int) -> int:
        self.done.append("forget")
        return 0

    async def recount_series(self, *, seen_since_us: int) -> None:
        self.done.append("recount")

    async def status(self) -> StorageStatus:
        raise AssertionError("the keeper never asks")


class StuckPurger:
    """Always has a purge that cannot be done; counts how often that was tried."""

    def __init__(self) -> None:
        self.tried = 0

    async def waiting(self) -> Sequence[int]:
        return [1]

    async def purge(self, purge_id: int, *, now: datetime) -> bool:
        self.tried += 1
        raise Unavailable("a lock was not to be had")


class Kept:
    """A keeper with its surroundings."""

    def __init__(self, purger: SyntheticPurger | None = None) -> None:
        self.clock = FakeClock()
        self.keeping = ScriptedKeeping()
        self.telemetry = CountingTelemetry()
        storage = memory_storage(MemoryDatabase(self.clock))
        self.keeper = keeper_of(storage, self.telemetry, keeping=self.keeping, purger=purger)

    async def until_idle(self) -> list[str]:
        """Runs rounds until one asks for a pause; returns what was done."""
        self.keeping.done.clear()
        while (await self.keeper.round())[1] == 0.0:
            pass
        return list(self.keeping.done)


class Purging:
    """A keeper over an in-memory store, and a tenant with a synthetic and a real series."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.storage = memory_storage(MemoryDatabase(self.clock))
        self.telemetry = CountingTelemetry()
        self.keeper = keeper_of(self.storage, self.telemetry)

    async def filled(self) -> Tenancy:
        """The tenant, with three unsettled points of each series."""
        tenancy = await new_tenancy(self.storage)
        for synthetic in ("true", "false"):
            series_id = await tenancy.series(synthetic=synthetic)
            await tenancy.append([(series_id, self.clock.now_us() + n, 1.0) for n in range(3)])
        return tenancy

    async def ask(self, tenancy: Tenancy) -> int:
        """Asks for a purge; returns its id."""
        now = EPOCH + timedelta(microseconds=self.clock.now_us())
        return (await self.storage.synthetic.request(tenancy.id, by="key:1", now=now)).id


def keeper_of(
    storage: MemoryStorage,
    telemetry: CountingTelemetry,
    *,
    keeping: Keeping | None = None,
    purger: SyntheticPurger | None = None,
) -> KeeperService:
    """A keeper over an in-memory store, but for what is scripted."""
    return KeeperService(
        keeping or storage.keeping,
        storage.events,
        storage.detection_runs,
        storage.collection_work,
        storage.cluster_history,
        purger or storage.synthetic_purger,
        PLAN,
        storage.clock,
        telemetry,
    )


async def test_it_settles_when_enough_waits() -> None:
    """At the number of points set, and in portions of it, until less waits."""
    kept = Kept()
    await kept.until_idle()
    kept.keeping.waiting = Backlog(points=999, blocks=1, oldest_us=kept.clock.now_us())
    assert await kept.until_idle() == []
    kept.keeping.waiting = Backlog(points=2_500, blocks=3, oldest_us=kept.clock.now_us())
    assert await kept.until_idle() == ["settle", "settle"]
    assert kept.telemetry.settles == [1_000, 1_000]
    assert kept.telemetry.points[-1] == 500


async def test_it_settles_what_is_old() -> None:
    """A few points wait no longer than the age set."""
    kept = Kept()
    await kept.until_idle()
    kept.keeping.waiting = Backlog(points=3, blocks=1, oldest_us=kept.clock.now_us())
    kept.clock.advance(299 * SECOND_US)
    assert "settle" not in await kept.until_idle()
    kept.clock.advance(2 * SECOND_US)
    assert "settle" in await kept.until_idle()


async def test_upkeep_comes_by_the_hour() -> None:
    """Retention, compression, forgetting and counting run soon after the start, then once an hour."""
    kept = Kept()
    assert await kept.until_idle() == ["refresh"]
    kept.clock.advance(MINUTE_US)
    assert await kept.until_idle() == ["refresh", "drop", "compress", "forget", "recount"]
    kept.clock.advance(59 * MINUTE_US)
    assert "drop" not in await kept.until_idle()
    kept.clock.advance(HOUR_US)
    assert "drop" in await kept.until_idle()


async def test_an_absent_database_makes_it_wait() -> None:
    """It says why, pauses, and goes on when the database is back."""
    kept = Kept()
    kept.keeping.away = True
    done, pause_s = await kept.keeper.round()
    assert (done.away, pause_s) == ("the database is away", AWAY_S)
    kept.keeping.away = False
    assert await kept.until_idle() == ["refresh"]


async def test_a_purge_settles_what_it_needs_at_once() -> None:
    """Within a round, however little waits; real samples stay."""
    world = Purging()
    tenancy = await world.filled()
    await world.keeper.round()
    purge_id = await world.ask(tenancy)
    world.clock.advance(SECOND_US)
    done, pause_s = await world.keeper.round()
    assert (done.purged, pause_s, world.telemetry.settles) == (1, 0.0, [6])
    purge = await world.storage.synthetic.get(tenancy.id, purge_id)
    assert (purge.samples, (await world.storage.keeping.status()).samples) == (3, 3)


async def test_purges_of_several_tenants() -> None:
    """All that wait are done in one look; looks are a second apart."""
    world = Purging()
    tenants = [await world.filled() for _ in range(3)]
    await world.keeper.round()
    purge_ids = [await world.ask(tenancy) for tenancy in tenants]
    assert (await world.keeper.round())[0].purged == 0
    world.clock.advance(SECOND_US)
    assert (await world.keeper.round())[0].purged == 3
    assert list(await world.storage.synthetic_purger.waiting()) == []
    for tenancy, purge_id in zip(tenants, purge_ids, strict=True):
        assert (await world.storage.synthetic.get(tenancy.id, purge_id)).samples == 3


async def test_a_purge_is_followed_by_a_refresh() -> None:
    """Stored aggregates follow at once, not a minute later."""
    world = Kept()
    await world.until_idle()
    storage = memory_storage(MemoryDatabase(world.clock))
    keeper = keeper_of(storage, world.telemetry, keeping=world.keeping)
    while (await keeper.round())[1] == 0.0:
        pass
    world.keeping.done.clear()
    tenancy = await new_tenancy(storage)
    await storage.synthetic.request(tenancy.id, by="key:1", now=EPOCH)
    world.clock.advance(SECOND_US)
    while (await keeper.round())[1] == 0.0:
        pass
    assert world.keeping.done == ["refresh"]


async def test_a_purge_that_fails_holds_up_nothing() -> None:
    """The rest goes on, and it is tried again some seconds later."""
    purger = StuckPurger()
    kept = Kept(purger)
    assert (await kept.keeper.round())[0].away == "a lock was not to be had"
    kept.keeping.waiting = Backlog(points=1_000, blocks=1, oldest_us=kept.clock.now_us())
    assert await kept.until_idle() == ["settle", "refresh"]
    assert purger.tried == 1
    kept.clock.advance(round(PURGE_AGAIN_S) * SECOND_US)
    await kept.keeper.round()
    assert purger.tried == 2


async def test_events_are_forgotten_by_the_hour() -> None:
    """In batches, until none is left that is past its retention."""
    world = Purging()
    tenancy = await new_tenancy(world.storage)
    now = EPOCH + timedelta(microseconds=world.clock.now_us())
    old = [signal_event(now - timedelta(days=40)) for _ in range(FORGET_AT_ONCE + 1)]
    await world.storage.events.append(tenancy.id, [*old, signal_event(now)])
    assert (await world.keeper.upkeep()).forgotten == len(old)
    assert len(await world.storage.events.list(tenancy.id, EventFilter(), limit=10, before=None)) == 1
    world.clock.advance(40 * DAY_US)
    assert (await world.keeper.upkeep()).forgotten == 1


async def test_ended_runs_of_collecting_are_forgotten() -> None:
    """In batches, 90 days after their end."""
    world = Purging()
    tenancy = await new_tenancy(world.storage)
    ended = EPOCH + timedelta(microseconds=world.clock.now_us())
    for _ in range(RUNS_AT_ONCE + 1):
        await request(world.storage, tenancy, order())
        await finish(world.storage, await claimed(world.storage), now=ended)
    world.clock.advance(RUNS_KEPT_US)
    assert (await world.keeper.upkeep()).forgotten == 0
    world.clock.advance(1)
    assert (await world.keeper.upkeep()).forgotten == RUNS_AT_ONCE + 1


async def test_the_history_of_clusters_is_forgotten() -> None:
    """In batches, 400 days after; the newest stays."""
    world = Purging()
    tenancy = await new_tenancy(world.storage)
    now = EPOCH + timedelta(microseconds=world.clock.now_us())
    taken = [snapshot(ts=now - timedelta(microseconds=n)) for n in range(CLUSTERS_AT_ONCE + 2)]
    await world.storage.capacity.put(tenancy.id, taken)
    event = drift_event(status=DriftStatus.RESOLVED, created_at=now, updated_at=now)
    await world.storage.drift.add(tenancy.id, event)
    world.clock.advance(CLUSTERS_KEPT_US - CLUSTERS_AT_ONCE - 1)
    assert (await world.keeper.upkeep()).forgotten == 0
    world.clock.advance(CLUSTERS_AT_ONCE + 2)
    assert (await world.keeper.upkeep()).forgotten == len(taken) - 1 + 1
    assert await world.storage.capacity.latest(tenancy.id, "prod") == taken[0]
