"""Storage under test: the same driven ports over every engine, and one tenant's everyday use of them."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.storage import memory_storage
from adapters.runtime.clock import SystemClock
from core.domain.columns import Columns
from core.domain.points import Receipt
from core.domain.series import series_identity
from core.domain.tenants import Limits, Tenant
from core.domain.times import DAY_US, HOUR_US, day_start
from ports.driven.alerting_store import AlertStore, ChannelStore, RuleStore, SilenceStore
from ports.driven.audit_log import AuditLog
from ports.driven.cluster_history import ClusterHistory
from ports.driven.cluster_store import CapacityStore, ConfigStore
from ports.driven.definition_store import DefinitionStore
from ports.driven.detection_store import DetectionRuns, DetectionStore
from ports.driven.drift_store import DriftSchedule, DriftStore, RecommendationStore
from ports.driven.evaluation_store import EvaluationStore
from ports.driven.event_store import DependencyStore, EventStore
from ports.driven.incident_store import IncidentStore, IncidentWork
from ports.driven.journal import IdempotentReply, Journal, JournalConsumers, JournalEntry, StoredReply
from ports.driven.keeping import Keeping
from ports.driven.probe import Probe
from ports.driven.remediation_store import ActionLimits, PolicyStore, RemediationOutbox, RemediationStore
from ports.driven.sample_reader import SampleReader, Snapshot
from ports.driven.series_catalog import SeriesCatalog
from ports.driven.server_secrets import ServerSecrets
from ports.driven.source_store import CollectionRunStore, CollectionWorkStore, InstanceStore, SourceStore
from ports.driven.synthetic_store import SyntheticPurger, SyntheticStore
from ports.driven.tenant_store import KeyStore, LimitOverrides, TenantStore

SERIES_MAX = 1_000_000
SETTLE_ALL_TIMEOUT_S = 60
"""A settler that makes no progress must fail a test, not hang it."""
LIMITS = Limits(
    samples_per_s=1e6,
    samples_burst=1e6,
    series_max=SERIES_MAX,
    query_points_max=10_000_000,
    query_timeout_s=30.0,
)
BODY_SHA256 = bytes(range(32))
RECENT_US = day_start(SystemClock().now_us()) - 3 * DAY_US + 6 * HOUR_US
"""Six in the morning three days ago: inside every retention, and the days around it are over."""

Row = tuple[int, int, float]
"""Series, microseconds since the Unix epoch, value."""


class Storage(Protocol):
    """One adapter for each driven storage port."""

    @property
    def journal(self) -> Journal: ...
    @property
    def consumers(self) -> JournalConsumers: ...
    @property
    def catalog(self) -> SeriesCatalog: ...
    @property
    def reader(self) -> SampleReader: ...
    @property
    def definitions(self) -> DefinitionStore: ...
    @property
    def tenants(self) -> TenantStore: ...
    @property
    def keys(self) -> KeyStore: ...
    @property
    def keeping(self) -> Keeping: ...
    @property
    def probe(self) -> Probe: ...
    @property
    def rules(self) -> RuleStore: ...
    @property
    def silences(self) -> SilenceStore: ...
    @property
    def channels(self) -> ChannelStore: ...
    @property
    def alerts(self) -> AlertStore: ...
    @property
    def evaluation(self) -> EvaluationStore: ...
    @property
    def policies(self) -> PolicyStore: ...
    @property
    def remediations(self) -> RemediationStore: ...
    @property
    def remediation_outbox(self) -> RemediationOutbox: ...
    @property
    def action_limits(self) -> ActionLimits: ...
    @property
    def audit_log(self) -> AuditLog: ...
    @property
    def server_secrets(self) -> ServerSecrets: ...
    @property
    def events(self) -> EventStore: ...
    @property
    def dependencies(self) -> DependencyStore: ...
    @property
    def synthetic(self) -> SyntheticStore: ...
    @property
    def synthetic_purger(self) -> SyntheticPurger: ...
    @property
    def detection(self) -> DetectionStore: ...
    @property
    def detection_runs(self) -> DetectionRuns: ...
    @property
    def incidents(self) -> IncidentStore: ...
    @property
    def incident_work(self) -> IncidentWork: ...
    @property
    def sources(self) -> SourceStore: ...
    @property
    def collection_runs(self) -> CollectionRunStore: ...
    @property
    def collection_work(self) -> CollectionWorkStore: ...
    @property
    def instances(self) -> InstanceStore: ...
    @property
    def capacity(self) -> CapacityStore: ...
    @property
    def configurations(self) -> ConfigStore: ...
    @property
    def drift(self) -> DriftStore: ...
    @property
    def drift_schedule(self) -> DriftSchedule: ...
    @property
    def recommendations(self) -> RecommendationStore: ...
    @property
    def cluster_history(self) -> ClusterHistory: ...


@dataclass(frozen=True)
class Store:
    """A place that keeps everything, and how to open it; opening it twice is what two processes do.

    `single_connection`: nothing that needs two transactions at once can be tested there. `place` is what rows that
    no port writes are put into.
    """

    engine: str
    open: Callable[[], AbstractAsyncContextManager[Storage]]
    place: MemoryDatabase | str
    """The tables in memory, or a superuser's URL of the database."""
    single_connection: bool = False


