"""Drift events as people and tools have them, and looking for drift by schedule, over the in-memory store."""

import asyncio
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.driven.memory.clock import FakeClock
from adapters.driven.memory.storage import memory_storage
from adapters.driving.background.drift_loop import keep_drifting
from core.domain.drift import DriftCategory, DriftFilter, DriftSeverity, DriftSpec, DriftStatus
from core.domain.errors import Forbidden, InvalidInput, NotFound, Unavailable
from core.domain.tenants import Scope
from core.domain.times import EPOCH
from core.services.drift import DriftService
from core.services.scheduled_drift import ScheduledDrift
from ports.driven.drift_store import DriftClaim
from ports.driving.drifting import DriftFound, DriftRound
from tests.support.callers import database, principal, recorded
from tests.support.cluster_rows import snapshot
from tests.support.drifting import looking_over

NOW = EPOCH + timedelta(microseconds=FakeClock().now_us())


def spec(**changes: Any) -> DriftSpec:
    """What a tool reports."""
    usual: dict[str, Any] = {
        "cluster_id": "prod",
        "drift_category": DriftCategory.LATENCY_DRIFT,
        "severity": DriftSeverity.MAJOR,
        "start_ts": NOW,
    }
    return DriftSpec(**{**usual, **changes})


class World:
    """The service over its store."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.tables = database(self.clock)
        self.storage = memory_storage(self.tables)
        self.looking = looking_over(self.storage, self.clock)
        self.service = DriftService(self.storage.drift, self.looking, self.storage.audit_log, self.clock)

    @property
    def trail(self) -> list[str]:
        """What the audit trail says."""
        return [entry.record.summary for entry in recorded(self.tables)]


async def test_the_same_id_is_the_same_event() -> None:
    """Whatever else the second report says; without an id each is one."""
    world = World()
    first, is_new = await world.service.post(principal(Scope.INGEST), spec(drift_id="d"))
    again = await world.service.post(principal(Scope.ALERTS), spec(drift_id="d", severity=DriftSeverity.MINOR))
    assert (is_new, again) == (True, (first, False))
    assert (first.automatic, first.last_seen_at, first.status_by) == (False, NOW, None)
    made_up = [(await world.service.post(principal(), spec()))[0].drift_id for _ in range(2)]
    assert len({*made_up, "d"}) == 3
    assert world.trail[0] == "posted the drift event 'd' (LATENCY_DRIFT)"
    assert len(world.trail) == 3
    assert await world.service.get(principal(Scope.QUERY), "d") == first


async def test_a_day_is_that_of_its_start_in_utc() -> None:
    """Unless it is given; what is over already ends."""
    world = World()
    start = datetime.fromisoformat("2026-01-01T01:00:00+05:00")
    event, _ = await world.service.post(principal(), spec(start_ts=start, status=DriftStatus.RESOLVED))
    assert (event.drift_date, event.end_ts, event.status_by) == (date(2025, 12, 31), NOW, "key:5")
    event, _ = await world.service.post(principal(), spec(start_ts=start, drift_date=date(2020, 1, 1)))
    assert (event.drift_date, event.end_ts) == (date(2020, 1, 1), None)


async def test_pages_join() -> None:
    """Newest first, by a cursor that is of no use elsewhere."""
    world = World()
    for n in range(5):
        await world.service.post(principal(), spec(drift_id=f"d{n}", start_ts=NOW + timedelta(hours=n // 2)))
    found: list[str] = []
    cursor = None
    for _ in range(3):
        page = await world.service.list(principal(Scope.REMEDIATE), DriftFilter(), limit=2, cursor=cursor)
        found += [event.drift_id for event in page.data]
        cursor = page.next_cursor
    assert (found, cursor) == (["d4", "d3", "d2", "d1", "d0"], None)
    for limit, wrong in ((0, None), (1_001, None), (1, "x"), (1, "WzAsIi8iXQ")):
        with pytest.raises(InvalidInput):
            await world.service.list(principal(), DriftFilter(), limit=limit, cursor=wrong)
    with pytest.raises(InvalidInput):
        await world.service.list(principal(), DriftFilter(start=NOW, end=NOW), limit=1, cursor=None)


async def test_where_it_stands() -> None:
    """Who said so, and why, is in the event and in the audit trail."""
    world = World()
    await world.service.post(principal(), spec(drift_id="d"))
    event = await world.service.set_status(principal(Scope.ALERTS), "d", DriftStatus.IGNORED, note="known")
    assert (event.status, event.status_by, event.status_note) == (DriftStatus.IGNORED, "key:5", "known")
    assert world.trail[-1] == "made the drift event 'd' ignored: known"
    assert recorded(world.tables)[-1].record.details["after"]["status"] == "ignored"
    for note in ("", "x" * 1_001, "\0", "\ud800"):
        with pytest.raises(InvalidInput):
            await world.service.set_status(principal(), "d", DriftStatus.OPEN, note=note)


async def test_scopes() -> None:
    """Reading, reporting and changing are different rights; other tenants have other events."""
    service = World().service
    with pytest.raises(Forbidden):
        await service.post(principal(Scope.QUERY), spec())
    await service.post(principal(Scope.INGEST), spec(drift_id="d"))
    with pytest.raises(Forbidden):
        await service.list(principal(Scope.INGEST), DriftFilter(), limit=1, cursor=None)
    with pytest.raises(Forbidden):
        await service.get(principal(Scope.INGEST), "d")
    with pytest.raises(Forbidden):
        await service.set_status(principal(Scope.QUERY), "d", DriftStatus.OPEN, note=None)
    with pytest.raises(Forbidden):
        await service.detect(principal(Scope.QUERY), "prod")
    for missing in (service.get(principal(tenant_id=3), "d"), service.detect(principal(), "prod")):
        with pytest.raises(NotFound):
            await missing


async def test_looking_on_demand() -> None:
    """At a cluster that is known; what cannot be looked at is said."""
    world = World()
    await world.storage.capacity.put(2, [snapshot(ts=NOW)])
    found = await world.service.detect(principal(Scope.ALERTS), "prod")
    assert found == DriftFound(
        cluster_id="prod", found=0, opened=0, resolved=0, skipped=["telemetry: there is none of the last 8 days"]
    )
    with pytest.raises(InvalidInput):
        await world.service.detect(principal(), "")


async def test_a_cluster_that_cannot_be_looked_at_stops_no_other() -> None:
    """It is skipped, with the reason."""
    world = World()
    for cluster_id in ("broken", "prod"):
        await world.storage.capacity.put(2, [snapshot(cluster_id=cluster_id, ts=NOW)])
    snapshots = world.tables.clusters.snapshots[2]
    snapshots["\n", NOW] = snapshots.pop(("broken", NOW))
    work = ScheduledDrift(world.storage.drift_schedule, world.looking, world.clock, interval_s=60.0)
    done = await work.round()
    assert (done.tenant, done.away) == ("acme", None)
    assert [one.cluster_id for one in done.clusters] == ["\n", "prod"]
    assert done.clusters[0].skipped[0].startswith("all: cluster_id: ")
    assert (await work.round()).tenant is None


class Away:
    """A schedule whose database went away."""

    async def claim(self, *, now: datetime, interval_s: float) -> DriftClaim | None:
        raise Unavailable("the database is away")


async def test_a_database_that_is_away_is_waited_for() -> None:
    """The round says so."""
    world = World()
    done = await ScheduledDrift(Away(), world.looking, world.clock, interval_s=60.0).round()
    assert (done.tenant, done.away) == (None, "the database is away")


async def test_rounds_are_driven_and_logged() -> None:
    """Until the process is told to stop."""
    stop = asyncio.Event()
    rounds = [
        DriftRound(tenant="acme", clusters=[DriftFound(cluster_id="a", found=3, opened=2, resolved=1, skipped=["x"])]),
        DriftRound(),
    ]

    class Work:
        async def round(self) -> DriftRound:
            if len(rounds) == 1:
                stop.set()
            return rounds.pop(0)

    with capture_logs() as logs:
        await keep_drifting(Work(), stop)
    assert [(line["event"], line["found"], line["opened"], line["skipped"]) for line in logs] == [
        ("drift_looked_for", 3, 2, 1)
    ]
