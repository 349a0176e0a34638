"""PagerDuty's Events API v2 (https://developer.pagerduty.com/docs/events-api-v2-overview)."""

from typing import Final

import msgspec

from adapters.driven.notification_http import post_json, refusal, without_secrets
from adapters.driven.pagerduty.events import Event, events
from adapters.runtime.outbound import OutboundClient, OutboundReply
from core.domain.notifications import Channel, Message, PagerDutyConfig
from ports.driven.clock import Clock
from ports.driven.notifier import NotifierError

_GONE: Final = 410


class PagerDutyNotifier:
    """The `Notifier` for `PagerDutyConfig`; the first secret is the integration's routing key.

    A message with several alerts becomes one event for each, in order, all within the client's time limit; a repeat
    changes nothing at PagerDuty.
    """

    def __init__(self, client: OutboundClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    async def send(self, channel: Channel, secrets: tuple[str, ...], message: Message) -> None:
        """See `Notifier.send`."""
        config = channel.config
        assert isinstance(config, PagerDutyConfig)
        if not secrets:
            raise NotifierError("the channel has no routing key; set its secret", retryable=False)
        end_s = self._clock.monotonic_s() + self._client.timeout_s
        for event in events(message):
            await self._send(config.url, secrets, event, timeout_s=max(0.0, end_s - self._clock.monotonic_s()))

    async def _send(self, url: str, secrets: tuple[str, ...], event: Event, *, timeout_s: float) -> None:
        if event.is_change:
            url = f"{url.rpartition('/')[0]}/change/enqueue"
        body = msgspec.json.encode({"routing_key": secrets[0], **event.fields})
        reply = await post_json(self._client, url, body, timeout_s=timeout_s)
        if not 200 <= reply.status < 300:
            raise refusal(
                reply,
                who="PagerDuty",
                now_s=self._clock.now_us() / 1_000_000,
                said=without_secrets(_said(reply), secrets),
                gone=reply.status == _GONE,
            )


class _Error(msgspec.Struct):
    """What PagerDuty says about an event that it does not take."""

    message: str = ""
    errors: list[str] = []


def _said(reply: OutboundReply) -> str:
    try:
        error = msgspec.json.decode(reply.body, type=_Error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return "; ".join([error.message, *error.errors] if error.message else error.errors)
