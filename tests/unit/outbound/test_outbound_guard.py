"""What is never connected to, whatever URL, name or address a tenant gives."""

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final

import pytest

from adapters.runtime.outbound import CheckedHost, OutboundClient, OutboundFailed, OutboundRefused
from adapters.runtime.outbound_address import IPAddress
from adapters.runtime.outbound_pinned import PinnedAddresses
from core.domain.errors import InvalidInput
from tests.support.hostile_urls import (
    NAME,
    PUBLIC,
    REBINDING_NAME,
    Canary,
    HostileNames,
    answering,
    hostile_hosts,
    hostile_urls,
)
from tests.support.receiver import Receiver

LOOPBACK: Final = (ip_network("127.0.0.0/8"),)
SHORT_S: Final = 0.3
"""A time-out that a test can wait for, where nothing is to arrive before it."""


async def test_no_hostile_url_reaches_loopback() -> None:
    """None of them connects, by request or by check, and each says what is wrong without repeating it."""
    async with Canary().listening() as canary:
        client = OutboundClient(resolve=HostileNames(), timeout_s=2)
        urls = hostile_urls(canary.port)
        assert len(urls) >= 150
        for url in urls:
            with pytest.raises((OutboundRefused, OutboundFailed)):
                await client.request("POST", url, body=b"{}")
            with pytest.raises(InvalidInput) as refused:
                await client.check_url("url", url)
            assert refused.value.field == "url"
            assert "/hook" not in refused.value.reason
        for host in hostile_hosts():
            with pytest.raises((OutboundRefused, OutboundFailed)):
                await client.connect(host, canary.port, timeout_s=2)
            with pytest.raises(InvalidInput, match="host"):
                await client.check_host("host", host, canary.port)
        assert canary.connections == 0


async def test_a_list_lets_nothing_else_through() -> None:
    """One loopback address is listed; the others, and mixtures with it, still are refused."""
    async with Canary().listening() as canary:
        client = OutboundClient((ip_network("127.9.9.9/32"),), resolve=HostileNames(), timeout_s=2)
        for url in hostile_urls(canary.port):
            with pytest.raises((OutboundRefused, OutboundFailed)):
                await client.request("GET", url)
        assert canary.connections == 0


async def test_the_canary_would_notice() -> None:
    """Where loopback is listed, the same URLs do connect to it: the tests above can fail."""
    async with Canary().listening() as canary:
        client = OutboundClient(LOOPBACK, resolve=HostileNames(), timeout_s=2)
        names = [f"https://{host}:{canary.port}/" for host in ("127.0.0.1", "[::ffff:127.0.0.1]", "localhost")]
        for connections, url in enumerate(names, start=1):
            with pytest.raises(OutboundFailed):
                await client.request("GET", url)
            assert canary.connections == connections


async def test_a_name_is_looked_up_once(receiver: Receiver) -> None:
    """The second answer of a rebinding name, another address, is never asked for."""
    names = HostileNames({REBINDING_NAME: (("127.0.0.1",), ("127.0.0.9",))})
    client = OutboundClient((ip_network("127.0.0.1/32"),), resolve=names)
    assert (await client.request("GET", f"http://{REBINDING_NAME}:{receiver.port}/")).status == 200
    assert names.lookups == [REBINDING_NAME]


async def test_a_name_that_rebinds_after_its_check_is_refused() -> None:
    """Checked when the channel was made and found public; loopback when it is used."""
    async with Canary().listening() as canary:
        names = HostileNames({REBINDING_NAME: ((PUBLIC,), ("127.0.0.1",))})
        client = OutboundClient(resolve=names)
        url = f"https://{REBINDING_NAME}:{canary.port}/"
        await client.check_url("url", url)
        with pytest.raises(OutboundRefused, match="SEXTANT_OUTBOUND_ALLOW"):
            await client.request("GET", url)
        assert canary.connections == 0


