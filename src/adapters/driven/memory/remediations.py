"""Remediations in memory, and the outbox that those waiting for their workflow are."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.remediation_tables import RemediationRow
from core.domain.errors import NotFound
from core.domain.remediation import ENDED, Remediation, RemediationOrder, RemediationState


class MemoryRemediationStore:
    """Implements `RemediationStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def list(
        self,
        tenant_id: int,
        *,
        state: RemediationState | None,
        alert_id: int | None,
        limit: int,
        before_id: int | None,
    ) -> Sequence[Remediation]:
        """The tenant's, newest first."""
        found = [
            row.remediation
            for row in self._database.remediations.values()
            if row.order.tenant_id == tenant_id
            and (state is None or row.remediation.state is state)
            and (alert_id is None or row.remediation.alert_id == alert_id)
            and (before_id is None or row.remediation.id < before_id)
        ]
        return sorted(found, key=lambda each: each.id, reverse=True)[:limit]

    async def get(self, tenant_id: int, remediation_id: int) -> Remediation:
        """One of them, or `NotFound`."""
        return self._row(tenant_id, remediation_id).remediation

    async def order(self, tenant_id: int, remediation_id: int) -> RemediationOrder:
        """What its workflow works from."""
        return self._row(tenant_id, remediation_id).order

    async def progress(
        self, tenant_id: int, remediation_id: int, state: RemediationState, *, detail: str | None, now: datetime
    ) -> None:
        """Where it now stands, unless it ended before."""
        row = self._row(tenant_id, remediation_id)
        before = row.remediation
        if before.state in ENDED:
            return
        ended = state in ENDED
        row.remediation = msgspec.structs.replace(
            before,
            state=state,
            detail=detail,
            started_at=before.started_at if ended else before.started_at or now,
            finished_at=now if ended else None,
        )

    async def waiting(self, tenant_id: int | None) -> int:
        """How many wait for their workflow."""
        return sum(
            row.remediation.state is RemediationState.WAITING and tenant_id in (None, row.order.tenant_id)
            for row in self._database.remediations.values()
        )

    def _row(self, tenant_id: int, remediation_id: int) -> RemediationRow:
        row = self._database.remediations.get(remediation_id)
        if row is None or row.order.tenant_id != tenant_id:
            raise NotFound("remediation", str(remediation_id))
        return row


class MemoryRemediationOutbox:
    """Implements `RemediationOutbox`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def claim(self, *, now: datetime, lease_s: float, limit: int) -> Sequence[RemediationOrder]:
        """Takes due ones until the lease ends, and counts the attempt."""
        due = [
            row
            for _, row in sorted(self._database.remediations.items())
            if row.remediation.state is RemediationState.WAITING and row.next_attempt_at <= now
        ][:limit]
        for row in due:
            row.next_attempt_at = now + timedelta(seconds=lease_s)
            row.remediation = msgspec.structs.replace(row.remediation, attempts=row.remediation.attempts + 1)
        return [row.order for row in due]

    async def confirm(self, tenant_id: int, remediation_id: int, *, now: datetime) -> None:
        """Its workflow was started; where it got further meanwhile, it stays there."""
        row = self._database.remediations.get(remediation_id)
        if row is None or row.order.tenant_id != tenant_id:
            return
        before = row.remediation
        row.remediation = msgspec.structs.replace(
            before,
            state=RemediationState.RUNNING if before.state is RemediationState.WAITING else before.state,
            started_at=before.started_at or min(now, before.finished_at or now),
            last_error=None,
        )

    async def postpone(self, tenant_id: int, remediation_id: int, *, error: str, next_attempt_at: datetime) -> None:
        """It could not be started."""
        row = self._database.remediations.get(remediation_id)
        if row is None or row.order.tenant_id != tenant_id or row.remediation.state is not RemediationState.WAITING:
            return
        row.next_attempt_at = next_attempt_at
        row.remediation = msgspec.structs.replace(row.remediation, last_error=error)
