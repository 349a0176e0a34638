"""Alerts as people see them, and the rules that make them."""

from collections.abc import Sequence
from typing import Final, Protocol

from core.domain.alerts import Alert, AlertFilter, StoredRule
from core.domain.errors import InvalidInput
from core.domain.matchers import parse_matchers
from core.domain.rules import AlertRule
from core.domain.tenants import Principal, Scope
from core.domain.times import TimeRange
from core.services.cursors import check_page, cut, decode_row_cursor, encode_cursor
from core.services.recording import READ_ALERTS, Recorder, actor
from ports.driven.alerting_store import AlertStore, ChannelStore, RuleStore
from ports.driven.audit_log import AuditLog
from ports.driven.clock import Clock
from ports.driven.notification_store import NotificationStore
from ports.driven.remediation_store import PolicyStore
from ports.driving.alerting import AlertDetail, AlertPage, Backtest

STORY_MAX: Final = 500
"""Notifications, and audit entries, that one alert is shown with; more is in the lists of their own."""


class Backtester(Protocol):
    """Runs a rule over history."""

    async def backtest(self, principal: Principal, rule: AlertRule, time_range: TimeRange) -> Backtest:
        """See `Rules.backtest`."""
        ...


class AlertService:
    """Implements `ports.driving.alerting.Alerts`."""

    def __init__(self, alerts: AlertStore, notifications: NotificationStore, audit: AuditLog, clock: Clock) -> None:
        self._alerts = alerts
        self._notifications = notifications
        self._audit = audit
        self._recorder = Recorder(audit, clock)

    async def list(self, principal: Principal, wanted: AlertFilter, *, limit: int, cursor: str | None) -> AlertPage:
        """See `Alerts.list`."""
        principal.require_any(*READ_ALERTS)
        check_page(limit)
        _check_filter(wanted)
        before_id = decode_row_cursor(cursor)
        found = await self._alerts.list(principal.tenant_id, wanted, limit=limit + 1, before_id=before_id)
        page, more = cut(found, limit)
        return AlertPage(page, encode_cursor(page[-1].id) if more else None)

    async def get(self, principal: Principal, alert_id: int) -> AlertDetail:
        """See `Alerts.get`."""
        principal.require_any(*READ_ALERTS)
        alert = await self._alerts.get(principal.tenant_id, alert_id)
        notifications = await self._notifications.list(
            principal.tenant_id, state=None, limit=STORY_MAX, before=None, alert_id=alert_id
        )
        timeline = await self._audit.list(
            principal.tenant_id, alert_id=alert_id, remediation_id=None, limit=STORY_MAX, after=None
        )
        return AlertDetail(alert=alert, notifications=notifications, timeline=timeline)

    async def acknowledge(self, principal: Principal, alert_id: int) -> Alert:
        """See `Alerts.acknowledge`."""
        principal.require(Scope.ALERTS)
        now = self._recorder.now()
        alert = await self._alerts.acknowledge(principal.tenant_id, alert_id, by=actor(principal), now=now)
        if alert.acknowledged_by == actor(principal):
            await self._recorder.changed(
                principal,
                f"acknowledged the alert {alert.rule!r}",
                alert_id=alert_id,
                key=f"acknowledged-{alert_id}",
            )
        return alert

    async def close(self, principal: Principal, alert_id: int) -> Alert:
        """See `Alerts.close`."""
        principal.require(Scope.ALERTS)
        alert = await self._alerts.request_close(principal.tenant_id, alert_id, by=actor(principal))
        await self._recorder.changed(
            principal, f"closed the alert {alert.rule!r}", alert_id=alert_id, key=f"closed-{alert_id}"
        )
        return alert


class RuleService:
    """Implements `ports.driving.alerting.Rules`."""

    def __init__(
        self,
        rules: RuleStore,
        channels: ChannelStore,
        policies: PolicyStore,
        audit: AuditLog,
        backtester: Backtester,
        clock: Clock,
    ) -> None:
        self._rules = rules
        self._channels = channels
        self._policies = policies
        self._recorder = Recorder(audit, clock)
        self._backtester = backtester

    async def list(self, principal: Principal) -> Sequence[StoredRule]:
        """See `Rules.list`."""
        principal.require_any(*READ_ALERTS)
        return await self._rules.list(principal.tenant_id)

    async def get(self, principal: Principal, rule_id: int) -> StoredRule:
        """See `Rules.get`."""
        principal.require_any(*READ_ALERTS)
        return await self._rules.get(principal.tenant_id, rule_id)

    async def create(self, principal: Principal, rule: AlertRule) -> StoredRule:
        """See `Rules.create`."""
        require_for(principal, rule)
        await check_names(principal.tenant_id, rule, self._channels, self._policies)
        stored = await self._rules.create(principal.tenant_id, rule)
        await self._recorder.changed(principal, f"made the rule {rule.name!r}", after=rule)
        return stored

    async def replace(self, principal: Principal, rule_id: int, rule: AlertRule) -> StoredRule:
        """See `Rules.replace`."""
        require_for(principal, rule)
        before = await self._rules.get(principal.tenant_id, rule_id)
        await check_names(principal.tenant_id, rule, self._channels, self._policies)
        stored = await self._rules.replace(principal.tenant_id, rule_id, rule)
        if stored.revision != before.revision:
            summary = f"changed the rule {before.rule.name!r}"
            await self._recorder.changed(principal, summary, before=before.rule, after=rule)
        return stored

    async def delete(self, principal: Principal, rule_id: int) -> None:
        """See `Rules.delete`."""
        principal.require(Scope.ALERTS)
        before = await self._rules.get(principal.tenant_id, rule_id)
        await self._rules.delete(principal.tenant_id, rule_id)
        await self._recorder.changed(principal, f"deleted the rule {before.rule.name!r}", before=before.rule)

    async def backtest(self, principal: Principal, rule: AlertRule, time_range: TimeRange) -> Backtest:
        """See `Rules.backtest`."""
        principal.require_any(*READ_ALERTS)
        return await self._backtester.backtest(principal, rule, time_range)


def require_for(principal: Principal, rule: AlertRule) -> None:
    """Raises `Forbidden` unless the caller may make `rule`: who makes one that starts remediations decides when
    production is changed."""
    principal.require(Scope.ALERTS)
    if rule.remediation is not None:
        principal.require(Scope.REMEDIATE)


async def check_names(tenant_id: int, rule: AlertRule, channels: ChannelStore, policies: PolicyStore) -> None:
    """Raises `InvalidInput` where a channel or the policy that the rule names is not there."""
    if rule.channels:
        known = {channel.config.name for channel in await channels.list(tenant_id)}
        for name in rule.channels:
            if name not in known:
                raise InvalidInput("channels", f"there is no channel named {name[:64]!r}")
    if rule.remediation is not None:
        stored = await policies.list(tenant_id)
        if all(one.policy.name != rule.remediation for one in stored):
            raise InvalidInput("remediation", f"there is no remediation policy named {rule.remediation[:64]!r}")


def _check_filter(wanted: AlertFilter) -> None:
    """Raises `InvalidInput` where a filter cannot be read."""
    parse_matchers(wanted.matchers)
    for field, text in (("rule", wanted.rule), ("metric", wanted.metric)):
        if text is not None and "\x00" in text:
            raise InvalidInput(field, "contains a NUL character")
    if wanted.start_us is not None and wanted.end_us is not None:
        TimeRange(wanted.start_us, wanted.end_us)
