"""The audit trail in memory."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from adapters.driven.memory.database import MemoryDatabase
from core.domain.audit import GENESIS, AuditEntry, AuditRecord, link


class MemoryAuditLog:
    """Implements `AuditLog`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def append(self, tenant_id: int, record: AuditRecord, *, now: datetime) -> AuditEntry:
        """Adds a link, unless there is one with the record's key."""
        entries = self._database.audit_entries.setdefault(tenant_id, [])
        for entry in entries:
            if entry.record.key == record.key:
                return entry
        entries.append(link(tenant_id, len(entries) + 1, now, record, entries[-1].hash if entries else GENESIS))
        return entries[-1]

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
        """Entries past a sequence, or before it from the end."""
        found = [
            entry
            for entry in self._database.audit_entries.get(tenant_id, [])
            if (alert_id is None or entry.record.alert_id == alert_id)
            and (remediation_id is None or entry.record.remediation_id == remediation_id)
            and (after is None or (entry.sequence < after if newest_first else entry.sequence > after))
        ]
        return (found[::-1] if newest_first else found)[:limit]

    async def chain(self, tenant_id: int) -> AsyncIterator[AuditEntry]:
        """All entries there are now."""
        for entry in tuple(self._database.audit_entries.get(tenant_id, ())):
            yield entry

    async def head(self, tenant_id: int) -> tuple[int, bytes] | None:
        """The last entry's sequence and hash."""
        entries = self._database.audit_entries.get(tenant_id)
        return (entries[-1].sequence, entries[-1].hash) if entries else None
