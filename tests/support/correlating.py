"""The correlator over a store, with a clock of its own; and ports that end the process that calls them."""

import asyncio
from collections.abc import Coroutine, Generator, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from adapters.driven.memory.clock import FakeClock
from core.domain.events import SignalEvent
from core.domain.incidents import IncidentDetail, IncidentFilter
from core.domain.times import SECOND_US
from core.services.correlation import CorrelationService
from ports.driving.investigating import CorrelationRound
from tests.support.incident_rows import NOON_US, error_event
from tests.support.storages import Storage, Tenancy

ROUNDS_MAX = 300
"""More than any test, and what earlier ones left behind, needs."""
ROUND_US = 2 * SECOND_US
ALL = 1_000_000


class Fate:
    """Ends the process at its nth call of a port: before the call does anything, or after."""

    def __init__(self, at: int | None = None, *, after: bool = False, error: BaseException | None = None) -> None:
        self.calls = 0
        self._at = at
        self._after = after
        self._error = error if error is not None else asyncio.CancelledError()

    @property
    def met(self) -> bool:
        """Whether that call was made."""
        return self._at is not None and self.calls >= self._at

    async def call(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls a port's method."""
        self.calls += 1
        now = self.calls == self._at
        if now and not self._after:
            raise self._error
        answer = await method(*args, **kwargs)
        if now:
            raise self._error
        return answer


def fated(port: object, fate: Fate) -> Any:
    """A port whose calls share a fate."""
    return _Fated(port, fate)


class _Fated:
    def __init__(self, port: object, fate: Fate) -> None:
        self._port = port
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if name == "snapshot":
            return method
        return lambda *args, **kwargs: self._fate.call(method, *args, **kwargs)


class Awaits:
    """Counts how often a coroutine waits for something, and cancels its task the nth time."""

    def __init__(self, at: int | None = None) -> None:
        self.count = 0
        self._at = at

    def over(self, coroutine: Coroutine[Any, Any, None]) -> "_Counted":
        """The same coroutine, counted."""
        return _Counted(coroutine, self)

    def pass_one(self) -> None:
        """The coroutine is about to wait."""
        self.count += 1
        task = asyncio.current_task()
        if self.count == self._at and task is not None:
            task.cancel()


class _Counted(Generator[Any, Any, None]):
    """Passes on what a coroutine waits for, and what it is sent."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], awaits: Awaits) -> None:
        self._coroutine = coroutine
        self._awaits = awaits

    def __await__(self) -> Generator[Any, Any, None]:
        return self

    def send(self, value: Any) -> Any:
        awaited = self._coroutine.send(value)
        self._awaits.pass_one()
        return awaited

    def throw(self, *error: Any) -> Any:
        awaited = self._coroutine.throw(*error)
        self._awaits.pass_one()
        return awaited


class Correlator:
    """The service as one process has it; `restart` is another process."""

    def __init__(self, storage: Storage, now_us: int = NOON_US) -> None:
        self.storage = storage
        self.clock = FakeClock(now_us)
        self.restart()

    def restart(self, fate: Fate | None = None) -> None:
        """A new process, which may have a fate."""
        fate = fate or Fate()
        self._service = CorrelationService(
            fated(self.storage.incident_work, fate),
            fated(self.storage.dependencies, fate),
            fated(self.storage.reader, fate),
            self.clock,
        )

    async def round(self) -> tuple[CorrelationRound, float]:
        """One round, two seconds before the next."""
        done = await self._service.round()
        self.clock.advance(ROUND_US)
        return done

    async def settle(self, tenancy: Tenancy, after: timedelta = timedelta()) -> None:
        """Rounds from some time later until all of the tenant's incidents are analysed as they are."""
        self.clock.advance(after // timedelta(microseconds=1))
        while (await self.round())[0].away is not None:
            pass
        for _ in range(ROUNDS_MAX):
            stale = await self.storage.incident_work.unanalysed(limit=ALL)
            if all(one.tenant_id != tenancy.id for one in stale):
                return
            await self.round()
        raise AssertionError(f"not analysed after {ROUNDS_MAX} rounds")


async def incidents_of(tenancy: Tenancy) -> Sequence[IncidentDetail]:
    """All of a tenant's, the oldest first."""
    found = await tenancy.storage.incidents.list(tenancy.id, IncidentFilter(), limit=ALL, before_id=None)
    return [await tenancy.storage.incidents.get(tenancy.id, one.id) for one in reversed(found)]


async def incident_of(tenancy: Tenancy) -> IncidentDetail:
    """The only one of a tenant."""
    [found] = await incidents_of(tenancy)
    return found


async def waiting_of(tenancy: Tenancy) -> list[str]:
    """The keys of the signals that wait."""
    return [signal.key for signal in await tenancy.storage.incident_work.waiting(tenancy.id, limit=ALL)]


async def add(tenancy: Tenancy, *events: SignalEvent) -> list[str]:
    """Posts events; returns the keys of the signals that they are."""
    await tenancy.storage.events.append(tenancy.id, events)
    return [f"event:{event.id}" for event in events]


def errors(count: int, first_minute: float = 0, **changes: object) -> list[SignalEvent]:
    """So many, ten seconds apart."""
    return [error_event(first_minute + number / 6, **changes) for number in range(count)]


def seen(at: datetime, *events: SignalEvent) -> list[SignalEvent]:
    """Events that were not stored when they happened, but then."""
    return [msgspec.structs.replace(event, created_at=at) for event in events]
