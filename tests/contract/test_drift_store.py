"""The drift store port: events, what detection finds, and whose clusters are looked at when."""

import asyncio
from datetime import date, datetime, timedelta

import msgspec
import pytest

from core.domain.configurations import ConfigBaseline, ConfigKind
from core.domain.drift import DetectionMethod, DriftCategory, DriftEvent, DriftFilter, DriftSeverity, DriftStatus
from core.domain.errors import NotFound
from core.domain.recommendations import Recommendation, RecommendationFilter
from core.domain.telemetry import CPU_USAGE
from tests.support.cluster_rows import HARD_DOCUMENT, NOON, SNAPSHOT, drift_event, recommendation
from tests.support.storages import Storage, Tenancy, new_tenancy

TICK = timedelta(microseconds=1)
LATER = NOON + timedelta(hours=1)
ANY = DriftFilter()
INTERVAL_S = 600.0


async def listed(
    tenancy: Tenancy, wanted: DriftFilter = ANY, *, limit: int = 1_000, before: tuple[datetime, str] | None = None
) -> list[DriftEvent]:
    """A page of a tenant's events."""
    return list(await tenancy.storage.drift.list(tenancy.id, wanted, limit=limit, before=before))


async def test_kept_as_given(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """Every field comes back as it was given, in any process."""
    full = drift_event(
        "an id: x~y",
        end_ts=LATER,
        status=DriftStatus.IGNORED,
        status_by="alice",
        status_note="known – “all” good",
        synthetic=True,
    )
    bare = drift_event(
        drift_date=date(1999, 12, 31),
        drift_category=DriftCategory.OTHER_DRIFT,
        severity=DriftSeverity.MINOR,
        workload_name=None,
        namespace=None,
        start_ts=NOON - TICK,
        detection_method=DetectionMethod.MANUAL,
        confidence_score=1.0,
        message=None,
        evidence={},
        automatic=False,
    )
    for event in (full, bare):
        assert await storage.drift.add(tenancy.id, event) == (event, True)
        assert await other_storage.drift.get(tenancy.id, event.drift_id) == event
    assert list(await other_storage.drift.list(tenancy.id, ANY, limit=10, before=None)) == [full, bare]


async def test_an_id_is_one_event(
    storage: Storage, other_storage: Storage, tenancy: Tenancy, neighbour: Tenancy
) -> None:
    """Where it is known the stored event stays as it is; two at once are one; another tenant's is another."""
    first = drift_event("d")
    second = drift_event("d", cluster_id="x", severity=DriftSeverity.CRITICAL, evidence={})
    results = await asyncio.gather(
        *(one.drift.add(tenancy.id, first) for one in (storage, other_storage, storage, other_storage))
    )
    assert sorted(is_new for _, is_new in results) == [False, False, False, True]
    assert await storage.drift.add(tenancy.id, second) == (first, False)
    assert await storage.drift.add(neighbour.id, second) == (second, True)
    assert await storage.drift.get(tenancy.id, "d") == first
    assert await listed(neighbour) == [second]
    for tenant_id, drift_id in ((tenancy.id, "none"), (neighbour.id, "D")):
        with pytest.raises(NotFound):
            await storage.drift.get(tenant_id, drift_id)
        with pytest.raises(NotFound):
            await storage.drift.set_status(tenant_id, drift_id, DriftStatus.OPEN, by="a", note=None, now=NOON)


async def test_pages(storage: Storage, tenancy: Tenancy) -> None:
    """Pages are newest first and join without gap or repeat, through events of one moment as well, by code points."""
    names = ["a", "B", "b", "-", "_", "a-b", "ab", "A B", "0"]
    events = [drift_event(f"{name}{n}", start_ts=NOON - n * TICK) for n in range(2) for name in names]
    for event in events:
        await storage.drift.add(tenancy.id, event)
    found: list[DriftEvent] = []
    before = None
    while page := await listed(tenancy, limit=4, before=before):
        found += page
        before = (page[-1].start_ts, page[-1].drift_id)
    assert found == sorted(events, key=lambda event: (event.start_ts, event.drift_id), reverse=True)


async def test_filters(storage: Storage, tenancy: Tenancy) -> None:
    """Each filter holds by itself and with a position; the range is half-open."""
    usual = drift_event()
    other = drift_event(
        cluster_id="test",
        env="staging",
        drift_category=DriftCategory.LATENCY_DRIFT,
        severity=DriftSeverity.CRITICAL,
        status=DriftStatus.ACKNOWLEDGED,
        workload_name="w",
        namespace="n",
        start_ts=NOON + TICK,
    )
    for event in (usual, other):
        await storage.drift.add(tenancy.id, event)
    for wanted in (
        DriftFilter(cluster_id="test"),
        DriftFilter(env="staging"),
        DriftFilter(drift_category=DriftCategory.LATENCY_DRIFT),
        DriftFilter(severity=DriftSeverity.CRITICAL),
        DriftFilter(status=DriftStatus.ACKNOWLEDGED),
        DriftFilter(workload_name="w"),
        DriftFilter(namespace="n"),
        DriftFilter(start=NOON + TICK),
        DriftFilter(cluster_id="test", env="staging", namespace="n", start=NOON, end=NOON + 2 * TICK),
    ):
        assert await listed(tenancy, wanted) == [other]
        assert await listed(tenancy, wanted, before=(other.start_ts, other.drift_id)) == []
    assert await listed(tenancy, DriftFilter(end=NOON + TICK)) == [usual]
    assert await listed(tenancy, DriftFilter(start=NOON)) == [other, usual]
    assert await listed(tenancy, DriftFilter(cluster_id="test", namespace="shop")) == []


async def test_standing(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """Who said what of it; a resolved one without an end ends now, never before it began, and goes on when reopened."""
    lasting, ended, ahead = drift_event(), drift_event(end_ts=NOON + TICK), drift_event(start_ts=LATER + TICK)
    for event in (lasting, ended, ahead):
        await storage.drift.add(tenancy.id, event)

    async def stand(event: DriftEvent, status: DriftStatus, note: str | None = None) -> DriftEvent:
        changed = await storage.drift.set_status(tenancy.id, event.drift_id, status, by="alice", note=note, now=LATER)
        assert await other_storage.drift.get(tenancy.id, event.drift_id) == changed
        return changed

    acknowledged = await stand(lasting, DriftStatus.ACKNOWLEDGED, "looking")
    assert acknowledged == msgspec.structs.replace(
        lasting, status=DriftStatus.ACKNOWLEDGED, status_by="alice", status_note="looking", updated_at=LATER
    )
    assert (await stand(lasting, DriftStatus.IGNORED)).end_ts is None
    resolved = await stand(lasting, DriftStatus.RESOLVED)
    assert (resolved.end_ts, resolved.status_note) == (LATER, None)
    assert (await stand(lasting, DriftStatus.RESOLVED)).end_ts == LATER
    assert (await stand(lasting, DriftStatus.OPEN)).end_ts is None
    assert (await stand(ended, DriftStatus.ACKNOWLEDGED)).end_ts == ended.end_ts
    assert (await stand(ended, DriftStatus.RESOLVED)).end_ts == ended.end_ts
    assert (await stand(ahead, DriftStatus.RESOLVED)).end_ts == ahead.start_ts


async def test_what_was_found(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """New drift is opened with its recommendation, known drift followed, and what is gone is resolved."""
    first, second, acknowledged = drift_event("first"), drift_event("second"), drift_event("third")
    proposed = recommendation("first", "rec")
    found = [(first, proposed), (second, None), (acknowledged, None)]
    assert await storage.drift.save_found(tenancy.id, "prod", found, now=NOON) == (3, 0)
    assert await storage.recommendations.get(tenancy.id, "rec") == proposed
    await storage.drift.set_status(
        tenancy.id, "third", DriftStatus.ACKNOWLEDGED, by="alice", note="known", now=NOON + TICK
    )

    changed = msgspec.structs.replace(
        drift_event("third"),
        env="staging",
        severity=DriftSeverity.CRITICAL,
        confidence_score=0.75,
        message="worse",
        evidence={"observed": 2},
        last_seen_at=LATER,
        start_ts=NOON + TICK,
        drift_category=DriftCategory.OTHER_DRIFT,
        created_at=LATER,
    )
    again = [(msgspec.structs.replace(first, last_seen_at=LATER), proposed), (changed, None)]
    assert await storage.drift.save_found(tenancy.id, "prod", again, now=LATER) == (0, 1)
    assert await storage.drift.get(tenancy.id, "first") == msgspec.structs.replace(
        first, last_seen_at=LATER, updated_at=LATER
    )
    assert await storage.drift.get(tenancy.id, "second") == msgspec.structs.replace(
        second,
        status=DriftStatus.RESOLVED,
        status_by="sextant",
        status_note="no longer found",
        end_ts=LATER,
        updated_at=LATER,
    )
    assert await storage.drift.get(tenancy.id, "third") == msgspec.structs.replace(
        acknowledged,
        severity=DriftSeverity.CRITICAL,
        confidence_score=0.75,
        message="worse",
        evidence={"observed": 2},
        last_seen_at=LATER,
        status=DriftStatus.ACKNOWLEDGED,
        status_by="alice",
        status_note="known",
        updated_at=LATER,
    )
    assert len(await storage.recommendations.list(tenancy.id, RecommendationFilter(), limit=9, before=None)) == 1
    assert await listed(neighbour) == []


async def test_what_is_left_alone(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Resolved events, people's own, other clusters' and other tenants' stay as they are, found or not."""
    settled = [drift_event(status=DriftStatus.RESOLVED)]
    others = [drift_event(automatic=False), drift_event(cluster_id="test")]
    theirs = drift_event(settled[0].drift_id)
    for event in (*settled, *others):
        await storage.drift.add(tenancy.id, event)
    await storage.drift.add(neighbour.id, theirs)
    worse = [msgspec.structs.replace(event, message="worse", status=DriftStatus.OPEN) for event in (*settled, *others)]
    for found in ([], [(event, recommendation(event.drift_id)) for event in worse]):
        assert await storage.drift.save_found(tenancy.id, "prod", found, now=LATER) == (0, 0)
        assert {event.drift_id: event for event in await listed(tenancy)} == {
            event.drift_id: event for event in (*settled, *others)
        }
        assert await listed(neighbour) == [theirs]
    assert await storage.recommendations.list(tenancy.id, RecommendationFilter(), limit=9, before=None) == []


async def test_what_is_proposed_keeps_up(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """Drift that goes on is given a recommendation, or another one; not where somebody has decided, or wrote it."""
    event = drift_event("lasting")
    store = other_storage.recommendations

    async def found(*proposed: Recommendation | None) -> None:
        for one in proposed:
            await storage.drift.save_found(tenancy.id, "prod", [(event, one)], now=LATER)

    first = recommendation("lasting", "rec")
    await found(None, first, None)
    assert await store.get(tenancy.id, "rec") == first
    second = msgspec.structs.replace(
        first,
        recommendation_type="scale_workload",
        recommendation_json=HARD_DOCUMENT,
        estimated_savings_usd=None,
        created_at=LATER,
        updated_at=LATER,
    )
    await found(second, msgspec.structs.replace(second, updated_at=LATER + TICK))
    renewed = msgspec.structs.replace(second, created_at=first.created_at)
    assert await store.get(tenancy.id, "rec") == renewed, "and nothing is renewed that is as it was"
    decided = await store.decide(tenancy.id, "rec", approved=True, by="alice", reason=None, now=LATER)
    await found(first)
    assert await store.get(tenancy.id, "rec") == decided
    reported = recommendation("lasting", "theirs", automatic=False)
    await storage.recommendations.add(tenancy.id, reported)
    await found(msgspec.structs.replace(second, rec_id="theirs"))
    assert await store.get(tenancy.id, "theirs") == reported


async def test_what_somebody_ignored_stays_ignored(storage: Storage, tenancy: Tenancy) -> None:
    """Found again it is only known to last; not found it stays as it is."""
    ignored = drift_event(status=DriftStatus.IGNORED, status_by="alice", status_note="known")
    await storage.drift.add(tenancy.id, ignored)
    assert await storage.drift.save_found(tenancy.id, "prod", [], now=LATER) == (0, 0)
    assert await storage.drift.get(tenancy.id, ignored.drift_id) == ignored
    seen = msgspec.structs.replace(ignored, message="worse", last_seen_at=LATER, updated_at=LATER)
    again = msgspec.structs.replace(seen, status=DriftStatus.OPEN, status_by=None)
    saved = await storage.drift.save_found(tenancy.id, "prod", [(again, recommendation(again.drift_id))], now=LATER)
    assert saved == (0, 0)
    assert await storage.drift.get(tenancy.id, ignored.drift_id) == seen
    assert await storage.recommendations.list(tenancy.id, RecommendationFilter(), limit=9, before=None) == []


async def test_found_by_two_at_once(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """The same drift is opened once, with one recommendation."""
    found = [(drift_event(f"d{n}"), recommendation(f"d{n}", f"r{n}")) for n in range(20)]
    counted = await asyncio.gather(
        *(
            one.drift.save_found(tenancy.id, "prod", given, now=NOON)
            for one, given in ((storage, found), (other_storage, found[::-1]))
        )
    )
    assert sorted(counted) == [(0, 0), (20, 0)]
    assert len(await listed(tenancy)) == 20
    assert len(await storage.recommendations.list(tenancy.id, RecommendationFilter(), limit=99, before=None)) == 20


async def claimed(storage: Storage, now: datetime, *, interval_s: float = INTERVAL_S) -> list[int]:
    """The tenants that are handed out one after the other until none is due."""
    tenants = []
    while claim := await storage.drift_schedule.claim(now=now, interval_s=interval_s):
        assert (await storage.tenants.get(claim.tenant)).id == claim.tenant_id
        tenants.append(claim.tenant_id)
    return tenants


async def test_tenants_with_clusters_are_looked_at(storage: Storage, other_storage: Storage) -> None:
    """Those with snapshots, baselines or telemetry of clusters, each once in an interval, longest ago first."""
    snapshots, baselines, telemetry, plain, nothing = [await new_tenancy(storage) for _ in range(5)]
    await storage.capacity.put(snapshots.id, [SNAPSHOT])
    baseline = ConfigBaseline(cluster_id="prod", workload="w", kind=ConfigKind.IMAGE, document=HARD_DOCUMENT)
    await storage.configurations.put_baseline(baselines.id, baseline, by="alice", now=NOON)
    await telemetry.series(CPU_USAGE, cluster_id="prod", pod="a")
    await plain.series(CPU_USAGE, pod="a")
    await plain.series("cpu", host="cluster_id")
    wanted = [snapshots.id, baselines.id, telemetry.id]
    assert {plain.id, nothing.id}.isdisjoint(first := await claimed(storage, LATER))
    assert [tenant_id for tenant_id in first if tenant_id in wanted] == wanted
    assert len(set(first)) == len(first)

    soon, due = LATER + timedelta(seconds=INTERVAL_S) - TICK, LATER + timedelta(seconds=INTERVAL_S)
    assert await claimed(other_storage, soon) == []
    one = await other_storage.drift_schedule.claim(now=due, interval_s=INTERVAL_S)
    assert one is not None
    assert one.tenant_id == min(first)
    assert await claimed(storage, due) == sorted(set(first) - {one.tenant_id})
    late = await new_tenancy(storage)
    await storage.capacity.put(late.id, [SNAPSHOT])
    assert await claimed(storage, due) == [late.id]


async def test_no_two_are_handed_the_same(storage: Storage, other_storage: Storage) -> None:
    """However many ask at once, each tenant goes to one of them."""
    tenancies = [await new_tenancy(storage) for _ in range(8)]
    for tenancy in tenancies:
        await storage.capacity.put(tenancy.id, [SNAPSHOT])
    now = LATER + timedelta(days=1)
    rounds = await asyncio.gather(*(claimed(one, now) for one in (storage, other_storage) * 2))
    handed = [tenant_id for tenants in rounds for tenant_id in tenants]
    assert len(handed) == len(set(handed))
    assert {tenancy.id for tenancy in tenancies} <= set(handed)
