"""The audit trail on PostgreSQL: rows that a trigger keeps from being changed, chained one after the other.

Whoever appends locks the tenant's row of `audit_heads`, which is also where the chain's end is kept apart from it.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from adapters.driven.postgres.database import Connection, Database, Role
from adapters.driven.postgres.queries import load_queries
from core.domain.audit import GENESIS, AuditEntry, AuditRecord, decode_record, encode_record, link

TIMEOUT_S: Final = 10.0
"""Every statement here touches a page of rows; longer means that the database is in trouble."""
LOCK_TIMEOUT_S: Final = 5.0
"""The end is locked for a few round trips; who waits longer had better come back."""
PREFETCH: Final = 200
"""Entries of a chain in memory at a time: some megabytes at worst."""

SQL = load_queries(__package__, "audit.sql")


class PostgresAuditLog:
    """Implements `ports.driven.audit_log.AuditLog`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, tenant_id: int, record: AuditRecord, *, now: datetime) -> AuditEntry:
        """See `AuditLog.append`."""
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id) as connection:
            sequence, previous = await _locked_head(connection, tenant_id)
            # Only now: an entry with this key may have been committed while the lock was waited for.
            row = await connection.fetchrow(SQL["with_key"], tenant_id, record.key, timeout=TIMEOUT_S)
            if row is not None:
                return _entry(row)
            entry = link(tenant_id, sequence + 1, now, record, previous)
            await connection.execute(
                SQL["append"],
                tenant_id,
                entry.sequence,
                record.key,
                entry.at,
                encode_record(record),
                record.alert_id,
                record.remediation_id,
                entry.previous,
                entry.hash,
                timeout=TIMEOUT_S,
            )
        return entry

    async def list(
        self,
        tenant_id: int,
        *,
        alert_id: int | None,
        remediation_id: int | None,
        limit: int,
        after: int | None,
        newest_first: bool = False,
    ) -> Sequence[AuditEntry]:
        """See `AuditLog.list`."""
        query = SQL["list_newest_first" if newest_first else "list"]
        # A snapshot plans for the values given: a filter that is not set must not keep one that is from its index.
        async with self._database.transaction(
            Role.READER, tenant_id=tenant_id, snapshot=True, timeout_s=TIMEOUT_S
        ) as connection:
            rows = await connection.fetch(query, tenant_id, alert_id, remediation_id, after, limit)
        return [_entry(row) for row in rows]

    async def chain(self, tenant_id: int) -> AsyncIterator[AuditEntry]:
        """See `AuditLog.chain`; holds a connection until it is exhausted or closed."""
        async with self._database.transaction(
            Role.READER, tenant_id=tenant_id, snapshot=True, timeout_s=TIMEOUT_S
        ) as connection:
            async for row in connection.cursor(SQL["chain"], tenant_id, prefetch=PREFETCH):
                yield _entry(row)

    async def head(self, tenant_id: int) -> tuple[int, bytes] | None:
        """See `AuditLog.head`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            row = await connection.fetchrow(SQL["head"], tenant_id)
        return (row["sequence"], row["hash"]) if row is not None else None


async def _locked_head(connection: Connection, tenant_id: int) -> tuple[int, bytes]:
    row = await connection.fetchrow(SQL["lock_head"], tenant_id, timeout=LOCK_TIMEOUT_S)
    if row is None:
        await connection.execute(SQL["begin_chain"], tenant_id, GENESIS, timeout=LOCK_TIMEOUT_S)
        row = await connection.fetchrow(SQL["lock_head"], tenant_id, timeout=LOCK_TIMEOUT_S)
    assert row is not None
    return row["sequence"], row["hash"]


def _entry(row: Mapping[str, Any]) -> AuditEntry:
    # What entries are found by stands in columns of its own: were one changed, the hash must not fit.
    found_by = {column: row[column] for column in ("key", "alert_id", "remediation_id")}
    return AuditEntry(
        sequence=row["sequence"],
        at=row["at"],
        record=msgspec.structs.replace(decode_record(row["record"]), **found_by),
        previous=row["previous"],
        hash=row["hash"],
    )
