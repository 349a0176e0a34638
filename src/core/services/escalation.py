"""Telling people about a remediation: which channels, in which words, with which link."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid5

from core.domain.approval_link import SECRET_NAME, ApprovalClaim, approval_url, make_token
from core.domain.errors import NotFound
from core.domain.notifications import AlertEvent, Channel, Message
from core.domain.remediation import RemediationOrder
from core.domain.times import EPOCH, parse_duration
from ports.driven.alerting_store import ChannelStore
from ports.driven.clock import Clock
from ports.driven.notification_store import NotificationStore
from ports.driven.server_secrets import ServerSecrets

MESSAGE_IDS: Final = UUID("0b7c2d0e-7a53-5d2b-9a51-5f0a6e1d9c44")
"""The name space of messages' ids."""


class Escalation:
    """Puts messages about remediations into the outbox. Safe to call concurrently."""

    def __init__(
        self,
        channels: ChannelStore,
        notifications: NotificationStore,
        secrets: ServerSecrets,
        clock: Clock,
        public_url: str | None,
    ) -> None:
        """`public_url` is where people reach this server; without it there are no links."""
        self._channels = channels
        self._notifications = notifications
        self._secrets = secrets
        self._clock = clock
        self._public_url = public_url

    async def tell(self, order: RemediationOrder, text: str, *, key: str, ask_approval: bool) -> None:
        """One message a channel, whose id follows from `key`: repeating it tells nobody twice."""
        link = await self._link(order) if ask_approval else None
        alerts = () if order.alert_id is None else (order.alert,)
        for channel in recipients(await self._channels.list(order.tenant_id), order):
            message = Message(
                id=uuid5(MESSAGE_IDS, f"{order.tenant_id}/{channel.id}/{key}"),
                event=AlertEvent.REMEDIATION,
                tenant=order.tenant,
                rule=order.rule.name,
                alerts=alerts,
                alerts_total=len(alerts),
                created_at=EPOCH + timedelta(microseconds=self._clock.now_us()),
                text=text,
                link=link,
            )
            try:
                await self._notifications.put(order.tenant_id, channel.id, message)
            except NotFound:  # deleted meanwhile: nobody listens there any more
                continue

    async def _link(self, order: RemediationOrder) -> str | None:
        if self._public_url is None:
            return None
        claim = ApprovalClaim(
            tenant_id=order.tenant_id,
            remediation_id=order.remediation_id,
            expires_us=self._clock.now_us() + parse_duration(order.policy.approval_timeout, "approval_timeout"),
        )
        return approval_url(self._public_url, make_token(await self._secrets.get(SECRET_NAME), claim))


def recipients(channels: Sequence[Channel], order: RemediationOrder) -> Sequence[Channel]:
    """The policy's escalation channel, else the rule's channels; where none of these is left, the default ones."""
    working = [channel for channel in channels if channel.config.enabled and channel.disabled_reason is None]
    escalation = order.policy.escalation_channel
    names = (escalation,) if escalation is not None else order.rule.channels or ()
    named = [channel for channel in working if channel.config.name in names]
    return named or [channel for channel in working if channel.config.default]
