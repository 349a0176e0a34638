"""The journal port, appending: receipts, order, idempotency keys, neighbours in one commit."""

import asyncio

from core.domain.points import Receipt
from core.domain.times import DAY_US, HOUR_US, TimeRange
from ports.driven.journal import StoredReply
from tests.support import oracle
from tests.support.queries import raw_points
from tests.support.storages import RECENT_US, Row, Storage, Store, Tenancy, ids, settle_all, unique

T0 = RECENT_US
AROUND = TimeRange(T0 - DAY_US, T0 + DAY_US)


async def stored(tenancy: Tenancy, *series_ids: int) -> list[Row]:
    """All that a snapshot shows of some series."""
    async with tenancy.snapshot() as snapshot:
        return oracle.rows(await raw_points(snapshot, ids(series_ids), AROUND))


async def test_receipts_ascend(tenancy: Tenancy) -> None:
    """One after the other, appends get ascending sequences in one stream."""
    series_id = await tenancy.series()
    receipts = [await tenancy.append([(series_id, T0 + n, 0.0)]) for n in range(3)]
    assert len({receipt.writer for receipt in receipts}) == 1
    sequences = [receipt.sequence for receipt in receipts]
    assert sequences == sorted(set(sequences))


async def test_processes_write_different_streams(tenancy: Tenancy, other_storage: Storage) -> None:
    """Two processes never share a stream, so their positions cannot collide."""
    series_id = await tenancy.series()
    elsewhere = Tenancy(other_storage, tenancy.tenant)
    ours = await tenancy.append([(series_id, T0, 1.0)])
    theirs = await elsewhere.append([(series_id, T0, 2.0)])
    assert ours.writer != theirs.writer
    assert await stored(tenancy, series_id) == await stored(elsewhere, series_id) == [(series_id, T0, 2.0)]


async def test_acknowledged_is_visible(tenancy: Tenancy) -> None:
    """What was acknowledged is in the next snapshot, whoever else appends at the same time."""
    series_id = await tenancy.series()

    async def append_and_look(n: int) -> None:
        await tenancy.append([(series_id, T0 + n, float(n))])
        assert (series_id, T0 + n, float(n)) in await stored(tenancy, series_id)

    await asyncio.gather(*(append_and_look(n) for n in range(12)))
    assert await stored(tenancy, series_id) == [(series_id, T0 + n, float(n)) for n in range(12)]


async def test_later_wins(tenancy: Tenancy) -> None:
    """Of two values for one (series, ts) the later counts, in one entry or in two, unsettled and settled."""
    first, second = await tenancy.series(host="a"), await tenancy.series(host="b")
    await tenancy.append([(second, T0, 1.0), (first, T0, 2.0), (second, T0, 3.0)])
    assert await stored(tenancy, first, second) == [(first, T0, 2.0), (second, T0, 3.0)]
    await tenancy.append([(first, T0, 4.0)])
    expected = [(first, T0, 4.0), (second, T0, 3.0)]
    assert await stored(tenancy, first, second) == expected
    await settle_all(tenancy.storage)
    assert await stored(tenancy, first, second) == expected
    await tenancy.append([(second, T0, 5.0)])
    assert await stored(tenancy, first, second) == [(first, T0, 4.0), (second, T0, 5.0)]


async def test_values_are_exact(tenancy: Tenancy) -> None:
    """Every double and every microsecond comes back bit for bit, unsettled and settled."""
    series_id = await tenancy.series()
    values = [0.1, -0.0, 5e-324, 1.7976931348623157e308, -1.7976931348623157e308, 2.0**53 + 2, 1e-300]
    rows = [(series_id, T0 + n, value) for n, value in enumerate(values)]
    await tenancy.append(rows)
    assert [(s, t, v.hex()) for s, t, v in await stored(tenancy, series_id)] == [(s, t, v.hex()) for s, t, v in rows]
    await settle_all(tenancy.storage)
    assert [(s, t, v.hex()) for s, t, v in await stored(tenancy, series_id)] == [(s, t, v.hex()) for s, t, v in rows]


async def test_a_large_entry(tenancy: Tenancy) -> None:
    """A batch of the largest size, in no order, over many series, is kept whole."""
    series_ids = [await tenancy.series(host=str(n)) for n in range(10)]
    rows = [(series_ids[n * 7 % 10], T0 + n * 7_919 % 10_000 * 1_000, float(n)) for n in range(10_000)]
    await tenancy.append(rows)
    assert await stored(tenancy, *series_ids) == oracle.model_rows(oracle.last_values(rows))


async def test_reopened(tenancy: Tenancy, store: Store) -> None:
    """A process that starts later sees what earlier ones had acknowledged, settled or not."""
    series_id = await tenancy.series()
    await tenancy.append([(series_id, T0, 1.0)])
    await settle_all(tenancy.storage)
    await tenancy.append([(series_id, T0 + HOUR_US, 2.0)])
    async with store.open() as later:
        expected = [(series_id, T0, 1.0), (series_id, T0 + HOUR_US, 2.0)]
        assert await stored(Tenancy(later, tenancy.tenant), series_id) == expected


