"""The composition root: with `adapters.background` the only module that names concrete services and adapters."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Final

import msgspec

from adapters.driven.postgres.action_limits import PostgresActionLimits
from adapters.driven.postgres.alerts import PostgresAlertStore
from adapters.driven.postgres.audit import PostgresAuditLog
from adapters.driven.postgres.capacity import PostgresCapacityStore
from adapters.driven.postgres.catalog import PostgresSeriesCatalog
from adapters.driven.postgres.channels import PostgresChannelStore
from adapters.driven.postgres.cluster_history import PostgresClusterHistory
from adapters.driven.postgres.collection_runs import PostgresCollectionRunStore
from adapters.driven.postgres.collection_work import PostgresCollectionWorkStore
from adapters.driven.postgres.configurations import PostgresConfigStore
from adapters.driven.postgres.database import Database, Role, open_database
from adapters.driven.postgres.dependencies import PostgresDependencyStore
from adapters.driven.postgres.detection import PostgresDetectionStore
from adapters.driven.postgres.detection_runs import PostgresDetectionRuns
from adapters.driven.postgres.drift import PostgresDriftSchedule, PostgresDriftStore
from adapters.driven.postgres.evaluation import PostgresEvaluationStore
from adapters.driven.postgres.events import PostgresEventStore
from adapters.driven.postgres.incident_work import PostgresIncidentWork
from adapters.driven.postgres.incidents import PostgresIncidentStore
from adapters.driven.postgres.instances import PostgresInstanceStore
from adapters.driven.postgres.journal import JournalBounds, PostgresConsumers, PostgresJournal
from adapters.driven.postgres.keeping import PostgresKeeping
from adapters.driven.postgres.migration_files import MigrationReport, migration_files, migrations_directory
from adapters.driven.postgres.notification_outbox import PostgresNotificationOutbox
from adapters.driven.postgres.notifications import PostgresNotificationStore
from adapters.driven.postgres.policies import PostgresPolicyStore
from adapters.driven.postgres.probe import PostgresProbe
from adapters.driven.postgres.reader import PostgresSampleReader
from adapters.driven.postgres.recommendations import PostgresRecommendationStore
from adapters.driven.postgres.remediations import PostgresRemediationOutbox, PostgresRemediationStore
from adapters.driven.postgres.rules import PostgresRuleStore
from adapters.driven.postgres.server_secrets import PostgresServerSecrets
from adapters.driven.postgres.silences import PostgresSilenceStore
from adapters.driven.postgres.sources import PostgresSourceStore
from adapters.driven.postgres.synthetic import PostgresSyntheticPurger, PostgresSyntheticStore
from adapters.driven.postgres.tenants import PostgresDefinitionStore, PostgresKeyStore, PostgresTenantStore
from adapters.driven.temporal.engine import workflow_engine
from adapters.driven.timescale.keeping import TimescaleKeeping
from adapters.driven.timescale.reader import TimescaleSampleReader
from adapters.driven.timescale.synthetic import TimescaleSyntheticPurger
from adapters.runtime.clock import SystemClock
from adapters.runtime.outbound import OutboundClient
from adapters.runtime.pause import AsyncioPause
from adapters.runtime.sealing import FernetSealing
from adapters.runtime.settings import Settings
from adapters.runtime.telemetry import PrometheusTelemetry
from core.domain.tenants import Limits
from core.services.administration import AdministrationService, DefinitionService
from core.services.alerting import AlertService, RuleService
from core.services.audit import AuditService
from core.services.authentication import AuthenticationService
from core.services.backtest import BacktestService
from core.services.capacity import CapacityService
from core.services.channels import ChannelService
from core.services.configurations import ConfigurationService
from core.services.detection import DetectionService
from core.services.drift import DriftService
from core.services.drift_looking import DriftLooking
from core.services.events import EventService
from core.services.health import HealthService
from core.services.incidents import IncidentService
from core.services.ingest import IngestService
from core.services.policies import Policies
from core.services.query import QueryService
from core.services.recommendations import RecommendationService
from core.services.remediation import RemediationService
from core.services.remediation_policies import PolicyService
from core.services.silences import SilenceService
from core.services.sources import SourceService
from core.services.telemetry import TelemetryService
from core.services.telemetry_reading import TelemetryReading
from ports.driven.alerting_store import AlertStore, ChannelStore, RuleStore, SilenceStore
from ports.driven.audit_log import AuditLog
from ports.driven.clock import Clock
from ports.driven.cluster_history import ClusterHistory
from ports.driven.cluster_store import CapacityStore, ConfigStore
from ports.driven.definition_store import DefinitionStore
from ports.driven.detection_store import DetectionRuns, DetectionStore
from ports.driven.drift_store import DriftSchedule, DriftStore, RecommendationStore
from ports.driven.evaluation_store import EvaluationStore
from ports.driven.event_store import DependencyStore, EventStore
from ports.driven.incident_store import IncidentStore, IncidentWork
from ports.driven.journal import Journal, JournalConsumers
from ports.driven.keeping import Keeping
from ports.driven.notification_store import NotificationOutbox, NotificationStore
from ports.driven.probe import Probe
from ports.driven.remediation_store import ActionLimits, PolicyStore, RemediationOutbox, RemediationStore
from ports.driven.sample_reader import SampleReader
from ports.driven.series_catalog import SeriesCatalog
from ports.driven.server_secrets import ServerSecrets
from ports.driven.source_store import CollectionRunStore, CollectionWorkStore, InstanceStore, SourceStore
from ports.driven.synthetic_store import SyntheticPurger, SyntheticStore
from ports.driven.tenant_store import KeyStore, TenantStore
from ports.driving.services import Services

WAITING_COMMITS: Final = 8
"""Points that may wait for the journal, in full commits: about 100 ms of work at full speed."""


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
    rules: RuleStore
    silences: SilenceStore
    channels: ChannelStore
    alerts: AlertStore
    evaluation: EvaluationStore
    notifications: NotificationStore
    notification_outbox: NotificationOutbox
    policies: PolicyStore
    remediations: RemediationStore
    remediation_outbox: RemediationOutbox
    action_limits: ActionLimits
    audit_log: AuditLog
    server_secrets: ServerSecrets
    events: EventStore
    dependencies: DependencyStore
    synthetic: SyntheticStore
    synthetic_purger: SyntheticPurger
    detection: DetectionStore
    detection_runs: DetectionRuns
    incidents: IncidentStore
    incident_work: IncidentWork
    capacity: CapacityStore
    configurations: ConfigStore
    drift: DriftStore
    drift_schedule: DriftSchedule
    recommendations: RecommendationStore
    cluster_history: ClusterHistory
    sources: SourceStore
    collection_runs: CollectionRunStore
    collection_work: CollectionWorkStore
    instances: InstanceStore
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
                rules=PostgresRuleStore(database),
                silences=PostgresSilenceStore(database),
                channels=PostgresChannelStore(database),
                alerts=PostgresAlertStore(database),
                evaluation=PostgresEvaluationStore(database),
                notifications=PostgresNotificationStore(database),
                notification_outbox=PostgresNotificationOutbox(database),
                policies=PostgresPolicyStore(database),
                remediations=PostgresRemediationStore(database),
                remediation_outbox=PostgresRemediationOutbox(database),
                action_limits=PostgresActionLimits(database),
                audit_log=PostgresAuditLog(database),
                server_secrets=PostgresServerSecrets(database),
                events=PostgresEventStore(database),
                dependencies=PostgresDependencyStore(database),
                synthetic=PostgresSyntheticStore(database),
                synthetic_purger=TimescaleSyntheticPurger(database) if timescale else PostgresSyntheticPurger(database),
                detection=PostgresDetectionStore(database),
                detection_runs=PostgresDetectionRuns(database),
                incidents=PostgresIncidentStore(database),
                incident_work=PostgresIncidentWork(database),
                capacity=PostgresCapacityStore(database),
                configurations=PostgresConfigStore(database),
                drift=PostgresDriftStore(database),
                drift_schedule=PostgresDriftSchedule(database),
                recommendations=PostgresRecommendationStore(database),
                cluster_history=PostgresClusterHistory(database),
                sources=PostgresSourceStore(database),
                collection_runs=PostgresCollectionRunStore(database),
                collection_work=PostgresCollectionWorkStore(database),
                instances=PostgresInstanceStore(database),
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
    clock, audit, guard = storage.clock, storage.audit_log, outbound_client(settings)
    engine = workflow_engine(settings.temporal)
    reading = TelemetryReading(storage.reader, policies, clock)
    backtests = BacktestService(storage.reader, storage.channels, storage.silences, policies, clock)
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
        administration=AdministrationService(storage.tenants, storage.keys, policies, authentication, storage.clock),
        health=HealthService(storage.probe, storage.remediations, engine, schema_version=schema_version()),
        alerts=AlertService(storage.alerts, storage.notifications, audit, clock),
        rules=RuleService(storage.rules, storage.channels, storage.policies, audit, backtests, clock),
        silences=SilenceService(storage.silences, audit, clock),
        channels=ChannelService(
            storage.channels,
            storage.rules,
            storage.policies,
            storage.notifications,
            guard,
            audit,
            clock,
            AsyncioPause(),
        ),
        policies=PolicyService(storage.policies, storage.rules, storage.channels, guard, audit, clock),
        remediations=RemediationService(
            storage.remediations, storage.action_limits, engine, audit, storage.server_secrets, clock
        ),
        audit=AuditService(audit),
        events=EventService(
            storage.events,
            storage.dependencies,
            storage.synthetic,
            audit,
            clock,
            future_skew_s=settings.ingest.future_skew_s,
        ),
        detections=DetectionService(
            storage.detection,
            storage.channels,
            storage.policies,
            storage.reader,
            policies,
            audit,
            clock,
            AsyncioPause(),
        ),
        incidents=IncidentService(storage.incidents, audit, clock),
        sources=SourceService(
            storage.sources,
            storage.collection_runs,
            storage.instances,
            FernetSealing(settings),
            guard,
            audit,
            clock,
            AsyncioPause(),
            trusted=settings.worker.tenants,
            environment=settings.vendors.sources,
        ),
        telemetry=TelemetryService(reading, storage.reader, storage.capacity),
        capacity=CapacityService(storage.capacity, reading, audit, clock),
        configurations=ConfigurationService(
            storage.configurations, audit, clock, future_skew_s=settings.ingest.future_skew_s
        ),
        drift=DriftService(
            storage.drift,
            DriftLooking(storage.drift, storage.capacity, storage.configurations, reading, clock, AsyncioPause()),
            audit,
            clock,
        ),
        recommendations=RecommendationService(
            storage.recommendations,
            storage.drift,
            storage.remediations,
            reading,
            storage.capacity,
            audit,
            clock,
        ),
    )


def outbound_client(settings: Settings) -> OutboundClient:
    """What asks addresses that tenants name."""
    outbound = settings.outbound
    allow = tuple(ip_network(network) for network in outbound.allow)
    return OutboundClient(allow, timeout_s=outbound.timeout_s, response_bytes_max=outbound.response_bytes_max)


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


async def _is_timescale(database: Database) -> bool:
    async with database.transaction(Role.KEEPER) as connection:
        found = await connection.fetchval("SELECT to_regclass('sextant.samples_5m') IS NOT NULL")
    return bool(found)
