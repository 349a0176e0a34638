"""The only way Sextant connects to an address that a tenant chose: the guard against server-side request forgery.

Theory of operation. A URL is read strictly (`outbound_url`), its name is resolved once (`outbound_names`), every
address that comes back is judged (`outbound_address`), and the connection goes to one of these very addresses
(`outbound_pinned`): the name is never looked up again, so that an answer which changes (DNS rebinding) changes nothing.
TLS still verifies the name. Redirects are answers, not instructions; no proxy, cookie or netrc of this machine is used.

Every request has a connection of its own and a time limit over everything it does: nothing is shared that one slow
receiver could keep from another. Keeping connections open would save a handshake a notification, which is no load.

Errors never repeat a URL: a Slack webhook's address is a secret.
"""

import asyncio
import io
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import aiohttp
import msgspec
from yarl import URL

from adapters.runtime.outbound_address import IPAddress, IPNetwork, is_global, is_listed, unmapped
from adapters.runtime.outbound_failures import OutboundFailed, OutboundRefused, as_invalid, translated
from adapters.runtime.outbound_names import NameLookups
from adapters.runtime.outbound_pinned import CONNECT_S, CheckedHost, PinnedAddresses, first_connection
from adapters.runtime.outbound_url import MalformedURL, Target, parse_host, parse_url
from core.domain.errors import InvalidInput

__all__ = ["CheckedHost", "OutboundClient", "OutboundFailed", "OutboundRefused", "OutboundReply", "Resolve"]

LOOKUP_S: Final = 5.0
"""A name's look-up where an address is only checked, as one that waits for the answer will bear."""
ADDRESSES_MAX: Final = 64
"""More than any service announces; each is judged."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z", re.ASCII)
_HEADERS_OURS: Final = frozenset(
    {
        "accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""They say how a message is framed and whom it is for, which is not the caller's to say."""

Resolve = Callable[[str], Awaitable[Sequence[IPAddress]]]
"""All addresses of a DNS name; raises `OSError`."""


class OutboundReply(msgspec.Struct, frozen=True):
    """An answer, whatever its status: redirects too."""

    status: int
    headers: dict[str, str]
    """By name in lower case; of repeated ones the first; what is not UTF-8 is replaced."""
    body: bytes
    """As it was sent: nothing is decompressed."""
    complete: bool
    """False where the body was longer than the limit, or broke off; what came is there."""


