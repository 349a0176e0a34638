"""The keeper: decides when to settle, refresh, compress, drop and forget."""

from typing import Final, Protocol

import msgspec

from core.domain.errors import Unavailable
from core.domain.times import DAY_US, HOUR_US, SECOND_US
from ports.driven.clock import Clock
from ports.driven.keeping import Backlog, Keeping, SettleOutcome

POLL_S: Final = 0.5
"""How often the backlog is looked at; a settle is due seconds or minutes apart."""
SETTLE_BLOCKS: Final = 10_000
"""Many small commits: every process that queries keeps track of each unsettled block."""
REFRESH_EVERY_S: Final = 60.0
"""Stored aggregates follow settled samples by about this long; queries read raw samples meanwhile."""
UPKEEP_EVERY_S: Final = 3_600.0
"""Retention, compression and counting move by days; an hour's delay is invisible."""
UPKEEP_FIRST_S: Final = 30.0
"""The first upkeep comes soon after a start, but not into it."""
REPLIES_KEPT_US: Final = DAY_US
"""Idempotency keys are honoured for 24 hours."""
AWAY_S: Final = 2.0
"""Pause after the database was away."""


class KeeperTelemetry(Protocol):
    """What the keeper reports."""

    def backlog(self, *, points: int, age_s: float) -> None:
        """What waits to be settled."""
        ...

    def settled(self, *, points: int, late: int, took_s: float) -> None:
        """One settle."""
        ...


class KeeperPlan(msgspec.Struct, frozen=True, kw_only=True):
    """When to do what."""

    settle_points: int
    settle_age_s: float
    compress_after_days: int


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What one round did, for the log."""

    settled: SettleOutcome | None = None
    took_s: float = 0.0
    refreshed: int = 0
    dropped: int = 0
    compressed: int = 0
    away: str | None = None
    """Why nothing was done, where the database was not available."""


class KeeperService:
    """Runs in one background process a server; several servers take turns by the store's locks."""

    def __init__(self, keeping: Keeping, plan: KeeperPlan, clock: Clock, telemetry: KeeperTelemetry) -> None:
        self._keeping = keeping
        self._plan = plan
        self._clock = clock
        self._telemetry = telemetry
        started_s = clock.monotonic_s()
        self._refresh_due_s = started_s
        self._upkeep_due_s = started_s + UPKEEP_FIRST_S

    async def round(self) -> tuple[Done, float]:
        """Does what is due now; returns what was done and how many seconds to wait before the next round."""
        try:
            return await self._round()
        except Unavailable as error:
            return Done(away=str(error)), AWAY_S

    async def _round(self) -> tuple[Done, float]:
        backlog = await self._keeping.backlog()
        age_s = (self._clock.now_us() - backlog.oldest_us) / SECOND_US if backlog.oldest_us is not None else 0.0
        self._telemetry.backlog(points=backlog.points, age_s=max(0.0, age_s))
        if self._is_due(backlog, age_s):
            started_s = self._clock.monotonic_s()
            outcome = await self._keeping.settle(points_max=self._plan.settle_points)
            took_s = self._clock.monotonic_s() - started_s
            if outcome.points:
                self._telemetry.settled(points=outcome.points, late=outcome.late, took_s=took_s)
                self._refresh_due_s = min(self._refresh_due_s, self._clock.monotonic_s() + REFRESH_EVERY_S)
                return Done(settled=outcome, took_s=took_s), 0.0
        now_s = self._clock.monotonic_s()
        if now_s >= self._refresh_due_s:
            refreshed = await self._keeping.refresh_aggregates(now_us=self._clock.now_us())
            self._refresh_due_s = self._clock.monotonic_s() + REFRESH_EVERY_S
            return Done(refreshed=refreshed), 0.0
        if now_s >= self._upkeep_due_s:
            done = await self.upkeep()
            self._upkeep_due_s = self._clock.monotonic_s() + UPKEEP_EVERY_S
            return done, 0.0
        return Done(), POLL_S

    async def upkeep(self) -> Done:
        """What is due by the hour: retention, compression, forgetting, counting."""
        now_us = self._clock.now_us()
        dropped = await self._keeping.drop_expired(now_us=now_us)
        compressed = await self._keeping.compress(older_than_us=now_us - self._plan.compress_after_days * DAY_US)
        await self._keeping.forget_replies(older_than_us=now_us - REPLIES_KEPT_US)
        await self._keeping.recount_series(seen_since_us=now_us - DAY_US - HOUR_US)
        return Done(dropped=dropped, compressed=compressed)

    def _is_due(self, backlog: Backlog, age_s: float) -> bool:
        return (
            backlog.points >= self._plan.settle_points
            or backlog.blocks >= SETTLE_BLOCKS
            or (backlog.points > 0 and age_s >= self._plan.settle_age_s)
        )
