"""The composition root: the only module that names concrete services and adapters."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import msgspec
import structlog

from adapters.driven.postgres.catalog import PostgresSeriesCatalog
from adapters.driven.postgres.database import Database, Role, open_database
from adapters.driven.postgres.journal import JournalBounds, PostgresConsumers, PostgresJournal
from adapters.driven.postgres.keeping import PostgresKeeping
from adapters.driven.postgres.migration_files import MigrationReport, migration_files, migrations_directory
from adapters.driven.postgres.probe import PostgresProbe
from adapters.driven.postgres.reader import PostgresSampleReader
from adapters.driven.postgres.tenants import PostgresDefinitionStore, PostgresKeyStore, PostgresTenantStore
from adapters.driven.timescale.keeping import TimescaleKeeping
from adapters.driven.timescale.reader import TimescaleSampleReader
from adapters.runtime.clock import SystemClock
from adapters.runtime.settings import Settings
from adapters.runtime.telemetry import PrometheusTelemetry
from core.domain.errors import Unavailable
from core.domain.tenants import Limits
from core.services.administration import AdministrationService, DefinitionService
from core.services.authentication import AuthenticationService
from core.services.health import HealthService
from core.services.ingest import IngestService
from core.services.keeper import AWAY_S, KeeperPlan, KeeperService
from core.services.policies import Policies
from core.services.query import QueryService
from ports.driven.clock import Clock
from ports.driven.definition_store import DefinitionStore
from ports.driven.journal import Journal, JournalConsumers
from ports.driven.keeping import Keeping
from ports.driven.probe import Probe
from ports.driven.sample_reader import SampleReader
from ports.driven.series_catalog import SeriesCatalog
from ports.driven.tenant_store import KeyStore, TenantStore
from ports.driving.services import Services

WAITING_COMMITS: Final = 8
"""Points that may wait for the journal, in full commits: about 100 ms of work at full speed."""

KEEPER_POOL_SIZE: Final = 3
"""The keeper does one thing at a time; a refresh holds a second connection."""

log = structlog.get_logger(__name__)


class Storage(msgspec.Struct, frozen=True, eq=False):
    """The driven adapters of one storage engine."""

    journal: Journal
    consumers: JournalConsumers
    catalog: SeriesCatalog
    reader: SampleReader
    definitions: DefinitionStore
    tenants: TenantStore
    keys: KeyStore
    keeping: Keeping
    probe: Probe
    clock: Clock


@asynccontextmanager
async def open_storage(
    settings: Settings, telemetry: PrometheusTelemetry | None = None, *, clock: Clock | None = None
) -> AsyncIterator[Storage]:
    """The adapters for the migrated database that the settings name; raises `Unavailable`."""
    if settings.database.url is None:
        raise ValueError("settings.database.url is not set")
    now = clock or SystemClock()
    process = f"sextant {socket.gethostname()[:30]} {os.getpid()} {now.now_us()}"[:63]
    async with open_database(
        settings.database.url,
        pool_size=settings.database.pool_size,
        connect_timeout_s=settings.database.connect_timeout_s,
        application_name=process,
    ) as database:
        timescale = await _is_timescale(database)
        journal = PostgresJournal(
            database,
            JournalBounds(
                gather_points_max=settings.ingest.gather_points_max,
                waiting_points_max=WAITING_COMMITS * settings.ingest.gather_points_max,
                unsettled_points_max=settings.ingest.unsettled_points_max,
            ),
            now,
            telemetry or PrometheusTelemetry(),
            process=process,
        )
        flusher = asyncio.create_task(journal.flush_forever())
        try:
            yield Storage(
                journal=journal,
                consumers=PostgresConsumers(database),
                catalog=PostgresSeriesCatalog(database),
                reader=TimescaleSampleReader(database) if timescale else PostgresSampleReader(database),
                definitions=PostgresDefinitionStore(database),
                tenants=PostgresTenantStore(database),
                keys=PostgresKeyStore(database),
                keeping=TimescaleKeeping(database) if timescale else PostgresKeeping(database),
                probe=PostgresProbe(database),
                clock=now,
            )
        finally:
            await journal.drained()
            flusher.cancel()


def open_services(settings: Settings, storage: Storage, telemetry: PrometheusTelemetry | None = None) -> Services:
    """The core's services over one storage."""
    counted = telemetry or PrometheusTelemetry()
    policies = Policies(storage.tenants, limits_of(settings), storage.clock)
    authentication = AuthenticationService(storage.keys, storage.clock)
    return Services(
        authentication=authentication,
        ingestion=IngestService(
            storage.journal,
            storage.catalog,
            policies,
            storage.clock,
            counted,
            future_skew_s=settings.ingest.future_skew_s,
            cache_entries_max=settings.ingest.cache_entries_max,
        ),
        querying=QueryService(storage.reader, policies, storage.clock, counted),
        definitions=DefinitionService(storage.definitions, policies),
        administration=AdministrationService(
            storage.tenants, storage.keys, policies, authentication, storage.clock
        ),
        health=HealthService(storage.probe, schema_version=schema_version()),
    )


