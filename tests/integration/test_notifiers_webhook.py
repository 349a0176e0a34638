"""What a webhook's receiver is sent, and how it verifies it."""

import base64
import email.utils
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

import msgspec
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from adapters.driven.memory.clock import FakeClock
from adapters.driven.webhook.notifier import WebhookNotifier
from adapters.runtime.clock import SystemClock
from adapters.runtime.outbound import OutboundClient
from core.domain.alerts import Alert
from core.domain.notifications import AlertEvent, Message, WebhookConfig, WebhookFormat
from core.domain.rules import Severity
from ports.driven.clock import Clock
from ports.driven.notifier import NotifierError
from tests.support.messages import HOSTILE_TEXT, alert, channel, hostile_message, message, resolved_alert
from tests.support.receiver import Received, Receiver, answer

NEW = "whsec_" + base64.b64encode(b"the new secret, 24 bytes").decode()
OLD = "whsec_" + base64.b64encode(b"the old secret, 24 bytes").decode()


@pytest.fixture
async def hook() -> AsyncIterator[Receiver]:
    """Yield a receiver."""
    async with Receiver().listening() as receiver:
        yield receiver


async def sent(
    hook: Receiver,
    what: Message,
    *secrets: str,
    form: WebhookFormat = WebhookFormat.SEXTANT,
    clock: Clock | None = None,
) -> Received:
    """What arrives of it."""
    client = OutboundClient((ip_network("127.0.0.0/8"),))
    notifier = WebhookNotifier(client, clock or SystemClock(), public_url="https://sextant.example")
    config = WebhookConfig(name="ops", url=f"http://127.0.0.1:{hook.port}/hook", format=form)
    await notifier.send(channel(config), secrets, what)
    return hook.requests[-1]


class TestSignature:
    """By the specification's own library."""

    @pytest.mark.parametrize("form", list(WebhookFormat))
    async def test_it_verifies(self, hook: Receiver, form: WebhookFormat) -> None:
        """With the message's id and the present as its time."""
        request = await sent(hook, hostile_message(), NEW, form=form)
        assert Webhook(NEW).verify(request.body, request.headers) == request.json()
        assert request.headers["webhook-id"] == str(message().id)
        assert request.headers["content-type"] == "application/json"

    async def test_while_secrets_rotate_each_of_them_verifies(self, hook: Receiver) -> None:
        """The receiver may know the new one or the old one."""
        request = await sent(hook, message(), NEW, OLD)
        for secret in (NEW, OLD):
            Webhook(secret).verify(request.body, request.headers)
        assert len(request.headers["webhook-signature"].split(" ")) == 2
        with pytest.raises(WebhookVerificationError):
            Webhook("whsec_" + base64.b64encode(b"any other").decode()).verify(request.body, request.headers)

    @pytest.mark.parametrize(
        "secret", ["correct horse battery staples", "s3cret", "my-secret", "pässword", "dGhlIHNlY3JldA==", "=!?=", "a"]
    )
    async def test_a_plain_text_is_a_key(self, hook: Receiver, secret: str) -> None:
        """As its bytes, and as the library reads text where it reads any."""
        request = await sent(hook, message(), secret)
        Webhook(secret.encode()).verify(request.body, request.headers)
        if secret.isascii() and secret not in ("=!?=", "a"):
            Webhook(secret).verify(request.body, request.headers)

    async def test_it_covers_body_id_and_time(self, hook: Receiver) -> None:
        """A changed one of them does not verify."""
        request = await sent(hook, message(), NEW)
        for changed in (
            (request.body + b" ", request.headers),
            (request.body, request.headers | {"webhook-id": "other"}),
            (request.body, request.headers | {"webhook-timestamp": str(int(request.headers["webhook-timestamp"]) - 1)}),
        ):
            with pytest.raises(WebhookVerificationError):
                Webhook(NEW).verify(*changed)

    async def test_its_time_is_the_clocks(self, hook: Receiver) -> None:
        """Of each attempt, so that a late retry is not taken for a replay; the body stays the same."""
        clock = FakeClock()
        first = await sent(hook, message(), NEW, clock=clock)
        clock.advance(3_600_000_000)
        second = await sent(hook, message(), NEW, clock=clock)
        assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 3_600
        assert first.body == second.body

    async def test_without_a_secret_there_is_none(self, hook: Receiver) -> None:
        """And nothing that looks like one."""
        request = await sent(hook, message())
        assert "webhook-signature" not in request.headers

    async def test_a_secret_that_is_no_base64_says_so(self, hook: Receiver) -> None:
        """Without showing it; nothing is sent."""
        with pytest.raises(NotifierError, match="not Base64") as failed:
            await sent(hook, message(), "whsec_x")
        assert not failed.value.retryable
        assert hook.requests == []


