"""The synthetic store ports: purges are asked for, and delete all that is synthetic, and nothing else."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from core.domain.alerts import Alert
from core.domain.anomalies import AnomalyFilter
from core.domain.configurations import ConfigFilter
from core.domain.detection_runs import RunState
from core.domain.drift import DriftFilter
from core.domain.errors import Conflict, NotFound
from core.domain.events import EventFilter, EventSeverity
from core.domain.incidents import IncidentFilter
from core.domain.recommendations import RecommendationFilter
from core.domain.times import DAY_US, HOUR_US, MINUTE_US, TimeRange
from ports.driven.detection_store import AnomalyChanges, PublishedRisk
from ports.driven.synthetic_store import Purge
from tests.support import oracle
from tests.support.alert_rows import FIRING, alert_revision, close_is_requested, write_alert
from tests.support.cluster_rows import change, drift_event, recommendation, snapshot
from tests.support.detection_runs import LEASE_S, NOTHING, anomaly, claimed, look
from tests.support.incident_rows import add_errors, open_incident
from tests.support.queries import one_line, partials, raw_points
from tests.support.storages import RECENT_US, Row, Storage, Store, Tenancy, ids, settle_all

NOW = datetime(2026, 1, 31, 12, 0, 0, 123_456, tzinfo=UTC)
LATER = NOW + timedelta(seconds=5)
T0 = RECENT_US
RANGE = TimeRange(T0 - DAY_US, T0 + 4 * DAY_US)
STEPS_US = (5 * MINUTE_US, HOUR_US, DAY_US)


async def purge(storage: Storage, tenancy: Tenancy) -> Purge:
    """Asks for a purge, and does it."""
    asked = await storage.synthetic.request(tenancy.id, by="key:1", now=NOW)
    assert await storage.synthetic_purger.purge(asked.id, now=LATER)
    return await storage.synthetic.get(tenancy.id, asked.id)


def samples(series_id: int, *, from_us: int = T0, every_us: int = 7 * MINUTE_US, days: int = 2) -> list[Row]:
    """Samples of some days."""
    return [(series_id, ts_us, ts_us % 1_000 + 0.5) for ts_us in range(from_us, from_us + days * DAY_US, every_us)]


async def stored(tenancy: Tenancy, series_id: int) -> list[Row]:
    """All samples of a series; every way to aggregate them must agree."""
    async with tenancy.snapshot() as snapshot:
        rows = oracle.rows(await raw_points(snapshot, ids([series_id]), RANGE))
        for step_us in STEPS_US:
            for ends in (False, True):
                counted = await partials(snapshot, one_line(ids([series_id])), RANGE, step_us, ends=ends)
                assert int(counted.counts.sum()) == len(rows)
    return rows


@pytest.fixture
def aggregates_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets stored aggregates answer for however few samples."""
    monkeypatch.setattr("adapters.driven.timescale.reader.AGGREGATE_ROWS_MIN", 1)


