"""What may be asked about alerts: the alerts, the rules, and who is told.

Reading needs scope ``alerts`` or ``query``, changing ``alerts``. All raise `Forbidden`, `Unavailable`, and for what is
not there `NotFound`. Every change is recorded in the audit trail.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from core.domain.alerts import Alert, AlertFilter, Inhibition, InhibitionSpec, Silence, SilenceSpec, StoredRule
from core.domain.audit import AuditEntry
from core.domain.notifications import AlertEvent, Channel, ChannelConfig, Notification, NotificationState
from core.domain.rules import AlertRule, Severity, Threshold
from core.domain.tenants import Principal
from core.domain.times import TimeRange


class AlertPage(msgspec.Struct, frozen=True):
    """Alerts, newest first, and the cursor of the next page where there is one."""

    data: Sequence[Alert]
    next_cursor: str | None


class AlertDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One alert with all that was said and done about it."""

    alert: Alert
    notifications: Sequence[Notification]
    timeline: Sequence[AuditEntry]


class NotificationPage(msgspec.Struct, frozen=True):
    """Notifications, newest first, and the cursor of the next page where there is one."""

    data: Sequence[Notification]
    next_cursor: str | None


class BacktestEpisode(msgspec.Struct, frozen=True, kw_only=True):
    """An episode that would have been."""

    labels: dict[str, str]
    severity: Severity
    started_at: datetime
    fired_at: datetime
    escalated_at: datetime | None
    resolved_at: datetime | None
    """None: it would still fire at the end of the range."""
    duration_s: float
    """From firing until it resolved, or the end of the range."""
    value: float | None
    """When it fired."""
    worst: float | None
    threshold: Threshold | None
    notifications: tuple[AlertEvent, ...]
    channels: tuple[str, ...]
    """Who would have been told, as channels and silences are now."""
    remediation: str | None
    """The policy that would have been started."""


class Backtest(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule would have done over a range of history."""

    rule: str
    start: datetime
    end: datetime
    series: int
    samples: int
    firing_s: float
    """Of all episodes together."""
    notifications: int
    remediations: int
    episodes: Sequence[BacktestEpisode]
    episodes_total: int
    """Those past `EPISODES_MAX` are counted, not listed."""


class Alerts(Protocol):
    """Episodes."""

    async def list(self, principal: Principal, wanted: AlertFilter, *, limit: int, cursor: str | None) -> AlertPage:
        """Newest first. Raises `InvalidInput`."""
        ...

    async def get(self, principal: Principal, alert_id: int) -> AlertDetail:
        """One, with its story."""
        ...

    async def acknowledge(self, principal: Principal, alert_id: int) -> Alert:
        """Somebody is on it: reminders and pages stop, its resolution is still told. Raises `Conflict` where it has
        resolved."""
        ...

    async def close(self, principal: Principal, alert_id: int) -> Alert:
        """Ends an episode whose samples will not come back; takes effect within a second. Raises `Conflict`."""
        ...


class Rules(Protocol):
    """Alert rules. Those that follow a metric definition are changed there (`Conflict`). Making or changing one that
    names a remediation policy needs scope ``remediate`` as well."""

    async def list(self, principal: Principal) -> Sequence[StoredRule]:
        """All, by name."""
        ...

    async def get(self, principal: Principal, rule_id: int) -> StoredRule:
        """One."""
        ...

    async def create(self, principal: Principal, rule: AlertRule) -> StoredRule:
        """Adds one; raises `Conflict`, and `InvalidInput` where it names a channel or policy that is not there."""
        ...

    async def replace(self, principal: Principal, rule_id: int, rule: AlertRule) -> StoredRule:
        """Replaces one whole."""
        ...

    async def delete(self, principal: Principal, rule_id: int) -> None:
        """Removes one; its open episodes resolve."""
        ...

    async def backtest(self, principal: Principal, rule: AlertRule, time_range: TimeRange) -> Backtest:
        """What a rule, stored or not, would have done over stored samples. Raises `TooExpensive`."""
        ...


class Silences(Protocol):
    """Silences, maintenance windows and inhibitions."""

    async def list(self, principal: Principal, *, ended: bool) -> Sequence[Silence]:
        """By id; those that have ended only if asked for."""
        ...

    async def get(self, principal: Principal, silence_id: int) -> Silence:
        """One."""
        ...

    async def create(self, principal: Principal, spec: SilenceSpec) -> Silence:
        """Adds one in the caller's name; raises `InvalidInput`."""
        ...

    async def replace(self, principal: Principal, silence_id: int, spec: SilenceSpec) -> Silence:
        """Changes one."""
        ...

    async def end(self, principal: Principal, silence_id: int) -> None:
        """Ends one now; it stays in the list of ended ones."""
        ...

    async def inhibitions(self, principal: Principal) -> Sequence[Inhibition]:
        """All, by name."""
        ...

    async def create_inhibition(self, principal: Principal, spec: InhibitionSpec) -> Inhibition:
        """Adds one; raises `Conflict`."""
        ...

    async def delete_inhibition(self, principal: Principal, inhibition_id: int) -> None:
        """Removes one."""
        ...


class Channels(Protocol):
    """Where notifications go, and what became of them. Secrets are taken, never given."""

    async def list(self, principal: Principal) -> Sequence[Channel]:
        """All, by name."""
        ...

    async def get(self, principal: Principal, channel_id: int) -> Channel:
        """One."""
        ...

    async def create(self, principal: Principal, config: ChannelConfig, secrets: tuple[str, ...]) -> Channel:
        """Adds one; raises `Conflict`, and `InvalidInput` for an address that may not be connected to."""
        ...

    async def replace(
        self, principal: Principal, channel_id: int, config: ChannelConfig, secrets: tuple[str, ...] | None
    ) -> Channel:
        """Replaces one; `secrets` None keeps those it has."""
        ...

    async def delete(self, principal: Principal, channel_id: int) -> None:
        """Removes one, with what still waited for it; raises `Conflict` while rules or policies name it."""
        ...

    async def test(self, principal: Principal, channel_id: int) -> Notification:
        """Sends a test message and waits some seconds for what becomes of it; raises `Conflict` where the channel is
        disabled."""
        ...

    async def notifications(
        self, principal: Principal, *, state: NotificationState | None, limit: int, cursor: str | None
    ) -> NotificationPage:
        """What was sent, waits or was given up (`dead`: the dead-letter list), newest first."""
        ...

    async def resend(self, principal: Principal, notification_id: UUID) -> Notification:
        """Tries a dead one again, under the same id; raises `Conflict` where it is not dead."""
        ...
