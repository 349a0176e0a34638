"""What Slack is sent."""

from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import pytest

from adapters.driven.slack.blocks import escaped
from adapters.driven.slack.notifier import SlackNotifier
from adapters.runtime.clock import SystemClock
from adapters.runtime.outbound import OutboundClient
from core.domain.notifications import AlertEvent, Message, SlackConfig
from core.domain.rules import Severity
from ports.driven.notifier import NotifierError
from tests.support.messages import alert, channel, hostile_message, message
from tests.support.receiver import Receiver, answer


@pytest.fixture
async def slack() -> AsyncIterator[Receiver]:
    """Yield a receiver that answers as Slack does."""
    async with Receiver().listening() as receiver:
        receiver.behave = answer(200, "ok")
        yield receiver


async def sent(slack: Receiver, what: Message) -> dict[str, Any]:
    """What arrives of it."""
    await deliver(slack, what)
    body: dict[str, Any] = slack.requests[-1].json()
    return body


async def deliver(slack: Receiver, what: Message) -> None:
    client = OutboundClient((ip_network("127.0.0.0/8"),))
    url = f"http://127.0.0.1:{slack.port}/services/T0/B0/xyz"
    await SlackNotifier(client, SystemClock()).send(channel(SlackConfig(name="c")), (url,), what)


def texts(blocks: list[dict[str, Any]]) -> list[dict[str, str]]:
    """All text objects of the blocks."""
    return [text for block in blocks for text in (block.get("text"), *block.get("elements", ())) if text]


async def test_an_alert_is_told_whole(slack: Receiver) -> None:
    """Title, reading, labels, annotation, runbook; a text for the pop-up."""
    body = await sent(slack, message())
    header, section, links, context = body["blocks"]
    assert header["text"] == {"type": "plain_text", "text": "CRITICAL cpu high", "emoji": False}
    assert section["text"]["text"].splitlines() == [
        "CRITICAL: cpu.usage 97.2 &gt; 90, since 12:00 UTC",
        "host=a",
        "summary: the processor is busy",
    ]
    assert links["text"]["text"] == "<https://runbooks.example/cpu?a=1&amp;b=2|Runbook>"
    assert context["elements"][0]["text"] == "Sextant, tenant acme"
    assert body["text"] == "CRITICAL cpu high: cpu.usage 97.2 &gt; 90 on host=a since 12:00 UTC"
    assert slack.requests[0].path == "/services/T0/B0/xyz"


async def test_a_remediation_offers_its_link(slack: Receiver) -> None:
    """The sentence, and where a person can act."""
    body = await sent(slack, message(AlertEvent.REMEDIATION))
    assert body["blocks"][1]["text"]["text"] == "restart web asks for approval"
    offered = body["blocks"][-2]["text"]["text"]
    assert offered.startswith("<https://sextant.example/remediations/5?token=a&amp;b=c|Open in Sextant>")


@pytest.mark.parametrize("event", list(AlertEvent))
async def test_user_text_is_never_markup(slack: Receiver, event: AlertEvent) -> None:
    """No control character of Slack's is left unescaped outside our own links; nothing a user wrote is mrkdwn."""
    body = await sent(slack, hostile_message(event))
    assert (body["mrkdwn"], body["parse"], body["link_names"]) == (False, "none", False)
    assert not set("<>") & set(body["text"])
    for text in texts(body["blocks"]):
        if text["type"] == "plain_text":
            assert not set("<>") & set(text["text"])
            assert "&" not in text["text"].replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
        else:
            assert text["text"].split("  ·  ") == [
                "<https://x.example/%3C!here%3E%7Ca|Open in Sextant>",
                "<https://x.example/%3E%7C%3C!channel%3E%22'%3E%3Cscript%3E&amp;|Runbook>",
            ]


async def test_slacks_limits_are_kept(slack: Receiver) -> None:
    """A hundred alerts with the longest texts: 50 blocks, 3000 characters a text, 150 a header; the rest is counted."""
    label = {f"label_{n}": "<&>" * 300 for n in range(20)}
    annotations = {f"note_{n}": "&" * 2_000 for n in range(20)}
    many = tuple(alert(id=n, labels=label, annotations=annotations, severity=Severity.WARNING) for n in range(100))
    body = await sent(slack, message(alerts=many, alerts_total=250, rule="r😀" * 100, text="<" * 4_000))
    assert len(body["blocks"]) <= 50
    for text in texts(body["blocks"]):
        assert 1 <= len(text["text"].encode("utf-16-le")) // 2 <= 3_000
    assert len(body["blocks"][0]["text"]["text"].encode("utf-16-le")) // 2 <= 150
    assert len(body["text"]) <= 3_000
    assert "… and 240 more" in [text["text"] for text in texts(body["blocks"])]


def test_an_entity_is_never_cut() -> None:
    """At any length."""
    for chars_max in range(1, 20):
        cut = escaped("&<>" * 9, chars_max)
        assert len(cut) <= chars_max
        assert cut.removesuffix("…").replace("&amp;", "").replace("&lt;", "").replace("&gt;", "") == ""


@pytest.mark.parametrize(
    ("status", "word", "gone"),
    [(400, "invalid_payload", False), (403, "action_prohibited", False), (404, "no_service", True),
     (410, "channel_is_archived", True), (500, "rollup_error", False)],
)  # fmt: skip
async def test_slacks_word_is_passed_on(slack: Receiver, status: int, word: str, gone: bool) -> None:
    """A webhook that was removed disables the channel."""
    slack.behave = answer(status, word)
    with pytest.raises(NotifierError, match=word) as failed:
        await deliver(slack, message())
    assert failed.value.gone is gone


async def test_a_channel_without_an_address_says_so(slack: Receiver) -> None:
    """Nothing is tried."""
    with pytest.raises(NotifierError, match="secret"):
        await SlackNotifier(OutboundClient(), SystemClock()).send(channel(SlackConfig(name="c")), (), message())
