"""What the in-memory adapters keep between them; it outlives them, as a database outlives its clients.

Nothing here is awaited, so every method of every adapter is one transaction: no other task runs inside it.
Arrays are never changed, only replaced, so a snapshot is a reference to them.
"""

from collections import Counter
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from adapters.driven.memory.alert_tables import (
    AlertRow,
    ChannelRow,
    EventRow,
    InhibitionRow,
    MessageRow,
    SilenceRow,
)
from adapters.driven.memory.block_log import BlockLog
from adapters.driven.memory.cluster_tables import ClusterTables
from adapters.driven.memory.collection_tables import CollectionTables
from adapters.driven.memory.detection_tables import DetectionTables
from adapters.driven.memory.event_tables import EventTables
from adapters.driven.memory.incident_tables import IncidentTables
from adapters.driven.memory.remediation_tables import ActionRow, PolicyRow, RemediationRow
from core.domain.alerts import StoredRule
from core.domain.audit import AuditEntry
from core.domain.columns import Columns, empty_columns
from core.domain.definitions import RETENTION_DAYS_DEFAULT, MetricDefinition
from core.domain.remediation import KillSwitch
from core.domain.series import SeriesIdentity
from core.domain.tenants import KeyRecord, Tenant
from core.domain.times import EPOCH
from ports.driven.clock import Clock
from ports.driven.evaluation_store import StoredState, Target
from ports.driven.tenant_store import LimitOverrides

NEVER_US: Final = -1
"""Before any sample's timestamp."""


class TenantRow(msgspec.Struct, eq=False):
    """One tenant with what changes about it."""

    tenant: Tenant
    limits: LimitOverrides
    series_active: int = 0
    revision: int = 0


class SeriesRow(msgspec.Struct, eq=False):
    """One catalogued series.

    `seen_us` is when it was created or last had a sample settled, `settled_to_us` the timestamp of its newest
    settled sample.
    """

    series_id: int
    tenant_id: int
    identity: SeriesIdentity
    seen_us: int
    settled_to_us: int = NEVER_US


class MemoryDatabase:
    """All tables. `settled` is sorted by (series, ts), one point for each."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.tenants: dict[int, TenantRow] = {}
        self.keys: dict[int, KeyRecord] = {}
        self.definitions: dict[tuple[int, str], MetricDefinition] = {}
        self.series: dict[int, SeriesRow] = {}
        self.series_ids: dict[tuple[int, SeriesIdentity], int] = {}
        self.log = BlockLog()
        self.settled: Columns = empty_columns()

        self.rules: dict[int, dict[int, StoredRule]] = {}  # by tenant, then by id
        self.alert_revision = 1
        self.evaluation_led = False
        self.evaluation_generation = 0
        self.alert_states: dict[Target, StoredState] = {}
        self.alerts: dict[int, AlertRow] = {}
        self.silences: dict[int, SilenceRow] = {}
        self.inhibitions: dict[int, InhibitionRow] = {}
        self.channels: dict[int, ChannelRow] = {}
        self.notification_events: dict[int, EventRow] = {}
        self.deciding: set[int] = set()  # tenants about whose events somebody decides now
        self.notifications: dict[UUID, MessageRow] = {}

        self.policies: dict[int, PolicyRow] = {}
        self.remediations: dict[int, RemediationRow] = {}
        self.remediation_actions: dict[tuple[int, str], ActionRow] = {}  # by tenant and key
        self.kill_switches: dict[int, KillSwitch] = {}  # by tenant; 0 is the whole server
        self.audit_entries: dict[int, list[AuditEntry]] = {}  # by tenant, in order
        self.server_secrets: dict[str, bytes] = {}

        self.events = EventTables()
        self.detection = DetectionTables()
        self.incidents = IncidentTables()
        self.clusters = ClusterTables()
        self.collection = CollectionTables()

        self._last_ids: Counter[str] = Counter()

    def next_id(self, table: str) -> int:
        """An id that no row of `table` has had."""
        self._last_ids[table] += 1
        return self._last_ids[table]

    def now(self) -> datetime:
        """The present as the tables write it."""
        return EPOCH + timedelta(microseconds=self.clock.now_us())

    def series_of(self, tenant_id: int) -> list[SeriesRow]:
        """The tenant's series, ascending by id."""
        return [row for row in self.series.values() if row.tenant_id == tenant_id]

    def retention_days(self, row: SeriesRow) -> int:
        """How long the samples of a series are kept."""
        definition = self.definitions.get((row.tenant_id, row.identity.name))
        return RETENTION_DAYS_DEFAULT if definition is None else definition.retention_days