class TestSextantBody:
    """Sextant's own JSON."""

    async def test_it_is_as_documented(self, hook: Receiver) -> None:
        """Its fields, and alerts as the API shows them."""
        body = (await sent(hook, message(alerts_total=3))).json()
        assert set(body) == {
            "id", "event", "created_at", "tenant", "rule", "alerts", "alerts_total", "text", "link",
        }  # fmt: skip
        assert (body["id"], body["event"], body["tenant"], body["rule"]) == (
            str(message().id), "fired", "acme", "cpu high",
        )  # fmt: skip
        assert body["text"].startswith("CRITICAL cpu high: cpu.usage 97.2 > 90 on host=a since 12:00 UTC")
        (shown,) = body["alerts"]
        assert shown["state"] == "firing"
        assert shown["started_at"] == "2026-01-31T12:00:00Z"
        assert {
            "id", "rule", "metric", "labels", "state", "severity", "value", "threshold", "started_at", "resolved_at",
            "episode", "remediation",
        } <= set(shown)  # fmt: skip

    async def test_alerts_come_back_whole(self, hook: Receiver) -> None:
        """Hostile texts and bands too: JSON is no place to forge."""
        what = message(alerts=(*hostile_message().alerts, resolved_alert(threshold=(1.0, 2.0))))
        body = (await sent(hook, what)).json()
        assert tuple(msgspec.convert(each, Alert) for each in body["alerts"]) == what.alerts
        assert body["alerts"][0]["labels"]["host"] == HOSTILE_TEXT


class TestAlertmanagerBody:
    """Alertmanager's webhook, version 4, as its receivers read it."""

    async def body(self, hook: Receiver, what: Message) -> dict[str, Any]:
        body: dict[str, Any] = (await sent(hook, what, form=WebhookFormat.ALERTMANAGER)).json()
        return body

    async def test_it_has_alertmanagers_fields(self, hook: Receiver) -> None:
        """All of them, and common labels are those in common."""
        two = (alert(labels={"host": "a", "az": "1"}), alert(id=8, labels={"host": "b", "az": "1"}))
        body = await self.body(hook, message(alerts=two, alerts_total=5))
        assert set(body) == {
            "version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels", "commonLabels",
            "commonAnnotations", "externalURL", "alerts",
        }  # fmt: skip
        assert (body["version"], body["status"], body["receiver"], body["truncatedAlerts"]) == ("4", "firing", "ops", 3)
        assert body["groupLabels"] == {"alertname": "cpu high", "tenant": "acme"}
        assert body["commonLabels"] == {
            "alertname": "cpu high", "az": "1", "metric": "cpu.usage", "severity": "critical", "tenant": "acme",
        }  # fmt: skip
        assert body["commonAnnotations"]["summary"] == "the processor is busy"
        assert set(body["alerts"][0]) == {
            "status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint",
        }  # fmt: skip
        assert body["alerts"][0]["endsAt"] == "0001-01-01T00:00:00Z"
        assert len({each["fingerprint"] for each in body["alerts"]}) == 2

    async def test_resolved_alerts_have_ended(self, hook: Receiver) -> None:
        """The whole is resolved when all are."""
        body = await self.body(hook, message(AlertEvent.RESOLVED))
        assert (body["status"], body["alerts"][0]["status"]) == ("resolved", "resolved")
        assert body["alerts"][0]["endsAt"] == "2026-01-31T12:30:00Z"
        both = message(alerts=(resolved_alert(), alert(severity=Severity.WARNING)))
        assert (await self.body(hook, both))["status"] == "firing"

    async def test_group_and_fingerprint_stay_the_same(self, hook: Receiver) -> None:
        """A receiver matches firing and resolved by them."""
        fired = await self.body(hook, message())
        resolved = await self.body(hook, message(AlertEvent.RESOLVED))
        assert fired["groupKey"] == resolved["groupKey"] == '{}:{alertname="cpu high", tenant="acme"}'
        assert fired["alerts"][0]["fingerprint"] == resolved["alerts"][0]["fingerprint"]
        assert fired["alerts"][0]["labels"] == resolved["alerts"][0]["labels"]


async def test_a_date_in_retry_after_is_read(hook: Receiver) -> None:
    """Relative to the clock's present."""
    clock = FakeClock()
    instant = datetime.fromtimestamp(clock.now_us() / 1_000_000 + 90, UTC)
    hook.behave = answer(503, "", {"Retry-After": email.utils.format_datetime(instant, usegmt=True)})
    with pytest.raises(NotifierError) as failed:
        await sent(hook, message(), clock=clock)
    assert failed.value.retry_after_s == 90.0
