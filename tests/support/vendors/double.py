"""A vendor's service on loopback: its documented behaviour, and faults before it where a test asks for them."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any

import msgspec
from aiohttp import web

from adapters.driven.memory.clock import FakeClock
from tests.support.receiver import Behaviour, Received, Receiver


class VendorDouble(ABC):
    """Answers by `respond`, which each vendor's double has; its clock is the test's, `skew_s` ahead."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.skew_s = 0.0
        self.limit: int | None = None
        """How many requests are answered before the rate limit says no; None: all."""
        self.fault: Behaviour | None = None
        """What it does to every request instead of answering; `script` goes first."""
        self._receiver = Receiver()
        self._receiver.behave = self._behave

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listens while the block runs."""
        async with self._receiver.listening():
            yield

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return self._receiver.url("")

    @property
    def requests(self) -> list[Received]:
        """All that came."""
        return self._receiver.requests

    @property
    def script(self) -> list[Behaviour]:
        """What it does first, instead of answering."""
        return self._receiver.script

    @abstractmethod
    def respond(self, request: web.Request, body: bytes) -> web.Response:
        """The vendor's answer."""

    @abstractmethod
    def limited(self) -> web.Response:
        """The vendor's answer to one request too many."""

    def within_limit(self) -> bool:
        """Counts a request against `limit`."""
        if self.limit is None:
            return True
        self.limit -= 1
        return self.limit >= 0

    async def _behave(self, request: web.Request) -> web.StreamResponse:
        if self.fault is not None:
            return await self.fault(request)
        response = self.respond(request, self.requests[-1].body) if self.within_limit() else self.limited()
        response.headers["Date"] = formatdate(self.clock.now_us() / 1e6 + self.skew_s, usegmt=True)
        return response


def json_answer(content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A response of JSON, as every vendor here sends it."""
    return web.Response(
        body=msgspec.json.encode(content),
        status=status,
        headers={"Content-Type": "application/json", **(headers or {})},
    )
