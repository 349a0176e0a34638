"""The whole HTTP application over the store in memory, on a real port, for commands that bring their own event loop."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar, cast

import pytest
from aiohttp import web

from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.storage import memory_storage
from adapters.main import run
from core.domain.alerts import Alert
from core.domain.tenants import Scope
from tests.integration.in_process import in_process
from tests.support.alert_rows import FIRING, write_alert
from tests.support.storages import Storage, Store, memory_store

T = TypeVar("T")

HOP_BY_HOP = {"content-length", "content-encoding", "transfer-encoding"}
"""Headers that are said anew on the way through."""


class ServedApi:
    """A server of one tenant, and what tests write behind its back."""

    def __init__(self, loop: asyncio.AbstractEventLoop, store: Store) -> None:
        self.loop = loop
        assert isinstance(store.place, MemoryDatabase)
        self.store = store
        self.database = store.place
        self.storage = memory_storage(store.place)
        self._application = in_process(cast("Storage", self.storage), store=store)
        self.url = ""
        self.tenant = self.within(self._application.operator_tenant())
        self.key = self.new_key(*Scope)

    def within(self, work: Coroutine[Any, Any, T]) -> T:
        """Does `work` in the server's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def new_key(self, *scopes: Scope) -> str:
        """A key of the tenant with these scopes."""
        return self.within(self._application.new_key(self.tenant, scopes))

    def alert(self, alert: Alert = FIRING, *, target_key: str = "s1") -> Alert:
        """An episode as evaluation would have written it."""
        return write_alert(self.database, self.tenant.id, alert, target_key=target_key)

    async def forward(self, request: web.Request) -> web.Response:
        """Hands a request to the application."""
        body = await request.read()
        async with self._application.client() as client:
            headers = {name: text for name, text in request.headers.items() if name.lower() != "host"}
            reply = await client.request(request.method, request.raw_path, headers=headers, content=body)
        kept = {name: text for name, text in reply.headers.items() if name.lower() not in HOP_BY_HOP}
        return web.Response(status=reply.status_code, body=reply.content, headers=kept)


@contextmanager
def served_api() -> Iterator[ServedApi]:
    """A running server; it ends with the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        api = ServedApi(loop, memory_store())
        stack = listening(api)
        api.within(stack.__aenter__())
        try:
            yield api
        finally:
            api.within(stack.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


@asynccontextmanager
async def listening(api: ServedApi) -> AsyncIterator[None]:
    """Takes requests on a free port."""
    runner = web.ServerRunner(web.Server(api.forward), shutdown_timeout=0.05)  # type: ignore[arg-type]  # a BaseRequest serves
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield
    finally:
        await runner.cleanup()


class Commands:
    """Types commands at the server, as a person would."""

    def __init__(self, api: ServedApi, capsys: pytest.CaptureFixture[str]) -> None:
        self.api = api
        self._capsys = capsys

    def __call__(self, *words: str, status: int = 0) -> str:
        """What a command prints; fails unless it exits with `status`."""
        out, err, found = self.both(*words)
        assert found == status, out + err
        return out

    def refused(self, *words: str, status: int = 1) -> str:
        """What a command says on standard error."""
        out, err, found = self.both(*words)
        assert found == status, out + err
        return err

    def both(self, *words: str) -> tuple[str, str, int]:
        """Standard output, standard error, exit status."""
        self._capsys.readouterr()
        status = run(words)
        captured = self._capsys.readouterr()
        return captured.out, captured.err, status
