"""The journal port, reading: order, cursors that move with the effect, one consumer at a time."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from core.domain.head import JournalBlock
from core.domain.points import Receipt
from ports.driven.evaluation_store import CONSUMER
from tests.support import oracle
from tests.support.storages import RECENT_US, Row, Storage, Store, Tenancy, settle_all, unique

T0 = RECENT_US
ALL = 1_000_000


class EffectError(Exception):
    """What a consumer's own work may raise."""


@pytest.fixture(autouse=True)
async def _nobody_else_consumes(storage: Storage) -> None:
    """Let evaluation go, which tests of it on the same database registered for good."""
    await storage.consumers.unregister(CONSUMER)


@pytest.fixture
async def consumer(storage: Storage) -> AsyncIterator[str]:
    """Yield the name of a consumer that has read all there was, and forget it afterwards."""
    name = unique("consumer")
    await storage.consumers.register(name)
    await read(storage, name)
    yield name
    await storage.consumers.unregister(name)


async def read(storage: Storage, consumer: str, points_max: int = ALL) -> list[JournalBlock]:
    """All blocks that the consumer has not seen, batch by batch, none of them twice."""
    blocks: list[JournalBlock] = []
    while True:
        async with storage.consumers.consume(consumer, points_max=points_max) as batch:
            if not batch.blocks:
                return blocks
            blocks += batch.blocks
        assert len({(block.writer, block.sequence) for block in blocks}) == len(blocks)


def rows_of(blocks: Sequence[JournalBlock], tenancy: Tenancy) -> list[Row]:
    """One tenant's points in blocks, in their order."""
    rows: list[Row] = []
    for block in blocks:
        start = 0
        for tenant_id, end in zip(block.tenant_ids, block.tenant_ends, strict=True):
            if tenant_id == tenancy.id:
                rows += oracle.rows(block.points.take(slice(start, end)))
            start = end
    return rows


async def test_blocks_are_what_was_appended(tenancy: Tenancy, consumer: str) -> None:
    """Each acknowledged entry is in the block that its receipt names, and nowhere else."""
    series_id = await tenancy.series()
    receipts = await asyncio.gather(*(tenancy.append([(series_id, T0 + n, float(n))]) for n in range(20)))
    blocks = await read(tenancy.storage, consumer)
    found = {row: Receipt(block.writer, block.sequence) for block in blocks for row in rows_of([block], tenancy)}
    assert found == {(series_id, T0 + n, float(n)): receipt for n, receipt in enumerate(receipts)}
    assert sum(len(rows_of([block], tenancy)) for block in blocks) == 20


async def test_order_in_a_stream(tenancy: Tenancy, consumer: str) -> None:
    """Blocks of one stream come in commit order, without gaps, and rows of an entry keep their order."""
    series_id = await tenancy.series()
    expected = [(series_id, T0, float(n)) for n in range(10)]
    for first, second in zip(expected[::2], expected[1::2], strict=True):
        await tenancy.append([first, second])
    blocks = await read(tenancy.storage, consumer)
    sequences = [block.sequence for block in blocks]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    assert rows_of(blocks, tenancy) == expected


async def test_order_across_streams(tenancy: Tenancy, other_storage: Storage, consumer: str) -> None:
    """Commits that did not overlap come in their order, whichever process made them."""
    series_id = await tenancy.series()
    writers = [tenancy, Tenancy(other_storage, tenancy.tenant)]
    for n in range(6):
        await writers[n % 2].append([(series_id, T0, float(n))])
    blocks = await read(tenancy.storage, consumer)
    assert rows_of(blocks, tenancy) == [(series_id, T0, float(n)) for n in range(6)]
    orders = [block.order for block in blocks]
    assert orders == sorted(set(orders))


