"""What goes wrong with an outbound connection, in words that repeat no URL: it may be a secret."""

import os
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import aiohttp

from core.domain.errors import InvalidInput

T = TypeVar("T")


class OutboundRefused(Exception):
    """It must not be connected to; says what to mend. The same request will be refused again."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class OutboundFailed(Exception):
    """It could not be reached, or gave no answer; the same request may succeed later."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@contextmanager
def as_invalid(field: str) -> Iterator[None]:
    """Turns both into an `InvalidInput` that names `field`."""
    try:
        yield
    except (OutboundRefused, OutboundFailed) as error:
        raise InvalidInput(field, error.reason) from None


async def translated(host: str, work: Awaitable[T]) -> T:
    """What `work` returns; what sockets, TLS and aiohttp raise in it becomes an `OutboundFailed` about `host`."""
    try:
        return await work
    except aiohttp.ClientConnectorCertificateError as error:
        said = getattr(error.certificate_error, "verify_message", "it does not verify")
        reason = f"the certificate of {host} is not valid: {said}"
    except aiohttp.ClientSSLError:
        reason = f"{host} did not complete the TLS handshake"
    except TimeoutError:
        reason = f"{host} gave no answer in time"
    except aiohttp.ClientConnectorError as error:
        # asyncio's own text names the address, which is not for a tenant to learn.
        why = os.strerror(error.os_error.errno) if error.os_error.errno else "no connection"
        reason = f"{host} could not be connected to: {why}"
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, OSError):
        reason = f"{host} closed the connection, or could not be connected to"
    except aiohttp.ClientError:
        reason = f"{host} did not answer in HTTP"
    # Raised out here so that the first error, and the URL in it, is not dragged along as its context.
    raise OutboundFailed(reason)
