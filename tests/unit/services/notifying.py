"""A notifier with its surroundings: tables in memory, and receivers that do as a test says."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import msgspec

from adapters.driven.memory.alert_tables import AlertRow, EventRow, MessageRow
from adapters.driven.memory.channels import MemoryChannelStore
from adapters.driven.memory.clock import FakeClock
from adapters.driven.memory.notification_outbox import MemoryNotificationOutbox, MemoryUndecided
from adapters.driven.memory.notifications import MemoryNotificationStore
from adapters.driven.memory.silences import MemorySilenceStore
from core.domain.alerts import Alert, EpisodeState
from core.domain.errors import Unavailable
from core.domain.notifications import (
    AlertEvent,
    ChannelConfig,
    EmailConfig,
    PagerDutyConfig,
    SlackConfig,
    WebhookConfig,
)
from core.domain.times import SECOND_US
from core.services.notify import Attempt, NotifyPlan, NotifyService, Round
from ports.driven.clock import Clock
from ports.driven.evaluation_store import Target
from ports.driven.notification_store import Claimed
from ports.driven.notifier import Notifier
from tests.support.callers import ScriptedReceivers, database
from tests.support.waiting_events import alert

TENANT = 2
PLAN = NotifyPlan(group_wait_s=0.5, send_timeout_s=10.0)


class BreakableOutbox(MemoryNotificationOutbox):
    """The in-memory outbox behind a connection that a test breaks."""

    away = False

    @asynccontextmanager
    async def undecided(self, *, now: datetime, created_before: datetime, limit: int) -> AsyncIterator[MemoryUndecided]:
        self._check()
        async with super().undecided(now=now, created_before=created_before, limit=limit) as undecided:
            yield undecided
            self._check()

    async def claim(
        self, *, now: datetime, lease_s: float, per_channel: int, busy: frozenset[int], limit: int
    ) -> Sequence[Claimed]:
        self._check()
        return await super().claim(now=now, lease_s=lease_s, per_channel=per_channel, busy=busy, limit=limit)

    async def delivered(self, tenant_id: int, message_id: UUID, *, now: datetime) -> None:
        self._check()
        await super().delivered(tenant_id, message_id, now=now)

    def _check(self) -> None:
        if self.away:
            raise Unavailable("the database is away")


class CountingTelemetry:
    """Keeps what was reported."""

    def __init__(self) -> None:
        self.states: list[tuple[str, str]] = []
        self.rounds: list[tuple[int, int, int]] = []

    def notifications_decided(self, *, messages: int, suppressed: int, kept: int) -> None:
        self.rounds.append((messages, suppressed, kept))

    def notification_sent(self, kind: str, state: str, *, took_s: float) -> None:
        self.states.append((kind, state))


class Notifying:
    """The service over its tables, which outlive it."""

    def __init__(self, clock: Clock, notifier: Notifier) -> None:
        self.tables = database(clock)
        self.outbox = BreakableOutbox(self.tables)
        self.channels = MemoryChannelStore(self.tables)
        self.silences = MemorySilenceStore(self.tables)
        self.store = MemoryNotificationStore(self.tables)
        self.telemetry = CountingTelemetry()
        self.notifier = notifier
        self.plan = PLAN
        self.restart()

    def restart(self) -> None:
        """A new process: the old one's memory is gone."""
        kinds: Sequence[type[ChannelConfig]] = (SlackConfig, PagerDutyConfig, WebhookConfig, EmailConfig)
        self.service = NotifyService(
            self.outbox,
            self.channels,
            dict.fromkeys(kinds, self.notifier),
            self.tables.clock,
            self.telemetry,
            self.plan,
        )

    def now(self) -> datetime:
        """The present."""
        return self.tables.now()

    def happened(self, kind: AlertEvent, about: Alert, **fields: object) -> None:
        """What evaluation writes: the alert as it now is, and an event."""
        target = Target(TENANT, about.rule_id, f"s{about.id}")
        self.tables.alerts[about.id] = AlertRow(target=target, alert=about, channels=None)
        row = EventRow(
            id=self.tables.next_id("notification_events"),
            tenant_id=TENANT,
            alert_id=about.id,
            event=kind,
            created_at=self.now(),
        )
        for name, value in fields.items():
            setattr(row, name, value)
        self.tables.notification_events[row.id] = row

    def fired(self, alert_id: int, **fields: object) -> Alert:
        """An alert that fires now."""
        about = alert(alert_id, **fields)
        self.happened(AlertEvent.FIRED, about)
        return about

    def resolved(self, about: Alert) -> None:
        """It resolves now."""
        over = msgspec.structs.replace(about, state=EpisodeState.RESOLVED, resolved_at=self.now())
        self.happened(AlertEvent.RESOLVED, over)

    @property
    def messages(self) -> list[MessageRow]:
        """All there are, in the order in which they were made."""
        return sorted(self.tables.notifications.values(), key=lambda row: row.sequence)


class Stepped(Notifying):
    """The same on a clock that a test moves, and with receivers that it scripts."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.receivers = ScriptedReceivers()
        super().__init__(self.clock, self.receivers)

    def advance(self, duration_s: float) -> None:
        """Lets time pass."""
        self.clock.advance(int(duration_s * SECOND_US))

    async def decide(self) -> list[Round]:
        """Rounds of decisions until nothing is left to decide."""
        rounds: list[Round] = []
        while True:
            done, pause_s = await self.service.decide_round()
            if pause_s:
                return rounds
            rounds.append(done)

    async def deliver(self) -> list[Attempt]:
        """Sends what is due, and writes down what came of it."""
        attempts = [
            await self.service.send(claimed) for claimed in await self.service.claim(busy=frozenset(), places=99)
        ]
        for attempt in attempts:
            await self.service.settle(attempt)
        return attempts

    async def step(self, duration_s: float = 1.0) -> list[Attempt]:
        """Lets time pass, then decides and sends."""
        self.advance(duration_s)
        await self.decide()
        return await self.deliver()