async def test_tenants_in_a_block(tenancy: Tenancy, neighbour: Tenancy, consumer: str) -> None:
    """A block says which rows are whose; within a tenant they ascend by series."""
    ours = [await tenancy.series(host=str(n)) for n in range(3)]
    theirs = await neighbour.series()
    await asyncio.gather(
        tenancy.append([(ours[2], T0, 1.0), (ours[0], T0, 2.0)]),
        neighbour.append([(theirs, T0, 3.0)]),
        tenancy.append([(ours[1], T0, 4.0)]),
    )
    blocks = await read(tenancy.storage, consumer)
    assert sorted(rows_of(blocks, tenancy)) == [(ours[0], T0, 2.0), (ours[1], T0, 4.0), (ours[2], T0, 1.0)]
    assert rows_of(blocks, neighbour) == [(theirs, T0, 3.0)]
    for block in blocks:
        assert block.tenant_ends[-1] == len(block.points)
        assert list(block.tenant_ids) == sorted(set(block.tenant_ids))
        assert [row[0] for row in rows_of([block], tenancy)] == sorted(row[0] for row in rows_of([block], tenancy))


async def test_nothing_twice(tenancy: Tenancy, consumer: str) -> None:
    """A block that was consumed does not come again."""
    series_id = await tenancy.series()
    await tenancy.append([(series_id, T0, 1.0)])
    assert len(rows_of(await read(tenancy.storage, consumer), tenancy)) == 1
    assert await read(tenancy.storage, consumer) == []
    await tenancy.append([(series_id, T0, 2.0)])
    assert rows_of(await read(tenancy.storage, consumer), tenancy) == [(series_id, T0, 2.0)]


@pytest.mark.parametrize("points_max", [1, 5, 7])
async def test_whole_blocks(tenancy: Tenancy, consumer: str, points_max: int) -> None:
    """A batch holds whole blocks, at least one, about `points_max` points; together they are everything."""
    series_id = await tenancy.series()
    for n in range(4):
        await tenancy.append([(series_id, T0 + n * 3 + k, 0.0) for k in range(3)])
    async with tenancy.storage.consumers.consume(consumer, points_max=points_max) as batch:
        first = list(batch.blocks)
    assert 3 <= len(rows_of(first, tenancy)) <= max(3, points_max + 2)
    rest = await read(tenancy.storage, consumer, points_max)
    assert rows_of([*first, *rest], tenancy) == [(series_id, T0 + n, 0.0) for n in range(12)]


async def test_an_error_leaves_the_cursor(tenancy: Tenancy, consumer: str) -> None:
    """Where the effect fails, the cursor stays and the same blocks come again."""
    series_id = await tenancy.series()
    await tenancy.append([(series_id, T0, 1.0)])
    before = await tenancy.storage.consumers.positions(consumer)

    async def fail() -> None:
        async with tenancy.storage.consumers.consume(consumer, points_max=ALL) as batch:
            assert rows_of(batch.blocks, tenancy) == [(series_id, T0, 1.0)]
            raise EffectError

    with pytest.raises(EffectError):
        await fail()
    assert await tenancy.storage.consumers.positions(consumer) == before
    assert rows_of(await read(tenancy.storage, consumer), tenancy) == [(series_id, T0, 1.0)]


async def test_cancelling_leaves_the_cursor(tenancy: Tenancy, consumer: str) -> None:
    """A consumer that is cancelled at work has consumed nothing, and holds nobody up."""
    series_id = await tenancy.series()
    await tenancy.append([(series_id, T0, 1.0)])
    entered = asyncio.Event()

    async def work_for_ever() -> None:
        async with tenancy.storage.consumers.consume(consumer, points_max=ALL):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work_for_ever())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rows_of(await read(tenancy.storage, consumer), tenancy) == [(series_id, T0, 1.0)]


@pytest.mark.usefixtures("two_transactions")
async def test_one_at_a_time(tenancy: Tenancy, other_storage: Storage, consumer: str) -> None:
    """While one process consumes under a name, others get empty batches; another name is not held up."""
    series_id, other_name = await tenancy.series(), unique("consumer")
    await other_storage.consumers.register(other_name)
    await read(other_storage, other_name)
    await tenancy.append([(series_id, T0, 1.0)])
    async with tenancy.storage.consumers.consume(consumer, points_max=ALL) as batch:
        assert rows_of(batch.blocks, tenancy) == [(series_id, T0, 1.0)]
        async with other_storage.consumers.consume(consumer, points_max=ALL) as second:
            assert list(second.blocks) == []
        assert rows_of(await read(other_storage, other_name), tenancy) == [(series_id, T0, 1.0)]
    assert await read(other_storage, consumer) == []
    await other_storage.consumers.unregister(other_name)


