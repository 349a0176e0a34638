"""The composition root of what runs in the background, each part in a process of its own."""

import asyncio
from contextlib import AsyncExitStack
from ipaddress import ip_network
from typing import Final

import msgspec
import structlog

from adapters.bootstrap import Storage, limits_of, open_storage, outbound_client
from adapters.driven.pagerduty.notifier import PagerDutyNotifier
from adapters.driven.slack.notifier import SlackNotifier
from adapters.driven.smtp.notifier import SmtpNotifier
from adapters.driven.sources.opening import VendorSources
from adapters.driven.sources.surroundings import RESPONSE_BYTES_MAX, Surroundings
from adapters.driven.temporal.engine import workflow_engine
from adapters.driven.webhook.notifier import WebhookNotifier
from adapters.driving.background.collection_loop import keep_collecting
from adapters.driving.background.detection_loop import keep_correlating, keep_detecting
from adapters.driving.background.drift_loop import keep_drifting
from adapters.driving.background.notify_loop import NotifyLoop
from adapters.runtime.outbound import OutboundClient
from adapters.runtime.pause import AsyncioPause
from adapters.runtime.rounds import run_rounds, wait_for_stop
from adapters.runtime.sealing import FernetSealing
from adapters.runtime.settings import Settings
from adapters.runtime.telemetry import PrometheusTelemetry
from core.domain.errors import Unavailable
from core.domain.notifications import EmailConfig, PagerDutyConfig, SlackConfig, WebhookConfig
from core.services.collection import CollectionService
from core.services.correlation import CorrelationService
from core.services.dispatch import DispatchService
from core.services.drift_looking import DriftLooking
from core.services.escalation import Escalation
from core.services.evaluation import Evaluated, EvaluationService
from core.services.ingest import IngestService
from core.services.keeper import AWAY_S, KeeperPlan, KeeperService
from core.services.notify import NotifyPlan, NotifyService
from core.services.policies import Policies
from core.services.remediation_work import RemediationWorkService
from core.services.scheduled_detection import ScheduledDetection
from core.services.scheduled_drift import ScheduledDrift
from core.services.telemetry_reading import TelemetryReading
from ports.driven.clock import Clock

KEEPER_POOL_SIZE: Final = 3
"""The keeper does one thing at a time; a refresh holds a second connection."""
ALERTS_POOL_SIZE: Final = 8
"""Leading holds one, evaluating up to three, the notifier the others."""
DETECTION_POOL_SIZE: Final = 6
"""A run holds up to three, correlation two, one of them its lead."""
COLLECTION_POOL_SIZE: Final = 12
"""A run holds one or two while it stores; few store at the same moment."""
EVERYWHERE: Final = (ip_network("0.0.0.0/0"), ip_network("::/0"))
"""Where sources of tenants may lead that the operator trusts."""
STANDBY_S: Final = 0.5
"""How often a process that does not evaluate looks whether the one that does is gone."""

log = structlog.get_logger(__name__)


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
            storage.events,
            storage.detection_runs,
            storage.collection_work,
            storage.cluster_history,
            storage.synthetic_purger,
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
            elif done.purged:
                log.info("synthetic_data_purged", purges=done.purged)
            elif done.refreshed or done.dropped or done.compressed or done.forgotten:
                log.info(
                    "store_kept",
                    refreshed=done.refreshed,
                    dropped=done.dropped,
                    compressed=done.compressed,
                    forgotten=done.forgotten,
                )
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
        client = outbound_client(settings)
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


async def run_detection(settings: Settings, stop: asyncio.Event) -> None:
    """Runs scheduled detection, joins signals to incidents and looks for drift until `stop`."""
    from adapters.driving.temporal.detection_worker import run_detection_worker

    telemetry = PrometheusTelemetry()
    few = msgspec.structs.replace(settings.database, pool_size=DETECTION_POOL_SIZE)
    async with AsyncExitStack() as opened:
        storage = await _storage_once_there(opened, msgspec.structs.replace(settings, database=few), telemetry, stop)
        if storage is None:
            return
        work = ScheduledDetection(
            storage.detection_runs, storage.reader, storage.catalog, storage.journal, storage.clock, telemetry
        )
        correlation = CorrelationService(storage.incident_work, storage.dependencies, storage.reader, storage.clock)
        policies = Policies(storage.tenants, limits_of(settings), storage.clock)
        drift = ScheduledDrift(
            storage.drift_schedule,
            DriftLooking(
                storage.drift,
                storage.capacity,
                storage.configurations,
                TelemetryReading(storage.reader, policies, storage.clock),
                storage.clock,
                AsyncioPause(),
            ),
            storage.clock,
            interval_s=settings.drift.interval_s,
        )
        on_temporal = settings.temporal.address is not None
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep_detecting(work, stop, scheduled_elsewhere=on_temporal))
            tasks.create_task(keep_correlating(correlation, storage.incident_work.lead, stop))
            tasks.create_task(keep_drifting(drift, stop))
            if on_temporal:
                tasks.create_task(run_detection_worker(settings.temporal, work, stop))


async def run_collection(settings: Settings, stop: asyncio.Event) -> None:
    """Collects from metric sources until `stop`."""
    telemetry = PrometheusTelemetry()
    pool = msgspec.structs.replace(settings.database, pool_size=COLLECTION_POOL_SIZE)
    for kind, problem in settings.vendors.problems.items():
        log.warning("vendor_not_configured", source=kind.value, reason=problem)
    async with AsyncExitStack() as opened:
        storage = await _storage_once_there(opened, msgspec.structs.replace(settings, database=pool), telemetry, stop)
        if storage is None:
            return
        policies = Policies(storage.tenants, limits_of(settings), storage.clock)
        work = CollectionService(
            storage.collection_work,
            VendorSources(source_surroundings(settings, storage.clock)),
            IngestService(
                storage.journal,
                storage.catalog,
                policies,
                storage.clock,
                telemetry,
                future_skew_s=settings.ingest.future_skew_s,
                cache_entries_max=settings.ingest.cache_entries_max,
            ),
            storage.reader,
            storage.catalog,
            policies,
            storage.capacity,
            storage.configurations,
            FernetSealing(settings),
            storage.clock,
            AsyncioPause(),
            telemetry,
            trusted=settings.worker.tenants,
        )
        await keep_collecting(work, stop, concurrency=settings.collection.concurrency)


def source_surroundings(settings: Settings, clock: Clock) -> Surroundings:
    """What metric sources use besides what they are configured by."""
    outbound = settings.outbound
    allow = tuple(ip_network(network) for network in outbound.allow)
    guarded, trusted = (
        OutboundClient(networks, timeout_s=outbound.timeout_s, response_bytes_max=RESPONSE_BYTES_MAX)
        for networks in (allow, EVERYWHERE)
    )
    return Surroundings(
        client=guarded,
        trusted_client=trusted,
        clock=clock,
        pause=AsyncioPause(),
        kubeconfig=settings.vendors.kubeconfig,
        kubernetes_in_cluster=settings.vendors.in_cluster,
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
                outbound_client(settings),
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
            cluster_id=worker.cluster_id if worker.has_cluster else None,
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