async def test_an_abandoned_request_harms_no_neighbour(tenancy: Tenancy) -> None:
    """Cancelling one append leaves those that were to share its commit acknowledged and stored."""
    series_id = await tenancy.series()
    tasks = [asyncio.create_task(tenancy.append([(series_id, T0 + n, float(n))])) for n in range(6)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    kept = [n for n, answer in enumerate(answers) if isinstance(answer, Receipt)]
    assert set(kept) >= {0, 1, 3, 4, 5}
    found = await stored(tenancy, series_id)
    assert [row for row in found if row[1] != T0 + 2] == [(series_id, T0 + n, float(n)) for n in kept if n != 2]


async def test_key_repeated(tenancy: Tenancy) -> None:
    """A repeated idempotency key stores nothing more and gets the first reply with its position."""
    series_id, key = await tenancy.series(), unique("key")
    receipt = await tenancy.append_once([(series_id, T0, 1.0)], key)
    assert isinstance(receipt, Receipt)
    again = await tenancy.append_once([(series_id, T0 + 1, 2.0)], key)
    assert again == StoredReply(tenancy.entry([(series_id, T0, 1.0)], key).reply, receipt)  # type: ignore[arg-type]  # the entry has a reply
    assert await stored(tenancy, series_id) == [(series_id, T0, 1.0)]


async def test_key_with_another_body(tenancy: Tenancy) -> None:
    """Another body under a key is not stored, and gets the first body's hash, so that the caller can tell."""
    series_id, key = await tenancy.series(), unique("key")
    await tenancy.append_once([(series_id, T0, 1.0)], key, b"1" * 32)
    other = await tenancy.append_once([(series_id, T0, 2.0)], key, b"2" * 32)
    assert isinstance(other, StoredReply)
    assert other.reply.body_sha256 == b"1" * 32
    assert await stored(tenancy, series_id) == [(series_id, T0, 1.0)]


async def test_key_repeated_at_once(tenancy: Tenancy, other_storage: Storage) -> None:
    """Of concurrent appends with one key, in two processes, one is stored; all learn its position."""
    series_id, key = await tenancy.series(), unique("key")
    elsewhere = Tenancy(other_storage, tenancy.tenant)
    answers = await asyncio.gather(
        *((tenancy, elsewhere)[n % 2].append_once([(series_id, T0 + n, float(n))], key) for n in range(10))
    )
    [receipt] = [answer for answer in answers if isinstance(answer, Receipt)]
    replies = [answer for answer in answers if isinstance(answer, StoredReply)]
    assert {reply.receipt for reply in replies} == {receipt}
    winner = next(n for n, answer in enumerate(answers) if answer is receipt)
    assert await stored(tenancy, series_id) == [(series_id, T0 + winner, float(winner))]


async def test_key_and_neighbours(tenancy: Tenancy, neighbour: Tenancy) -> None:
    """A repeated key in a group commit takes nothing from the others in it, of whatever tenant."""
    ours, theirs, key = await tenancy.series(), await neighbour.series(), unique("key")
    await tenancy.append_once([(ours, T0, 1.0)], key)
    answers = await asyncio.gather(
        tenancy.append([(ours, T0 + 1, 2.0)]),
        tenancy.append_once([(ours, T0 + 2, 3.0)], key),
        neighbour.append_once([(theirs, T0, 4.0)], key),
        neighbour.append([(theirs, T0 + 1, 5.0)]),
    )
    assert [type(answer) for answer in answers] == [Receipt, StoredReply, Receipt, Receipt]
    assert await stored(tenancy, ours) == [(ours, T0, 1.0), (ours, T0 + 1, 2.0)]
    assert await stored(neighbour, theirs) == [(theirs, T0, 4.0), (theirs, T0 + 1, 5.0)]


async def test_stored_reply(tenancy: Tenancy, neighbour: Tenancy, store: Store) -> None:
    """A key's reply can be looked up from any process, by its own tenant only."""
    series_id, key = await tenancy.series(), unique("key")
    assert await tenancy.storage.journal.stored_reply(tenancy.id, key) is None
    receipt = await tenancy.append_once([(series_id, T0, 1.0)], key)
    async with store.open() as later:
        found = await later.journal.stored_reply(tenancy.id, key)
        assert found is not None
        assert (found.reply.accepted, found.reply.rejected, found.reply.errors) == (1, 1, b'[{"index":9}]')
        assert (found.reply.key, found.receipt) == (key, receipt)
        assert await later.journal.stored_reply(neighbour.id, key) is None


async def test_key_survives_settling(tenancy: Tenancy) -> None:
    """A retry after its points were settled, and their block deleted, still stores nothing more."""
    series_id, key = await tenancy.series(), unique("key")
    await tenancy.append_once([(series_id, T0, 1.0)], key)
    await settle_all(tenancy.storage)
    assert isinstance(await tenancy.append_once([(series_id, T0, 2.0)], key), StoredReply)
    assert await stored(tenancy, series_id) == [(series_id, T0, 1.0)]
