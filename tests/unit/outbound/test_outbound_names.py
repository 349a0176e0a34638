"""Looking names up on the system."""

import asyncio
import socket
import threading
from ipaddress import ip_address
from typing import Any

import pytest

from adapters.runtime import outbound_names
from adapters.runtime.outbound_names import NameLookups


async def test_a_known_name_is_found() -> None:
    """`localhost` is known without a network."""
    found = await NameLookups()("localhost")
    assert set(found) <= {ip_address("127.0.0.1"), ip_address("::1")}
    assert found


async def test_an_unknown_name_is_an_error() -> None:
    """By RFC 6761 nothing is ever called so."""
    with pytest.raises(OSError, match=r".+"):
        await NameLookups()("nothing.invalid")


async def test_a_name_that_hangs_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """While its server stays silent others are found; all who wait for it share a thread; past the limit it is said."""
    released = threading.Event()
    real = socket.getaddrinfo
    asked: list[str] = []

    def getaddrinfo(host: str, *arguments: Any, **named: Any) -> Any:
        asked.append(host)
        if host.startswith("silent"):
            released.wait()
        return real("localhost", *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(outbound_names, "LOOKUPS_MAX", 2)
    lookups = NameLookups()
    try:
        waiting = [asyncio.create_task(lookups("silent.example")) for _ in range(20)]
        assert await lookups("quick.example")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await lookups("silent.example")
        other = asyncio.create_task(lookups("silent-too.example"))
        await asyncio.sleep(0)
        with pytest.raises(OSError, match="other names"):
            await lookups("quick.example")
    finally:
        released.set()
    assert all(await asyncio.gather(*waiting, other))
    assert asked.count("silent.example") == 1
    assert await lookups("quick.example")
