"""A notification as Block Kit blocks, in which nothing that a user wrote is markup.

All text is `plain_text`, which Slack parses neither for formatting nor for mentions; ``&``, ``<`` and ``>`` are escaped
in it all the same, as Slack asks for every text. Links are the only `mrkdwn`; their words are ours and their addresses
percent-encoded. Limits: https://docs.slack.dev/reference/block-kit/blocks.
"""

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

from adapters.driven.notification_text import (
    labels_text,
    one_line,
    reading,
    sentences,
    severity_word,
    span,
    title,
    web_link,
)
from core.domain.alerts import Alert
from core.domain.notifications import Message

ALERTS_SHOWN: Final = 10
"""A screen's worth; the message says how many more there are."""
HEADER_CHARS_MAX: Final = 150
SECTION_CHARS_MAX: Final = 3_000
FALLBACK_CHARS_MAX: Final = 3_000
"""The text of the pop-up; Slack cuts what is far longer."""
ANNOTATIONS_SHOWN: Final = 5
ANNOTATION_CHARS_MAX: Final = 300
_URL_SAFE: Final = "!#$%&'()*+,-./:;=?@[]_~"
"""Stays as it is in an address; ``<``, ``>``, ``|`` and quotation marks, which end Slack's links, do not."""
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def payload(message: Message) -> dict[str, Any]:
    """The body of the request, for JSON."""
    return {
        "text": escaped("\n".join(sentences(message, ALERTS_SHOWN)), FALLBACK_CHARS_MAX),
        "mrkdwn": False,
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": list(_blocks(message)),
    }


def escaped(text: str, chars_max: int) -> str:
    """`text` with Slack's control characters as entities, cut so that no entity is split."""
    written: list[str] = []
    left = chars_max - 1
    for character in text:
        piece = _ENTITIES.get(character, character)
        # Slack counts UTF-16 units as some clients do, or characters; the larger is safe.
        left -= len(piece) + (character > "\uffff")
        if left < 0:
            written.append("…")
            break
        written.append(piece)
    return "".join(written)


def _blocks(message: Message) -> Iterable[dict[str, Any]]:
    yield {"type": "header", "text": _plain(title(message), HEADER_CHARS_MAX)}
    shown = message.alerts[:ALERTS_SHOWN]
    if message.text is not None or not shown:
        yield _section(one_line(message.text) if message.text else sentences(message, 0)[0])
    for alert in shown:
        yield _section("\n".join(_alert_lines(alert, message)))
    if message.alerts_total > len(shown):
        yield _section(f"… and {message.alerts_total - len(shown)} more")
    links = _links(message)
    if links:
        yield {"type": "section", "text": {"type": "mrkdwn", "text": links, "verbatim": True}}
    context = f"Sextant, tenant {one_line(message.tenant)}"
    yield {"type": "context", "elements": [_plain(context, SECTION_CHARS_MAX)]}


def _alert_lines(alert: Alert, message: Message) -> Iterable[str]:
    yield f"{severity_word(alert.severity)}: {reading(alert)}, {span(alert, message.created_at)}"
    if alert.labels:
        yield labels_text(alert.labels)
    for name, text in list(alert.annotations.items())[:ANNOTATIONS_SHOWN]:
        yield f"{one_line(name)}: {one_line(text, ANNOTATION_CHARS_MAX)}"


def _links(message: Message) -> str:
    runbook = next((alert.runbook_url for alert in message.alerts if alert.runbook_url), None)
    found = (("Open in Sextant", web_link(message.link)), ("Runbook", web_link(runbook)))
    texts = [f"<{_address(url)}|{words}>" for words, url in found if url is not None]
    texts = [text for text in texts if len(text) <= SECTION_CHARS_MAX // 2]
    return "  ·  ".join(texts)[:SECTION_CHARS_MAX]


def _address(url: str) -> str:
    return quote(url, safe=_URL_SAFE).replace("&", "&amp;")


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _plain(text, SECTION_CHARS_MAX)}


def _plain(text: str, chars_max: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": escaped(text, chars_max), "emoji": False}
