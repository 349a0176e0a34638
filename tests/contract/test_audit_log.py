"""The audit log port: one chain a tenant, which is only added to."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta, timezone

import psycopg
import pytest

from core.domain.audit import GENESIS, AuditEntry, AuditKind, AuditRecord, encode_record, first_break
from core.domain.errors import Unavailable
from tests.support.remediation_storage import RemediationStorage, open_remediation_storage
from tests.support.storages import Store, Tenancy

NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
WRITERS = 20
GIVEN_UP = 10  # more than a pool has connections


def record(key: str = "a", *, alert_id: int | None = None, remediation_id: int | None = None) -> AuditRecord:
    """A record like any other."""
    return AuditRecord(
        key=key,
        kind=AuditKind.DECISION,
        actor="sextant",
        summary="decided",
        alert_id=alert_id,
        remediation_id=remediation_id,
    )


async def chain(repairs: RemediationStorage, tenant_id: int) -> list[AuditEntry]:
    """All entries of a tenant."""
    return [entry async for entry in repairs.audit_log.chain(tenant_id)]


async def append(repairs: RemediationStorage, tenancy: Tenancy, *records: AuditRecord) -> list[AuditEntry]:
    """Appends them in order."""
    return [await repairs.audit_log.append(tenancy.id, each, now=NOW) for each in records]


@pytest.mark.parametrize(
    "given",
    [
        record(),
        record(alert_id=2**63 - 1, remediation_id=1),
        AuditRecord(
            key="k" * 200,
            kind=AuditKind.RESPONSE,
            actor="key:sx_12",
            summary="„Antwort“ ✓\n\x00",
            details={"status": 200, "z": {"b": [1, 2.5, None, True], "a": "\x00ü"}, "a": 1e300, "": -0.0},
        ),
        *(AuditRecord(key="a", kind=kind, actor="", summary="") for kind in AuditKind),
    ],
)
async def test_kept_as_given(repairs: RemediationStorage, tenancy: Tenancy, store: Store, given: AuditRecord) -> None:
    """Every field comes back as it was given, byte for byte, in any process; the chain begins at its beginning."""
    appended = await repairs.audit_log.append(tenancy.id, given, now=NOW)
    assert (appended.sequence, appended.at, appended.previous) == (1, NOW, GENESIS)
    async with open_remediation_storage(store) as later:
        [read] = await chain(later, tenancy.id)
        assert await later.audit_log.head(tenancy.id) == (1, appended.hash)
    assert read == appended
    assert encode_record(read.record) == encode_record(given)
    assert first_break(tenancy.id, [read], head=(1, appended.hash)) is None


async def test_chained(repairs: RemediationStorage, tenancy: Tenancy) -> None:
    """Entries ascend by one, each follows from the one before, and the head is the last."""
    assert await repairs.audit_log.head(tenancy.id) is None
    assert await chain(repairs, tenancy.id) == []
    entries = await append(repairs, tenancy, record("a"), record("b"), record("c"))
    assert [entry.sequence for entry in entries] == [1, 2, 3]
    assert [entry.previous for entry in entries] == [GENESIS, entries[0].hash, entries[1].hash]
    assert await chain(repairs, tenancy.id) == entries
    head = await repairs.audit_log.head(tenancy.id)
    assert head == (3, entries[2].hash)
    assert first_break(tenancy.id, entries, head=head) is None


async def test_once_a_key(repairs: RemediationStorage, tenancy: Tenancy) -> None:
    """A key that is in the chain already changes nothing: the entry of then comes back."""
    first, second = await append(repairs, tenancy, record("a", alert_id=1), record("b"))
    again = await repairs.audit_log.append(tenancy.id, record("a", alert_id=2), now=NOW + timedelta(hours=1))
    assert again == first
    assert await chain(repairs, tenancy.id) == [first, second]


async def test_time_in_any_zone(repairs: RemediationStorage, tenancy: Tenancy) -> None:
    """The chain holds whatever zone a time was given in, however it was before the last entry's."""
    there = timezone(timedelta(hours=-9, minutes=-30))
    await repairs.audit_log.append(tenancy.id, record("a"), now=NOW)
    entry = await repairs.audit_log.append(tenancy.id, record("b"), now=(NOW - timedelta(days=1)).astimezone(there))
    entries = await chain(repairs, tenancy.id)
    assert entries[1] == entry
    assert first_break(tenancy.id, entries) is None


