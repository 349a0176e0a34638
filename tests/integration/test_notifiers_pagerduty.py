"""What PagerDuty is sent."""

from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import pytest

from adapters.driven.pagerduty.notifier import PagerDutyNotifier
from adapters.runtime.clock import SystemClock
from adapters.runtime.outbound import OutboundClient
from core.domain.notifications import AlertEvent, Message, PagerDutyConfig
from core.domain.rules import Severity
from ports.driven.notifier import NotifierError
from tests.support.messages import HOSTILE_TEXT, alert, channel, hostile_message, message, resolved_alert
from tests.support.receiver import Receiver, answer

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
async def pagerduty() -> AsyncIterator[Receiver]:
    """Yield a receiver that answers as PagerDuty does."""
    async with Receiver().listening() as receiver:
        receiver.behave = answer(202, '{"status":"success","message":"Event processed","dedup_key":"x"}')
        yield receiver


async def sent(pagerduty: Receiver, what: Message) -> list[dict[str, Any]]:
    """The events that arrive of it."""
    before = len(pagerduty.requests)
    client = OutboundClient((ip_network("127.0.0.0/8"),))
    config = PagerDutyConfig(name="c", url=f"http://127.0.0.1:{pagerduty.port}/v2/enqueue")
    await PagerDutyNotifier(client, SystemClock()).send(channel(config), (KEY,), what)
    return [request.json() for request in pagerduty.requests[before:]]


async def test_an_episode_is_one_alert_of_pagerdutys(pagerduty: Receiver) -> None:
    """Fired, escalated, acknowledged, resolved: one key, and the actions that belong to them."""
    told: list[dict[str, Any]] = []
    for event in (AlertEvent.FIRED, AlertEvent.ESCALATED, AlertEvent.ACKNOWLEDGED, AlertEvent.RESOLVED):
        told += await sent(pagerduty, message(event))
    assert [event["event_action"] for event in told] == ["trigger", "trigger", "acknowledge", "resolve"]
    assert {event["dedup_key"] for event in told} == {"sextant/acme/7"}
    assert {event["routing_key"] for event in told} == {KEY}
    assert {request.path for request in pagerduty.requests} == {"/v2/enqueue"}


async def test_a_trigger_tells_the_alert_whole(pagerduty: Receiver) -> None:
    """Summary, source, severity, time, details and links."""
    (event,) = await sent(pagerduty, message(link="https://sextant.example/alerts/7"))
    payload = event["payload"]
    assert payload["summary"] == "CRITICAL cpu high: cpu.usage 97.2 > 90 on host=a since 12:00 UTC"
    assert (payload["source"], payload["severity"], payload["group"]) == ("a", "critical", "acme")
    assert payload["timestamp"] == "2026-01-31T12:00:00Z"
    assert payload["custom_details"]["value"] == 97.2
    assert payload["custom_details"]["annotations"] == {"summary": "the processor is busy"}
    assert [link["text"] for link in event["links"]] == ["Open in Sextant", "Runbook"]
    assert event["client_url"] == "https://sextant.example/alerts/7"


@pytest.mark.parametrize(("severity", "said"), [(Severity.WARNING, "warning"), (Severity.CRITICAL, "critical")])
async def test_severities_are_pagerdutys(pagerduty: Receiver, severity: Severity, said: str) -> None:
    """An escalation raises the open alert's."""
    (event,) = await sent(pagerduty, message(AlertEvent.ESCALATED, alerts=(alert(severity=severity),)))
    assert event["payload"]["severity"] == said


async def test_a_test_cleans_up_after_itself(pagerduty: Receiver) -> None:
    """An alert of its own, at the lowest severity, resolved at once."""
    trigger, resolve = await sent(pagerduty, message(AlertEvent.TEST))
    assert (trigger["event_action"], resolve["event_action"]) == ("trigger", "resolve")
    assert trigger["dedup_key"] == resolve["dedup_key"] != "sextant/acme/7"
    assert trigger["payload"]["severity"] == "info"


async def test_a_remediations_news_pages_nobody_anew(pagerduty: Receiver) -> None:
    """It joins the open incident; where there is none any more it is a change event, not an incident."""
    (update,) = await sent(pagerduty, message(AlertEvent.REMEDIATION))
    assert (update["event_action"], update["dedup_key"]) == ("trigger", "sextant/acme/7")
    assert update["payload"]["summary"] == "REMEDIATION cpu high: restart web asks for approval"
    for ended in ((resolved_alert(),), ()):
        (change,) = await sent(pagerduty, message(AlertEvent.REMEDIATION, alerts=ended))
        assert pagerduty.requests[-1].path == "/v2/change/enqueue"
        assert set(change) == {"routing_key", "payload", "links"}
        assert set(change["payload"]) == {"summary", "timestamp", "source"}


async def test_limits_and_hostile_text(pagerduty: Receiver) -> None:
    """The summary is one line of at most 1024 characters; details are data, and stay as they are."""
    (event,) = await sent(pagerduty, hostile_message())
    assert event["payload"]["summary"].isprintable()
    assert event["payload"]["custom_details"]["labels"]["host"] == HOSTILE_TEXT
    (event,) = await sent(
        pagerduty, message(rule="r" * 200, alerts=(alert(labels={f"l{n}": "v" * 200 for n in range(20)}),))
    )
    assert len(event["payload"]["summary"]) == 1_024


async def test_several_alerts_are_several_events(pagerduty: Receiver) -> None:
    """One key each."""
    told = await sent(pagerduty, message(alerts=(alert(id=1), alert(id=2))))
    assert [event["dedup_key"] for event in told] == ["sextant/acme/1", "sextant/acme/2"]


async def test_pagerdutys_words_are_passed_on_without_the_key(pagerduty: Receiver) -> None:
    """What is wrong with the event, though it repeats the routing key."""
    said = f'{{"status":"invalid event","message":"Event object is invalid","errors":["{KEY} is not known\\n"]}}'
    pagerduty.behave = answer(400, said)
    with pytest.raises(NotifierError) as failed:
        await sent(pagerduty, message())
    assert failed.value.reason == "PagerDuty answered 400: Event object is invalid; … is not known"