@pytest.mark.usefixtures("two_transactions")
async def test_appending_goes_on_meanwhile(tenancy: Tenancy, consumer: str) -> None:
    """Appends are acknowledged while a consumer is at work, and come to it afterwards."""
    series_id = await tenancy.series()
    await tenancy.append([(series_id, T0, 1.0)])
    async with tenancy.storage.consumers.consume(consumer, points_max=ALL):
        await tenancy.append([(series_id, T0, 2.0)])
    assert rows_of(await read(tenancy.storage, consumer), tenancy) == [(series_id, T0, 2.0)]


async def test_kept_until_consumed(tenancy: Tenancy, consumer: str) -> None:
    """The settler moving on does not take blocks from a registered consumer, and the other way round."""
    series_id = await tenancy.series()
    await tenancy.append([(series_id, T0, 1.0)])
    await settle_all(tenancy.storage)
    assert rows_of(await read(tenancy.storage, consumer), tenancy) == [(series_id, T0, 1.0)]
    await tenancy.append([(series_id, T0, 2.0)])
    assert rows_of(await read(tenancy.storage, consumer), tenancy) == [(series_id, T0, 2.0)]
    assert (await tenancy.storage.keeping.backlog()).points == 1
    assert await settle_all(tenancy.storage) == 1


async def test_deleted_when_all_have_passed(tenancy: Tenancy, consumer: str) -> None:
    """Once the settler and every consumer have passed a block, a newcomer no longer finds it."""
    series_id, newcomer = await tenancy.series(), unique("consumer")
    await tenancy.append([(series_id, T0, 1.0)])
    await read(tenancy.storage, consumer)
    await settle_all(tenancy.storage)
    await tenancy.storage.consumers.register(newcomer)
    assert rows_of(await read(tenancy.storage, newcomer), tenancy) == []
    await tenancy.append([(series_id, T0, 2.0)])
    assert rows_of(await read(tenancy.storage, newcomer), tenancy) == [(series_id, T0, 2.0)]
    await tenancy.storage.consumers.unregister(newcomer)


async def test_registering_again(tenancy: Tenancy, consumer: str) -> None:
    """Registering a second time changes nothing; neither does unregistering a stranger."""
    series_id = await tenancy.series()
    await tenancy.append([(series_id, T0, 1.0)])
    await read(tenancy.storage, consumer)
    await tenancy.append([(series_id, T0, 2.0)])
    await tenancy.storage.consumers.register(consumer)
    await tenancy.storage.consumers.unregister(unique("stranger"))
    assert rows_of(await read(tenancy.storage, consumer), tenancy) == [(series_id, T0, 2.0)]


async def test_unregistered_is_forgotten(tenancy: Tenancy) -> None:
    """A consumer that left holds no blocks back, and has no position when it comes again."""
    series_id, consumer = await tenancy.series(), unique("consumer")
    await tenancy.storage.consumers.register(consumer)
    await tenancy.append([(series_id, T0, 1.0)])
    await tenancy.storage.consumers.unregister(consumer)
    await settle_all(tenancy.storage)
    assert dict(await tenancy.storage.consumers.positions(consumer)) == {}
    await tenancy.storage.consumers.register(consumer)
    assert rows_of(await read(tenancy.storage, consumer), tenancy) == []
    await tenancy.storage.consumers.unregister(consumer)


async def test_positions(tenancy: Tenancy, consumer: str, store: Store) -> None:
    """Positions name, stream by stream, the last block consumed, also of streams opened later."""
    series_id = await tenancy.series()
    ours = await tenancy.append([(series_id, T0, 1.0)])
    await read(tenancy.storage, consumer)
    assert (await tenancy.storage.consumers.positions(consumer))[ours.writer] == ours.sequence
    async with store.open() as later:
        theirs = await Tenancy(later, tenancy.tenant).append([(series_id, T0, 2.0)])
        assert rows_of(await read(later, consumer), tenancy) == [(series_id, T0, 2.0)]
        positions = await later.consumers.positions(consumer)
    assert positions[ours.writer] == ours.sequence
    assert positions[theirs.writer] == theirs.sequence
