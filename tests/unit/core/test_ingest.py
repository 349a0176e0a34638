"""Taking metrics in, over the in-memory store: what is stored, what is refused and why."""

from collections.abc import Mapping

import msgspec
import pytest

from adapters.driven.memory.clock import FakeClock
from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.storage import MemoryStorage, memory_storage
from core.detection.plan import RISK_METRIC
from core.domain.definitions import MetricDefinition
from core.domain.errors import Conflict, Forbidden, RateLimited
from core.domain.points import IngestReply, Point
from core.domain.tenants import Limits, Principal, Scope
from core.domain.times import DAY_US, HOUR_US, SECOND_US, format_time
from core.services.ingest import IngestService
from core.services.policies import Policies
from ports.driven.tenant_store import LimitOverrides
from ports.driving.ingestion import IngestRequest

LIMITS = Limits(
    samples_per_s=1_000.0, samples_burst=10_000.0, series_max=100, query_points_max=10_000, query_timeout_s=10.0
)


class SilentTelemetry:
    """Counts cache look-ups, which tests ask about."""

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0

    def ingested(self, *, accepted: int, rejected: Mapping[str, int], cache_hits: int, cache_misses: int) -> None:
        self.hits += cache_hits
        self.misses += cache_misses

    def queried(self, kind: str, *, took_s: float, points: int) -> None:
        raise AssertionError("nothing is queried here")


class World:
    """One tenant's ingest service."""

    def __init__(self, storage: MemoryStorage, clock: FakeClock, tenant_id: int, limits: Limits) -> None:
        self.storage = storage
        self.clock = clock
        self.telemetry = SilentTelemetry()
        self.principal = Principal(tenant_id=tenant_id, tenant="acme", key_id=1, scopes=frozenset({Scope.INGEST}))
        self.service = IngestService(
            storage.journal,
            storage.catalog,
            Policies(storage.tenants, limits, clock),
            clock,
            self.telemetry,
            future_skew_s=600.0,
            cache_entries_max=1_000,
        )

    async def send(self, *points: Point, atomic: bool = False, key: str | None = None) -> IngestReply:
        return await self.service.ingest(
            IngestRequest(
                principal=self.principal,
                points=points,
                atomic=atomic,
                idempotency_key=key,
                body_sha256=msgspec.json.encode(points),
            )
        )

    async def waiting(self) -> int:
        return (await self.storage.keeping.backlog()).points


async def world(limits: Limits = LIMITS) -> World:
    clock = FakeClock()
    storage = memory_storage(MemoryDatabase(clock))
    tenant = await storage.tenants.create("acme", LimitOverrides())
    return World(storage, clock, tenant.id, limits)


def metric(value: float = 1.0, labels: bytes = b"{}", timestamp: str | None = None, name: str = "cpu") -> Point:
    return Point(name, value, msgspec.Raw(labels), timestamp)


@pytest.mark.parametrize(
    ("point", "field", "words"),
    [
        (metric(float("inf")), "value", "not a finite number"),
        (metric(-1.5e301), "value", "beyond ±1e+300"),
        (metric(timestamp="2025-12-31T23:59:59"), "timestamp", "no time zone"),
        (metric(timestamp="0001-01-01T00:00:00Z"), "timestamp", "outside the years"),
        (metric(timestamp="2026-01-01T00:10:01Z"), "timestamp", "ahead of the server's clock"),
        (metric(timestamp="2025-01-01T00:00:00Z"), "timestamp", "past the retention of 'cpu'"),
        (metric(labels=b'{"a":"1","a":"2"}'), "labels", "stands twice"),
        (metric(labels=b'{"a":1}'), "labels.a", "not a string"),
        (metric(labels=b"[]"), "labels", "not a JSON object"),
        (metric(labels=b'{"a":"\\u0000"}'), "labels.a", "NUL"),
        (metric(labels=b'{"a":"\\ud800"}'), "labels.a", "surrogate"),
        (metric(labels=b'{"a":"' + b"x" * 3_000 + b'"}'), "labels.a", "at most 2048"),
        (metric(labels=b'{"9a":"x"}'), "labels", "not a label name"),
        (metric(name="9cpu"), "name", "not a metric name"),
        (metric(name="c" * 300), "name", "at most 200"),
        (metric(name=RISK_METRIC), "name", "published by detection itself"),
    ],
)
async def test_a_bad_metric_is_named_and_its_neighbours_are_stored(point: Point, field: str, words: str) -> None:
    """The refusal has the index, the field and the reason; everything else of the batch is committed."""
    here = await world()
    reply = await here.send(metric(1.0), point, metric(2.0, b'{"host":"b"}'))
    assert (reply.accepted, reply.rejected) == (2, 1)
    assert (reply.errors[0].index, reply.errors[0].field) == (1, field)
    assert words in reply.errors[0].reason
    assert await here.waiting() == 2


