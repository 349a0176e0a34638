"""A real SMTP server on loopback that takes mails, and misbehaves as it is told."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import cast

import msgspec
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


class ReceivedMail(msgspec.Struct, frozen=True):
    """A mail as it arrived, with what SMTP itself said of it."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    encrypted: bool
    login: str | None

    @property
    def message(self) -> EmailMessage:
        """The content, parsed."""
        parsed = message_from_bytes(self.content, policy=default)
        assert isinstance(parsed, EmailMessage)
        return parsed


Answer = Callable[[SMTP], Awaitable[str]]


class MailServer:
    """Takes every mail, remembers it, and answers the recipients by `to_recipient` and the content by `to_content`."""

    def __init__(self, *, login: tuple[str, str] | None = None) -> None:
        self.mails: list[ReceivedMail] = []
        self.recipient_answers: dict[str, str] = {}
        """What it says to a recipient; 250 where nothing stands."""
        self.to_content: Answer = accept
        self.passwords: list[str] = []
        self.drops_farewell = False
        self.port = 0
        self._login = login

    @asynccontextmanager
    async def listening(
        self, *, tls: ssl.SSLContext | None = None, implicit_tls: bool = False
    ) -> AsyncIterator["MailServer"]:
        """Serves on a free port; `tls` is offered as STARTTLS, or used from the beginning."""

        def conversation() -> SMTP:
            return SMTP(
                self,
                hostname="mail.example.test",
                tls_context=None if implicit_tls else tls,
                authenticator=self._authenticate if self._login else None,
                auth_require_tls=tls is not None and not implicit_tls,
                auth_exclude_mechanism=None if self._login else ("LOGIN", "PLAIN"),
            )

        server = await asyncio.get_running_loop().create_server(
            conversation, "127.0.0.1", 0, ssl=tls if implicit_tls else None
        )
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Takes or refuses one recipient."""
        said = self.recipient_answers.get(address, "250 OK")
        if said.startswith("250"):
            envelope.rcpt_tos.append(address)
        return said

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # the same
        """Takes or refuses the content."""
        said = await self.to_content(server)
        if said.startswith("250"):
            assert isinstance(envelope.content, bytes)
            self.mails.append(
                ReceivedMail(
                    sender=envelope.mail_from or "",
                    recipients=tuple(envelope.rcpt_tos),
                    content=envelope.content,
                    encrypted=session.ssl is not None,
                    login=cast("bytes", session.auth_data).decode() if session.authenticated else None,
                )
            )
        return said

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # the same
        """Says goodbye, or just goes."""
        if self.drops_farewell:
            assert isinstance(server.transport, asyncio.WriteTransport)
            server.transport.abort()
        return "221 Bye"

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.passwords.append(data.password.decode())
        known = self._login == (data.login.decode(), data.password.decode())
        return AuthResult(success=known, handled=False, auth_data=data.login)


async def accept(server: SMTP) -> str:
    """The usual answer."""
    return "250 OK"


def say(text: str) -> Answer:
    """Answers so, such as ``451 later``."""

    async def answer(server: SMTP) -> str:
        return text

    return answer


async def hang(server: SMTP) -> str:
    """Never answers."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def reset(server: SMTP) -> str:
    """Drops the connection."""
    assert isinstance(server.transport, asyncio.WriteTransport)
    server.transport.abort()
    return "451 dropped"
