"""A notification as a mail: plain text, and the same as HTML with everything escaped."""

from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape
from typing import Final

import idna

from adapters.driven.notification_text import one_line, sentences, title, web_link
from core.domain.notifications import EmailConfig, Message

ALERTS_SHOWN: Final = 50
"""A mail has room; the hundredth alert still is read by nobody."""
SUBJECT_CHARS_MAX: Final = 200
"""More than any list of mails shows."""


def mail(config: EmailConfig, message: Message) -> EmailMessage:
    """The mail; raises `ValueError` where an address of the channel is not one.

    `Message-ID` is made of the message's, so that a mail that comes twice can be told from two.
    """
    sender = _address(config.sender)
    made = EmailMessage(policy=SMTP)
    made["Subject"] = one_line(title(message), SUBJECT_CHARS_MAX)
    made["From"] = sender
    made["To"] = tuple(_address(recipient) for recipient in config.to)
    made["Date"] = format_datetime(message.created_at)
    made["Message-ID"] = f"<{message.id}@{sender.domain}>"
    # Nobody's absence notice shall answer (RFC 3834).
    made["Auto-Submitted"] = "auto-generated"
    made["X-Auto-Response-Suppress"] = "All"
    lines = sentences(message, ALERTS_SHOWN)
    links = _links(message)
    made.set_content("\n".join([*lines, "", *(f"{words}: {url}" for words, url in links), f"Tenant: {message.tenant}"]))
    made.add_alternative(_html(message, lines, links), subtype="html")
    return made


def _html(message: Message, lines: list[str], links: list[tuple[str, str]]) -> str:
    texts = "".join(f"<p>{escape(line)}</p>" for line in lines)
    anchors = "".join(f'<p><a href="{escape(url)}">{escape(words)}</a></p>' for words, url in links)
    return f"<!doctype html><html><body>{texts}{anchors}<p>Tenant: {escape(message.tenant)}</p></body></html>"


def _links(message: Message) -> list[tuple[str, str]]:
    runbook = next((alert.runbook_url for alert in message.alerts if alert.runbook_url), None)
    found = (("Open in Sextant", web_link(message.link)), ("Runbook", web_link(runbook)))
    return [(words, url) for words, url in found if url is not None]


def _address(text: str) -> Address:
    """One address and no more, its domain in ASCII; ``a@b, c@d`` is two, and refused."""
    local, _, domain = text.rpartition("@")
    try:
        ascii_domain = domain if domain.isascii() else idna.encode(domain.lower(), uts46=True).decode("ascii")
        return Address(addr_spec=f"{local}@{ascii_domain}")
    except (MessageError, ValueError, IndexError):
        raise ValueError(f"{text[:64]!r} is not an e-mail address that every mail server takes") from None