async def test_atomic_stores_all_or_nothing() -> None:
    """With one bad metric nothing of the batch is kept; without one everything is."""
    here = await world()
    refused = await here.send(metric(), metric(float("nan"), b'{"host":"b"}'), atomic=True)
    assert (refused.accepted, refused.rejected, refused.receipt) == (0, 1, None)
    assert await here.waiting() == 0
    stored = await here.send(metric(), metric(2.0, b'{"host":"b"}'), atomic=True)
    assert stored.accepted == 2


async def test_a_repeated_request_is_stored_once_and_answered_alike() -> None:
    """Same key and body: the first answer, nothing more stored. Another body under the key is a conflict."""
    here = await world()
    first = await here.send(metric(), metric(float("nan")), key="k1")
    here.clock.advance(HOUR_US)
    assert await here.send(metric(), metric(float("nan")), key="k1") == first
    assert await here.waiting() == 1
    with pytest.raises(Conflict):
        await here.send(metric(9.0), key="k1")


async def test_existing_series_flow_past_the_limit() -> None:
    """At the limit new series are refused, naming the label that explodes; the known ones go on."""
    here = await world(msgspec.structs.replace(LIMITS, series_max=3))
    for number in range(3):
        await here.send(metric(labels=b'{"pod":"p%d","zone":"z"}' % number))
    reply = await here.send(metric(labels=b'{"pod":"p9","zone":"z"}'), metric(labels=b'{"pod":"p1","zone":"z"}'))
    assert (reply.accepted, reply.rejected) == (1, 1)
    assert "'pod' has 3 values" in reply.errors[0].reason


async def test_over_the_rate_nothing_is_kept() -> None:
    """A tenant over its rate is told when to come back, and then gets through."""
    here = await world(msgspec.structs.replace(LIMITS, samples_per_s=10.0, samples_burst=20.0))
    await here.send(*(metric(labels=b'{"n":"%d"}' % number) for number in range(20)))
    with pytest.raises(RateLimited) as refused:
        await here.send(metric(), metric())
    assert await here.waiting() == 20
    here.clock.advance(round(refused.value.retry_after_s * SECOND_US) + 1)
    assert (await here.send(metric(), metric())).accepted == 2


async def test_more_retention_lets_older_samples_in_at_once() -> None:
    """A definition made through another process counts before anything is refused."""
    here = await world()
    old = format_time(here.clock.now_us() - 40 * DAY_US)
    assert (await here.send(metric(timestamp=old))).rejected == 1
    await here.storage.definitions.put(here.principal.tenant_id, MetricDefinition(name="cpu", retention_days=50))
    assert (await here.send(metric(timestamp=old))).accepted == 1


async def test_spellings_of_one_series_share_an_id_and_the_cache() -> None:
    """Label order and white space make no other series; the second time each spelling is found in the cache."""
    here = await world()
    spellings = [b'{"a":"1","b":"2"}', b'{ "b": "2", "a": "1" }']
    for _ in range(2):
        await here.send(*(metric(labels=labels) for labels in spellings))
    tenants = await here.storage.tenants.policy(here.principal.tenant_id)
    assert tenants.series_active == 1
    assert (here.telemetry.hits, here.telemetry.misses) == (2, 2)


async def test_a_key_without_the_scope_stores_nothing() -> None:
    """The service itself checks the scope."""
    here = await world()
    here.principal = msgspec.structs.replace(here.principal, scopes=frozenset({Scope.QUERY}))
    with pytest.raises(Forbidden):
        await here.send(metric())
    assert await here.waiting() == 0
