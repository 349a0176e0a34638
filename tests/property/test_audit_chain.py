"""The audit trail's chain: whatever is changed, removed, slipped in, swapped or cut off is found."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adapters.driven.postgres.audit import PostgresAuditLog
from adapters.driven.postgres.database import Database, open_database
from core.domain.audit import (
    GENESIS,
    AuditEntry,
    AuditKind,
    AuditRecord,
    Broken,
    decode_record,
    encode_record,
    first_break,
    link,
)
from tests.conftest import on_postgres, on_timescale_native, on_timescale_wasm
from tests.support.storages import Store, Tenancy, new_tenancy
from tests.support.store_fixtures import database_store, empty_database

TENANT = 7
NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)

texts = st.text(max_size=20)
identifiers = st.none() | st.integers(1, 2**63 - 1)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | texts,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(texts, values, max_size=3),
    max_leaves=8,
)
records = st.builds(
    AuditRecord,
    key=texts,
    kind=st.sampled_from(AuditKind),
    actor=texts,
    summary=texts,
    alert_id=identifiers,
    remediation_id=identifiers,
    details=st.dictionaries(texts, json_values, max_size=3),
)
instants = st.datetimes(datetime(1970, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # bounds must be naive
hashes = st.binary(min_size=32, max_size=32)
entry_changes = st.one_of(
    *(
        st.tuples(st.just(field), values)
        for field, values in (("at", instants), ("previous", hashes), ("hash", hashes))
    ),
    st.tuples(st.just("sequence"), st.integers(0, 20)),
    st.tuples(st.just("record"), records),
)


@st.composite
def chains(draw: st.DrawFn, entries_min: int = 1) -> list[AuditEntry]:
    """Some entries that hold together, as a store gives them back."""
    return chained(draw(st.lists(st.tuples(records, instants), min_size=entries_min, max_size=6)))


def chained(written: list[tuple[AuditRecord, datetime]]) -> list[AuditEntry]:
    """The chain of these records, written at these times."""
    entries: list[AuditEntry] = []
    for record, at in written:
        entry = link(TENANT, len(entries) + 1, at, record, entries[-1].hash if entries else GENESIS)
        entries.append(msgspec.structs.replace(entry, record=decode_record(encode_record(record))))
    return entries


def head_of(entries: list[AuditEntry]) -> tuple[int, bytes]:
    """What the store keeps apart."""
    return entries[-1].sequence, entries[-1].hash


@given(chains())
def test_untouched(entries: list[AuditEntry]) -> None:
    """A chain holds after a way through bytes, also against a head that is older; for its own tenant alone."""
    assert first_break(TENANT, entries, head=head_of(entries)) is None
    assert first_break(TENANT, entries, head=head_of(entries[:1])) is None
    assert first_break(TENANT, entries) is None
    assert first_break(TENANT, []) is None
    assert first_break(TENANT + 1, entries) == Broken(1, "was changed after it was written")


@given(records)
def test_record_bytes(record: AuditRecord) -> None:
    """A record's bytes are the same whenever it is written, and any others are not taken for it."""
    content = encode_record(record)
    assert encode_record(decode_record(content)) == content
    for other in (content + b" ", content.replace(b'"key":', b'"key": ', 1), b'{"x":1,' + content[1:], b"", b"\xff"):
        assert "not as it was written" in decode_record(other).summary


@given(chains(), st.data(), entry_changes)
def test_change(entries: list[AuditEntry], data: st.DataObject, change: tuple[str, Any]) -> None:
    """Any other value in any field of any entry breaks the chain right there."""
    index = data.draw(st.integers(0, len(entries) - 1))
    field, value = change
    changed = msgspec.structs.replace(entries[index], **{field: value})
    assume(msgspec.json.encode(changed, order="sorted") != msgspec.json.encode(entries[index], order="sorted"))
    broken = first_break(TENANT, [*entries[:index], changed, *entries[index + 1 :]])
    assert broken is not None
    assert broken.sequence == index + 1


