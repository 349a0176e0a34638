"""The ports of alerting and remediation as a few dictionaries, to see what HTTP makes of requests and answers."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from core.domain.alerts import (
    Alert,
    AlertFilter,
    EpisodeState,
    Inhibition,
    InhibitionSpec,
    Silence,
    SilenceSpec,
    StoredRule,
)
from core.domain.audit import GENESIS, AuditEntry, AuditKind, AuditRecord, link
from core.domain.errors import Conflict, NotFound
from core.domain.notifications import (
    AlertEvent,
    Channel,
    ChannelConfig,
    Notification,
    NotificationState,
    check_channel,
    check_secrets,
)
from core.domain.rules import AlertRule, RuleOrigin, Severity
from core.domain.tenants import Principal, Scope
from core.domain.times import TimeRange
from ports.driving.alerting import AlertDetail, AlertPage, Backtest, NotificationPage
from tests.unit.http.fakes import MADE_AT, Failing

NOTIFICATION_ID = UUID("0b8f9f3a-3f0e-5c7e-9a53-5f5a4d0e2c11")
ALERT = Alert(
    id=1,
    rule="busy",
    rule_id=1,
    metric="cpu",
    labels={"host": "web-1"},
    state=EpisodeState.FIRING,
    severity=Severity.CRITICAL,
    value=97.5,
    threshold=95.0,
    started_at=MADE_AT,
    fired_at=MADE_AT,
    resolved_at=None,
    resolution=None,
    episode=1,
    no_data=False,
    shadow=False,
    announced=True,
    acknowledged_at=None,
    acknowledged_by=None,
    annotations={"summary": "web-1 is busy"},
    runbook_url=None,
    remediation=1,
)
NOTIFICATION = Notification(
    id=NOTIFICATION_ID,
    channel_id=1,
    channel="on call",
    event=AlertEvent.FIRED,
    rule="busy",
    alert_ids=(1,),
    state=NotificationState.DEAD,
    attempts=3,
    created_at=MADE_AT,
    next_attempt_at=None,
    delivered_at=None,
    last_error="the receiver answered 500",
)
ENTRY: AuditEntry = link(
    2,
    1,
    MADE_AT,
    AuditRecord(key="k", kind=AuditKind.DECISION, actor="sextant", summary="it began", alert_id=1, details={"a": [1]}),
    GENESIS,
)


class Scoped(Failing):
    """Requires the scopes that the ports say, and keeps the questions."""

    changing: Scope
    reading: tuple[Scope, ...]

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    def _read(self, principal: Principal, *question: object) -> None:
        self._check()
        principal.require_any(*self.reading)
        self.asked.append(question)

    def _change(self, principal: Principal, *question: object) -> None:
        self._check()
        principal.require(self.changing)
        self.asked.append(question)


class Alerting(Scoped):
    changing = Scope.ALERTS
    reading = (Scope.ALERTS, Scope.QUERY)


class AlertBook(Alerting):
    """Alerts by id."""

    def __init__(self) -> None:
        super().__init__()
        self.by_id = {1: ALERT}

    async def list(self, principal: Principal, wanted: AlertFilter, *, limit: int, cursor: str | None) -> AlertPage:
        self._read(principal, wanted, limit, cursor)
        return AlertPage(list(self.by_id.values()), "next")

    async def get(self, principal: Principal, alert_id: int) -> AlertDetail:
        self._read(principal)
        return AlertDetail(alert=self._one(alert_id), notifications=[NOTIFICATION], timeline=[ENTRY])

    async def acknowledge(self, principal: Principal, alert_id: int) -> Alert:
        self._change(principal)
        return self._changed(alert_id, acknowledged_at=MADE_AT, acknowledged_by="key:abc123")

    async def close(self, principal: Principal, alert_id: int) -> Alert:
        self._change(principal)
        return self._changed(alert_id)

    def _one(self, alert_id: int) -> Alert:
        if alert_id not in self.by_id:
            raise NotFound("alert", str(alert_id))
        return self.by_id[alert_id]

    def _changed(self, alert_id: int, **changes: object) -> Alert:
        alert = self._one(alert_id)
        if alert.state is EpisodeState.RESOLVED:
            raise Conflict("the alert has resolved")
        self.by_id[alert_id] = msgspec.structs.replace(alert, **changes)
        return self.by_id[alert_id]


class RuleBook(Alerting):
    """Rules by id."""

    def __init__(self) -> None:
        super().__init__()
        self.by_id: dict[int, StoredRule] = {}

    async def list(self, principal: Principal) -> Sequence[StoredRule]:
        self._read(principal)
        return sorted(self.by_id.values(), key=lambda stored: stored.rule.name)

    async def get(self, principal: Principal, rule_id: int) -> StoredRule:
        self._read(principal)
        return self._one(rule_id)

    async def create(self, principal: Principal, rule: AlertRule) -> StoredRule:
        self._change(principal)
        if any(stored.rule.name == rule.name for stored in self.by_id.values()):
            raise Conflict(f"there is a rule named {rule.name!r} already")
        return self._put(len(self.by_id) + 1, rule, 1)

    async def replace(self, principal: Principal, rule_id: int, rule: AlertRule) -> StoredRule:
        self._change(principal)
        return self._put(rule_id, rule, self._one(rule_id).revision + 1)

    async def delete(self, principal: Principal, rule_id: int) -> None:
        self._change(principal)
        self._one(rule_id)
        del self.by_id[rule_id]

    async def backtest(self, principal: Principal, rule: AlertRule, time_range: TimeRange) -> Backtest:
        self._read(principal, rule, time_range)
        return Backtest(
            rule=rule.name,
            start=MADE_AT,
            end=MADE_AT,
            series=0,
            samples=0,
            firing_s=0.0,
            notifications=0,
            remediations=0,
            episodes=(),
            episodes_total=0,
        )

    def _one(self, rule_id: int) -> StoredRule:
        if rule_id not in self.by_id:
            raise NotFound("alert rule", str(rule_id))
        return self.by_id[rule_id]

    def _put(self, rule_id: int, rule: AlertRule, revision: int) -> StoredRule:
        self.by_id[rule_id] = StoredRule(
            id=rule_id, origin=RuleOrigin.API, rule=rule, revision=revision, created_at=MADE_AT, updated_at=MADE_AT
        )
        return self.by_id[rule_id]


class SilenceBook(Alerting):
    """Silences and inhibitions by id."""

    def __init__(self) -> None:
        super().__init__()
        self.by_id: dict[int, Silence] = {}
        self.inhibitions_by_id: dict[int, Inhibition] = {}

    async def list(self, principal: Principal, *, ended: bool) -> Sequence[Silence]:
        self._read(principal, ended)
        return [silence for silence in self.by_id.values() if ended or silence.ends_at > MADE_AT]

    async def get(self, principal: Principal, silence_id: int) -> Silence:
        self._read(principal)
        return self._one(silence_id)

    async def create(self, principal: Principal, spec: SilenceSpec) -> Silence:
        self._change(principal)
        return self._put(len(self.by_id) + 1, spec)

    async def replace(self, principal: Principal, silence_id: int, spec: SilenceSpec) -> Silence:
        self._change(principal)
        self._one(silence_id)
        return self._put(silence_id, spec)

    async def end(self, principal: Principal, silence_id: int) -> None:
        self._change(principal)
        self.by_id[silence_id] = msgspec.structs.replace(self._one(silence_id), ends_at=MADE_AT)

    async def inhibitions(self, principal: Principal) -> Sequence[Inhibition]:
        self._read(principal)
        return list(self.inhibitions_by_id.values())

    async def create_inhibition(self, principal: Principal, spec: InhibitionSpec) -> Inhibition:
        self._change(principal)
        made = Inhibition(id=len(self.inhibitions_by_id) + 1, spec=spec, created_at=MADE_AT)
        self.inhibitions_by_id[made.id] = made
        return made

    async def delete_inhibition(self, principal: Principal, inhibition_id: int) -> None:
        self._change(principal)
        if self.inhibitions_by_id.pop(inhibition_id, None) is None:
            raise NotFound("inhibition", str(inhibition_id))

    def _one(self, silence_id: int) -> Silence:
        if silence_id not in self.by_id:
            raise NotFound("silence", str(silence_id))
        return self.by_id[silence_id]

    def _put(self, silence_id: int, spec: SilenceSpec) -> Silence:
        self.by_id[silence_id] = Silence(
            id=silence_id,
            matchers=spec.matchers,
            starts_at=spec.starts_at or MADE_AT,
            ends_at=spec.ends_at,
            author="key:abc123",
            reason=spec.reason,
            created_at=MADE_AT,
        )
        return self.by_id[silence_id]


class ChannelBook(Alerting):
    """Channels by id, and their secrets apart from them."""

    def __init__(self) -> None:
        super().__init__()
        self.by_id: dict[int, Channel] = {}
        self.secrets_by_id: dict[int, tuple[str, ...]] = {}
        self.sent = {NOTIFICATION_ID: NOTIFICATION}

    async def list(self, principal: Principal) -> Sequence[Channel]:
        self._read(principal)
        return list(self.by_id.values())

    async def get(self, principal: Principal, channel_id: int) -> Channel:
        self._read(principal)
        return self._one(channel_id)

    async def create(self, principal: Principal, config: ChannelConfig, secrets: tuple[str, ...]) -> Channel:
        self._change(principal)
        return self._put(len(self.by_id) + 1, config, secrets)

    async def replace(
        self, principal: Principal, channel_id: int, config: ChannelConfig, secrets: tuple[str, ...] | None
    ) -> Channel:
        self._change(principal)
        self._one(channel_id)
        return self._put(channel_id, config, self.secrets_by_id[channel_id] if secrets is None else secrets)

    async def delete(self, principal: Principal, channel_id: int) -> None:
        self._change(principal)
        self._one(channel_id)
        del self.by_id[channel_id]

    async def test(self, principal: Principal, channel_id: int) -> Notification:
        self._change(principal)
        self._one(channel_id)
        return msgspec.structs.replace(NOTIFICATION, event=AlertEvent.TEST, alert_ids=())

    async def notifications(
        self, principal: Principal, *, state: NotificationState | None, limit: int, cursor: str | None
    ) -> NotificationPage:
        self._read(principal, state, limit, cursor)
        return NotificationPage(list(self.sent.values()), None)

    async def resend(self, principal: Principal, notification_id: UUID) -> Notification:
        self._change(principal)
        if notification_id not in self.sent:
            raise NotFound("notification", str(notification_id))
        if self.sent[notification_id].state is not NotificationState.DEAD:
            raise Conflict("the notification is not dead")
        again = msgspec.structs.replace(self.sent[notification_id], state=NotificationState.WAITING)
        self.sent[notification_id] = again
        return again

    def _one(self, channel_id: int) -> Channel:
        if channel_id not in self.by_id:
            raise NotFound("channel", str(channel_id))
        return self.by_id[channel_id]

    def _put(self, channel_id: int, config: ChannelConfig, secrets: tuple[str, ...]) -> Channel:
        check_channel(config)
        check_secrets(config, secrets)
        self.secrets_by_id[channel_id] = secrets
        self.by_id[channel_id] = Channel(
            id=channel_id,
            config=config,
            secrets_set=len(secrets),
            disabled_reason=None,
            created_at=MADE_AT,
            updated_at=MADE_AT,
        )
        return self.by_id[channel_id]
