"""All in-memory adapters over one database."""

import msgspec

from adapters.driven.memory.action_limits import MemoryActionLimits
from adapters.driven.memory.alerts import MemoryAlertStore
from adapters.driven.memory.audit import MemoryAuditLog
from adapters.driven.memory.capacity import MemoryCapacityStore
from adapters.driven.memory.channels import MemoryChannelStore
from adapters.driven.memory.cluster_history import MemoryClusterHistory
from adapters.driven.memory.collection_runs import MemoryCollectionRunStore
from adapters.driven.memory.collection_work import MemoryCollectionWorkStore
from adapters.driven.memory.configurations import MemoryConfigStore
from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.definition_store import MemoryDefinitionStore
from adapters.driven.memory.dependencies import MemoryDependencyStore
from adapters.driven.memory.detection import MemoryDetectionStore
from adapters.driven.memory.detection_runs import MemoryDetectionRuns
from adapters.driven.memory.drift import MemoryDriftSchedule, MemoryDriftStore
from adapters.driven.memory.evaluation import MemoryEvaluationStore
from adapters.driven.memory.events import MemoryEventStore
from adapters.driven.memory.incident_work import MemoryIncidentWork
from adapters.driven.memory.incidents import MemoryIncidentStore
from adapters.driven.memory.instances import MemoryInstanceStore
from adapters.driven.memory.journal import MemoryJournal, MemoryJournalConsumers
from adapters.driven.memory.keeping import MemoryKeeping
from adapters.driven.memory.notification_outbox import MemoryNotificationOutbox
from adapters.driven.memory.notifications import MemoryNotificationStore
from adapters.driven.memory.policies import MemoryPolicyStore
from adapters.driven.memory.probe import MemoryProbe
from adapters.driven.memory.recommendations import MemoryRecommendationStore
from adapters.driven.memory.remediations import MemoryRemediationOutbox, MemoryRemediationStore
from adapters.driven.memory.rules import MemoryRuleStore
from adapters.driven.memory.sample_reader import MemorySampleReader
from adapters.driven.memory.series_catalog import MemorySeriesCatalog
from adapters.driven.memory.server_secrets import MemoryServerSecrets
from adapters.driven.memory.silences import MemorySilenceStore
from adapters.driven.memory.sources import MemorySourceStore
from adapters.driven.memory.synthetic import MemorySyntheticPurger, MemorySyntheticStore
from adapters.driven.memory.tenant_store import MemoryKeyStore, MemoryTenantStore
from ports.driven.clock import Clock


class MemoryStorage(msgspec.Struct, frozen=True, eq=False):
    """One adapter for each driven storage port."""

    journal: MemoryJournal
    consumers: MemoryJournalConsumers
    catalog: MemorySeriesCatalog
    reader: MemorySampleReader
    definitions: MemoryDefinitionStore
    tenants: MemoryTenantStore
    keys: MemoryKeyStore
    keeping: MemoryKeeping
    probe: MemoryProbe
    rules: MemoryRuleStore
    silences: MemorySilenceStore
    channels: MemoryChannelStore
    alerts: MemoryAlertStore
    evaluation: MemoryEvaluationStore
    notifications: MemoryNotificationStore
    notification_outbox: MemoryNotificationOutbox
    policies: MemoryPolicyStore
    remediations: MemoryRemediationStore
    remediation_outbox: MemoryRemediationOutbox
    action_limits: MemoryActionLimits
    audit_log: MemoryAuditLog
    server_secrets: MemoryServerSecrets
    events: MemoryEventStore
    dependencies: MemoryDependencyStore
    synthetic: MemorySyntheticStore
    synthetic_purger: MemorySyntheticPurger
    detection: MemoryDetectionStore
    detection_runs: MemoryDetectionRuns
    incidents: MemoryIncidentStore
    incident_work: MemoryIncidentWork
    sources: MemorySourceStore
    collection_runs: MemoryCollectionRunStore
    collection_work: MemoryCollectionWorkStore
    instances: MemoryInstanceStore
    capacity: MemoryCapacityStore
    configurations: MemoryConfigStore
    drift: MemoryDriftStore
    drift_schedule: MemoryDriftSchedule
    recommendations: MemoryRecommendationStore
    cluster_history: MemoryClusterHistory
    clock: Clock


def memory_storage(database: MemoryDatabase) -> MemoryStorage:
    """New adapters over `database`, with a journal stream of their own, as a new process has them."""
    return MemoryStorage(
        journal=MemoryJournal(database),
        consumers=MemoryJournalConsumers(database),
        catalog=MemorySeriesCatalog(database),
        reader=MemorySampleReader(database),
        definitions=MemoryDefinitionStore(database),
        tenants=MemoryTenantStore(database),
        keys=MemoryKeyStore(database),
        keeping=MemoryKeeping(database),
        probe=MemoryProbe(),
        rules=MemoryRuleStore(database),
        silences=MemorySilenceStore(database),
        channels=MemoryChannelStore(database),
        alerts=MemoryAlertStore(database),
        evaluation=MemoryEvaluationStore(database),
        notifications=MemoryNotificationStore(database),
        notification_outbox=MemoryNotificationOutbox(database),
        policies=MemoryPolicyStore(database),
        remediations=MemoryRemediationStore(database),
        remediation_outbox=MemoryRemediationOutbox(database),
        action_limits=MemoryActionLimits(database),
        audit_log=MemoryAuditLog(database),
        server_secrets=MemoryServerSecrets(database),
        events=MemoryEventStore(database),
        dependencies=MemoryDependencyStore(database),
        synthetic=MemorySyntheticStore(database),
        synthetic_purger=MemorySyntheticPurger(database),
        detection=MemoryDetectionStore(database),
        detection_runs=MemoryDetectionRuns(database),
        incidents=MemoryIncidentStore(database),
        incident_work=MemoryIncidentWork(database),
        sources=MemorySourceStore(database),
        collection_runs=MemoryCollectionRunStore(database),
        collection_work=MemoryCollectionWorkStore(database),
        instances=MemoryInstanceStore(database),
        capacity=MemoryCapacityStore(database),
        configurations=MemoryConfigStore(database),
        drift=MemoryDriftStore(database),
        drift_schedule=MemoryDriftSchedule(database),
        recommendations=MemoryRecommendationStore(database),
        cluster_history=MemoryClusterHistory(database),
        clock=database.clock,
    )
