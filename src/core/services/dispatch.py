"""The dispatcher: starts the workflows of remediations that wait in the outbox."""

from datetime import datetime, timedelta
from typing import Final

from core.domain.errors import CallerError, Unavailable
from core.domain.remediation import RemediationOrder
from core.domain.times import EPOCH
from ports.driven.clock import Clock
from ports.driven.remediation_store import RemediationOutbox
from ports.driven.workflow_engine import WorkflowEngine
from ports.driving.dispatching import Dispatched

BATCH: Final = 20
"""Starting a workflow takes some 10 ms: a batch is done long before its lease ends."""
LEASE_S: Final = 30.0
"""A dispatcher that was killed delays what it had claimed by this long."""
POLL_S: Final = 0.25
"""How often waiting remediations are looked for."""
AWAY_S_FIRST: Final = 0.5
AWAY_S_MAX: Final = 10.0
"""Once the engine is back, what waits is started after this long at most."""
REFUSED_S: Final = 300.0
"""What the engine refuses may be taken once somebody has changed its limits."""


class DispatchService:
    """Implements `Dispatching`: a row is leased to one dispatcher, and starting twice starts once.

    After a crash between start and confirmation the lease ends, the row is started again, which changes nothing, and
    confirmed. Not safe for concurrent calls of one instance.
    """

    def __init__(self, outbox: RemediationOutbox, engine: WorkflowEngine, clock: Clock) -> None:
        self._outbox = outbox
        self._engine = engine
        self._clock = clock
        self._away_s = AWAY_S_FIRST

    async def round(self) -> tuple[Dispatched, float]:
        """Starts what is due; returns what was done and how many seconds to wait before the next round."""
        started = refused = 0
        try:
            orders = await self._outbox.claim(now=self._now(), lease_s=LEASE_S, limit=BATCH)
            for index, order in enumerate(orders):
                try:
                    await self._engine.start(order)
                except CallerError as error:
                    await self._postpone(order, str(error), REFUSED_S)
                    refused += 1
                    continue
                except Unavailable as error:
                    waiting = orders[index:]
                    for each in waiting:
                        await self._postpone(each, str(error), self._away_s)
                    done = Dispatched(started=started, refused=refused, waiting=len(waiting), away=str(error))
                    return done, self._longer_pause_s()
                await self._outbox.confirm(order.tenant_id, order.remediation_id, now=self._now())
                self._away_s = AWAY_S_FIRST
                started += 1
        except Unavailable as error:
            return Dispatched(started=started, refused=refused, away=str(error)), self._longer_pause_s()
        return Dispatched(started=started, refused=refused), POLL_S if len(orders) < BATCH else 0.0

    async def _postpone(self, order: RemediationOrder, error: str, pause_s: float) -> None:
        due = self._now() + timedelta(seconds=pause_s)
        await self._outbox.postpone(order.tenant_id, order.remediation_id, error=error, next_attempt_at=due)

    def _longer_pause_s(self) -> float:
        pause_s = self._away_s
        self._away_s = min(2 * pause_s, AWAY_S_MAX)
        return pause_s

    def _now(self) -> datetime:
        return EPOCH + timedelta(microseconds=self._clock.now_us())