@given(chains(), st.data(), st.sampled_from(AuditRecord.__struct_fields__))
def test_change_within_the_record(entries: list[AuditEntry], data: st.DataObject, field: str) -> None:
    """The same of each field of the record by itself."""
    index = data.draw(st.integers(0, len(entries) - 1))
    entry = entries[index]
    value = getattr(data.draw(records), field)
    record = msgspec.structs.replace(entry.record, **{field: value})
    assume(encode_record(record) != encode_record(entry.record))
    changed = msgspec.structs.replace(entry, record=record)
    assert first_break(TENANT, [*entries[:index], changed, *entries[index + 1 :]]) == Broken(
        index + 1, "was changed after it was written"
    )


@given(chains(), st.data())
def test_removal(entries: list[AuditEntry], data: st.DataObject) -> None:
    """Entries taken out, one or many, the last ones too, are missed."""
    start = data.draw(st.integers(0, len(entries) - 1))
    end = data.draw(st.integers(start + 1, len(entries)))
    broken = first_break(TENANT, entries[:start] + entries[end:], head=head_of(entries))
    assert broken is not None
    assert broken.sequence == start + 1
    assert "is missing" in broken.reason


@given(chains(), st.data(), records)
def test_insertion(entries: list[AuditEntry], data: st.DataObject, record: AuditRecord) -> None:
    """An entry slipped in before the end, a copy or one that follows perfectly, breaks the chain at the next."""
    index = data.draw(st.integers(0, len(entries) - 1))
    before = entries[index].previous
    for slipped_in in (data.draw(st.sampled_from(entries)), link(TENANT, index + 1, NOW, record, before)):
        assert first_break(TENANT, [*entries[:index], slipped_in, *entries[index:]]) is not None


@given(chains(entries_min=2), st.data())
def test_swap(entries: list[AuditEntry], data: st.DataObject) -> None:
    """Two entries in each other's place are found at the first of them."""
    first = data.draw(st.integers(0, len(entries) - 2))
    second = data.draw(st.integers(first + 1, len(entries) - 1))
    entries[first], entries[second] = entries[second], entries[first]
    broken = first_break(TENANT, entries)
    assert broken is not None
    assert broken.sequence == first + 1


@given(chains(entries_min=2), st.data(), records)
def test_rewritten(entries: list[AuditEntry], data: st.DataObject, record: AuditRecord) -> None:
    """A chain rewritten from some entry on, all hashes right, does not reach the head that was written."""
    index = data.draw(st.integers(0, len(entries) - 1))
    assume(encode_record(record) != encode_record(entries[index].record))
    written = [(entry.record, entry.at) for entry in entries]
    written[index] = (record, entries[index].at)
    assert first_break(TENANT, chained(written)) is None
    assert first_break(TENANT, chained(written), head=head_of(entries)) == Broken(
        len(entries), "is not the one that was written"
    )


class Trail:
    """A tenant's trail of five entries on a real server, and a superuser's way around everything that protects it."""

    def __init__(self, url: str, database: Database, tenancy: Tenancy) -> None:
        self._url = url
        self.log = PostgresAuditLog(database)
        self.tenant_id = tenancy.id

    async def write(self) -> None:
        """Appends the five."""
        for number in range(1, 6):
            record = AuditRecord(
                key=f"step {number}",
                kind=AuditKind.REQUEST,
                actor="sextant",
                summary="asked",
                alert_id=1,
                remediation_id=2,
                details={"n": number},
            )
            await self.log.append(self.tenant_id, record, now=NOW + timedelta(seconds=number))

    def superuser(self, statement: str) -> None:
        """Runs SQL past triggers; ``:t`` stands for the tenant."""
        with psycopg.connect(self._url) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute(statement.replace(":t", str(self.tenant_id)).encode())

    def refused(self, statement: str) -> bool:
        """Whether the trigger refuses SQL of the superuser's."""
        with psycopg.connect(self._url) as connection:
            try:
                connection.execute(statement.replace(":t", str(self.tenant_id)).encode())
            except psycopg.errors.RaiseException:
                return True
            finally:
                connection.rollback()
        return False

    async def broken(self) -> Broken | None:
        """Where the chain breaks."""
        head = await self.log.head(self.tenant_id)
        return first_break(self.tenant_id, [entry async for entry in self.log.chain(self.tenant_id)], head=head)


