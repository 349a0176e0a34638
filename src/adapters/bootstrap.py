"""The composition root: the only module that names concrete services and adapters."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_network
from typing import Final

import msgspec
import structlog

from adapters.driven.pagerduty.notifier import PagerDutyNotifier
from adapters.driven.postgres.action_limits import PostgresActionLimits
from adapters.driven.postgres.alerts import PostgresAlertStore
from adapters.driven.postgres.audit import PostgresAuditLog
from adapters.driven.postgres.catalog import PostgresSeriesCatalog
from adapters.driven.postgres.channels import PostgresChannelStore
from adapters.driven.postgres.database import Database, Role, open_database
from adapters.driven.postgres.evaluation import PostgresEvaluationStore
from adapters.driven.postgres.journal import JournalBounds, PostgresConsumers, PostgresJournal
from adapters.driven.postgres.keeping import PostgresKeeping
from adapters.driven.postgres.migration_files import MigrationReport, migration_files, migrations_directory
from adapters.driven.postgres.notification_outbox import PostgresNotificationOutbox
from adapters.driven.postgres.notifications import PostgresNotificationStore
from adapters.driven.postgres.policies import PostgresPolicyStore
from adapters.driven.postgres.probe import PostgresProbe
from adapters.driven.postgres.reader import PostgresSampleReader
from adapters.driven.postgres.remediations import PostgresRemediationOutbox, PostgresRemediationStore
from adapters.driven.postgres.rules import PostgresRuleStore
from adapters.driven.postgres.server_secrets import PostgresServerSecrets
from adapters.driven.postgres.silences import PostgresSilenceStore
from adapters.driven.postgres.tenants import PostgresDefinitionStore, PostgresKeyStore, PostgresTenantStore
from adapters.driven.slack.notifier import SlackNotifier
from adapters.driven.smtp.notifier import SmtpNotifier
from adapters.driven.temporal.engine import workflow_engine
from adapters.driven.timescale.keeping import TimescaleKeeping
from adapters.driven.timescale.reader import TimescaleSampleReader
from adapters.driven.webhook.notifier import WebhookNotifier
from adapters.driving.background.notify_loop import NotifyLoop
from adapters.runtime.clock import SystemClock
from adapters.runtime.outbound import OutboundClient
from adapters.runtime.pause import AsyncioPause
from adapters.runtime.rounds import run_rounds, wait_for_stop
from adapters.runtime.settings import Settings
from adapters.runtime.telemetry import PrometheusTelemetry
from core.domain.errors import Unavailable
from core.domain.notifications import EmailConfig, PagerDutyConfig, SlackConfig, WebhookConfig
from core.domain.tenants import Limits
from core.services.administration import AdministrationService, DefinitionService
from core.services.alerting import AlertService, RuleService
from core.services.audit import AuditService
from core.services.authentication import AuthenticationService
from core.services.backtest import BacktestService
from core.services.channels import ChannelService
from core.services.dispatch import DispatchService
from core.services.escalation import Escalation
from core.services.evaluation import Evaluated, EvaluationService
from core.services.health import HealthService
from core.services.ingest import IngestService
from core.services.keeper import AWAY_S, KeeperPlan, KeeperService
from core.services.notify import NotifyPlan, NotifyService
from core.services.policies import Policies
from core.services.query import QueryService
from core.services.remediation import RemediationService
from core.services.remediation_policies import PolicyService
from core.services.remediation_work import RemediationWorkService
from core.services.silences import SilenceService
from ports.driven.alerting_store import AlertStore, ChannelStore, RuleStore, SilenceStore
from ports.driven.audit_log import AuditLog
from ports.driven.clock import Clock
from ports.driven.definition_store import DefinitionStore
from ports.driven.evaluation_store import EvaluationStore
from ports.driven.journal import Journal, JournalConsumers
from ports.driven.keeping import Keeping
from ports.driven.notification_store import NotificationOutbox, NotificationStore
from ports.driven.probe import Probe
from ports.driven.remediation_store import ActionLimits, PolicyStore, RemediationOutbox, RemediationStore
from ports.driven.sample_reader import SampleReader
from ports.driven.series_catalog import SeriesCatalog
from ports.driven.server_secrets import ServerSecrets
from ports.driven.tenant_store import KeyStore, TenantStore
from ports.driving.services import Services

WAITING_COMMITS: Final = 8
"""Points that may wait for the journal, in full commits: about 100 ms of work at full speed."""

KEEPER_POOL_SIZE: Final = 3
"""The keeper does one thing at a time; a refresh holds a second connection."""
ALERTS_POOL_SIZE: Final = 8
"""Leading holds one, evaluating up to three, the notifier the others."""
STANDBY_S: Final = 0.5
"""How often a process that does not evaluate looks whether the one that does is gone."""

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
    clock, audit, guard = storage.clock, storage.audit_log, _outbound(settings)
    engine = workflow_engine(settings.temporal)
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
    )


def _outbound(settings: Settings) -> OutboundClient:
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
                log.info("store_kept", refreshed=done.refreshed, dropped=done.dropped, compressed=done.compressed)
            if pause_s:
                await wait_for_stop(stop, pause_s)


async def run_alerts(settings: Settings, stop: asyncio.Event) -> None:
    """Evaluates rules and tells people until `stop`."""
    telemetry = PrometheusTelemetry()
    pool = msgspec.structs.replace(settings.database, pool_size=ALERTS_POOL_SIZE)
    async with AsyncExitStack() as opened:
        storage = await _storage_once_there(opened, msgspec.structs.replace(settings, database=pool), telemetry, stop)
        if storage is None:
            return
        client = _outbound(settings)
        notify = NotifyService(
            storage.notification_outbox,
            storage.channels,
            {
                SlackConfig: SlackNotifier(client, storage.clock),
                PagerDutyConfig: PagerDutyNotifier(client, storage.clock),
                WebhookConfig: WebhookNotifier(client, storage.clock, public_url=settings.alerts.public_url or ""),
                EmailConfig: SmtpNotifier(client, timeout_s=settings.outbound.timeout_s),
            },
            storage.clock,
            telemetry,
            NotifyPlan(group_wait_s=settings.alerts.group_wait_s, send_timeout_s=settings.outbound.timeout_s),
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_evaluate(settings, storage, telemetry, stop))
            tasks.create_task(NotifyLoop(notify).run(stop))


async def _evaluate(settings: Settings, storage: Storage, telemetry: PrometheusTelemetry, stop: asyncio.Event) -> None:
    """Leads whenever no other process does; after an error a new term begins from what is stored."""
    while not stop.is_set():
        try:
            async with storage.evaluation.lead() as term:
                if term is None:
                    await wait_for_stop(stop, STANDBY_S)
                    continue
                log.info("evaluation_leads")
                evaluation = EvaluationService(
                    term,
                    storage.reader,
                    storage.clock,
                    telemetry,
                    poll_s=settings.alerts.poll_s,
                    fresh_s=settings.alerts.fresh_s,
                )
                await run_rounds(evaluation.round, _report_evaluated, stop)
        except Unavailable as error:
            log.warning("evaluation_waits", reason=str(error))
            await wait_for_stop(stop, AWAY_S)


def _report_evaluated(done: Evaluated) -> None:
    if done.truncated:
        log.warning("alert_windows_truncated", rules=done.truncated)
    if done.fired or done.escalated or done.resolved:
        log.info(
            "alerts_changed",
            fired=done.fired,
            escalated=done.escalated,
            resolved=done.resolved,
            remediations=done.remediations,
            points=done.points,
            took_ms=round(done.took_s * 1_000),
        )


async def run_worker(settings: Settings, stop: asyncio.Event) -> None:
    """Starts and carries out remediations until `stop`; the settings must name a Temporal."""
    from adapters.driven.actions.runners import action_runners
    from adapters.driving.temporal.worker import run_remediation

    telemetry = PrometheusTelemetry()
    async with AsyncExitStack() as opened:
        storage = await _storage_once_there(opened, settings, telemetry, stop)
        if storage is None:
            return
        worker = settings.worker
        work = RemediationWorkService(
            storage.remediations,
            storage.policies,
            storage.action_limits,
            storage.audit_log,
            action_runners(
                _outbound(settings),
                storage.clock,
                commands=worker.commands,
                kubeconfig=worker.kubeconfig,
                kubernetes_in_cluster=worker.kubernetes_in_cluster,
            ),
            storage.reader,
            Policies(storage.tenants, limits_of(settings), storage.clock),
            Escalation(
                storage.channels,
                storage.notifications,
                storage.server_secrets,
                storage.clock,
                settings.alerts.public_url,
            ),
            storage.clock,
            trusted=worker.tenants,
        )
        engine = workflow_engine(settings.temporal)
        dispatching = DispatchService(storage.remediation_outbox, engine, storage.clock)
        await run_remediation(settings, work, dispatching, stop)


async def _storage_once_there(
    opened: AsyncExitStack, settings: Settings, telemetry: PrometheusTelemetry, stop: asyncio.Event
) -> Storage | None:
    """The storage, opened as soon as its database is there; None where `stop` comes first."""
    while not stop.is_set():
        try:
            return await opened.enter_async_context(open_storage(settings, telemetry))
        except Unavailable as error:
            log.warning("database_awaited", reason=str(error))
            await wait_for_stop(stop, AWAY_S)
    return None


async def _is_timescale(database: Database) -> bool:
    async with database.transaction(Role.KEEPER) as connection:
        found = await connection.fetchval("SELECT to_regclass('sextant.samples_5m') IS NOT NULL")
    return bool(found)
