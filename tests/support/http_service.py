"""A service on the loopback interface, for an HTTP action to be sent to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web


class Received(msgspec.Struct):
    """One request as the server got it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Service:
    """Answers as it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.received: list[Received] = []
        self.arrived = asyncio.Event()
        self.answer: Callable[[], web.Response] = web.Response
        self.hang = False

    @asynccontextmanager
    async def served(self) -> AsyncIterator["Service"]:
        """Listens while the block runs."""
        runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.05)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.received.append(
            Received(
                request.method,
                request.raw_path.partition("?")[0],
                dict(request.query),
                dict(request.headers),
                await request.read(),
            )
        )
        self.arrived.set()
        if self.hang:
            await asyncio.Event().wait()
        return self.answer()

    @staticmethod
    def echo(received: Received, *, status: int) -> web.Response:
        """Answers with the request's own headers, as debugging servers do."""
        return web.json_response({"headers": received.headers, "body": received.body.decode()}, status=status)
