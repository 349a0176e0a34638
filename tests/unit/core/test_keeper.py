"""When the keeper does what, over the in-memory store."""

from adapters.driven.memory.clock import FakeClock
from core.domain.errors import Unavailable
from core.domain.times import HOUR_US, MINUTE_US, SECOND_US
from core.services.keeper import AWAY_S, KeeperPlan, KeeperService
from ports.driven.keeping import Backlog, SettleOutcome, StorageStatus

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


class Kept:
    """A keeper with its surroundings."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.keeping = ScriptedKeeping()
        self.telemetry = CountingTelemetry()
        self.keeper = KeeperService(self.keeping, PLAN, self.clock, self.telemetry)

    async def until_idle(self) -> list[str]:
        """Runs rounds until one asks for a pause; returns what was done."""
        self.keeping.done.clear()
        while (await self.keeper.round())[1] == 0.0:
            pass
        return list(self.keeping.done)


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
