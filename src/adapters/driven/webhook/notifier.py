"""Webhooks to any HTTP receiver, signed as Standard Webhooks."""

from typing import Final

from adapters.driven.notification_http import post_json, refusal
from adapters.driven.webhook.body import body
from adapters.driven.webhook.signature import signature_header
from adapters.runtime.outbound import OutboundClient
from core.domain.notifications import Channel, Message, WebhookConfig
from ports.driven.clock import Clock
from ports.driven.notifier import NotifierError

_GONE: Final = 410
"""How a receiver of Standard Webhooks says that it wants no more."""


class WebhookNotifier:
    """The `Notifier` for `WebhookConfig`; it signs with every secret, so that receivers can change to a new one."""

    def __init__(self, client: OutboundClient, clock: Clock, *, public_url: str = "") -> None:
        """`public_url` is this server's own address for people, without a slash at its end; "" where it has none."""
        self._client = client
        self._clock = clock
        self._public_url = public_url

    async def send(self, channel: Channel, secrets: tuple[str, ...], message: Message) -> None:
        """See `Notifier.send`."""
        config = channel.config
        assert isinstance(config, WebhookConfig)
        now_us = self._clock.now_us()
        content = body(message, config.format, receiver=config.name, public_url=self._public_url)
        headers = {"webhook-id": str(message.id), "webhook-timestamp": str(now_us // 1_000_000)}
        if secrets:
            try:
                signature = signature_header(secrets, str(message.id), now_us // 1_000_000, content)
            except ValueError as error:
                raise NotifierError(f"the channel's secret cannot sign: {error}", retryable=False) from None
            headers["webhook-signature"] = signature
        reply = await post_json(self._client, config.url, content, headers)
        if not 200 <= reply.status < 300:
            raise refusal(reply, who="the receiver", now_s=now_us / 1_000_000, gone=reply.status == _GONE)
