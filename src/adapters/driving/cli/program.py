"""What the commands need of the rest of the program; `adapters.main` provides it."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec

from adapters.runtime.settings import Settings
from core.domain.tenants import Principal
from ports.driven.keeping import StorageStatus
from ports.driven.workflow_engine import EngineStatus
from ports.driving.administration import Administration

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]
"""An application as https://asgi.readthedocs.io/en/latest/specs/main.html has it."""


class Migrated(msgspec.Struct, frozen=True, kw_only=True):
    """What a migration found and did."""

    engine: str
    """``timescaledb`` or ``postgresql``."""
    engine_reason: str
    """Why that engine, where it is not the full TimescaleDB."""
    server_version: str
    extension_version: str | None
    licence: str | None
    applied: Sequence[str]
    """Files applied now, in order."""
    schema_version: str


class Operator(msgspec.Struct, frozen=True, eq=False):
    """The administration, and in whose name a command that reaches the database directly calls it."""

    administration: Administration
    principal: Principal


class RemediationStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Whether remediation can begin."""

    engine: EngineStatus
    waiting: int
    """Remediations, of all tenants, whose workflow has not been started yet."""


class Program(Protocol):
    """Stateless and picklable: child processes receive it. The settings must name a database."""

    def schema_version(self) -> str:
        """The version of the schema that this program works with."""
        ...

    def migrate(self, settings: Settings) -> Migrated:
        """Brings the schema up to date; several may do so at once."""
        ...

    def open_app(self, settings: Settings) -> AbstractAsyncContextManager[AsgiApp]:
        """The HTTP application with everything behind it, closed in reverse order."""
        ...

    def open_operator(self, settings: Settings) -> AbstractAsyncContextManager[Operator]:
        """The administration on the database itself."""
        ...

    async def ensure_operator_key(self, settings: Settings) -> str | None:
        """Sees to it that the operator has a key; returns the text of a random one made now."""
        ...

    async def status(self, settings: Settings) -> StorageStatus:
        """What the store is and holds."""
        ...

    async def remediation(self, settings: Settings) -> RemediationStatus:
        """Whether remediation can begin, and how much waits for it."""
        ...

    async def keep(self, settings: Settings, stop: asyncio.Event) -> None:
        """Settles, compresses and deletes in the background until `stop`."""
        ...

    async def alerts(self, settings: Settings, stop: asyncio.Event) -> None:
        """Evaluates rules and tells people until `stop`."""
        ...

    async def detect(self, settings: Settings, stop: asyncio.Event) -> None:
        """Runs scheduled detection and joins signals to incidents until `stop`."""
        ...

    async def collect(self, settings: Settings, stop: asyncio.Event) -> None:
        """Collects from metric sources until `stop`."""
        ...

    async def work(self, settings: Settings, stop: asyncio.Event) -> None:
        """Starts and carries out remediations until `stop`. The settings must name a Temporal, which may be away."""
        ...
