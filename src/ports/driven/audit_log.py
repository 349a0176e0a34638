"""The audit trail's store: it appends and reads, nothing else."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Protocol

from core.domain.audit import AuditEntry, AuditRecord


class AuditLog(Protocol):
    """One chain a tenant. Raises `Unavailable`."""

    async def append(self, tenant_id: int, record: AuditRecord, *, now: datetime) -> AuditEntry:
        """Adds a link; where the record's key is in the chain already, that entry comes back."""
        ...

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
        """In order of the sequence, those past `after`; or newest first, those before it."""
        ...

    def chain(self, tenant_id: int) -> AsyncIterator[AuditEntry]:
        """All entries, in order, of one snapshot."""
        ...

    async def head(self, tenant_id: int) -> tuple[int, bytes] | None:
        """The last sequence and hash as they are kept apart from the entries; None where there is none."""
        ...
