"""A double of Sextant's own wire API, for what a real server does only when it is in trouble."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import cramjam
import msgspec
from aiohttp import web

from adapters.driving.cli.client import Target
from core.domain.errors import InvalidInput
from core.domain.series import series_identity
from core.domain.times import parse_time

KEY = "sx_a-key-for-these-tests"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class IngestDouble:
    """Stores what arrives, once per idempotency key; `troubles` are met first, one a request."""

    def __init__(self) -> None:
        self.url = ""
        self.stored: list[dict[str, Any]] = []
        self.requests: list[list[dict[str, Any]]] = []
        """The metrics of every request that reached the store, repeats included."""
        self.definitions: dict[str, dict[str, Any]] = {}
        self.troubles: list[Handler] = []
        self.refuse_before_us = 0
        """Older samples are refused, as retention does."""
        self.definitions_status: int | None = None
        """What the definitions routes answer instead of working."""
        self.definitions_asked = 0
        self._replies: dict[str, tuple[bytes, web.Response]] = {}

    @property
    def target(self) -> Target:
        """Where it listens."""
        return Target(self.url, KEY)

    @property
    def values(self) -> list[float]:
        """Of all stored metrics, in order of arrival."""
        return [metric["value"] for metric in self.stored]

    async def ingest(self, request: web.Request) -> web.StreamResponse:
        """POST /api/v1/metrics/ingest/batch."""
        body = await request.read()
        if self.troubles:
            return await self.troubles.pop(0)(request)
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return problem(401, "unknown API key")
        assert request.headers["Content-Encoding"] == "zstd"
        metrics = msgspec.json.decode(bytes(cramjam.zstd.decompress(body)))["metrics"]
        assert 0 < len(metrics) <= 10_000
        self.requests.append(metrics)
        key = request.headers["Idempotency-Key"]
        if key not in self._replies:
            self._replies[key] = body, self._store(metrics)
        first_body, reply = self._replies[key]
        assert first_body == body, "one key, two bodies"
        return web.Response(status=reply.status, body=reply.body, content_type=reply.content_type)

    def _store(self, metrics: list[dict[str, Any]]) -> web.Response:
        errors = []
        for index, metric in enumerate(metrics):
            try:
                series_identity(metric["name"], metric["labels"], metric.get("source"))
                retention_days = self.definitions.get(metric["name"], {}).get("retention_days", 30)
                ts_us = parse_time(metric["timestamp"], "timestamp")
                if ts_us < self.refuse_before_us and retention_days <= 30:
                    raise InvalidInput("timestamp", f"older than the retention of {retention_days} days")
                self.stored.append(metric)
            except InvalidInput as error:
                errors.append({"index": index, "field": error.field, "reason": error.reason})
        counts: dict[str, Any] = {
            "accepted": len(metrics) - len(errors),
            "rejected": len(errors),
            "errors": errors[:20],
        }
        if counts["accepted"]:
            return web.json_response(counts)
        return problem(422, "no metric was stored", **counts)

    async def definition(self, request: web.Request) -> web.StreamResponse:
        """The definitions routes."""
        self.definitions_asked += 1
        if self.definitions_status is not None:
            return problem(self.definitions_status, "needs scope admin")
        name = request.match_info.get("name")
        if request.method == "GET":
            known = self.definitions.get(str(name))
            return problem(404, "no such definition") if known is None else web.json_response(known)
        sent = await request.json()
        if request.method == "POST" and sent["name"] in self.definitions:
            return problem(409, "exists")
        self.definitions[sent["name"]] = sent
        return web.json_response(sent, status=201)


def problem(status: int, detail: str, *, headers: dict[str, str] | None = None, **members: Any) -> web.Response:
    """An RFC 9457 reply."""
    return web.json_response(
        {"status": status, "detail": detail, **members},
        status=status,
        headers=headers,
        content_type="application/problem+json",
    )


def answers(status: int, detail: str = "trouble", **headers: str) -> Handler:
    """A trouble: this status, once."""

    async def handler(_: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return problem(status, detail, headers=named)

    return handler


async def resets(request: web.Request) -> web.StreamResponse:
    """A trouble: the connection breaks off without a reply."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def hangs(_: web.Request) -> web.StreamResponse:
    """A trouble: no reply ever comes."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something to come true; fails after some seconds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (what changes has no event)
            await asyncio.sleep(0.01)


@asynccontextmanager
async def ingest_double(port: int = 0, double: IngestDouble | None = None) -> AsyncIterator[IngestDouble]:
    """A running double; the same one may be started again on its port, as a server that restarts."""
    double = double or IngestDouble()
    app = web.Application(client_max_size=32 << 20)
    app.router.add_post("/api/v1/metrics/ingest/batch", double.ingest)
    app.router.add_post("/api/v1/metrics/definitions", double.definition)
    app.router.add_route("*", "/api/v1/metrics/definitions/{name}", double.definition)
    runner = web.AppRunner(app, shutdown_timeout=0.05, auto_decompress=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        bound = runner.addresses[0][1]
        double.url = f"http://127.0.0.1:{bound}"
        yield double
    finally:
        await runner.cleanup()
