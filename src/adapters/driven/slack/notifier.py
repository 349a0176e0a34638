"""Slack's incoming webhooks (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks)."""

import re
from typing import Final

import msgspec

from adapters.driven.notification_http import post_json, refusal
from adapters.driven.slack.blocks import payload
from adapters.runtime.outbound import OutboundClient
from core.domain.notifications import Channel, Message
from ports.driven.clock import Clock
from ports.driven.notifier import NotifierError

_GONE: Final = frozenset({404, 410})
"""The webhook was removed, or its channel deleted or archived; it never comes back."""
_WORD = re.compile(r"[a-z_]{1,60}\Z", re.ASCII)
"""Slack's errors are single words, such as ``invalid_payload``; anything else is not Slack's."""


class SlackNotifier:
    """The `Notifier` for `SlackConfig`; the first secret is the webhook's address."""

    def __init__(self, client: OutboundClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    async def send(self, channel: Channel, secrets: tuple[str, ...], message: Message) -> None:  # noqa: ARG002  # the port's
        """See `Notifier.send`."""
        if not secrets:
            raise NotifierError("the channel has no webhook address; set its secret", retryable=False)
        reply = await post_json(self._client, secrets[0], msgspec.json.encode(payload(message)))
        if 200 <= reply.status < 300:
            return
        word = reply.body.decode("ascii", "replace").strip()
        raise refusal(
            reply,
            who="Slack",
            now_s=self._clock.now_us() / 1_000_000,
            said=word if _WORD.match(word) else "",
            gone=reply.status in _GONE,
        )
