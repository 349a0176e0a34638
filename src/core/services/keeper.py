"""The keeper: decides when to settle, refresh, compress, drop, forget and purge."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol

import msgspec

from core.domain.errors import Unavailable
from core.domain.times import DAY_US, EPOCH, HOUR_US, SECOND_US
from ports.driven.clock import Clock
from ports.driven.cluster_history import ClusterHistory, ClusterRecord
from ports.driven.detection_store import DetectionRuns
from ports.driven.event_store import EventStore
from ports.driven.keeping import Backlog, Keeping, SettleOutcome
from ports.driven.source_store import CollectionWorkStore
from ports.driven.synthetic_store import SyntheticPurger

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
PURGES_EVERY_S: Final = 1.0
"""Whoever asks for a purge waits for it."""
PURGE_AGAIN_S: Final = 10.0
"""After one failed: what else the keeper does must not wait behind it."""
HISTORY_KEPT_US: Final = 365 * DAY_US
"""Of detection's runs and of anomalies that ended: how often a detector is right shows over seasons."""
RUNS_KEPT_US: Final = 90 * DAY_US
"""Of collecting, after their end: what a source did in the last months; there is one every few minutes."""
RUNS_AT_ONCE: Final = 500
"""Each goes with what came of its items, at most 500 of them."""
CLUSTERS_KEPT_US: Final = 400 * DAY_US
"""Capacity, changes of configurations, settled drift with its recommendations, and instances that are not seen any
more: a month can be compared with the same one a year before."""
CLUSTERS_AT_ONCE: Final = 1_000
"""Of these; a change holds up to 768 KiB."""
FORGET_AT_ONCE: Final = 10_000
"""Rows deleted in one transaction: some tens of milliseconds."""
FORGETS_MAX: Final = 100
"""Such transactions in one upkeep; settling waits meanwhile, and what is left is taken an hour later."""
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
    forgotten: int = 0
    """Events, anomalies, runs of detection and of collecting, and what was known of clusters and instances."""
    purged: int = 0
    """Purges of synthetic data that were done."""
    away: str | None = None
    """Why nothing was done, where the database was not available."""


class KeeperService:
    """Runs in one background process a server; several servers take turns by the store's locks."""

    def __init__(
        self,
        keeping: Keeping,
        events: EventStore,
        detection: DetectionRuns,
        collection: CollectionWorkStore,
        clusters: ClusterHistory,
        purger: SyntheticPurger,
        plan: KeeperPlan,
        clock: Clock,
        telemetry: KeeperTelemetry,
    ) -> None:
        self._keeping = keeping
        self._events = events
        self._detection = detection
        self._collection = collection
        self._clusters = clusters
        self._purger = purger
        self._plan = plan
        self._clock = clock
        self._telemetry = telemetry
        started_s = clock.monotonic_s()
        self._refresh_due_s = started_s
        self._upkeep_due_s = started_s + UPKEEP_FIRST_S
        self._purges_due_s = started_s

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
        if self._clock.monotonic_s() >= self._purges_due_s:
            self._purges_due_s = self._clock.monotonic_s() + PURGE_AGAIN_S
            purged = await self._purge()
            self._purges_due_s = self._clock.monotonic_s() + PURGES_EVERY_S
            if purged:
                return Done(purged=purged), 0.0
        if self._is_due(backlog, age_s):
            done = await self._settle()
            if done.settled is not None:
                return done, 0.0
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
        forgotten = await _in_batches(lambda: self._events.forget(now_us=now_us, limit=FORGET_AT_ONCE), FORGET_AT_ONCE)
        before = _instant(now_us - HISTORY_KEPT_US)
        forgotten += await _in_batches(
            lambda: self._detection.forget(before=before, limit=FORGET_AT_ONCE), FORGET_AT_ONCE
        )
        ended_before = _instant(now_us - RUNS_KEPT_US)
        forgotten += await _in_batches(
            lambda: self._collection.forget(before=ended_before, limit=RUNS_AT_ONCE), RUNS_AT_ONCE
        )
        seen_before = _instant(now_us - CLUSTERS_KEPT_US)
        for record in ClusterRecord:
            forget = partial(self._clusters.forget, record, before=seen_before, limit=CLUSTERS_AT_ONCE)
            forgotten += await _in_batches(forget, CLUSTERS_AT_ONCE)
        return Done(dropped=dropped, compressed=compressed, forgotten=forgotten)

    async def _settle(self) -> Done:
        """One settle; `settled` None where there was nothing, or another process did it."""
        started_s = self._clock.monotonic_s()
        outcome = await self._keeping.settle(points_max=self._plan.settle_points)
        if not outcome.points:
            return Done()
        took_s = self._clock.monotonic_s() - started_s
        self._telemetry.settled(points=outcome.points, late=outcome.late, took_s=took_s)
        self._refresh_due_s = min(self._refresh_due_s, self._clock.monotonic_s() + REFRESH_EVERY_S)
        return Done(settled=outcome, took_s=took_s)

    async def _purge(self) -> int:
        """Does the purges that wait, settling first where one has to; returns how many are done."""
        waiting = await self._purger.waiting()
        left = [purge_id for purge_id in waiting if not await self._purger.purge(purge_id, now=self._now())]
        if left:
            await self._settle_all()
            left = [purge_id for purge_id in left if not await self._purger.purge(purge_id, now=self._now())]
        done = len(waiting) - len(left)
        if done:
            self._refresh_due_s = self._clock.monotonic_s()
        return done

    async def _settle_all(self) -> None:
        """Settles what waits now, however little; what arrives meanwhile may wait."""
        waiting = (await self._keeping.backlog()).points
        while waiting > 0:
            settled = (await self._settle()).settled
            if settled is None:
                return
            waiting -= settled.points

    def _now(self) -> datetime:
        return _instant(self._clock.now_us())

    def _is_due(self, backlog: Backlog, age_s: float) -> bool:
        return (
            backlog.points >= self._plan.settle_points
            or backlog.blocks >= SETTLE_BLOCKS
            or (backlog.points > 0 and age_s >= self._plan.settle_age_s)
        )


async def _in_batches(forget: Callable[[], Awaitable[int]], batch: int) -> int:
    """Calls `forget` until it deletes less than a batch, a bounded number of times; returns how many rows went."""
    forgotten = 0
    for _ in range(FORGETS_MAX):
        rows = await forget()
        forgotten += rows
        if rows < batch:
            break
    return forgotten


def _instant(ts_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=ts_us)
