"""The keeping port: settling, retention, idempotency keys, counting."""

import asyncio

import pytest

from adapters.runtime.clock import SystemClock
from core.domain.definitions import RETENTION_DAYS_DEFAULT, MetricDefinition, retention_cutoff
from core.domain.times import DAY_US, HOUR_US, SECOND_US, TimeRange, day_start
from ports.driven.journal import StoredReply
from ports.driven.keeping import Backlog
from tests.support import oracle
from tests.support.queries import raw_points
from tests.support.storages import RECENT_US, Row, Storage, Tenancy, ids, settle_all, unique

T0 = RECENT_US
NOW_US = SystemClock().now_us()
EVER = TimeRange(0, NOW_US + 10 * DAY_US)


async def stored(tenancy: Tenancy, *series_ids: int) -> list[Row]:
    """All that there is of some series."""
    async with tenancy.snapshot() as snapshot:
        return oracle.rows(await raw_points(snapshot, ids(series_ids), EVER))


@pytest.fixture
async def settled(storage: Storage) -> Storage:
    """Return the storage with nothing left to settle."""
    await settle_all(storage)
    return storage


async def test_backlog(settled: Storage, tenancy: Tenancy) -> None:
    """The backlog is what was appended since the last settle: blocks, points, and since when."""
    series_id = await tenancy.series()
    assert await settled.keeping.backlog() == Backlog(points=0, blocks=0, oldest_us=None)
    for n in range(3):
        await tenancy.append([(series_id, T0 + n, 0.0), (series_id, T0 + n, 1.0)])
    backlog = await settled.keeping.backlog()
    assert (backlog.points, backlog.blocks) == (6, 3)
    assert backlog.oldest_us is not None
    # The database's clock may be another machine's.
    assert abs(backlog.oldest_us - SystemClock().now_us()) < HOUR_US
    await settle_all(settled)
    assert (await settled.keeping.backlog()).points == 0


async def test_settle_counts(settled: Storage, tenancy: Tenancy) -> None:
    """A settle reports points with repeats, distinct rows, and among them the late and the replacing."""
    first, second = await tenancy.series(host="a"), await tenancy.series(host="b")
    await tenancy.append([(first, T0 + 10, 1.0), (first, T0 + 10, 2.0), (second, T0 + 10, 3.0)])
    fresh = await settled.keeping.settle(points_max=1_000)
    assert (fresh.points, fresh.rows, fresh.late, fresh.replaced, fresh.blocks) == (3, 2, 0, 0, 1)
    await tenancy.append([(first, T0 + 10, 4.0), (first, T0 + 5, 5.0), (second, T0 + 11, 6.0)])
    late = await settled.keeping.settle(points_max=1_000)
    assert (late.points, late.rows, late.late, late.replaced, late.blocks) == (3, 3, 2, 1, 1)
    assert await stored(tenancy, first, second) == [
        (first, T0 + 5, 5.0),
        (first, T0 + 10, 4.0),
        (second, T0 + 10, 3.0),
        (second, T0 + 11, 6.0),
    ]
    nothing = await settled.keeping.settle(points_max=1_000)
    assert (nothing.points, nothing.rows, nothing.blocks) == (0, 0, 0)


async def test_late_across_days(settled: Storage, tenancy: Tenancy, other_storage: Storage) -> None:
    """Late points of days long settled, by other processes and compressed meanwhile, take their places."""
    series_ids = [await tenancy.series(host=str(n)) for n in range(3)]
    rows = [(series_id, T0 - day * DAY_US, 1.0) for series_id in series_ids for day in range(12)]
    await tenancy.append(rows)
    await settle_all(settled)
    await settled.keeping.compress(older_than_us=NOW_US)
    late = [(series_ids[1], T0 - day * DAY_US + shift, 2.0) for day in range(0, 12, 3) for shift in (0, 1)]
    await tenancy.append(late)
    outcome = await other_storage.keeping.settle(points_max=1_000)
    assert (outcome.late, outcome.replaced) == (8 - (late[0][1] + 1 > T0), 4)
    expected = oracle.model_rows(oracle.last_values(rows + late))
    assert await stored(tenancy, *series_ids) == expected
    await settled.keeping.compress(older_than_us=NOW_US)
    assert await stored(tenancy, *series_ids) == expected


