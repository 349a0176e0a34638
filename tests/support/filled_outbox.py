"""The outbox of remediations in memory, filled, and with faults that a test switches on."""

from collections.abc import Sequence
from datetime import datetime

from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.remediation_tables import RemediationRow
from adapters.driven.memory.remediations import MemoryRemediationOutbox
from core.domain.errors import Unavailable
from core.domain.remediation import RemediationOrder, RemediationState
from ports.driven.clock import Clock
from tests.support.orders import FIRED, order, waiting


class FilledOutbox(MemoryRemediationOutbox):
    """The shipped fake, with waiting remediations; its database can go away, at once or before a confirmation."""

    def __init__(self, count: int, clock: Clock) -> None:
        database = MemoryDatabase(clock)
        super().__init__(database)
        for number in range(1, count + 1):
            database.remediations[number] = RemediationRow(
                remediation=waiting(order(number)), order=order(number), next_attempt_at=FIRED
            )
        self._rows = database.remediations
        self.away = False
        self.lose_confirmations = False

    @property
    def waiting(self) -> set[int]:
        """The ids of those that are not confirmed."""
        return {n for n, row in self._rows.items() if row.remediation.state is RemediationState.WAITING}

    @property
    def errors(self) -> dict[int, str]:
        """Why they could not be started, by id."""
        return {n: row.remediation.last_error for n, row in self._rows.items() if row.remediation.last_error}

    async def claim(self, *, now: datetime, lease_s: float, limit: int) -> Sequence[RemediationOrder]:
        if self.away:
            raise Unavailable("the database is away")
        return await super().claim(now=now, lease_s=lease_s, limit=limit)

    async def confirm(self, tenant_id: int, remediation_id: int, *, now: datetime) -> None:
        if self.lose_confirmations:
            raise Unavailable("the database went away")
        await super().confirm(tenant_id, remediation_id, now=now)
