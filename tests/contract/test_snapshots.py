"""The sample reader port: what a snapshot sees while others append and settle, and what it refuses to read."""

import asyncio

import msgspec
import pytest

from core.domain.definitions import MetricDefinition
from core.domain.errors import TooExpensive
from core.domain.times import DAY_US, HOUR_US, SECOND_US, TimeRange
from tests.support import oracle
from tests.support.queries import one_line, partials, raw_points, values_by_line
from tests.support.storages import LIMITS, RECENT_US, Row, Storage, Store, Tenancy, ids, settle_all

T0 = RECENT_US
RANGE = TimeRange(T0, T0 + DAY_US)


async def seen(tenancy: Tenancy, series_id: int) -> list[Row]:
    """All that a new snapshot shows of a series, read in three ways that must agree."""
    async with tenancy.snapshot() as snapshot:
        rows = oracle.rows(await raw_points(snapshot, ids([series_id]), RANGE))
        line = one_line(ids([series_id]))
        assert await values_by_line(snapshot, line, RANGE) == [sorted(value for _, _, value in rows)]
        counts = (await partials(snapshot, line, RANGE, HOUR_US)).counts
    assert int(counts.sum()) == len(rows)
    return rows


@pytest.mark.usefixtures("two_transactions")
async def test_settling_meanwhile(tenancy: Tenancy, other_storage: Storage) -> None:
    """A snapshot that was opened before a settle reads every point once, and goes on doing so after it."""
    series_id = await tenancy.series()
    rows = [(series_id, T0 + n * SECOND_US, float(n)) for n in range(100)]
    await tenancy.append(rows[:50])
    await settle_all(other_storage)
    await tenancy.append(rows[50:])
    async with tenancy.snapshot() as snapshot:
        assert oracle.rows(await raw_points(snapshot, ids([series_id]), RANGE)) == rows
        await settle_all(other_storage)
        assert oracle.rows(await raw_points(snapshot, ids([series_id]), RANGE)) == rows
        assert await seen(Tenancy(other_storage, tenancy.tenant), series_id) == rows
        assert oracle.rows(await raw_points(snapshot, ids([series_id]), RANGE)) == rows
    assert await seen(tenancy, series_id) == rows


@pytest.mark.usefixtures("two_transactions")
async def test_appending_meanwhile(tenancy: Tenancy, other_storage: Storage) -> None:
    """A snapshot shows the present as it was when it was opened, also of settled values rewritten since."""
    series_id = await tenancy.series()
    await tenancy.append([(series_id, T0, 1.0)])
    await settle_all(tenancy.storage)
    async with tenancy.snapshot() as snapshot:
        before = oracle.rows(await raw_points(snapshot, ids([series_id]), RANGE))
        elsewhere = Tenancy(other_storage, tenancy.tenant)
        await elsewhere.append([(series_id, T0, 2.0), (series_id, T0 + 1, 3.0)])
        await settle_all(other_storage)
        assert oracle.rows(await raw_points(snapshot, ids([series_id]), RANGE)) == before
    assert before == [(series_id, T0, 1.0)]
    assert await seen(tenancy, series_id) == [(series_id, T0, 2.0), (series_id, T0 + 1, 3.0)]


async def test_every_reader_while_everything_runs(tenancy: Tenancy, store: Store) -> None:
    """While two processes append and a third settles, each reader sees all that was acknowledged before, once."""
    series_id = await tenancy.series()
    acknowledged: set[Row] = set()
    done = asyncio.Event()
    async with store.open() as second, store.open() as keeper, store.open() as reading:
        writers = [tenancy, Tenancy(second, tenancy.tenant)]
        reader = Tenancy(reading, tenancy.tenant)

        async def write(which: int) -> None:
            for n in range(30):
                rows = [(series_id, T0 + (n * 20 + which * 10 + k) * SECOND_US, float(n)) for k in range(10)]
                await writers[which].append(rows)
                acknowledged.update(rows)
                await asyncio.sleep(0)

        async def settle() -> None:
            while not done.is_set():
                await keeper.keeping.settle(points_max=35)
                await asyncio.sleep(0)

        async def read() -> None:
            while not done.is_set():
                before = set(acknowledged)
                rows = await seen(reader, series_id)
                assert len(rows) == len(set(rows))
                assert before <= set(rows)
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(settle())
            tasks.create_task(read())
            await asyncio.gather(write(0), write(1))
            done.set()
        assert await seen(reader, series_id) == sorted(acknowledged)
        await settle_all(keeper)
        assert await seen(reader, series_id) == sorted(acknowledged)


async def test_definition(tenancy: Tenancy, neighbour: Tenancy) -> None:
    """A snapshot knows the tenant's definition of a metric, and nobody else's."""
    definition = MetricDefinition(name="cpu", unit="%", retention_days=7)
    await tenancy.storage.definitions.create(tenancy.id, definition)
    async with tenancy.snapshot() as snapshot:
        assert await snapshot.definition("cpu") == definition
        assert await snapshot.definition("memory") is None
    async with neighbour.snapshot() as snapshot:
        assert await snapshot.definition("cpu") is None


async def test_too_expensive(tenancy: Tenancy) -> None:
    """A query that would read more samples than the tenant may is refused with the limit; a page of them is not."""
    series_id = await tenancy.series()
    rows = [(series_id, T0 + n * SECOND_US, float(n)) for n in range(60)]
    await tenancy.append(rows)
    await settle_all(tenancy.storage)
    limits = msgspec.structs.replace(LIMITS, query_points_max=50)
    series_ids = ids([series_id])
    nothing = TimeRange(T0 + HOUR_US, RANGE.end_us)
    async with tenancy.snapshot(limits) as snapshot:
        head = snapshot.head(series_ids, nothing)
        with pytest.raises(TooExpensive) as refusal:
            await snapshot.settled_points(series_ids, RANGE)
        assert refusal.value.limit == 50
    async with tenancy.snapshot(limits) as snapshot:
        with pytest.raises(TooExpensive):
            await snapshot.settled_values(one_line(series_ids), RANGE, head)
    async with tenancy.snapshot(limits) as snapshot:
        page = await snapshot.settled_points(series_ids, RANGE, first=20)
        assert len(page) == 20
    async with tenancy.snapshot(limits) as snapshot:
        inside = TimeRange(T0, T0 + 50 * SECOND_US)
        assert len(await snapshot.settled_points(series_ids, inside)) == 50
