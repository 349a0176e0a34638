"""Collecting over a store: a vendor of the test's own, runs that are asked for, and processes that die."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from adapters.driven.memory.clock import FakeClock
from adapters.runtime.clock import SystemClock
from adapters.runtime.sealing import FernetSealing
from adapters.runtime.settings import CollectionSettings, ServerSettings, Settings
from adapters.runtime.telemetry import PrometheusTelemetry
from core.domain.collection import COLLECTION_ENDED, CollectionRequest, CollectionRunDetail
from core.domain.source_configs import SyntheticConfig
from core.domain.sources import SourceSpec
from core.domain.tenants import Limits
from core.domain.times import DAY_US, EPOCH, HOUR_US, MINUTE_US, SECOND_US, TimeRange
from core.services.collection import CollectionService
from core.services.ingest import IngestService
from core.services.policies import Policies
from ports.driven.source_store import RunOrder
from ports.driving.collecting import CollectionRound
from tests.support.queries import raw_points
from tests.support.scripted_source import ScriptedVendor, SeriesKey
from tests.support.storages import LIMITS, Storage, Tenancy, unique
from tests.support.vendors.passing import PassingPause

SPEC = SourceSpec(name="synthetic", config=SyntheticConfig(), interval=None, lookback="6h", settle="30m")
SEALING = FernetSealing(
    Settings(server=ServerSettings(data_dir=Path("unused")), collection=CollectionSettings(keys="k" * 32))
)
ROUNDS_MAX = 20
"""More runs than any test leaves to others."""


class Died(BaseException):
    """The process was killed."""


class Ledger:
    """Telemetry that is kept."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, str, int, int, int, int]] = []

    def collection_run(
        self, *, kind: str, state: str, fetched: int, stored: int, revised: int, refused: int, took_s: float
    ) -> None:
        """One run ended."""
        self.runs.append((kind, state, fetched, stored, revised, refused))


class Collecting:
    """One tenant's collecting, at times of the test's choosing: first on the minute that is under way."""

    def __init__(self, tenancy: Tenancy, *, limits: Limits = LIMITS) -> None:
        self.tenancy = tenancy
        self.storage: Storage = tenancy.storage
        now_us = SystemClock().now_us()
        self.clock = FakeClock(now_us - now_us % MINUTE_US)
        self.pause = PassingPause(self.clock)
        self.vendor = ScriptedVendor()
        self.ledger = Ledger()
        self.limits = limits
        self.scope = f"once:{unique('scope')}"
        self.trusted: tuple[str, ...] = ()

    @property
    def now_us(self) -> int:
        """The present."""
        return self.clock.now_us()

    def ingestion(self, storage: Storage | None = None) -> IngestService:
        """A new process' ingest."""
        store = storage or self.storage
        return IngestService(
            store.journal,
            store.catalog,
            Policies(store.tenants, self.limits, self.clock),
            self.clock,
            PrometheusTelemetry(),
            future_skew_s=60.0,
            cache_entries_max=1_000,
        )

    def service(self, storage: Storage | None = None, **replaced: Any) -> CollectionService:
        """A new process'; `replaced` are ports by the names of its parameters."""
        store = storage or self.storage
        ports: dict[str, Any] = {
            "work": store.collection_work,
            "opener": self.vendor,
            "ingestion": self.ingestion(store),
            "reader": store.reader,
            "catalog": store.catalog,
            "policies": Policies(store.tenants, self.limits, self.clock),
            "capacity": store.capacity,
            "configurations": store.configurations,
            "sealing": SEALING,
            "clock": self.clock,
            "pause": self.pause,
            "telemetry": self.ledger,
        }
        return CollectionService(**(ports | replaced), trusted=self.trusted)

    async def ask(self, request: CollectionRequest | None = None, **order: Any) -> int:
        """Puts a run in line; returns its id."""
        usual = RunOrder(
            spec=SPEC,
            scope=self.scope,
            sealed=None,
            stored=False,
            request=request or CollectionRequest(),
            requested_by="key:5",
        )
        now = EPOCH + timedelta(microseconds=self.now_us)
        [run] = await self.storage.collection_runs.request(
            self.tenancy.id, [msgspec.structs.replace(usual, **order)], now=now
        )
        return run.id

    async def run(
        self, request: CollectionRequest | None = None, service: CollectionService | None = None, **order: Any
    ) -> CollectionRunDetail:
        """Asks for a run and does it; what came of it."""
        return await self.end(await self.ask(request, **order), service)

    async def end(self, run_id: int, service: CollectionService | None = None) -> CollectionRunDetail:
        """Does what is to be done until the run has ended."""
        working = service or self.service()
        for _ in range(ROUNDS_MAX):
            detail = await self.storage.collection_runs.get(self.tenancy.id, run_id)
            if detail.run.state in COLLECTION_ENDED:
                return detail
            done = await working.round()
            assert done.away is None
        raise AssertionError(f"run {run_id} does not end: {detail}")

    async def round(self, service: CollectionService | None = None) -> CollectionRound:
        """One round."""
        return await (service or self.service()).round()

    def pass_time(self, seconds: float) -> None:
        """Lets time pass."""
        self.clock.advance(round(seconds * SECOND_US))

    async def stored(self) -> dict[SeriesKey, dict[int, float]]:
        """Everything that is stored of what the vendor has or had, by series and timestamp."""
        found: dict[SeriesKey, dict[int, float]] = {}
        whole = TimeRange(self.now_us - 35 * DAY_US, self.now_us + HOUR_US)
        names = await self.storage.reader.names(self.tenancy.id, "", 1_000)
        async with self.tenancy.snapshot() as snapshot:
            for name in names:
                table = await snapshot.find(name, ())
                points = await raw_points(snapshot, table.series_ids, whole)
                for series_id, one in zip(table.series_ids.tolist(), table.series, strict=True):
                    own = points.take(np.flatnonzero(points.series_ids == series_id))
                    assert one.source == SPEC.kind.value
                    found[name, tuple(sorted(one.labels.items()))] = dict(
                        zip(own.ts_us.tolist(), own.values.tolist(), strict=True)
                    )
        return found

    def wanted(self, *items: str) -> dict[SeriesKey, dict[int, float]]:
        """What the vendor has of these items (of all where none is named), as it should be stored."""
        return {
            series: dict(points)
            for item, held in self.vendor.data.items()
            if not items or item in items
            for series, points in held.items()
        }

    def minutes(self, count: int, value: float = 0.0, *, ending_ago: int = 1) -> dict[int, float]:
        """A point a minute of the last `count`, ascending; values count from `value`."""
        last_us = self.now_us - ending_ago * MINUTE_US
        return {last_us - (count - 1 - n) * MINUTE_US: value + n for n in range(count)}
