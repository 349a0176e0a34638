"""Channels: where notifications go, and what became of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from core.domain.alerts import Alert, EpisodeState
from core.domain.errors import Conflict
from core.domain.notifications import (
    AlertEvent,
    Channel,
    ChannelConfig,
    EmailConfig,
    Message,
    Notification,
    NotificationState,
    PagerDutyConfig,
    SlackConfig,
    WebhookConfig,
    check_channel,
    check_secrets,
)
from core.domain.rules import Severity
from core.domain.tenants import Principal, Scope
from core.services.cursors import check_page, cut, decode_moment, encode_moment
from core.services.recording import READ_ALERTS, Recorder
from ports.driven.alerting_store import ChannelStore, RuleStore
from ports.driven.audit_log import AuditLog
from ports.driven.clock import Clock
from ports.driven.notification_store import NotificationStore
from ports.driven.notifier import AddressGuard
from ports.driven.pause import Pause
from ports.driven.remediation_store import PolicyStore
from ports.driving.alerting import NotificationPage

TEST_WAIT_S: Final = 5.0
"""Most receivers answer within a second; who waits longer looks the test up in the list of notifications."""
TEST_POLL_S: Final = 0.1


class ChannelService:
    """Implements `ports.driving.alerting.Channels`."""

    def __init__(
        self,
        channels: ChannelStore,
        rules: RuleStore,
        policies: PolicyStore,
        notifications: NotificationStore,
        guard: AddressGuard,
        audit: AuditLog,
        clock: Clock,
        pause: Pause,
    ) -> None:
        self._channels = channels
        self._rules = rules
        self._policies = policies
        self._notifications = notifications
        self._guard = guard
        self._recorder = Recorder(audit, clock)
        self._clock = clock
        self._pause = pause

    async def list(self, principal: Principal) -> Sequence[Channel]:
        """See `Channels.list`."""
        principal.require_any(*READ_ALERTS)
        return await self._channels.list(principal.tenant_id)

    async def get(self, principal: Principal, channel_id: int) -> Channel:
        """See `Channels.get`."""
        principal.require_any(*READ_ALERTS)
        return await self._channels.get(principal.tenant_id, channel_id)

    async def create(self, principal: Principal, config: ChannelConfig, secrets: tuple[str, ...]) -> Channel:
        """See `Channels.create`."""
        principal.require(Scope.ALERTS)
        check_channel(config)
        check_secrets(config, secrets)
        await self._check_address(config, secrets)
        channel = await self._channels.create(principal.tenant_id, config, secrets)
        await self._recorder.changed(principal, f"made the channel {config.name!r}", after=config)
        return channel

    async def replace(
        self, principal: Principal, channel_id: int, config: ChannelConfig, secrets: tuple[str, ...] | None
    ) -> Channel:
        """See `Channels.replace`."""
        principal.require(Scope.ALERTS)
        before = await self._channels.get(principal.tenant_id, channel_id)
        check_channel(config)
        if secrets is not None:
            check_secrets(config, secrets)
        await self._check_address(config, secrets or ())
        if config.name != before.config.name:
            await self._check_unnamed(principal.tenant_id, before.config.name, "renamed")
        channel = await self._channels.replace(principal.tenant_id, channel_id, config, secrets)
        rotated = ", with new secrets" if secrets is not None else ""
        summary = f"changed the channel {before.config.name!r}{rotated}"
        await self._recorder.changed(principal, summary, before=before.config, after=config)
        return channel

    async def delete(self, principal: Principal, channel_id: int) -> None:
        """See `Channels.delete`."""
        principal.require(Scope.ALERTS)
        before = await self._channels.get(principal.tenant_id, channel_id)
        await self._check_unnamed(principal.tenant_id, before.config.name, "deleted")
        await self._channels.delete(principal.tenant_id, channel_id)
        await self._recorder.changed(principal, f"deleted the channel {before.config.name!r}", before=before.config)

    async def test(self, principal: Principal, channel_id: int) -> Notification:
        """See `Channels.test`."""
        principal.require(Scope.ALERTS)
        channel = await self._channels.get(principal.tenant_id, channel_id)
        if not channel.config.enabled or channel.disabled_reason is not None:
            why = f": {channel.disabled_reason}" if channel.disabled_reason is not None else ""
            raise Conflict(f"the channel {channel.config.name!r} is disabled{why}")
        message = _test_message(principal.tenant, channel, self._recorder.now())
        notification = await self._notifications.put(principal.tenant_id, channel_id, message)
        await self._recorder.changed(principal, f"tested the channel {channel.config.name!r}")
        until_s = self._clock.monotonic_s() + TEST_WAIT_S
        while notification.state is NotificationState.WAITING and self._clock.monotonic_s() < until_s:
            await self._pause.sleep(TEST_POLL_S)
            notification = await self._notifications.get(principal.tenant_id, message.id)
        return notification

    async def notifications(
        self, principal: Principal, *, state: NotificationState | None, limit: int, cursor: str | None
    ) -> NotificationPage:
        """See `Channels.notifications`."""
        principal.require_any(*READ_ALERTS)
        check_page(limit)
        before = decode_moment(cursor)
        found = await self._notifications.list(principal.tenant_id, state=state, limit=limit + 1, before=before)
        page, more = cut(found, limit)
        return NotificationPage(page, encode_moment(page[-1].created_at, page[-1].id) if more else None)

    async def resend(self, principal: Principal, notification_id: UUID) -> Notification:
        """See `Channels.resend`."""
        principal.require(Scope.ALERTS)
        now = self._recorder.now()
        notification = await self._notifications.resend(principal.tenant_id, notification_id, now=now)
        summary = f"sent the notification {notification_id} to {notification.channel!r} again"
        await self._recorder.changed(principal, summary)
        return notification

    async def _check_address(self, config: ChannelConfig, secrets: tuple[str, ...]) -> None:
        """Raises `InvalidInput` where the channel would connect to what it must not."""
        match config:
            case SlackConfig():
                for secret in secrets:
                    await self._guard.check_url("secret", secret)
            case PagerDutyConfig() | WebhookConfig():
                await self._guard.check_url("url", config.url)
            case EmailConfig():
                await self._guard.check_host("host", config.host, config.port)

    async def _check_unnamed(self, tenant_id: int, name: str, done: str) -> None:
        """Raises `Conflict` where a rule or a policy would tell nobody without the channel."""
        rules = await self._rules.list(tenant_id)
        users = [f"rule {stored.rule.name!r}" for stored in rules if name in (stored.rule.channels or ())]
        policies = await self._policies.list(tenant_id)
        users += [f"policy {stored.policy.name!r}" for stored in policies if stored.policy.escalation_channel == name]
        if users:
            others = f" and {len(users) - 1} more" if len(users) > 1 else ""
            raise Conflict(f"the channel {name!r} cannot be {done}: the {users[0]}{others} names it")


def _test_message(tenant: str, channel: Channel, now: datetime) -> Message:
    """What a test says, about an alert that never was."""
    sample = Alert(
        id=0,
        rule="Test of a channel",
        rule_id=0,
        metric="sextant.test",
        labels={"channel": channel.config.name},
        state=EpisodeState.FIRING,
        severity=Severity.WARNING,
        value=1.0,
        threshold=0.0,
        started_at=now,
        fired_at=now,
        resolved_at=None,
        resolution=None,
        episode=1,
        no_data=False,
        shadow=False,
        announced=True,
        acknowledged_at=None,
        acknowledged_by=None,
        annotations={"summary": "This is a test: nothing is wrong."},
        runbook_url=None,
        remediation=None,
    )
    return Message(
        id=uuid4(),
        event=AlertEvent.TEST,
        tenant=tenant,
        rule=sample.rule,
        alerts=(sample,),
        alerts_total=1,
        created_at=now,
        text=f"Sextant can reach the channel {channel.config.name}. Nothing is wrong.",
    )