def memory_store() -> Store:
    """A new, empty store in memory."""
    database = MemoryDatabase(SystemClock())

    @asynccontextmanager
    async def opened() -> AsyncIterator[Storage]:
        yield memory_storage(database)

    return Store("memory", opened, database)


class Tenancy:
    """One tenant of a storage."""

    def __init__(self, storage: Storage, tenant: Tenant) -> None:
        self.storage = storage
        self.tenant = tenant
        self.id = tenant.id

    async def series(self, name: str = "cpu", source: str = "", **labels: str) -> int:
        """The id of a series, created where there is none."""
        resolved = await self.storage.catalog.resolve(
            self.id, [series_identity(name, labels, source)], series_max=SERIES_MAX
        )
        [series_id] = resolved.series_ids
        assert series_id is not None
        return series_id

    def entry(self, rows: Sequence[Row], key: str | None = None, body_sha256: bytes = BODY_SHA256) -> JournalEntry:
        """A request's points, with an idempotency key or without."""
        reply = None
        if key is not None:
            reply = IdempotentReply(
                key=key, body_sha256=body_sha256, accepted=len(rows), rejected=1, errors=b'[{"index":9}]'
            )
        return JournalEntry(self.id, columns(rows), reply)

    async def append(self, rows: Sequence[Row]) -> Receipt:
        """Commits points."""
        receipt = await self.storage.journal.append(self.entry(rows))
        assert isinstance(receipt, Receipt)
        return receipt

    async def append_once(
        self, rows: Sequence[Row], key: str, body_sha256: bytes = BODY_SHA256
    ) -> Receipt | StoredReply:
        """Commits points under an idempotency key."""
        return await self.storage.journal.append(self.entry(rows, key, body_sha256))

    def snapshot(self, limits: Limits = LIMITS) -> AbstractAsyncContextManager[Snapshot]:
        """A snapshot of this tenant's data."""
        return self.storage.reader.snapshot(self.id, limits)


async def new_tenancy(storage: Storage) -> Tenancy:
    """A tenant that nobody else uses."""
    return Tenancy(storage, await storage.tenants.create(unique("tenant"), LimitOverrides()))


async def settle_all(storage: Storage, points_max: int = 1_000_000) -> int:
    """Settles until nothing waits; returns how many points were settled."""
    settled = 0
    async with asyncio.timeout(SETTLE_ALL_TIMEOUT_S):
        while (await storage.keeping.backlog()).blocks:
            settled += (await storage.keeping.settle(points_max=points_max)).points
            await asyncio.sleep(0)
    return settled


def columns(rows: Sequence[Row]) -> Columns:
    """Rows as columns, in their order."""
    return Columns(
        np.array([series_id for series_id, _, _ in rows], np.int32),
        np.array([ts_us for _, ts_us, _ in rows], np.int64),
        np.array([value for _, _, value in rows], np.float64),
    )


def ids(series_ids: Iterable[int]) -> "np.ndarray[tuple[int], np.dtype[np.int32]]":
    """Series ids as ports take them: ascending."""
    return np.array(sorted(series_ids), np.int32)


def unique(prefix: str) -> str:
    """A name that no other test uses."""
    return f"{prefix}-{secrets.token_hex(6)}"
