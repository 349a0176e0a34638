"""The event store port: signal events."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from core.domain.definitions import RETENTION_DAYS_DEFAULT, MetricDefinition, retention_cutoff
from core.domain.errors import NotFound
from core.domain.events import EVENTS_PER_REQUEST_MAX, EventFilter, EventSeverity, SignalEvent
from core.domain.times import EPOCH, HOUR_US
from tests.support.signal_events import signal_event
from tests.support.storages import RECENT_US, Storage, Tenancy

NOW = datetime(2026, 1, 31, 12, 0, 0, 123_456, tzinfo=UTC)
TICK = timedelta(microseconds=1)
ANY = EventFilter()


async def listed(
    tenancy: Tenancy,
    wanted: EventFilter = ANY,
    *,
    limit: int = 1_000,
    before: tuple[datetime, UUID] | None = None,
) -> list[SignalEvent]:
    """A page of a tenant's events."""
    return list(await tenancy.storage.events.list(tenancy.id, wanted, limit=limit, before=before))


async def test_kept_as_given(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """Every field comes back as it was given, in any process."""
    plain = signal_event(NOW)
    full = signal_event(
        NOW + TICK,
        host="Größe ✓",
        service="x" * 500,
        fingerprint="Größe ✓:a.b",
        severity=EventSeverity.ERROR,
        metric="a.b",
        value=-1e300,
        message="failed – “all”\n\t\\" + "x" * 3_000,
        labels={"zone": "\\x,{}\n", "a": ""},
        synthetic=True,
        anomaly_id=uuid4(),
        created_at=NOW + timedelta(hours=1),
    )
    assert await storage.events.append(tenancy.id, [plain, full]) == 2
    assert list(await other_storage.events.list(tenancy.id, ANY, limit=10, before=None)) == [full, plain]
    assert await other_storage.events.get(tenancy.id, full.id) == full


async def test_an_id_is_taken_once(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Sending an event again adds and changes nothing, in one batch or in two; another tenant's ids are no obstacle."""
    first, second = signal_event(NOW), signal_event(NOW)
    assert await storage.events.append(tenancy.id, [first, first]) == 1
    changed = signal_event(NOW + TICK, first.id, metric="disk")
    assert await storage.events.append(tenancy.id, [changed, second]) == 1
    assert await storage.events.get(tenancy.id, first.id) == first
    assert await storage.events.append(neighbour.id, [changed]) == 1
    assert await storage.events.get(neighbour.id, first.id) == changed
    assert await storage.events.append(tenancy.id, []) == 0
    assert len(await listed(tenancy)) == 2


async def test_a_full_batch_at_once(storage: Storage, tenancy: Tenancy) -> None:
    """A request's most events, sent twice at the same time in opposite orders, are stored once."""
    events = [signal_event(NOW) for _ in range(EVENTS_PER_REQUEST_MAX)]
    added = await asyncio.gather(
        storage.events.append(tenancy.id, events), storage.events.append(tenancy.id, events[::-1])
    )
    assert sum(added) == len(events)


async def test_pages(storage: Storage, tenancy: Tenancy) -> None:
    """Pages are newest first and join without gap or repeat, through events of one moment as well."""
    events = [signal_event(NOW - n // 4 * TICK) for n in range(18)]
    await storage.events.append(tenancy.id, events)
    expected = sorted(events, key=lambda event: (event.ts, event.id), reverse=True)
    found: list[SignalEvent] = []
    before = None
    while page := await listed(tenancy, limit=5, before=before):
        found += page
        before = (page[-1].ts, page[-1].id)
    assert found == expected


async def test_filters(storage: Storage, tenancy: Tenancy) -> None:
    """Each filter holds by itself, all together, and with a position; the range is half-open."""
    usual = signal_event(NOW)
    other = signal_event(
        NOW + TICK,
        host="host-b",
        service="shop",
        fingerprint="host-b:disk",
        severity=EventSeverity.WARN,
        metric="disk",
        synthetic=True,
        anomaly_id=uuid4(),
    )
    await storage.events.append(tenancy.id, [usual, other])
    now_us = (NOW - EPOCH) // TICK
    for both, only_other in (
        (EventFilter(start_us=now_us), EventFilter(start_us=now_us + 1)),
        (EventFilter(end_us=now_us + 2), EventFilter(start_us=now_us + 1, end_us=now_us + 2)),
        (ANY, EventFilter(severity=EventSeverity.WARN)),
        (ANY, EventFilter(host="host-b")),
        (ANY, EventFilter(service="shop")),
        (ANY, EventFilter(metric="disk")),
        (ANY, EventFilter(fingerprint="host-b:disk")),
        (ANY, EventFilter(synthetic=True)),
        (ANY, EventFilter(anomalies=True)),
        (ANY, EventFilter(host="host-b", metric="disk", synthetic=True, anomalies=True, end_us=now_us + 2)),
    ):
        assert await listed(tenancy, both) == [other, usual]
        assert await listed(tenancy, only_other) == [other]
        assert await listed(tenancy, only_other, before=(other.ts, other.id)) == []
    for only_usual in (
        EventFilter(end_us=now_us + 1),
        EventFilter(severity=EventSeverity.INFO),
        EventFilter(synthetic=False),
        EventFilter(anomalies=False),
        EventFilter(fingerprint="host-a:cpu"),
    ):
        assert await listed(tenancy, only_usual) == [usual]
    assert await listed(tenancy, EventFilter(host="host-b", metric="cpu")) == []


async def test_no_such_event(storage: Storage, tenancy: Tenancy) -> None:
    """An id that none has is not found."""
    with pytest.raises(NotFound):
        await storage.events.get(tenancy.id, uuid4())


async def test_tenants_apart(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """The neighbour sees nothing of it."""
    event = signal_event(NOW)
    await storage.events.append(tenancy.id, [event])
    assert await listed(neighbour) == []
    with pytest.raises(NotFound):
        await storage.events.get(neighbour.id, event.id)


async def test_forgotten_as_samples_are(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """An event is kept, to the day, as long as the tenant's definition of its metric says, else by default."""
    now_us = RECENT_US
    for name, days in (("short", 2), ("long", 400)):
        await storage.definitions.put(tenancy.id, MetricDefinition(name=name, retention_days=days))
    kept, gone = [], []
    for metric, days in (("short", 2), ("long", 400), ("plain", RETENTION_DAYS_DEFAULT)):
        oldest = EPOCH + retention_cutoff(now_us, days) * TICK
        kept.append(signal_event(oldest, metric=metric))
        gone.append(signal_event(oldest - TICK, metric=metric))
    others = signal_event(gone[0].ts, metric="short")
    await storage.events.append(tenancy.id, [*kept, *gone])
    await storage.events.append(neighbour.id, [others])
    assert await storage.events.forget(now_us=now_us, limit=1) == 1
    while await storage.events.forget(now_us=now_us, limit=1_000):
        pass
    left = sorted(kept, key=lambda event: event.ts, reverse=True)
    assert await listed(tenancy) == left
    assert await listed(neighbour) == [others]
    assert await storage.events.forget(now_us=now_us + HOUR_US, limit=1_000) == 0
