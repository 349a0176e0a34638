"""Connections that go to an address which was checked, and to no other."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult

from adapters.runtime.outbound_address import IPAddress
from adapters.runtime.outbound_failures import OutboundRefused

CONNECT_S: Final = 5.0
"""A connection over one address, its TLS handshake included; a receiver that needs longer is down."""


class CheckedHost(msgspec.Struct, frozen=True):
    """A host whose every address may be connected to."""

    name: str
    """What TLS verifies."""
    addresses: tuple[IPAddress, ...]
    listed: bool
    """Whether an operator listed all of them: then plain text may travel there."""


class PinnedAddresses(AbstractResolver):
    """Answers with the checked addresses whatever is asked, and makes no socket for any other."""

    def __init__(self, host: CheckedHost, port: int) -> None:
        self._addresses = [str(address) for address in host.addresses]
        self._port = port

    async def resolve(
        self,
        host: str,
        port: int = 0,  # noqa: ARG002  # the target's own port is used
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002  # and its addresses, of both families
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=self._port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        return None

    def socket(self, address: tuple[Any, ...]) -> socket.socket:
        """A socket for one of `getaddrinfo`'s entries."""
        family, kind, protocol, _, sockaddr = address
        if sockaddr[0] not in self._addresses or sockaddr[1] != self._port:
            raise OutboundRefused("the connection left the address that had been checked")
        return socket.socket(family=family, type=kind, proto=protocol)


async def first_connection(addresses: Sequence[IPAddress], port: int) -> socket.socket:
    """Tries one address after the other; raises the last one's `OSError`."""
    loop = asyncio.get_running_loop()
    failure: OSError = OSError("no address")
    for address in addresses:
        made = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
        made.setblocking(False)
        try:
            async with asyncio.timeout(CONNECT_S):
                await loop.sock_connect(made, (str(address), port))
        except OSError as error:
            made.close()
            failure = error
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise failure