@pytest.mark.parametrize("elsewhere", [("127.0.0.9", 80), ("127.0.0.1", 81), ("::1", 80, 0, 0)])
def test_no_socket_is_made_for_another_address(elsewhere: tuple[Any, ...]) -> None:
    """Whatever the HTTP library makes of a URL, a connection to what was not checked cannot begin."""
    pinned = PinnedAddresses(CheckedHost(NAME, (ip_address("127.0.0.1"),), True), 80)
    family = socket.AF_INET6 if ":" in elsewhere[0] else socket.AF_INET
    with pytest.raises(OutboundRefused, match="checked"):
        pinned.socket((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", elsewhere))


async def test_every_address_of_a_name_is_judged(receiver: Receiver) -> None:
    """One private address among listed ones refuses them all; what it is stays unsaid."""
    client = OutboundClient(LOOPBACK, resolve=answering("127.0.0.1", "10.20.30.40"))
    with pytest.raises(OutboundRefused) as refused:
        await client.request("GET", f"http://{NAME}:{receiver.port}/")
    assert "10.20" not in refused.value.reason
    assert receiver.requests == []


async def test_plain_http_needs_the_list() -> None:
    """A public address is reached by https only, also as one of several."""
    client = OutboundClient(resolve=answering(PUBLIC))
    for refused in (f"http://{NAME}/", f"http://{PUBLIC}/", f"http://{NAME}:443/"):
        with pytest.raises(InvalidInput, match="use https"):
            await client.check_url("url", refused)
    await client.check_url("url", f"https://{NAME}/")
    with pytest.raises(InvalidInput, match="use https"):
        await OutboundClient(LOOPBACK, resolve=answering("127.0.0.1", PUBLIC)).check_url("url", f"http://{NAME}/")
    await OutboundClient((ip_network(f"{PUBLIC}/32"),), resolve=answering(PUBLIC)).check_url("url", f"http://{NAME}/")


async def test_by_default_the_system_resolves() -> None:
    """`localhost` is looked up there, and refused."""
    client = OutboundClient()
    for check in (client.check_url("url", "https://localhost/"), client.check_host("host", "localhost", 25)):
        with pytest.raises(InvalidInput, match="has an address that is not public"):
            await check


async def test_plain_http_is_refused_when_it_is_sent_too(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel from before the list was shortened; loopback counts as public here."""
    monkeypatch.setattr("adapters.runtime.outbound.is_global", lambda _address: True)
    with pytest.raises(OutboundRefused, match="use https"):
        await OutboundClient().request("GET", receiver.url())
    assert receiver.requests == []


async def test_a_host_is_checked_with_its_port() -> None:
    """Ports that are none are named as such."""
    client = OutboundClient(resolve=answering(PUBLIC))
    await client.check_host("host", NAME, 587)
    await client.check_host("host", "2606:4700::1111", 587)
    for port in (0, -1, 65_536):
        with pytest.raises(InvalidInput, match="port"):
            await client.check_host("host", NAME, port)


async def test_a_resolver_that_fails_or_hangs_is_a_failure_in_time() -> None:
    """Names without an answer are told apart from refused ones."""

    async def away(host: str) -> Sequence[IPAddress]:
        raise OSError("no such host")

    async def hanging(host: str) -> Sequence[IPAddress]:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    for resolve in (away, hanging):
        with pytest.raises(OutboundFailed, match=NAME):
            await OutboundClient(resolve=resolve, timeout_s=SHORT_S).request("GET", f"https://{NAME}/")


async def test_a_socket_goes_to_the_checked_address(receiver: Receiver) -> None:
    """`connect` tries a name's addresses in turn and tells what it is connected to."""
    client = OutboundClient(LOOPBACK, resolve=answering("127.0.0.77", "127.0.0.1"))
    connected, host = await client.connect(NAME, receiver.port, timeout_s=2)
    with connected:
        assert connected.getpeername() == ("127.0.0.1", receiver.port)
    assert (host.name, host.listed) == (NAME, True)
