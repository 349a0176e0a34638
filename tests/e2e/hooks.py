"""Receivers of webhooks, and services that actions repair, on loopback in a thread of their own."""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from tests.support.receiver import Behaviour, Received, Receiver, answer

SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""What the channels of these tests sign with."""
LOOPBACK: Final = {"SEXTANT_OUTBOUND_ALLOW": "127.0.0.0/8"}
"""The setting by which a server may reach them."""
START_TIMEOUT_S: Final = 10.0


class Hooks:
    """Keeps what arrives at each path; a path answers by the next of its script, then by `behaviours`, or 200."""

    def __init__(self) -> None:
        self.scripts: dict[str, list[Behaviour]] = defaultdict(list)
        self.behaviours: dict[str, Behaviour] = {}
        self._receiver = Receiver()
        self._receiver.behave = self._behave
        self._messages: list[tuple[str, dict[str, Any]]] = []
        self._unsigned: list[str] = []
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    @contextmanager
    def listening(self) -> Iterator["Hooks"]:
        """Listens on a free port while the block runs."""
        thread = threading.Thread(target=lambda: asyncio.run(self._listen()), name="hooks", daemon=True)
        thread.start()
        assert self._started.wait(START_TIMEOUT_S), "the receiver did not start"
        try:
            yield self
        finally:
            assert self._loop is not None
            assert self._stop is not None
            self._loop.call_soon_threadsafe(self._stop.set)
            thread.join()

    def url(self, path: str) -> str:
        """Where a path is."""
        return self._receiver.url(path)

    def at(self, path: str) -> list[Received]:
        """The requests that a path got, oldest first."""
        return [request for request in tuple(self._receiver.requests) if request.path == path]

    def paths(self) -> set[str]:
        """The paths that were asked for."""
        return {request.path for request in tuple(self._receiver.requests)}

    def messages(self, path: str, event: str | None = None) -> list[dict[str, Any]]:
        """The webhooks that a path got, each verified by the signature of `SECRET`; those of one event if named."""
        assert not self._unsigned, self._unsigned
        mine = [message for at, message in tuple(self._messages) if at == path]
        return [message for message in mine if event is None or message["event"] == event]

    async def _listen(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with self._receiver.listening():
            self._started.set()
            await self._stop.wait()

    def _verify(self, received: Received) -> None:
        """Looks at a webhook's signature while it is fresh, as it has to be."""
        if "webhook-id" not in received.headers:
            return
        try:
            message = Webhook(SECRET).verify(received.body, received.headers)
            assert message["id"] == received.headers["webhook-id"]
            self._messages.append((received.path, message))
        except (WebhookVerificationError, AssertionError) as error:
            self._unsigned.append(f"{received.path}: {error}")

    async def _behave(self, request: web.Request) -> web.StreamResponse:
        self._verify(self._receiver.requests[-1])  # this one: it was put there without a pause
        script = self.scripts[request.path]
        behave = script.pop(0) if script else self.behaviours.get(request.path, answer(200))
        return await behave(request)
