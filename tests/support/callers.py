"""Who calls services in tests, and what stands around the stores."""

from datetime import timedelta

import msgspec

from adapters.driven.memory.database import MemoryDatabase, TenantRow
from core.domain.audit import AuditEntry
from core.domain.errors import InvalidInput, NotFound
from core.domain.notifications import Channel, Message
from core.domain.remediation import Decision, RemediationOrder
from core.domain.rules import AlertRule
from core.domain.tenants import Principal, Scope, Tenant
from core.domain.times import EPOCH, TimeRange
from ports.driven.clock import Clock
from ports.driven.tenant_store import LimitOverrides
from ports.driven.workflow_engine import EngineStatus
from ports.driving.alerting import Backtest

TENANTS = {1: "default", 2: "acme", 3: "globex"}


def principal(*scopes: Scope, tenant_id: int = 2, key_id: int = 5) -> Principal:
    """A caller with these scopes, or with all."""
    held = frozenset(scopes or Scope)
    return Principal(tenant_id=tenant_id, tenant=TENANTS[tenant_id], key_id=key_id, scopes=held)


def database(clock: Clock) -> MemoryDatabase:
    """Empty tables with the tenants."""
    tables = MemoryDatabase(clock)
    for tenant_id, name in TENANTS.items():
        tables.tenants[tenant_id] = TenantRow(
            Tenant(id=tenant_id, name=name, created_at=tables.now()), LimitOverrides()
        )
    return tables


def recorded(tables: MemoryDatabase, tenant_id: int = 2) -> list[AuditEntry]:
    """The tenant's audit trail."""
    return tables.audit_entries.get(tenant_id, [])


class ListedAddresses:
    """An `AddressGuard` that lets through what begins as listed; remembers what it was asked."""

    def __init__(self, *allowed: str) -> None:
        self._allowed = allowed or ("https://hooks.example", "smtp.example", "https://events.pagerduty.com/")
        self.asked: list[tuple[str, str]] = []

    async def check_url(self, field: str, url: str) -> None:
        self.asked.append((field, url))
        if not url.startswith(self._allowed):
            raise InvalidInput(field, "must not be connected to")

    async def check_host(self, field: str, host: str, port: int) -> None:
        await self.check_url(field, f"{host}:{port}")


class ScriptedReceivers:
    """A `Notifier` for every kind of channel; keeps what was sent, fails as told."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, Message]] = []
        self.failures: list[Exception] = []

    async def send(self, channel: Channel, secrets: tuple[str, ...], message: Message) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.taken.append((channel.config.name, message))


class EmptyHistory:
    """A `Backtester` over no samples."""

    async def backtest(self, principal: Principal, rule: AlertRule, time_range: TimeRange) -> Backtest:
        return Backtest(
            rule=rule.name,
            start=EPOCH + timedelta(microseconds=time_range.start_us),
            end=EPOCH + timedelta(microseconds=time_range.end_us),
            series=0,
            samples=0,
            firing_s=0.0,
            notifications=0,
            remediations=0,
            episodes=(),
            episodes_total=0,
        )


class ScriptedEngine:
    """A `WorkflowEngine` whose running workflows a test sets; remembers what they were told."""

    def __init__(self) -> None:
        self.running: set[str] = set()
        self.failure: Exception | None = None
        self.decisions: list[tuple[str, Decision]] = []
        self.cancelled: list[tuple[str, str]] = []
        self.now = EngineStatus(available=True, address="temporal.internal:7233")

    async def start(self, order: RemediationOrder) -> None:
        self.running.add(order.workflow_id)

    async def decide(self, workflow_id: str, decision: Decision) -> None:
        self._check(workflow_id)
        self.decisions.append((workflow_id, decision))

    async def cancel(self, workflow_id: str, by: str) -> None:
        self._check(workflow_id)
        self.cancelled.append((workflow_id, by))

    async def status(self) -> EngineStatus:
        return self.now

    def _check(self, workflow_id: str) -> None:
        if self.failure is not None:
            raise self.failure
        if workflow_id not in self.running:
            raise NotFound("workflow", workflow_id)


def secrets_in(entries: list[AuditEntry], *secrets: str) -> list[str]:
    """Those of `secrets` that the audit trail gives away."""
    text = msgspec.json.encode([entry.record for entry in entries]).decode()
    return [secret for secret in secrets if secret in text]
