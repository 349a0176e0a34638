"""Sending a notification as an HTTP request, and what the answers mean for sending it again."""

import math
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from adapters.runtime.outbound import OutboundClient, OutboundFailed, OutboundRefused, OutboundReply
from ports.driven.notifier import NotifierError

RETRY_AFTER_S_MAX: Final = 86_400.0
"""A receiver that asks for more than a day does not know what it says."""
RECEIVER_CHARS_MAX: Final = 200
"""Of what a receiver says about an error."""
_LATER: Final = frozenset({408, 425, 429})
"""The 4xx that say nothing against the request itself: time-out, too early, too many."""


async def post_json(
    client: OutboundClient,
    url: str,
    body: bytes,
    headers: Mapping[str, str] | None = None,
    *,
    timeout_s: float | None = None,
) -> OutboundReply:
    """POSTs; raises `NotifierError` where there is no answer within `timeout_s`, or the client's own limit."""
    all_headers = {"Content-Type": "application/json", **(headers or {})}
    try:
        return await client.request("POST", url, headers=all_headers, body=body, timeout_s=timeout_s)
    except OutboundRefused as error:
        raise NotifierError(error.reason, retryable=False) from None
    except OutboundFailed as error:
        raise NotifierError(error.reason, retryable=True) from None


def refusal(reply: OutboundReply, *, who: str, now_s: float, said: str = "", gone: bool = False) -> NotifierError:
    """What an answer other than 2xx means; `said` is the receiver's own word on it, `now_s` the present."""
    again = reply.status >= 500 or reply.status in _LATER
    return NotifierError(
        f"{who} answered {reply.status}{_meaning(reply.status)}{': ' + said if said else ''}",
        retryable=again and not gone,
        retry_after_s=retry_after_s(reply.headers.get("retry-after"), now_s) if again else None,
        gone=gone,
    )


def retry_after_s(text: str | None, now_s: float) -> float | None:
    """Seconds that a Retry-After header asks for, a number or an HTTP date; None where it says nothing sensible."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.replace(".", "", 1).isdigit():
        wait_s = float(text)
    else:
        try:
            instant = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
        wait_s = (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp() - now_s
    return min(max(wait_s, 0.0), RETRY_AFTER_S_MAX) if math.isfinite(wait_s) else None


def without_secrets(text: str, secrets: tuple[str, ...]) -> str:
    """What a receiver said, on one line, without a secret that it repeated."""
    for secret in secrets:
        text = text.replace(secret, "…")
    return "".join(each if each.isprintable() else " " for each in text)[:RECEIVER_CHARS_MAX].strip()


def _meaning(status: int) -> str:
    if 300 <= status < 400:
        return ", a redirect, which is not followed"
    return {404: " (not found)", 410: " (gone)", 429: " (too many requests)"}.get(status, "")