@pytest.mark.parametrize("points_max", [1, 4, 7])
async def test_settle_in_parts(settled: Storage, tenancy: Tenancy, points_max: int) -> None:
    """A settle takes whole blocks, at least one, in commit order; several of them settle everything."""
    series_id = await tenancy.series()
    for n in range(5):
        await tenancy.append([(series_id, T0, float(n)), (series_id, T0 + n, 0.5), (series_id, T0 + 9, float(n))])
    expected = await stored(tenancy, series_id)
    outcome = await settled.keeping.settle(points_max=points_max)
    assert 3 <= outcome.points <= max(3, points_max + 2)
    assert await stored(tenancy, series_id) == expected
    assert outcome.points + await settle_all(settled, points_max) == 15
    assert await stored(tenancy, series_id) == expected


async def test_settlers_at_once(settled: Storage, tenancy: Tenancy, other_storage: Storage) -> None:
    """Two settlers at once settle each point once; one that finds another at work does nothing and says so."""
    series_id = await tenancy.series()
    for n in range(8):
        await tenancy.append([(series_id, T0 + n, float(n))])
    outcomes = await asyncio.gather(*((settled, other_storage)[n % 2].keeping.settle(points_max=3) for n in range(6)))
    assert all(outcome.points == 0 for outcome in outcomes if outcome.busy)
    assert sum(outcome.points for outcome in outcomes) + await settle_all(settled) == 8
    assert await stored(tenancy, series_id) == [(series_id, T0 + n, float(n)) for n in range(8)]


async def test_nothing_to_keep(settled: Storage) -> None:
    """All background work can be repeated on a store that has nothing for it."""
    for _ in range(2):
        await settled.keeping.refresh_aggregates(now_us=NOW_US)
        await settled.keeping.compress(older_than_us=NOW_US - 7 * DAY_US)
        await settled.keeping.drop_expired(now_us=NOW_US)
        await settled.keeping.forget_replies(older_than_us=0)


