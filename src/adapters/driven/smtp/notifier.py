"""E-mail through an SMTP server (RFC 5321), over TLS (RFC 3207, RFC 8314)."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable
from contextlib import ExitStack, suppress
from email.message import EmailMessage
from typing import Final, TypeVar

import aiosmtplib

from adapters.driven.notification_http import without_secrets
from adapters.driven.smtp.message import mail
from adapters.runtime.outbound import CheckedHost, OutboundClient, OutboundFailed, OutboundRefused
from core.domain.notifications import Channel, EmailConfig, Message
from ports.driven.notifier import NotifierError

T = TypeVar("T")

SEND_S: Final = 30.0
"""A whole conversation; servers that hold their greeting back against spam take some seconds."""
QUIT_S: Final = 2.0
"""The mail is taken; nobody needs the answer."""
IMPLICIT_TLS_PORT: Final = 465
"""Here TLS begins with the connection (RFC 8314), whatever `starttls` says."""


class SmtpNotifier:
    """The `Notifier` for `EmailConfig`; the first secret is the password.

    The password, and with `starttls` the mail, travel only over TLS that verifies the server's name; to an address that
    an operator listed in SEXTANT_OUTBOUND_ALLOW the password may go without.
    """

    def __init__(self, client: OutboundClient, *, timeout_s: float = SEND_S) -> None:
        self._client = client
        self._timeout_s = timeout_s

    async def send(self, channel: Channel, secrets: tuple[str, ...], message: Message) -> None:
        """See `Notifier.send`."""
        config = channel.config
        assert isinstance(config, EmailConfig)
        if config.username is not None and not secrets:
            raise NotifierError("the channel has a user name and no password; set its secret", retryable=False)
        end_s = asyncio.get_running_loop().time() + self._timeout_s
        refused = await _translated(config.host, secrets, self._send(config, secrets, message, end_s))
        if refused:
            raise _partly_refused(refused, len(config.to), secrets)

    async def _send(
        self, config: EmailConfig, secrets: tuple[str, ...], message: Message, end_s: float
    ) -> dict[str, aiosmtplib.SMTPResponse]:
        """Returns the recipients that were refused, where at least one was not."""
        content = mail(config, message)
        connected, host = await self._client.connect(config.host, config.port, timeout_s=self._timeout_s)
        with ExitStack() as owned:
            owned.enter_context(connected)
            _check_password_safe(config, host)
            smtp = self._conversation(config, connected, host)
            # From here on the connection is closed as asyncio's transport.
            owned.pop_all()
        try:
            async with asyncio.timeout_at(end_s):
                refused = await _deliver(smtp, config, secrets, content)
            # The mail is the server's by now, whatever becomes of the farewell.
            with suppress(aiosmtplib.SMTPException, OSError):
                await smtp.quit(timeout=QUIT_S)
        finally:
            _abort(smtp)
        return refused

    def _conversation(self, config: EmailConfig, connected: socket.socket, host: CheckedHost) -> aiosmtplib.SMTP:
        return aiosmtplib.SMTP(
            sock=connected,
            hostname=host.name,
            local_hostname=_literal(connected),
            use_tls=config.port == IMPLICIT_TLS_PORT,
            start_tls=False,
            tls_context=self._client.tls,
            timeout=self._timeout_s,
        )


async def _deliver(
    smtp: aiosmtplib.SMTP, config: EmailConfig, secrets: tuple[str, ...], content: EmailMessage
) -> dict[str, aiosmtplib.SMTPResponse]:
    await smtp.connect()
    if config.starttls and config.port != IMPLICIT_TLS_PORT:
        await smtp.ehlo()
        if not smtp.supports_extension("starttls"):
            # Somebody between may have taken the offer away, so it may come back.
            raise NotifierError(f"the mail server {config.host!r} does not offer STARTTLS", retryable=True)
        await smtp.starttls()
    if config.username is not None:
        await smtp.login(config.username, secrets[0])
    refused, _ = await smtp.send_message(content)
    return refused


def _check_password_safe(config: EmailConfig, host: CheckedHost) -> None:
    encrypted = config.starttls or config.port == IMPLICIT_TLS_PORT
    if config.username is not None and not encrypted and not host.listed:
        raise OutboundRefused(
            f"the password goes to {host.name} only over TLS; set starttls, or let an operator list its address in "
            "SEXTANT_OUTBOUND_ALLOW"
        )


def _abort(smtp: aiosmtplib.SMTP) -> None:
    """Closes at once: a farewell in TLS would wait for the other side."""
    transport = smtp.transport
    smtp.close()
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()


def _literal(connected: socket.socket) -> str:
    """This end's address as SMTP greets with it; a name would have to be looked up."""
    address = connected.getsockname()[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _partly_refused(
    refused: dict[str, aiosmtplib.SMTPResponse], recipients: int, secrets: tuple[str, ...]
) -> NotifierError:
    """Some have the mail: where the others may get it later it goes to all again, with the same Message-ID."""
    recipient, answer = next(iter(refused.items()))
    said = without_secrets(str(answer.message), secrets)
    return NotifierError(
        f"{len(refused)} of {recipients} recipients were refused, {recipient!r} with {answer.code} {said}",
        retryable=any(400 <= each.code < 500 for each in refused.values()),
    )


async def _translated(host: str, secrets: tuple[str, ...], work: Awaitable[T]) -> T:
    """What `work` returns; what sending a mail raises becomes a `NotifierError`."""
    try:
        return await work
    except OutboundRefused as error:
        failure = NotifierError(error.reason, retryable=False)
    except OutboundFailed as error:
        failure = NotifierError(error.reason, retryable=True)
    except aiosmtplib.SMTPRecipientsRefused as error:
        codes = [each.code for each in error.recipients]
        said = without_secrets(f"{error.recipients[0].code} {error.recipients[0].message}", secrets)
        failure = NotifierError(f"all recipients were refused: {said}", retryable=any(code < 500 for code in codes))
    except aiosmtplib.SMTPResponseException as error:
        said = without_secrets(f"{error.code} {error.message}", secrets)
        failure = NotifierError(f"the mail server answered {said}", retryable=not 500 <= error.code < 600)
    except ssl.SSLCertVerificationError as error:
        failure = NotifierError(f"the certificate of {host} is not valid: {error.verify_message}", retryable=True)
    except ssl.SSLError:
        failure = NotifierError(f"the mail server {host!r} did not complete the TLS handshake", retryable=True)
    except TimeoutError:
        failure = NotifierError(f"the mail server {host!r} gave no answer in time", retryable=True)
    except OSError:
        failure = NotifierError(f"the mail server {host!r} closed the connection", retryable=True)
    except aiosmtplib.SMTPException as error:
        said = without_secrets(str(error), secrets)
        failure = NotifierError(f"the mail server {host!r} cannot take this mail: {said}", retryable=False)
    except ValueError as error:
        failure = NotifierError(f"the mail cannot be written: {without_secrets(str(error), secrets)}", retryable=False)
    # Raised out here so that the first error is not dragged along as its context: it may repeat what was sent.
    raise failure
