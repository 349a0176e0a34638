"""A real HTTP server on loopback that takes requests, and misbehaves as it is told."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from aiohttp import web

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]

DRIP_S: Final = 0.02
"""Between two bytes of a slow body."""


class Received(msgspec.Struct, frozen=True):
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return msgspec.json.decode(self.body)


class Receiver:
    """Takes every request, remembers it, and answers by `behave`, or by the next of `script` while there is one."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.behave: Behaviour = answer(200)
        self.script: list[Behaviour] = []
        self.port = 0

    @asynccontextmanager
    async def listening(
        self, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> AsyncIterator["Receiver"]:
        """Serves on a free port of `host`; requests that hang are cancelled at the end."""
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self._take)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, 0, ssl_context=tls)
            await site.start()
            self.port = runner.addresses[0][1]
            yield self
        finally:
            await runner.cleanup()

    def url(self, path: str = "/hook") -> str:
        """Where it listens, for an address of IPv4 without TLS."""
        return f"http://127.0.0.1:{self.port}{path}"

    async def _take(self, request: web.Request) -> web.StreamResponse:
        body = await request.content.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(Received(request.method, request.path_qs, headers, body))
        behave = self.script.pop(0) if self.script else self.behave
        return await behave(request)


def answer(status: int, body: str | bytes = b"", headers: Mapping[str, str] | None = None) -> Behaviour:
    """Answers at once."""
    content = body.encode() if isinstance(body, str) else body

    async def behave(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=content, headers=dict(headers or {}))

    return behave


async def hang(request: web.Request) -> web.StreamResponse:
    """Never answers."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def reset(request: web.Request) -> web.StreamResponse:
    """Takes the request, and drops the connection."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def garbage(request: web.Request) -> web.StreamResponse:
    """Answers in something that is not HTTP."""
    assert isinstance(request.transport, asyncio.WriteTransport)
    request.transport.write(b"\x00\xff SSH-2.0-OpenSSH_9.2\r\n\r\n\r\n" * 4)
    request.transport.close()
    return web.Response()


def drip(status: int) -> Behaviour:
    """Sends the status at once and a body a byte at a time, without end."""

    async def behave(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        while True:
            await response.write(b".")
            await asyncio.sleep(DRIP_S)

    return behave


async def drip_headers(request: web.Request) -> web.StreamResponse:
    """Sends headers a line at a time, without end."""
    assert isinstance(request.transport, asyncio.WriteTransport)
    request.transport.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        request.transport.write(b"X: y\r\n")
        await asyncio.sleep(DRIP_S)


def giant(status: int, *, chunks: int = 1_024) -> Behaviour:
    """Sends `chunks` times 64 KiB, as fast as they are taken."""

    async def behave(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        for _ in range(chunks):
            await response.write(b"x" * 65_536)
        return response

    return behave
