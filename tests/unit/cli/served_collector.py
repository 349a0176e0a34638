"""A collector inside a served application; it collects from sources as they are shipped, or from the test's own."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from adapters.driven.memory.clock import FakeClock
from adapters.driven.sources.opening import VendorSources
from adapters.runtime.clock import SystemClock
from adapters.runtime.pause import AsyncioPause
from adapters.runtime.rounds import run_rounds
from adapters.runtime.sealing import FernetSealing
from adapters.runtime.telemetry import PrometheusTelemetry
from core.domain.tenants import OPERATOR_TENANT
from core.domain.times import MINUTE_US, SECOND_US
from core.services.collection import CollectionService
from core.services.ingest import IngestService
from core.services.policies import Policies
from ports.driven.metric_source import SourceOpener
from ports.driving.collecting import CollectionRound, CollectionWork
from tests.integration.in_process import SETTINGS
from tests.support.scripted_source import ScriptedVendor
from tests.support.storages import LIMITS
from tests.support.vendors.double import VendorDouble
from tests.support.vendors.passing import PassingPause, loopback_surroundings
from tests.unit.cli.served_api import ServedApi

CANARY = "canary-7f3e91"
"""In every secret; it comes out nowhere."""
DATADOG = {"DATADOG_API_KEY": f"api-{CANARY}", "DATADOG_APP_KEY": f"app-{CANARY}"}
CONCURRENCY = 3
POLL_S = 0.02
"""Somebody waits for each run of a test."""


def filled(vendor: ScriptedVendor, points: int = 1_200) -> ScriptedVendor:
    """The vendor, with points of the last minutes."""
    end_us = SystemClock().now_us() - MINUTE_US
    for host in ("a", "b"):
        points_us = {end_us - n * SECOND_US: float(n) for n in range(points)}
        vendor.put(f"load by {host}", "load", points_us, host=host)
    return vendor


def shipped_sources() -> SourceOpener:
    """The sources as they are shipped, which reach this machine's doubles; their waits pass at once."""
    clock = FakeClock(SystemClock().now_us())
    return VendorSources(loopback_surroundings(clock, PassingPause(clock)))


@contextmanager
def collecting(api: ServedApi, opener: SourceOpener) -> Iterator[None]:
    """Collects in the server's event loop, trusting its tenant, while the block runs."""
    loop = _looping(collector(api, opener))
    api.within(loop.__aenter__())
    try:
        yield
    finally:
        api.within(loop.__aexit__(None, None, None))


@contextmanager
def playing(api: ServedApi, vendor: VendorDouble) -> Iterator[None]:
    """A vendor's double, listening in the server's event loop while the block runs."""
    listening = vendor.serving()
    api.within(listening.__aenter__())
    try:
        yield
    finally:
        api.within(listening.__aexit__(None, None, None))


@asynccontextmanager
async def _looping(work: CollectionWork) -> AsyncIterator[None]:
    stop = asyncio.Event()

    async def look() -> tuple[CollectionRound, float]:
        done = await work.round()
        return done, POLL_S if done.tenant is None else 0.0

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(run_rounds(look, _quiet, stop))
        try:
            yield
        finally:
            stop.set()


def _quiet(done: CollectionRound) -> None:
    """Standard output is the commands'."""


def collector(api: ServedApi, opener: SourceOpener) -> CollectionService:
    """The service as `sextant collect` wires it, over the server's storage."""
    storage, clock = api.storage, SystemClock()
    telemetry, policies = PrometheusTelemetry(), Policies(storage.tenants, LIMITS, clock)
    ingestion = IngestService(
        storage.journal, storage.catalog, policies, clock, telemetry, future_skew_s=300.0, cache_entries_max=10_000
    )
    return CollectionService(
        storage.collection_work,
        opener,
        ingestion,
        storage.reader,
        storage.catalog,
        policies,
        storage.capacity,
        storage.configurations,
        FernetSealing(SETTINGS),
        clock,
        AsyncioPause(),
        telemetry,
        trusted=(OPERATOR_TENANT,),
    )
