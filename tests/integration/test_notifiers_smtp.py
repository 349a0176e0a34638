"""What a mail server is sent, and when it is not."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final

import pytest
import trustme

from adapters.driven.smtp import notifier as smtp_notifier
from adapters.driven.smtp.notifier import SmtpNotifier
from adapters.runtime.outbound import OutboundClient
from adapters.runtime.outbound_address import IPAddress
from core.domain.notifications import AlertEvent, EmailConfig, Message
from ports.driven.notifier import NotifierError
from tests.support.mail_server import MailServer, say
from tests.support.messages import channel, hostile_message, message

NAME: Final = "mail.example.test"
LOOPBACK: Final = (ip_network("127.0.0.0/8"),)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return a certificate authority of the test's own."""
    return trustme.CA()


def server_tls(authority: trustme.CA, name: str = NAME) -> ssl.SSLContext:
    """A server's side, with a certificate for `name`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture
def client(authority: trustme.CA) -> OutboundClient:
    """Return a client that trusts the authority, and to whom every name is loopback."""

    async def resolve(host: str) -> Sequence[IPAddress]:
        return [ip_address("127.0.0.1")]

    tls = ssl.create_default_context()
    authority.configure_trust(tls)
    return OutboundClient(LOOPBACK, resolve=resolve, tls=tls)


@pytest.fixture
async def server(authority: trustme.CA) -> AsyncIterator[MailServer]:
    """Yield a server that offers STARTTLS and knows one login."""
    async with MailServer(login=("sextant", "pass word")).listening(tls=server_tls(authority)) as listening:
        yield listening


def config(server: MailServer, **changes: Any) -> EmailConfig:
    fields: dict[str, Any] = {
        "name": "c",
        "host": NAME,
        "port": server.port,
        "sender": "sextant@example.com",
        "to": ("ops@example.com",),
    }
    return EmailConfig(**(fields | changes))


async def send(
    client: OutboundClient, to: EmailConfig, what: Message | None = None, *secrets: str
) -> NotifierError | None:
    """Sends, and returns what went wrong."""
    try:
        await SmtpNotifier(client, timeout_s=60).send(channel(to), secrets, what or message())
    except NotifierError as error:
        return error
    return None


async def test_a_mail_is_plain_text_and_html(client: OutboundClient, server: MailServer) -> None:
    """Encrypted, to every recipient, with the headers that keep machines from answering."""
    to = config(server, to=("ops@example.com", "boss@example.org"))
    assert await send(client, to) is None
    (mail,) = server.mails
    assert (mail.encrypted, mail.login, mail.sender) == (True, None, "sextant@example.com")
    assert mail.recipients == ("ops@example.com", "boss@example.org")
    parsed = mail.message
    assert parsed["Subject"] == "CRITICAL cpu high"
    assert parsed["To"] == "ops@example.com, boss@example.org"
    assert parsed["Message-ID"] == f"<{message().id}@example.com>"
    assert parsed["Auto-Submitted"] == "auto-generated"
    assert parsed["Date"].datetime == message().created_at
    plain, html = parsed.iter_parts()
    assert plain.get_content().splitlines()[0] == "CRITICAL cpu high: cpu.usage 97.2 > 90 on host=a since 12:00 UTC"
    assert "cpu.usage 97.2 &gt; 90" in html.get_content()
    assert '<a href="https://runbooks.example/cpu?a=1&amp;b=2">Runbook</a>' in html.get_content()


@pytest.mark.parametrize("event", list(AlertEvent))
async def test_hostile_text_adds_nothing(client: OutboundClient, server: MailServer, event: AlertEvent) -> None:
    """No header, no recipient, no element; the whole text is there, escaped."""
    to = config(server, to=("ops@example.com",))
    assert await send(client, to, message(event)) is None
    assert await send(client, to, hostile_message(event)) is None
    ordinary, hostile = server.mails
    assert hostile.recipients == ("ops@example.com",)
    assert sorted(hostile.message.keys()) == sorted(ordinary.message.keys())
    assert "\n" not in hostile.message["Subject"]
    plain, html = hostile.message.iter_parts()
    assert "<!channel>" in plain.get_content()
    text = html.get_content()
    assert "<script" not in text
    assert "&lt;!channel&gt;" in text
    assert text.count("<a ") == 2
    assert not [line for line in plain.get_content().splitlines() if line.startswith(("Bcc", "RESOLVED everything"))]


@pytest.mark.parametrize(
    "changes",
    [
        {"to": ("a@example.com, b@example.com",)}, {"to": ("a@example.com\r\nBcc: b@example.com",)},
        {"to": ("<a@example.com>",)}, {"to": ("a@b@example.com",)}, {"sender": "x@example.com\nX: y"}, {"to": ("a",)},
        {"to": ("a>@example.com",)}, {"to": ("böss@example.com",)}, {"to": ("a@ex ample.com",)},
        {"sender": "a@example.com> SIZE=1"},
    ],
)  # fmt: skip
async def test_an_address_is_one_address(client: OutboundClient, server: MailServer, changes: dict[str, Any]) -> None:
    """Whatever a stored channel says: anything else is refused before anything is sent."""
    error = await send(client, config(server, **changes))
    assert error is not None
    assert not error.retryable
    assert server.mails == []


async def test_an_international_domain_is_written_in_ascii(client: OutboundClient, server: MailServer) -> None:
    """As DNS knows it; every server takes that."""
    assert await send(client, config(server, to=("ops@münchen.example",))) is None
    assert server.mails[0].recipients == ("ops@xn--mnchen-3ya.example",)
    assert server.mails[0].message["To"] == "ops@xn--mnchen-3ya.example"


class TestEncryption:
    """Who may read the mail, and the password, on their way."""

    async def test_a_password_goes_over_tls(self, client: OutboundClient, server: MailServer) -> None:
        """The server knows who sends."""
        assert await send(client, config(server, username="sextant"), None, "pass word") is None
        assert server.mails[0].login == "sextant"

    async def test_a_wrong_password_is_final(self, client: OutboundClient, server: MailServer) -> None:
        """It will not become right; it is not shown."""
        error = await send(client, config(server, username="sextant"), None, "wr0ng")
        assert error is not None
        assert not error.retryable
        assert "535" in error.reason
        assert "wr0ng" not in error.reason

    async def test_starttls_is_not_optional(self, client: OutboundClient) -> None:
        """A server, or somebody between, that does not offer it gets neither mail nor password."""
        async with MailServer(login=("sextant", "pass word")).listening() as plain:
            error = await send(client, config(plain, username="sextant"), None, "pass word")
            assert error is not None
            assert "does not offer STARTTLS" in error.reason
            assert (plain.mails, plain.passwords) == ([], [])

    async def test_the_servers_name_is_verified(self, client: OutboundClient, authority: trustme.CA) -> None:
        """Another's certificate is a failure that may pass."""
        async with MailServer().listening(tls=server_tls(authority, "other.example.test")) as other:
            error = await send(client, config(other))
            assert error is not None
            assert error.retryable
            assert "certificate of mail.example.test is not valid" in error.reason
            assert other.mails == []

    async def test_an_unlisted_servers_password_needs_tls(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without STARTTLS a login is refused, except where an operator listed the address."""
        async with MailServer(login=("sextant", "pass word")).listening() as plain:
            public = OutboundClient()
            # Loopback counts as a public address here: a real one is out of a test's reach.
            monkeypatch.setattr("adapters.runtime.outbound.is_global", lambda _address: True)
            to = config(plain, host="127.0.0.1", starttls=False, to=("a@b.c",), username="sextant")
            error = await send(public, to, None, "pass word")
            assert error is not None
            assert "only over TLS" in error.reason
            assert (plain.mails, plain.passwords) == ([], [])
            assert await send(OutboundClient(LOOPBACK), to, None, "pass word") is None
            assert plain.mails[0].login == "sextant"

    async def test_the_port_of_submissions_begins_with_tls(
        self, client: OutboundClient, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On 465 (here: the server's port) TLS comes first, whatever `starttls` says."""
        async with MailServer().listening(tls=server_tls(authority), implicit_tls=True) as submissions:
            monkeypatch.setattr(smtp_notifier, "IMPLICIT_TLS_PORT", submissions.port)
            for starttls in (True, False):
                assert await send(client, config(submissions, to=("a@b.c",), starttls=starttls)) is None
            assert len(submissions.mails) == 2


class TestRecipients:
    """Some of them may be refused."""

    async def test_later_for_one_is_later(self, client: OutboundClient, server: MailServer) -> None:
        """The others have it, and will have it again, by the same Message-ID."""
        server.recipient_answers = {"b@example.com": "451 greylisted"}
        error = await send(client, config(server, to=("a@example.com", "b@example.com")))
        assert error is not None
        assert error.retryable
        assert "1 of 2 recipients" in error.reason
        assert server.mails[0].recipients == ("a@example.com",)

    async def test_never_for_one_is_told(self, client: OutboundClient, server: MailServer) -> None:
        """The others have it; trying again would change nothing."""
        server.recipient_answers = {"b@example.com": "550 unknown"}
        error = await send(client, config(server, to=("a@example.com", "b@example.com")))
        assert error is not None
        assert not error.retryable
        assert "'b@example.com' with 550 unknown" in error.reason

    @pytest.mark.parametrize(("said", "retryable"), [("450 later", True), ("550 unknown", False)])
    async def test_all_refused(self, client: OutboundClient, server: MailServer, said: str, retryable: bool) -> None:
        """As the server says."""
        server.recipient_answers = {"a@example.com": said}
        error = await send(client, config(server, to=("a@example.com",)))
        assert error is not None
        assert error.retryable is retryable
        assert server.mails == []


@pytest.mark.parametrize(
    ("greeting", "retryable"),
    [
        (b"", True), (b"220 mail", True), (b"SSH-2.0-OpenSSH_9.2\r\n", True), (b"220-more\r\n" * 100_000, True),
        (b"x" * 1_000_000, True), (b"421 too busy\r\n", True), (b"554 go away\r\n", False),
    ],
)  # fmt: skip
async def test_what_is_no_mail_server_is_a_failure_in_time(
    client: OutboundClient, greeting: bytes, retryable: bool
) -> None:
    """Silence, half a greeting, another protocol, a greeting without end."""
    held: list[asyncio.StreamWriter] = []

    def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)
        writer.write(greeting)

    other = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with other:
        to = EmailConfig(
            name="c", host=NAME, port=other.sockets[0].getsockname()[1], sender="a@example.com", to=("b@example.com",)
        )
        started_s = asyncio.get_running_loop().time()
        timeout_s = 5.0 if greeting.endswith(b"\n") else 0.3
        with pytest.raises(NotifierError) as failed:
            await SmtpNotifier(client, timeout_s=timeout_s).send(channel(to), (), message())
        assert asyncio.get_running_loop().time() - started_s < 10
        for writer in held:
            writer.transport.abort()
    assert failed.value.retryable is retryable
    assert len(failed.value.reason) < 300


async def test_a_login_that_the_server_does_not_know_is_told(client: OutboundClient, authority: trustme.CA) -> None:
    """A server without AUTH will not learn it by waiting."""
    async with MailServer().listening(tls=server_tls(authority)) as open_server:
        error = await send(client, config(open_server, username="sextant"), None, "pass word")
    assert error is not None
    assert not error.retryable
    assert "authentication" in error.reason


async def test_a_mail_that_was_taken_is_not_sent_again(client: OutboundClient, server: MailServer) -> None:
    """Though the server drops the connection instead of saying goodbye."""
    server.drops_farewell = True
    assert await send(client, config(server)) is None
    assert len(server.mails) == 1


async def test_a_multiline_answer_is_one_line(client: OutboundClient, server: MailServer) -> None:
    """And not longer than a person reads."""
    server.to_content = say("550-first\r\n550 " + "second " * 200)
    error = await send(client, config(server, to=("a@example.com",)))
    assert error is not None
    assert error.reason.isprintable()
    assert len(error.reason) < 300