@pytest.fixture(scope="module", params=[on_postgres, on_timescale_wasm, on_timescale_native])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Yield a store in a database of its own on each engine in turn: here rows are tampered with."""
    with empty_database(request, request.param) as engine:
        yield database_store(engine)


@pytest.fixture
async def trail(store: Store) -> AsyncIterator[Trail]:
    """Yield a new tenant's trail."""
    url = store.place
    assert isinstance(url, str)
    async with store.open() as storage:
        tenancy = await new_tenancy(storage)
    async with open_database(url, pool_size=2, connect_timeout_s=10, application_name="audit test") as database:
        trail = Trail(url, database, tenancy)
        await trail.write()
        assert await trail.broken() is None
        yield trail


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE sextant.audit_entries SET key = 'other' WHERE tenant_id = :t AND sequence = 3",
        "UPDATE sextant.audit_entries SET at = at + interval '1 microsecond' WHERE tenant_id = :t AND sequence = 3",
        "UPDATE sextant.audit_entries SET record = record || ' '::bytea WHERE tenant_id = :t AND sequence = 3",
        "UPDATE sextant.audit_entries SET record = '\\xff' WHERE tenant_id = :t AND sequence = 3",
        "UPDATE sextant.audit_entries SET record = convert_to(replace(convert_from(record, 'UTF8'), 'asked', 'did'), "
        "'UTF8') WHERE tenant_id = :t AND sequence = 3",
        "UPDATE sextant.audit_entries SET alert_id = NULL WHERE tenant_id = :t AND sequence = 3",
        "UPDATE sextant.audit_entries SET remediation_id = 3 WHERE tenant_id = :t AND sequence = 3",
        "UPDATE sextant.audit_entries SET previous = sha256(previous) WHERE tenant_id = :t AND sequence = 3",
        "UPDATE sextant.audit_entries SET hash = sha256(hash) WHERE tenant_id = :t AND sequence = 3",
        "DELETE FROM sextant.audit_entries WHERE tenant_id = :t AND sequence = 3",
        "DELETE FROM sextant.audit_entries WHERE tenant_id = :t AND sequence >= 3",
        "UPDATE sextant.audit_entries SET sequence = sequence + 1000 WHERE tenant_id = :t AND sequence >= 3",
    ],
)
async def test_tampering(trail: Trail, statement: str) -> None:
    """Whatever a superuser does to the third row and what follows is found at the third entry."""
    trail.superuser(statement)
    broken = await trail.broken()
    assert broken is not None
    assert broken.sequence == 3


async def test_all_deleted(trail: Trail) -> None:
    """A trail that is gone as a whole is missed."""
    trail.superuser("DELETE FROM sextant.audit_entries WHERE tenant_id = :t")
    assert await trail.broken() == Broken(1, "is missing: 5 entries were written, 0 are there")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE sextant.audit_entries SET at = now() WHERE tenant_id = :t",
        "UPDATE sextant.audit_entries SET at = now() WHERE false",
        "DELETE FROM sextant.audit_entries WHERE tenant_id = :t AND sequence = 1",
        "TRUNCATE sextant.audit_entries",
    ],
)
async def test_append_only(trail: Trail, statement: str) -> None:
    """The trigger refuses every change, its owner's and a superuser's too."""
    assert trail.refused(statement)
    assert await trail.broken() is None
