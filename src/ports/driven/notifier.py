"""Saying something through one channel, to the world outside."""

from typing import Protocol

from core.domain.notifications import Channel, Message


class NotifierError(Exception):
    """The receiver did not take the message."""

    def __init__(self, reason: str, *, retryable: bool, retry_after_s: float | None = None, gone: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        """For a person; without secrets and addresses' credentials."""
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        """What the receiver asked for."""
        self.gone = gone
        """The receiver wants nothing more, ever: the channel is to be disabled."""


class Notifier(Protocol):
    """One kind of channel. Safe to call concurrently; may be repeated with the same message."""

    async def send(self, channel: Channel, secrets: tuple[str, ...], message: Message) -> None:
        """Returns when the receiver has taken the message; raises `NotifierError`. Ends within its own time-out."""
        ...


class AddressGuard(Protocol):
    """Where this server may connect to on a tenant's behalf."""

    async def check_url(self, field: str, url: str) -> None:
        """Raises `InvalidInput` naming `field` where the address must not, or cannot, be connected to."""
        ...

    async def check_host(self, field: str, host: str, port: int) -> None:
        """The same for a host that no URL names, such as a mail server."""
        ...
