"""A remediation's work over the in-memory store, with a clock and an outside that tests set."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from adapters.driven.memory.action_limits import MemoryActionLimits
from adapters.driven.memory.audit import MemoryAuditLog
from adapters.driven.memory.channels import MemoryChannelStore
from adapters.driven.memory.clock import FakeClock
from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.notifications import MemoryNotificationStore
from adapters.driven.memory.policies import MemoryPolicyStore
from adapters.driven.memory.remediation_tables import RemediationRow
from adapters.driven.memory.remediations import MemoryRemediationStore
from adapters.driven.memory.server_secrets import MemoryServerSecrets
from adapters.driven.memory.storage import memory_storage
from core.domain.actions import Action, AnnotateAction, HttpAction, WaitAction
from core.domain.alerts import Alert
from core.domain.columns import Columns
from core.domain.notifications import Message
from core.domain.remediation import RemediationOrder
from core.domain.series import series_identity
from core.domain.tenants import Limits
from core.domain.times import SECOND_US
from core.services.escalation import Escalation
from core.services.policies import Policies
from core.services.remediation_work import RemediationWorkService
from ports.driven.action_runner import ActionError, ActionOutcome, ActionRunner
from ports.driven.journal import JournalEntry
from ports.driven.tenant_store import LimitOverrides
from tests.support.orders import waiting

LIMITS = Limits(samples_per_s=1e6, samples_burst=1e6, series_max=10_000, query_points_max=10_000, query_timeout_s=5.0)
PUBLIC_URL = "https://sextant.example/"


class ScriptedRunner:
    """Implements `ActionRunner`: does what it is told, and remembers it."""

    def __init__(self) -> None:
        self.ran: list[tuple[Action, str, float, Mapping[str, str]]] = []
        self.previewed: list[Action] = []
        self.refuses: str | None = None

    def target(self, action: Action, alert: Alert) -> str:
        """One for each host."""
        if self.refuses is not None:
            raise ActionError(self.refuses, retryable=False)
        return f"host:{alert.labels['host']}"

    async def preview(self, action: Action, alert: Alert, secrets: Mapping[str, str]) -> ActionOutcome:
        """What it would do."""
        self.previewed.append(action)
        return ActionOutcome(summary="would restart", changed=False, details={"request": "POST"})

    async def run(
        self,
        action: Action,
        alert: Alert,
        secrets: Mapping[str, str],
        *,
        key: str,
        timeout_s: float,
        heartbeat: Callable[[], None],
    ) -> ActionOutcome:
        """Does it."""
        heartbeat()
        self.ran.append((action, key, timeout_s, dict(secrets)))
        return ActionOutcome(summary="restarted", changed=True, details={"answer": "200"})


class World:
    """One tenant with its samples, channels and policies."""

    def __init__(self, *, public_url: str | None = PUBLIC_URL, cluster_id: str | None = "prod-eu") -> None:
        self.clock = FakeClock()
        self.database = MemoryDatabase(self.clock)
        self.storage = memory_storage(self.database)
        self.channels = MemoryChannelStore(self.database)
        self.secrets = MemoryServerSecrets(self.database)
        self.limits = MemoryActionLimits(self.database)
        self.policies = MemoryPolicyStore(self.database)
        self.remediations = MemoryRemediationStore(self.database)
        self.audit = MemoryAuditLog(self.database)
        self.runner = ScriptedRunner()
        self.runners: dict[type[Action], ActionRunner] = {
            HttpAction: self.runner,
            WaitAction: self.runner,
            AnnotateAction: self.runner,
        }
        self.work = RemediationWorkService(
            self.remediations,
            self.policies,
            self.limits,
            self.audit,
            self.runners,
            self.storage.reader,
            Policies(self.storage.tenants, LIMITS, self.clock),
            Escalation(self.channels, MemoryNotificationStore(self.database), self.secrets, self.clock, public_url),
            self.clock,
            trusted=("default",),
            cluster_id=cluster_id,
        )

    async def opened(self) -> "World":
        """With its tenant, whose id is 1."""
        await self.storage.tenants.create("default", LimitOverrides())
        return self

    async def sampled(self, name: str, labels: dict[str, str], *samples: tuple[float, float]) -> None:
        """Stores samples, each as seconds before now and value."""
        identity = series_identity(name, labels, None)
        resolved = await self.storage.catalog.resolve(1, [identity], series_max=LIMITS.series_max)
        now_us = self.clock.now_us()
        points = Columns(
            np.array([resolved.series_ids[0]] * len(samples), np.int32),
            np.array([now_us - round(ago_s * SECOND_US) for ago_s, _ in samples], np.int64),
            np.array([value for _, value in samples], np.float64),
        )
        await self.storage.journal.append(JournalEntry(1, points))

    def remember(self, order: RemediationOrder) -> None:
        """Stores the remediation that an order is about, as evaluation leaves it."""
        self.database.remediations[order.remediation_id] = RemediationRow(
            remediation=waiting(order), order=order, next_attempt_at=self.database.now()
        )

    @property
    def messages(self) -> Sequence[tuple[str, Message]]:
        """What was put out, with the names of the channels."""
        rows = self.database.notifications.values()
        return [(self.database.channels[row.channel_id].channel.config.name, row.message) for row in rows]
