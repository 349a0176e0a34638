"""Reading the audit trail, and proving that it is whole."""

import msgspec
import pytest

from adapters.driven.memory.audit import MemoryAuditLog
from adapters.driven.memory.clock import FakeClock
from adapters.driven.memory.database import MemoryDatabase
from core.domain.audit import AuditKind, AuditRecord
from core.domain.errors import Forbidden, InvalidInput
from core.domain.tenants import Scope
from core.services.audit import AuditService
from tests.support.callers import database, principal, recorded

ENTRIES = 5


class World:
    """The service over a chain of `ENTRIES`."""

    def __init__(self, tables: MemoryDatabase) -> None:
        self.tables = tables
        self.log = MemoryAuditLog(tables)
        self.service = AuditService(self.log)

    async def append(self, number: int, *, tenant_id: int = 2) -> None:
        """One more."""
        record = AuditRecord(
            key=f"k{number}", kind=AuditKind.CHANGE, actor="key:5", summary=f"entry {number}", alert_id=number % 2
        )
        await self.log.append(tenant_id, record, now=self.tables.now())


@pytest.fixture
async def world() -> World:
    """A new one."""
    made = World(database(FakeClock()))
    for number in range(1, ENTRIES + 1):
        await made.append(number)
    return made


async def test_a_whole_chain_holds(world: World) -> None:
    """The verdict names the last hash, to be kept elsewhere."""
    verdict = await world.service.verify(principal(Scope.REMEDIATE))
    assert (verdict.tenant, verdict.entries, verdict.broken) == ("acme", ENTRIES, None)
    assert verdict.head == recorded(world.tables)[-1].hash.hex()
    empty = await world.service.verify(principal(tenant_id=3))
    assert (empty.entries, empty.head, empty.broken) == (0, None, None)


async def test_a_changed_entry_is_found(world: World) -> None:
    """At its place, whatever follows."""
    entries = recorded(world.tables)
    forged = msgspec.structs.replace(entries[2].record, summary="nothing happened")
    entries[2] = msgspec.structs.replace(entries[2], record=forged)
    verdict = await world.service.verify(principal())
    assert verdict.broken is not None
    assert (verdict.broken.sequence, verdict.entries) == (3, 2)


async def test_what_is_appended_while_it_is_verified_breaks_nothing(world: World) -> None:
    """The end is read before the entries."""

    class Growing(MemoryAuditLog):
        async def head(self, tenant_id: int) -> tuple[int, bytes] | None:
            found = await super().head(tenant_id)
            await world.append(100)
            return found

    verdict = await AuditService(Growing(world.tables)).verify(principal())
    assert (verdict.entries, verdict.broken) == (ENTRIES + 1, None)


async def test_pages_join_newest_first(world: World) -> None:
    """With the filter kept."""
    found: list[int] = []
    cursor = None
    while True:
        page = await world.service.list(principal(), alert_id=1, remediation_id=None, limit=2, cursor=cursor)
        found += [entry.sequence for entry in page.data]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == [5, 3, 1]


async def test_limits_and_scopes(world: World) -> None:
    """Pages hold 1 to 1000 entries; ingest keys read nothing."""
    for limit in (0, 1_001):
        with pytest.raises(InvalidInput, match="limit"):
            await world.service.list(principal(), alert_id=None, remediation_id=None, limit=limit, cursor=None)
    ingest = principal(Scope.INGEST)
    with pytest.raises(Forbidden):
        await world.service.verify(ingest)
    with pytest.raises(Forbidden):
        await world.service.list(ingest, alert_id=None, remediation_id=None, limit=1, cursor=None)