async def test_asked_for_once(storage: Storage, other_storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """While one waits, it is the answer, in any process; after it a new one is; other tenants see none of it."""
    asked = await storage.synthetic.request(tenancy.id, by="key:1", now=NOW)
    assert asked == Purge(
        id=asked.id,
        requested_at=NOW,
        requested_by="key:1",
        finished_at=None,
        samples=None,
        events=None,
        anomalies=None,
        incidents=None,
    )
    assert await other_storage.synthetic.request(tenancy.id, by="key:2", now=LATER) == asked
    assert await other_storage.synthetic.get(tenancy.id, asked.id) == asked
    others = await storage.synthetic.request(neighbour.id, by="key:3", now=NOW)
    waiting = list(await storage.synthetic_purger.waiting())
    assert waiting == sorted(waiting)
    assert {asked.id, others.id} <= set(waiting)
    for tenant_id, purge_id in ((neighbour.id, asked.id), (tenancy.id, 2**62), (tenancy.id, 0), (tenancy.id, -1)):
        with pytest.raises(NotFound):
            await storage.synthetic.get(tenant_id, purge_id)
    assert await storage.synthetic_purger.purge(asked.id, now=LATER)
    assert {asked.id, others.id}.intersection(await storage.synthetic_purger.waiting()) == {others.id}
    assert (await storage.synthetic.request(tenancy.id, by="key:1", now=LATER)).id > asked.id


async def test_an_empty_purge(storage: Storage, tenancy: Tenancy) -> None:
    """It is finished with nothing deleted; doing it again, or one that is not there, changes nothing."""
    done = await purge(storage, tenancy)
    assert (done.finished_at, done.samples, done.events, done.anomalies, done.incidents) == (LATER, 0, 0, 0, 0)
    assert await storage.synthetic_purger.purge(done.id, now=LATER + timedelta(1))
    assert await storage.synthetic_purger.purge(2**31 - 1, now=LATER)
    assert await storage.synthetic.get(tenancy.id, done.id) == done


@pytest.mark.usefixtures("aggregates_answer")
async def test_samples_of_synthetic_series_go(
    storage: Storage, other_storage: Storage, tenancy: Tenancy, neighbour: Tenancy
) -> None:
    """Settled, compressed, aggregated and late ones; no query shows them from then on, after refreshing neither."""
    keeping, now_us = storage.keeping, T0 + 4 * DAY_US
    reader = Tenancy(other_storage, tenancy.tenant)
    synthetic, real = await tenancy.series(synthetic="true", host="a"), await tenancy.series(synthetic="false")
    published = await tenancy.series("sextant_anomaly_risk", synthetic="true")
    others = await neighbour.series(synthetic="true", host="a")
    for owner, series_id in ((tenancy, synthetic), (tenancy, real), (tenancy, published), (neighbour, others)):
        await owner.append(samples(series_id))
    await settle_all(storage)
    await keeping.refresh_aggregates(now_us=now_us)
    await keeping.compress(older_than_us=now_us)
    late = samples(synthetic, from_us=T0 + 1, days=1)
    await tenancy.append(late)
    assert len(await stored(reader, synthetic)) == len(samples(synthetic)) + len(late)
    await settle_all(storage)

    done = await purge(storage, tenancy)
    assert done.samples == len(samples(synthetic)) + len(late) + len(samples(published))

    async def check() -> None:
        assert await stored(reader, synthetic) == await stored(reader, published) == []
        assert await stored(reader, real) == samples(real)
        assert await stored(neighbour, others) == samples(others)

    await check()
    await keeping.refresh_aggregates(now_us=now_us)
    await check()
    await keeping.compress(older_than_us=now_us)
    await check()


@pytest.mark.usefixtures("aggregates_answer")
async def test_unsettled_points_are_settled_first(
    storage: Storage, other_storage: Storage, tenancy: Tenancy, neighbour: Tenancy
) -> None:
    """A purge waits for the tenant's own synthetic points in the journal, and for no others."""
    synthetic, real = await tenancy.series(synthetic="true"), await tenancy.series()
    others = await neighbour.series(synthetic="true")
    await settle_all(storage)
    for owner, series_id in ((tenancy, real), (neighbour, others)):
        await owner.append(samples(series_id))
    asked = await storage.synthetic.request(tenancy.id, by="key:1", now=NOW)
    await tenancy.append(samples(synthetic))
    assert not await storage.synthetic_purger.purge(asked.id, now=LATER)
    assert await storage.synthetic.get(tenancy.id, asked.id) == asked
    reader = Tenancy(other_storage, tenancy.tenant)
    assert await stored(reader, synthetic) == samples(synthetic)
    await settle_all(storage)
    await tenancy.append(samples(real, from_us=T0 + 1))
    assert await storage.synthetic_purger.purge(asked.id, now=LATER)
    assert await stored(reader, synthetic) == []
    assert len(await stored(reader, real)) == 2 * len(samples(real))
    assert await stored(neighbour, others) == samples(others)


async def test_a_series_goes_on(storage: Storage, tenancy: Tenancy) -> None:
    """A purged series keeps its id, and what is sent for it afterwards is stored."""
    series_id = await tenancy.series(synthetic="true")
    await tenancy.append(samples(series_id))
    await settle_all(storage)
    await purge(storage, tenancy)
    assert await tenancy.series(synthetic="true") == series_id
    again = samples(series_id, from_us=T0 - HOUR_US, days=1)
    await tenancy.append(again)
    assert await stored(tenancy, series_id) == again
    await settle_all(storage)
    assert await stored(tenancy, series_id) == again
    assert (await purge(storage, tenancy)).samples == len(again)


async def test_what_was_concluded_goes(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Synthetic events, anomalies, published risks and incidents; those of others, and real ones, stay."""
    await conclude(storage, tenancy)
    await conclude(storage, neighbour)
    before = await concluded(storage, neighbour)
    assert before == (4, 2, 2, 2)
    done = await purge(storage, tenancy)
    assert (done.samples, done.events, done.anomalies, done.incidents) == (0, 2, 1, 1)
    assert await concluded(storage, tenancy) == (2, 1, 1, 1)
    assert await concluded(storage, neighbour) == before


async def test_no_purge_amid_detection(storage: Storage, tenancy: Tenancy) -> None:
    """While a run may still write what it saw, a purge waits, as other runs do for the purge; a run whose claim has
    run out is not waited for."""
    claim = await claimed(storage.detection_runs, tenancy, NOW)
    asked = await storage.synthetic.request(tenancy.id, by="key:1", now=NOW)
    assert not await storage.synthetic_purger.purge(asked.id, now=NOW + timedelta(seconds=LEASE_S - 1))
    await storage.detection_runs.finish(claim, RunState.DONE, now=NOW)
    assert await look(storage.detection_runs, tenancy, NOW + timedelta(hours=1)) is None
    assert await storage.synthetic_purger.purge(asked.id, now=NOW + timedelta(seconds=LEASE_S - 1))
    asleep = await claimed(storage.detection_runs, tenancy, NOW + timedelta(hours=1))
    asked = await storage.synthetic.request(tenancy.id, by="key:1", now=NOW)
    over = NOW + timedelta(hours=1, seconds=LEASE_S + 1)
    assert await look(storage.detection_runs, tenancy, over) is None
    assert await storage.synthetic_purger.purge(asked.id, now=over)
    with pytest.raises(Conflict):  # who wakes then writes nothing that is gone
        await storage.detection_runs.save(
            asleep, NOTHING, AnomalyChanges(opened=[anomaly()]), now=over, lease_s=LEASE_S
        )
    assert (await claimed(storage.detection_runs, tenancy, over)).run.attempts == 2


async def test_alerts_are_asked_to_close(storage: Storage, tenancy: Tenancy, neighbour: Tenancy, store: Store) -> None:
    """Open ones with the label, when a purge is asked for and when it is done; evaluation is told."""
    for owner in (tenancy, neighbour):
        write_alert(store.place, owner.id, labelled(synthetic="true"), target_key="synthetic")
        write_alert(store.place, owner.id, labelled(synthetic="false"), target_key="real")
    before = alert_revision(store.place)
    asked = await storage.synthetic.request(tenancy.id, by="key:1", now=NOW)
    assert alert_revision(store.place) > before
    write_alert(store.place, tenancy.id, labelled(synthetic="true"), target_key="fired since")
    between = alert_revision(store.place)
    assert await storage.synthetic_purger.purge(asked.id, now=LATER)
    assert alert_revision(store.place) > between
    for target_key in ("synthetic", "fired since"):
        assert close_is_requested(store.place, tenancy.id, target_key)
    assert not close_is_requested(store.place, tenancy.id, "real")
    assert not close_is_requested(store.place, neighbour.id, "synthetic")


async def test_its_alerts_start_no_incident(storage: Storage, tenancy: Tenancy, store: Store) -> None:
    """After a purge the correlator no longer takes synthetic alerts for signals."""
    write_alert(store.place, tenancy.id, labelled(synthetic="true"), target_key="synthetic")
    real = write_alert(store.place, tenancy.id, labelled(host="a"), target_key="real")
    await purge(storage, tenancy)
    assert [signal.key for signal in await storage.incident_work.waiting(tenancy.id, limit=10)] == [f"alert:{real.id}"]


async def test_what_came_of_made_up_clusters(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Snapshots, configuration changes with their events, drift and recommendations go; real ones stay."""
    for owner, synthetic in ((tenancy, True), (tenancy, False), (neighbour, True)):
        name = f"synthetic={synthetic}"
        await storage.capacity.put(owner.id, [snapshot(cluster_id=name, synthetic=synthetic)])
        await storage.configurations.append(owner.id, [change(after={}, cluster_id=name, synthetic=synthetic)])
        await storage.drift.add(owner.id, drift_event(name, synthetic=synthetic))
        await storage.recommendations.add(owner.id, recommendation(name, name))
        made_up = recommendation(name, f"{name}, made up", synthetic=True)
        await storage.recommendations.add(owner.id, made_up)

    done = await purge(storage, tenancy)
    assert done.events == 1
    real = "synthetic=False"
    assert list(await storage.capacity.clusters(tenancy.id)) == [real]
    changes = await storage.configurations.list(tenancy.id, ConfigFilter(), limit=9, before=None)
    assert [each.cluster_id for each in changes] == [real]
    [event] = await storage.events.list(tenancy.id, EventFilter(), limit=9, before=None)
    assert event.labels["cluster_id"] == real
    drift = await storage.drift.list(tenancy.id, DriftFilter(), limit=9, before=None)
    assert [each.drift_id for each in drift] == [real]
    left = await storage.recommendations.list(tenancy.id, RecommendationFilter(), limit=9, before=None)
    assert [each.rec_id for each in left] == [real]
    theirs = await storage.recommendations.list(neighbour.id, RecommendationFilter(), limit=9, before=None)
    assert len(theirs) == 2


async def test_two_purgers(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """Two servers at once delete and count everything once."""
    series_id = await tenancy.series(synthetic="true")
    await tenancy.append(samples(series_id))
    await settle_all(storage)
    asked = await storage.synthetic.request(tenancy.id, by="key:1", now=NOW)
    purgers = [storage.synthetic_purger, other_storage.synthetic_purger]
    await asyncio.gather(*(purger.purge(asked.id, now=LATER) for purger in purgers))
    assert await storage.synthetic_purger.purge(asked.id, now=LATER)
    assert (await storage.synthetic.get(tenancy.id, asked.id)).samples == len(samples(series_id))


def labelled(**labels: str) -> Alert:
    """A firing alert with these labels."""
    return msgspec.structs.replace(FIRING, labels=labels)


async def conclude(storage: Storage, tenancy: Tenancy) -> None:
    """Writes a synthetic and a real one of everything that is concluded from samples; events, two of each."""
    claim = await claimed(storage.detection_runs, tenancy, NOW)
    anomalies = [anomaly(series_id, synthetic=series_id == 1) for series_id in (1, 2)]
    await storage.detection_runs.save(claim, NOTHING, AnomalyChanges(opened=anomalies), now=NOW, lease_s=LEASE_S)
    risks = [
        PublishedRisk(fingerprint=synthetic, labels={"synthetic": synthetic}, risk=1.0) for synthetic in ("true", "no")
    ]
    await storage.detection_runs.save_published(claim, risks)
    await storage.detection_runs.finish(claim, RunState.DONE, now=NOW)
    for synthetic in (True, False):
        signals = await add_errors(storage, tenancy.id, 2, synthetic=synthetic, severity=EventSeverity.ERROR)
        await open_incident(storage, tenancy.id, signals)


async def concluded(storage: Storage, tenancy: Tenancy) -> tuple[int, int, int, int]:
    """How many events, anomalies, published risks and incidents a tenant has."""
    return (
        len(await storage.events.list(tenancy.id, EventFilter(), limit=100, before=None)),
        len(await storage.detection.anomalies(tenancy.id, AnomalyFilter(), limit=100, before=None)),
        len(await storage.detection_runs.published(tenancy.id)),
        len(await storage.incidents.list(tenancy.id, IncidentFilter(), limit=100, before_id=None)),
    )
