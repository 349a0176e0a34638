"""What every notifier does alike, each against a real receiver on loopback."""

import logging
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from ipaddress import ip_network
from typing import Final

import pytest

from adapters.driven.pagerduty.notifier import PagerDutyNotifier
from adapters.driven.slack.notifier import SlackNotifier
from adapters.driven.smtp.notifier import SmtpNotifier
from adapters.driven.webhook.notifier import WebhookNotifier
from adapters.runtime.clock import SystemClock
from adapters.runtime.outbound import OutboundClient
from core.domain.notifications import (
    AlertEvent,
    Channel,
    EmailConfig,
    Message,
    PagerDutyConfig,
    SlackConfig,
    WebhookConfig,
    WebhookFormat,
)
from ports.driven.notifier import Notifier, NotifierError
from tests.support import mail_server, receiver
from tests.support.hostile_urls import Canary, HostileNames, hostile_hosts, hostile_urls
from tests.support.mail_server import MailServer
from tests.support.messages import channel, hostile_message, message
from tests.support.receiver import Receiver, answer, drip

LOOPBACK: Final = (ip_network("127.0.0.1/32"),)
SHORT_S: Final = 0.3
"""A time-out that a test can wait for, where nothing is to arrive before it."""
AMPLE_S: Final = 5.0
"""One within which a loaded machine's loopback does answer."""
SECRET: Final = "s3cr3t-Pa55word"
KINDS: Final = ("slack", "pagerduty", "webhook", "alertmanager", "email")


class World:
    """One kind of channel, its receiver and what can go wrong there."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.http = Receiver()
        self.mail = MailServer(login=("sextant", SECRET))

    def notifier(self, client: OutboundClient) -> Notifier:
        """The notifier of this kind."""
        match self.kind:
            case "slack":
                return SlackNotifier(client, SystemClock())
            case "pagerduty":
                return PagerDutyNotifier(client, SystemClock())
            case "email":
                return SmtpNotifier(client, timeout_s=client.timeout_s)
            case _:
                return WebhookNotifier(client, SystemClock(), public_url="https://sextant.example")

    def channel(self) -> tuple[Channel, tuple[str, ...]]:
        """A channel to the receiver, and its secrets."""
        return self.channel_to(f"http://127.0.0.1:{self.http.port}/hook/{SECRET}", "127.0.0.1", self.mail.port)

    def channel_to(self, url: str, host: str, port: int) -> tuple[Channel, tuple[str, ...]]:
        """A channel to anywhere; a mail's goes to `host` and `port`, the others' to `url`."""
        secrets: tuple[str, ...] = (SECRET,)
        config: SlackConfig | PagerDutyConfig | EmailConfig | WebhookConfig
        match self.kind:
            case "slack":
                config, secrets = SlackConfig(name="c"), (url,)
            case "pagerduty":
                config = PagerDutyConfig(name="c", url=url)
            case "email":
                config = EmailConfig(
                    name="c",
                    host=host,
                    port=port,
                    starttls=False,
                    username="sextant",
                    sender="sextant@example.com",
                    to=("ops@example.com",),
                )
            case _:
                config = WebhookConfig(
                    name="c",
                    url=url,
                    format=WebhookFormat.ALERTMANAGER if self.kind == "alertmanager" else WebhookFormat.SEXTANT,
                )
        return channel(config), secrets

    @property
    def arrived(self) -> int:
        """How many requests or mails have come."""
        return len(self.mail.mails) if self.kind == "email" else len(self.http.requests)

    def misbehave(self, fault: str) -> None:
        """From now on the receiver does what `fault` says."""
        status = {"later": 503, "slow down": 429, "never": 400, "forbidden": 403, "redirect": 302}
        say = {"later": "451 try later", "slow down": "421 too busy", "never": "550 no", "forbidden": "554 no"}
        if fault in ("hang", "reset"):
            self.http.behave = getattr(receiver, fault)
            self.mail.to_content = getattr(mail_server, fault)
            return
        headers = {"Retry-After": "17"} if fault == "slow down" else {"Location": "http://127.0.0.1:1/"}
        self.http.behave = answer(status[fault], f"{SECRET} is not right", headers)
        self.mail.to_content = mail_server.say(f"{say.get(fault, '550 no')} {SECRET} is not right")


@pytest.fixture(params=KINDS)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """Yield each kind of channel with its receiver."""
    made = World(request.param)
    async with AsyncExitStack() as running:
        await running.enter_async_context(made.http.listening())
        await running.enter_async_context(made.mail.listening())
        yield made


async def send(
    world: World, what: Message | None = None, *, client: OutboundClient | None = None
) -> NotifierError | None:
    """Sends, and returns what went wrong."""
    client = OutboundClient(LOOPBACK, timeout_s=60) if client is None else client
    to, secrets = world.channel()
    try:
        await world.notifier(client).send(to, secrets, message() if what is None else what)
    except NotifierError as error:
        return error
    return None


@pytest.mark.parametrize("event", list(AlertEvent))
async def test_every_event_is_delivered(world: World, event: AlertEvent) -> None:
    """The receiver has something, and nothing is raised."""
    assert await send(world, message(event)) is None
    assert world.arrived >= 1


@pytest.mark.parametrize(
    ("fault", "retryable"),
    [("later", True), ("slow down", True), ("hang", True), ("reset", True), ("never", False), ("forbidden", False)],
)
async def test_faults_say_whether_to_try_again(world: World, fault: str, retryable: bool) -> None:
    """What may pass is retried, a refusal is not; none of them disables the channel."""
    world.misbehave(fault)
    error = await send(world, client=OutboundClient(LOOPBACK, timeout_s=SHORT_S if fault == "hang" else 60))
    assert error is not None
    assert (error.retryable, error.gone) == (retryable, False)


@pytest.mark.parametrize("fault", ["later", "slow down", "hang", "reset", "never", "forbidden", "redirect"])
async def test_no_error_shows_a_secret(world: World, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    """Not in its reason, its representation, its traceback, nor in any log; though receivers repeat secrets."""
    caplog.set_level(logging.DEBUG)
    world.misbehave(fault)
    error = await send(world, client=OutboundClient(LOOPBACK, timeout_s=SHORT_S))
    assert error is not None
    shown = [error.reason, repr(error), str(error), *traceback.format_exception(error), *_sent_records(caplog)]
    assert not any(SECRET in text for text in shown)


def _sent_records(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The logs of this side; the mail server of the test logs what it receives."""
    return [record.getMessage() for record in caplog.records if not record.name.startswith("mail.")]