def limits_of(settings: Settings) -> Limits:
    """What a tenant may use that has no limits of its own."""
    return Limits(
        samples_per_s=settings.ingest.samples_per_s,
        samples_burst=settings.ingest.samples_burst,
        series_max=settings.ingest.series_max,
        query_points_max=settings.query.points_max,
        query_timeout_s=settings.query.timeout_s,
    )


def run_migrations(settings: Settings) -> MigrationReport:
    """Brings the database that the settings name to the newest schema; raises `MigrationError`."""
    from adapters.driven.postgres.migrations import migrate  # Alembic: no server process has to carry it

    if settings.database.url is None:
        raise ValueError("settings.database.url is not set")
    return migrate(settings.database.url)


def schema_version() -> str:
    """The schema version that this program needs."""
    return max(file.number for file in migration_files(migrations_directory()))


async def run_keeper(settings: Settings, stop: asyncio.Event) -> None:
    """Works in the background until `stop`."""
    telemetry = PrometheusTelemetry()
    few = msgspec.structs.replace(settings.database, pool_size=KEEPER_POOL_SIZE)
    async with AsyncExitStack() as opened:
        storage = await _storage_once_there(opened, msgspec.structs.replace(settings, database=few), telemetry, stop)
        if storage is None:
            return
        keeper = KeeperService(
            storage.keeping,
            KeeperPlan(
                settle_points=settings.keeper.settle_points,
                settle_age_s=settings.keeper.settle_age_s,
                compress_after_days=settings.keeper.compress_after_days,
            ),
            storage.clock,
            telemetry,
        )
        while not stop.is_set():
            done, pause_s = await keeper.round()
            if done.away is not None:
                log.warning("keeper_waits", reason=done.away)
            elif done.settled is not None:
                facts = msgspec.structs.asdict(done.settled)
                log.info("journal_settled", **facts, took_ms=round(done.took_s * 1_000))
            elif done.refreshed or done.dropped or done.compressed:
                log.info(
                    "store_kept", refreshed=done.refreshed, dropped=done.dropped, compressed=done.compressed
                )
            if pause_s:
                await _wait(stop, pause_s)


async def _storage_once_there(
    opened: AsyncExitStack, settings: Settings, telemetry: PrometheusTelemetry, stop: asyncio.Event
) -> Storage | None:
    """The storage, opened as soon as its database is there; None where `stop` comes first."""
    while not stop.is_set():
        try:
            return await opened.enter_async_context(open_storage(settings, telemetry))
        except Unavailable as error:
            log.warning("keeper_waits", reason=str(error))
            await _wait(stop, AWAY_S)
    return None


async def _wait(stop: asyncio.Event, pause_s: float) -> None:
    try:
        async with asyncio.timeout(pause_s):
            await stop.wait()
    except TimeoutError:
        return


async def _is_timescale(database: Database) -> bool:
    async with database.transaction(Role.KEEPER) as connection:
        found = await connection.fetchval("SELECT to_regclass('sextant.samples_5m') IS NOT NULL")
    return bool(found)