async def test_many_at_once(
    repairs: RemediationStorage, other_repairs: RemediationStorage, tenancy: Tenancy, neighbour: Tenancy
) -> None:
    """However many append at once, from two processes and for two tenants, every chain holds and misses nothing."""
    tenancies = (tenancy, neighbour)
    appended = await asyncio.gather(
        *(
            (repairs, other_repairs)[n % 2].audit_log.append(tenancies[n // 2 % 2].id, record(f"{n}"), now=NOW)
            for n in range(2 * WRITERS)
        )
    )
    for index, owner in enumerate(tenancies):
        entries = await chain(repairs, owner.id)
        assert {entry.record.key for entry in entries} == {f"{n}" for n in range(2 * WRITERS) if n // 2 % 2 == index}
        assert all(entry in appended for entry in entries)
        assert first_break(owner.id, entries, head=await repairs.audit_log.head(owner.id)) is None


async def test_one_key_at_once(
    repairs: RemediationStorage, other_repairs: RemediationStorage, tenancy: Tenancy
) -> None:
    """Of several that append the same key at once, the first to a new chain too, one does, and all get its entry."""
    appended = await asyncio.gather(
        *((repairs, other_repairs)[n % 2].audit_log.append(tenancy.id, record(), now=NOW) for n in range(WRITERS))
    )
    assert await chain(repairs, tenancy.id) == [appended[0]]
    assert appended == [appended[0]] * WRITERS


@pytest.mark.usefixtures("two_transactions")
async def test_chain_is_of_one_moment(
    repairs: RemediationStorage, other_repairs: RemediationStorage, tenancy: Tenancy
) -> None:
    """What is appended while a chain is being read is not part of it; the head that was read before is in it."""
    await append(repairs, tenancy, *(record(f"{n}") for n in range(300)))
    head = await repairs.audit_log.head(tenancy.id)
    entries: list[AuditEntry] = []
    async for entry in repairs.audit_log.chain(tenancy.id):
        if not entries:
            await append(other_repairs, tenancy, record("late"))
        entries.append(entry)
    assert len(entries) == 300
    assert first_break(tenancy.id, entries, head=head) is None
    assert first_break(tenancy.id, await chain(repairs, tenancy.id), head=head) is None


@pytest.mark.usefixtures("two_transactions")
async def test_given_up(repairs: RemediationStorage, tenancy: Tenancy) -> None:
    """A chain that nobody reads to its end holds nothing back, however often."""
    await append(repairs, tenancy, *(record(f"{n}") for n in range(3)))
    for _ in range(GIVEN_UP):
        entries = repairs.audit_log.chain(tenancy.id)
        assert (await anext(entries)).sequence == 1
        assert isinstance(entries, AsyncGenerator)
        await entries.aclose()
    assert len(await chain(repairs, tenancy.id)) == 3


@pytest.mark.usefixtures("two_transactions")
async def test_locked_out(
    repairs: RemediationStorage, store: Store, tenancy: Tenancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another writer never comes to an end the log is unavailable, as a remote's fault, until it does."""
    if not isinstance(store.place, str):
        pytest.skip("needs a lock that somebody holds; in memory nothing is ever held")
    await append(repairs, tenancy, record("a"))
    with monkeypatch.context() as hasty, psycopg.connect(store.place) as other:
        hasty.setattr("adapters.driven.postgres.audit.LOCK_TIMEOUT_S", 0.1)
        other.execute("SELECT FROM sextant.audit_heads WHERE tenant_id = %s FOR UPDATE", (tenancy.id,))
        with pytest.raises(Unavailable):
            await append(repairs, tenancy, record("b"))
    [entry] = await append(repairs, tenancy, record("b"))
    assert entry.sequence == 2


async def test_list(repairs: RemediationStorage, tenancy: Tenancy) -> None:
    """Filters and pages, in both directions."""
    entries = await append(
        repairs,
        tenancy,
        *(record(f"{n}", alert_id=n % 2 or None, remediation_id=n % 3 or None) for n in range(12)),
    )

    async def listed(
        *,
        alert_id: int | None = None,
        remediation_id: int | None = None,
        limit: int = 100,
        after: int | None = None,
        newest_first: bool = False,
    ) -> Sequence[AuditEntry]:
        return await repairs.audit_log.list(
            tenancy.id,
            alert_id=alert_id,
            remediation_id=remediation_id,
            limit=limit,
            after=after,
            newest_first=newest_first,
        )

    assert list(await listed()) == entries
    assert list(await listed(newest_first=True)) == entries[::-1]
    assert list(await listed(after=4, limit=3)) == entries[4:7]
    assert list(await listed(after=4, limit=2, newest_first=True)) == [entries[2], entries[1]]
    assert list(await listed(after=12)) == []
    assert list(await listed(after=1, newest_first=True)) == []
    assert list(await listed(alert_id=1)) == entries[1::2]
    assert list(await listed(remediation_id=2)) == entries[2::3]
    assert list(await listed(alert_id=1, remediation_id=2, after=6, limit=1)) == [entries[11]]
    assert list(await listed(remediation_id=2, after=9, limit=1, newest_first=True)) == [entries[5]]
    assert list(await listed(alert_id=7)) == []


async def test_tenants_apart(repairs: RemediationStorage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Each tenant has a chain of its own, with keys of its own; the neighbour sees nothing of it."""
    await append(repairs, tenancy, record("a", alert_id=1, remediation_id=1), record("b"))
    assert await chain(repairs, neighbour.id) == []
    assert await repairs.audit_log.head(neighbour.id) is None
    found = await repairs.audit_log.list(neighbour.id, alert_id=1, remediation_id=1, limit=9, after=None)
    assert list(found) == []
    [entry] = await append(repairs, neighbour, record("a"))
    assert (entry.sequence, entry.previous) == (1, GENESIS)
    assert await chain(repairs, neighbour.id) == [entry]
    assert len(await chain(repairs, tenancy.id)) == 2