async def test_a_retry_is_a_repeat(world: World) -> None:
    """Sent again after a failure, it is the same message: receivers can tell."""
    world.misbehave("later")
    assert await send(world) is not None
    world.http.behave, world.mail.to_content = answer(200), mail_server.accept
    assert await send(world) is None
    assert await send(world) is None
    if world.kind == "email":
        assert len({mail.message["Message-ID"] for mail in world.mail.mails}) == 1
    else:
        assert len({request.body for request in world.http.requests}) == 1
        assert len({request.headers.get("webhook-id") for request in world.http.requests}) == 1


async def test_hostile_text_is_delivered(world: World) -> None:
    """It breaks nothing; what it becomes is each notifier's own test."""
    for event in AlertEvent:
        assert await send(world, hostile_message(event)) is None


async def test_an_address_that_is_not_listed_is_never_connected_to(world: World) -> None:
    """Where the guard refuses, nothing arrives, and trying again would not help."""
    error = await send(world, client=OutboundClient())
    assert error is not None
    assert (error.retryable, world.arrived) == (False, 0)
    assert "SEXTANT_OUTBOUND_ALLOW" in error.reason


async def test_no_hostile_address_is_delivered_to(world: World) -> None:
    """All of the hostile URLs, or hosts, as a stored channel may have them: no connection comes to loopback."""
    async with Canary().listening() as canary:
        client = OutboundClient(resolve=HostileNames(), timeout_s=2)
        notifier = world.notifier(client)
        urls = hostile_urls(canary.port) if world.kind != "email" else [""]
        hosts = hostile_hosts() if world.kind == "email" else [""]
        for url in urls:
            for host in hosts:
                to, secrets = world.channel_to(url, host, canary.port)
                with pytest.raises(NotifierError):
                    await notifier.send(to, secrets, message())
        assert canary.connections == 0


async def test_a_message_may_hold_nothing(world: World) -> None:
    """Events without alerts, and alerts without anything optional, are said all the same."""
    for event in AlertEvent:
        assert await send(world, message(event, alerts=(), text=None, link=None)) is None


HTTP_KINDS: Final[Callable[[str], bool]] = "email".__ne__


class TestOverHTTP:
    """What the three over HTTP do alike."""

    @pytest.fixture(params=[kind for kind in KINDS if HTTP_KINDS(kind)])
    async def world(self, request: pytest.FixtureRequest) -> AsyncIterator[World]:
        """Yield each kind that is sent by HTTP."""
        made = World(request.param)
        async with made.http.listening():
            yield made

    @pytest.mark.parametrize("status", [200, 201, 202, 204])
    async def test_any_2xx_is_taken(self, world: World, status: int) -> None:
        """Whatever the body says."""
        world.http.behave = answer(status)
        assert await send(world) is None

    async def test_a_status_is_enough(self, world: World) -> None:
        """A receiver that has said 200 has the message, though its body never ends: no repeat."""
        world.http.behave = drip(200)
        assert await send(world, client=OutboundClient(LOOPBACK, timeout_s=AMPLE_S)) is None

    @pytest.mark.parametrize(
        ("status", "retryable"),
        [(300, False), (301, False), (302, False), (307, False), (400, False), (401, False), (403, False), (405, False),
         (408, True), (413, False), (422, False), (425, True), (429, True), (500, True), (502, True), (503, True),
         (504, True), (599, True)],
    )  # fmt: skip
    async def test_a_status_says_whether_to_try_again(self, world: World, status: int, retryable: bool) -> None:
        """Redirects are not followed; time-outs, throttling and failures of the server pass."""
        async with Canary().listening() as canary:
            world.http.behave = answer(status, "", {"Location": f"http://127.0.0.1:{canary.port}/"})
            error = await send(world)
            assert canary.connections == 0
        assert error is not None
        assert (error.retryable, error.gone) == (retryable, False)
        assert str(status) in error.reason

    @pytest.mark.parametrize("status", [429, 503])
    async def test_retry_after_is_passed_on(self, world: World, status: int) -> None:
        """In seconds."""
        world.http.behave = answer(status, "", {"Retry-After": "17"})
        error = await send(world)
        assert error is not None
        assert error.retry_after_s == 17.0

    async def test_410_is_the_end(self, world: World) -> None:
        """The channel is to be disabled."""
        world.http.behave = answer(410)
        error = await send(world)
        assert error is not None
        assert (error.retryable, error.gone) == (False, True)

    async def test_a_giant_or_broken_answer_is_not_swallowed(self, world: World) -> None:
        """An error's body is cut; what is no HTTP is a failure."""
        world.http.behave = receiver.giant(500)
        error = await send(world)
        assert error is not None
        assert error.retryable
        assert len(error.reason) < 300
        world.http.behave = receiver.garbage
        error = await send(world)
        assert error is not None
        assert error.retryable
