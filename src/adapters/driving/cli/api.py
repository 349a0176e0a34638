"""A running server's API as commands use it: typed answers, and each way of failing as one line and an exit status."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Generic, TypeVar

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number

from adapters.driving.cli.client import Answer, ConfigurationError, IngestClient, Target, TryLater, advice
from adapters.driving.cli.display import clean
from adapters.driving.cli.output import CommandError, write_error
from adapters.driving.cli.target import sender_settings, target_of
from core.domain.errors import InvalidInput

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXITS: Final = "Exit codes: 0 done; 1 not, the reason is printed; 2 wrong usage, file, key or URL."
REPLY_BYTES_MAX: Final = 64 << 20
"""All rules of a tenant, or a thousand alerts with their annotations, are some megabytes."""
ATTEMPT_TIMEOUT_S: Final = 120.0
"""A backtest over months reads for as long as the server lets it, 30 s by default and its operator's to raise."""
PAGE_MAX: Final = 1_000
"""What the server gives at once."""

T = TypeVar("T")
Item = TypeVar("Item")


@Parameter(name="*")
@dataclass(frozen=True)
class Server:
    """The options that say which server is asked, and with which key; every command of this kind has them."""

    url: Annotated[
        str | None,
        Parameter(help="The server, by default http://127.0.0.1:8000. Environment: SEXTANT_AGENT_URL."),
    ] = None
    key: Annotated[
        str | None,
        Parameter(
            help="An API key with the scope that is needed. Better in SEXTANT_AGENT_KEY or SEXTANT_AGENT_KEY_FILE: "
            "other users of this machine can read command lines. Without any, that of a server on this machine."
        ),
    ] = None
    data_dir: Annotated[
        Path | None,
        Parameter(help="The data directory of a server on this machine; its admin.key is used."),
    ] = None


HERE: Final = Server()
"""What is asked where no option says otherwise."""


Limit = Annotated[int, Parameter(help="How many to show at most.", validator=Number(gte=1, lte=10_000))]


class UsageError(CommandError):
    """What was typed does not go together."""


class RefusedError(CommandError):
    """The server understood, and will not: no such thing, a conflict, a wrong field."""

    def __init__(self, reason: str, *, status: int) -> None:
        super().__init__(reason)
        self.status = status


class _Page(msgspec.Struct, Generic[Item]):
    """A list, or one page of it and where the next one begins."""

    data: list[Item]
    next_cursor: str | None = None


class Api:
    """One server. Each call is one attempt: whoever typed a command repeats it."""

    def __init__(self, client: IngestClient, target: Target) -> None:
        self._client = client
        self._target = target

    async def get(self, path: str, kind: type[T], parameters: Sequence[tuple[str, str]] = ()) -> T:
        """What is there, as a `kind`; raises `CommandError`."""
        return self._decoded(await self._ask("GET", path, None, parameters), kind)

    async def send(
        self,
        method: str,
        path: str,
        kind: type[T],
        body: object = None,
        parameters: Sequence[tuple[str, str]] = (),
    ) -> T:
        """Changes something, with a JSON body unless it is None; the answer as a `kind`. Raises `CommandError`."""
        content = None if body is None else msgspec.json.encode(body)
        return self._decoded(await self._ask(method, path, content, parameters), kind)

    async def delete(self, path: str) -> None:
        """Removes what is there; raises `CommandError`."""
        await self._ask("DELETE", path, None, ())

    async def all(self, path: str, kind: type[Item], parameters: Sequence[tuple[str, str]] = ()) -> list[Item]:
        """A list that comes whole; raises `CommandError`."""
        return (await self._page(path, kind, parameters)).data

    async def first(
        self, path: str, kind: type[Item], parameters: Sequence[tuple[str, str]], *, limit: int
    ) -> tuple[list[Item], bool]:
        """The first `limit` items of a list that comes in pages, and whether there are more; raises `CommandError`."""
        found: list[Item] = []
        at: list[tuple[str, str]] = []
        while True:
            page_limit = ("limit", str(min(PAGE_MAX, limit - len(found))))
            page = await self._page(path, kind, [*parameters, page_limit, *at])
            found += page.data
            if page.next_cursor is None or not page.data or len(found) >= limit:
                return found, page.next_cursor is not None
            at = [("cursor", page.next_cursor)]

    async def _page(self, path: str, kind: type[Item], parameters: Sequence[tuple[str, str]]) -> _Page[Item]:
        return await self.get(path, _Page[kind], parameters)  # type: ignore[valid-type]  # a type at run time

    async def _ask(self, method: str, path: str, body: bytes | None, parameters: Sequence[tuple[str, str]]) -> Answer:
        answer = await self._client.request(method, path, body=body, parameters=parameters)
        if isinstance(answer, TryLater):
            raise CommandError(f"{self._target.url}: {clean(answer.reason)}")
        if 200 <= answer.status < 300:
            return answer
        problem = answer.document
        kind = str(problem.get("type", "")).removeprefix("urn:sextant:problem:")
        if answer.status in (401, 403) or not kind or kind in ("no-such-route", "wrong-method"):
            raise ConfigurationError(clean(advice(answer, self._target)))
        raise RefusedError(clean(str(problem.get("detail") or answer.reason)), status=answer.status)

    def _decoded(self, answer: Answer, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, InvalidInput) as error:
            cut = len(answer.body) >= REPLY_BYTES_MAX
            why = f"more than {REPLY_BYTES_MAX >> 20} MiB" if cut else clean(str(error))
            raise CommandError(f"{self._target.url} answered as no Sextant of this version does: {why}") from error


def with_api(server: Server, work: Callable[[Api], Awaitable[int | None]]) -> int:
    """Does `work` against the server that the options name; the exit status."""

    async def run() -> int:
        flags = {"URL": server.url, "KEY": server.key}
        target = target_of(sender_settings(os.environ, flags, server.data_dir).agent)
        async with IngestClient(target, attempt_timeout_s=ATTEMPT_TIMEOUT_S, reply_bytes_max=REPLY_BYTES_MAX) as client:
            return await work(Api(client, target)) or EXIT_OK

    try:
        return asyncio.run(run())
    except (ConfigurationError, UsageError, InvalidInput) as error:
        write_error(str(error))
        return EXIT_USAGE
    except CommandError as error:
        write_error(str(error))
        return EXIT_FAILED
