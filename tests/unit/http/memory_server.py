"""The application over the store in memory: two tenants, clients of theirs, and what a collector would do."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import cast

import httpx
import pytest

from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.storage import memory_storage
from adapters.runtime.clock import SystemClock
from core.domain.collection import CollectionState, Counts, ItemResult, Problem, Progress
from core.domain.tenants import Scope
from ports.driven.metric_source import SeenInstance
from ports.driven.source_store import CollectionClaim
from tests.integration.in_process import ALL_SCOPES, InProcess, in_process
from tests.support.storages import Storage

LEASE_S = 60.0
CLAIM_TIMEOUT_S = 10.0
POLL_S = 0.005


class MemoryServer:
    """One test's view of a server that tests share: tenants of its own, which the operator does not trust."""

    def __init__(self, application: InProcess) -> None:
        self.application = application
        self.storage = application.storage
        self._tenants: set[str] = set()

    @asynccontextmanager
    async def client(self, scopes: Iterable[Scope] = ALL_SCOPES) -> AsyncIterator[httpx.AsyncClient]:
        """A client of a new tenant."""
        tenant = await self.application.new_tenant()
        self._tenants.add(tenant.name)
        async with self.application.client(await self.application.new_key(tenant, scopes)) as client:
            yield client

    async def claim(self) -> CollectionClaim:
        """The next run of these tenants, as a collector claims it, once there is one."""
        async with asyncio.timeout(CLAIM_TIMEOUT_S):
            while True:
                work, now = self.storage.collection_work, datetime.now(UTC)
                claim = await work.claim(now=now, lease_s=LEASE_S, running_max=10)
                if claim is None:
                    await asyncio.sleep(POLL_S)
                elif claim.tenant in self._tenants:
                    return claim

    async def finish(
        self,
        claim: CollectionClaim,
        state: CollectionState,
        *,
        results: Sequence[ItemResult] = (),
        problem: Problem | None = None,
        instances: Sequence[SeenInstance] = (),
    ) -> None:
        """Ends a run as a collector does."""
        work, now = self.storage.collection_work, datetime.now(UTC)
        counts = Counts()
        for result in results:
            counts = counts.plus(result.counts)
        failed = sum(result.problem is not None for result in results)
        await work.advance(
            claim,
            checkpoints=(),
            caught_up=(),
            results=results,
            finished=(),
            progress=Progress(items=len(results), done=len(results), failed=failed, counts=counts),
            now=now,
            lease_s=LEASE_S,
        )
        await work.see_instances(claim, claim.run.kind, instances, now=now)
        await work.finish(claim, state, problem, now=now)


@pytest.fixture(scope="session")
def memory_application() -> InProcess:
    """Return the application; making one takes a fifth of a second."""
    return in_process(cast("Storage", memory_storage(MemoryDatabase(SystemClock()))))


@pytest.fixture
def memory_server(memory_application: InProcess) -> MemoryServer:
    """Return a view of the server without tenants."""
    return MemoryServer(memory_application)


@pytest.fixture
async def api(memory_server: MemoryServer) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of its tenant with every scope."""
    async with memory_server.client() as client:
        yield client