@pytest.mark.parametrize("compressed", [False, True])
async def test_retention(settled: Storage, tenancy: Tenancy, neighbour: Tenancy, compressed: bool) -> None:
    """Samples go to the day after their own metric's retention, in compressed data too, and no others."""
    kept_days = {"short": 2, "long": 60, "plain": RETENTION_DAYS_DEFAULT}
    for name in ("short", "long"):
        definition = MetricDefinition(name=name, retention_days=kept_days[name])
        await settled.definitions.create(tenancy.id, definition)
    series = {await tenancy.series(name, host=host): name for name in kept_days for host in "ab"}
    others = await neighbour.series("short")
    edges = {days: retention_cutoff(NOW_US, days) for days in kept_days.values()}
    instants = sorted(
        {NOW_US // SECOND_US * SECOND_US, *(edge + shift for edge in edges.values() for shift in (-1, 0, 1))}
    )
    rows = [(series_id, ts_us, 1.0) for series_id in series for ts_us in instants]
    await tenancy.append(rows)
    await neighbour.append([(others, ts_us, 2.0) for ts_us in instants])
    await settle_all(settled)
    await settled.keeping.refresh_aggregates(now_us=NOW_US)
    if compressed:
        await settled.keeping.compress(older_than_us=NOW_US)
    for _ in range(2):
        await settled.keeping.drop_expired(now_us=NOW_US)
        expected = [row for row in rows if row[1] >= edges[kept_days[series[row[0]]]]]
        assert await stored(tenancy, *series) == expected
        plain = edges[RETENTION_DAYS_DEFAULT]
        assert await stored(neighbour, others) == [(others, ts_us, 2.0) for ts_us in instants if ts_us >= plain]


async def test_retention_moves_by_days(settled: Storage, tenancy: Tenancy) -> None:
    """A day is kept whole on its last day of retention, and is gone on the next."""
    series_id = await tenancy.series()
    old_us = retention_cutoff(NOW_US, RETENTION_DAYS_DEFAULT) + HOUR_US
    await tenancy.append([(series_id, old_us, 1.0), (series_id, T0, 2.0)])
    await settle_all(settled)
    await settled.keeping.drop_expired(now_us=NOW_US)
    assert len(await stored(tenancy, series_id)) == 2
    await settled.keeping.drop_expired(now_us=day_start(NOW_US) + DAY_US - 1)
    assert len(await stored(tenancy, series_id)) == 2
    await settled.keeping.drop_expired(now_us=day_start(NOW_US) + DAY_US)
    assert await stored(tenancy, series_id) == [(series_id, T0, 2.0)]


async def test_late_after_expiry(settled: Storage, tenancy: Tenancy) -> None:
    """A day that was dropped can be filled again, and is dropped again."""
    series_id = await tenancy.series()
    old_us = retention_cutoff(NOW_US, RETENTION_DAYS_DEFAULT) - HOUR_US
    for value in (1.0, 2.0):
        await tenancy.append([(series_id, old_us, value)])
        await settle_all(settled)
        assert await stored(tenancy, series_id) == [(series_id, old_us, value)]
        await settled.keeping.drop_expired(now_us=NOW_US)
        assert await stored(tenancy, series_id) == []


async def test_forget_replies(settled: Storage, tenancy: Tenancy) -> None:
    """Idempotency keys from before a time are forgotten, later ones honoured."""
    series_id, key = await tenancy.series(), unique("key")
    await tenancy.append_once([(series_id, T0, 1.0)], key)
    await settled.keeping.forget_replies(older_than_us=NOW_US - HOUR_US)
    assert isinstance(await tenancy.append_once([(series_id, T0, 2.0)], key), StoredReply)
    assert await settled.keeping.forget_replies(older_than_us=NOW_US + DAY_US) >= 1
    assert await settled.journal.stored_reply(tenancy.id, key) is None
    await tenancy.append_once([(series_id, T0, 3.0)], key)
    assert await stored(tenancy, series_id) == [(series_id, T0, 3.0)]


async def test_recount_series(settled: Storage, tenancy: Tenancy) -> None:
    """Active series are those created, or with a sample settled, since a time; others make room for new ones."""
    for n in range(3):
        await tenancy.series(host=str(n))
    assert (await settled.tenants.policy(tenancy.id)).series_active == 3
    await settled.keeping.recount_series(seen_since_us=NOW_US - 2 * DAY_US)
    assert (await settled.tenants.policy(tenancy.id)).series_active == 3
    await settled.keeping.recount_series(seen_since_us=NOW_US + 2 * DAY_US)
    assert (await settled.tenants.policy(tenancy.id)).series_active == 0


async def test_status(settled: Storage, tenancy: Tenancy) -> None:
    """Status counts tenants, series, settled samples and unsettled points exactly, and knows the oldest and newest."""
    before = await settled.keeping.status()
    series_id = await tenancy.series()
    await tenancy.append([(series_id, T0, 1.0), (series_id, T0 + 1, 1.0), (series_id, T0 + 1, 2.0)])
    waiting = await settled.keeping.status()
    assert waiting.unsettled_points == 3
    assert waiting.unsettled_oldest_us is not None
    assert (waiting.series - before.series, waiting.samples - before.samples) == (1, 0)
    await settle_all(settled)
    after = await settled.keeping.status()
    assert (after.unsettled_points, after.unsettled_oldest_us) == (0, None)
    assert after.samples - before.samples == 2
    assert after.tenants == len(await settled.tenants.list())
    assert after.chunks >= 1
    assert after.size_bytes > 0
    assert after.oldest_us is not None
    assert after.newest_us is not None
    assert after.oldest_us <= T0 < after.newest_us
    assert after.engine in ("memory", "postgresql", "timescaledb")
    assert after.engine_version
    assert after.schema_version