class OutboundClient:
    """Makes guarded requests and connections; also the `ports.driven.notifier.AddressGuard`.

    For one event loop; safe to call concurrently. Holds nothing that must be closed.
    """

    def __init__(
        self,
        allow: tuple[IPNetwork, ...] = (),
        *,
        timeout_s: float = 10.0,
        response_bytes_max: int = 65_536,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`allow` lets networks through that are refused otherwise, by plain http too; `timeout_s` is a request's
        total; of a body `response_bytes_max` bytes are read. `resolve` and `tls` replace the system's.
        """
        self.timeout_s = timeout_s
        self.tls = ssl.create_default_context() if tls is None else tls
        self._allow = allow
        self._response_bytes_max = response_bytes_max
        self._resolve: Resolve = NameLookups() if resolve is None else resolve

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float | None = None,
    ) -> OutboundReply:
        """One request, no retry; ends within `timeout_s`. Raises `OutboundRefused` or `OutboundFailed`.

        What arrived before the time was up counts: a status whose body drips is a reply that is not `complete`.
        """
        target = _parsed(url)
        _check_request(method, headers or {})
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        end_s = asyncio.get_running_loop().time() + timeout_s
        return await translated(target.host, self._exchange(method, target, headers or {}, body, end_s))

    async def connect(self, host: str, port: int, *, timeout_s: float) -> tuple[socket.socket, CheckedHost]:
        """A connected, non-blocking TCP socket for what is no HTTP; the caller closes it. Raises as `request` does."""
        name, address = _parsed_host(host)

        async def connected() -> tuple[socket.socket, CheckedHost]:
            async with asyncio.timeout(timeout_s):
                checked = await self._checked(name, address)
                return await first_connection(checked.addresses, port), checked

        return await translated(name, connected())

    async def check_url(self, field: str, url: str) -> None:
        """See `AddressGuard.check_url`."""
        with as_invalid(field):
            target = _parsed(url)
            _check_scheme(target, await self._looked_up(target.host, target.address))

    async def check_host(self, field: str, host: str, port: int) -> None:
        """See `AddressGuard.check_host`."""
        if not 1 <= port <= 65_535:
            raise InvalidInput(field, "has a port that is not from 1 to 65535")
        with as_invalid(field):
            await self._looked_up(*_parsed_host(host))

    async def _looked_up(self, name: str, address: IPAddress | None) -> CheckedHost:
        return await translated(name, asyncio.wait_for(self._checked(name, address), LOOKUP_S))

    async def _exchange(
        self, method: str, target: Target, headers: Mapping[str, str], body: bytes | None, end_s: float
    ) -> OutboundReply:
        async with asyncio.timeout_at(end_s):
            host = await self._checked(target.host, target.address)
        _check_scheme(target, host)
        async with self._session(host, target.port) as session:
            async with asyncio.timeout_at(end_s):
                response = await session.request(
                    method,
                    _wire_url(target),
                    headers={"Accept-Encoding": "identity", **headers},
                    data=None if body is None else io.BytesIO(body),
                    allow_redirects=False,
                )
            async with response:
                received, complete = await self._body(response, end_s)
        first: dict[str, str] = {}
        for name, value in response.headers.items():
            first.setdefault(name.lower(), value.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
        return OutboundReply(response.status, first, received, complete)

    async def _checked(self, name: str, address: IPAddress | None) -> CheckedHost:
        """The host with all its addresses, if every one may be connected to."""
        found = (address,) if address is not None else await self._found(name)
        addresses = tuple(dict.fromkeys(unmapped(each) for each in found))
        listed = [is_listed(each, self._allow) for each in addresses]
        if not all(known or is_global(each) for each, known in zip(addresses, listed, strict=True)):
            # Which address a name has inside this network is not for a tenant to learn.
            what = "is not a public address" if address is not None else "has an address that is not public"
            raise OutboundRefused(f"{name} {what}; an operator can let it through with SEXTANT_OUTBOUND_ALLOW")
        return CheckedHost(name, addresses, all(listed))

    async def _found(self, name: str) -> Sequence[IPAddress]:
        try:
            found = await self._resolve(name)
        except OSError:
            raise OutboundFailed(f"the name {name} could not be looked up") from None
        if not 1 <= len(found) <= ADDRESSES_MAX:
            raise OutboundFailed(f"the name {name} has {len(found)} addresses")
        return found

    def _session(self, host: CheckedHost, port: int) -> aiohttp.ClientSession:
        pinned = PinnedAddresses(host, port)
        connector = aiohttp.TCPConnector(
            ssl=self.tls,
            resolver=pinned,
            socket_factory=pinned.socket,
            force_close=True,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            auto_decompress=False,
            trust_env=False,
            headers={"User-Agent": "Sextant"},
        )

    async def _body(self, response: aiohttp.ClientResponse, end_s: float) -> tuple[bytes, bool]:
        received = bytearray()
        try:
            async with asyncio.timeout_at(end_s):
                async for chunk in response.content.iter_any():
                    received += chunk
                    if len(received) > self._response_bytes_max:
                        return bytes(received[: self._response_bytes_max]), False
        except (TimeoutError, aiohttp.ClientError, OSError):
            return bytes(received), False
        return bytes(received), True


def _wire_url(target: Target) -> URL:
    host = f"[{target.host}]" if ":" in target.host else target.host
    query = f"?{target.query}" if target.query else ""
    return URL(f"{target.scheme}://{host}:{target.port}{target.path}{query}", encoded=True)


def _parsed(url: str) -> Target:
    try:
        return parse_url(url)
    except MalformedURL as error:
        raise OutboundRefused(f"the URL {error}") from None


def _parsed_host(host: str) -> tuple[str, IPAddress | None]:
    try:
        return parse_host(host.removeprefix("[").removesuffix("]") if ":" in host else host)
    except MalformedURL as error:
        raise OutboundRefused(f"the host {error}") from None


def _check_scheme(target: Target, host: CheckedHost) -> None:
    if target.scheme == "http" and not host.listed:
        raise OutboundRefused(
            f"plain http goes only to addresses in SEXTANT_OUTBOUND_ALLOW; use https for {target.host}"
        )


def _check_request(method: str, headers: Mapping[str, str]) -> None:
    if method not in _METHODS:
        raise OutboundRefused(f"the method must be one of {', '.join(sorted(_METHODS))}")
    for name, value in headers.items():
        if not _HEADER_NAME.match(name) or name.lower() in _HEADERS_OURS:
            raise OutboundRefused(f"the header {name[:64]!r} cannot be set")
        if not value.replace("\t", " ").isprintable():
            raise OutboundRefused(f"the header {name} contains control characters")
