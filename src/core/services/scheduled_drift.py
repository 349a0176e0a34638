"""Scheduled drift detection: one tenant's clusters after the other."""

from datetime import timedelta

from core.domain.errors import CallerError, Unavailable
from core.domain.times import EPOCH
from core.services.drift_looking import DriftLooking
from ports.driven.clock import Clock
from ports.driven.drift_store import DriftClaim, DriftSchedule
from ports.driving.drifting import DriftFound, DriftRound


class ScheduledDrift:
    """Implements `ports.driving.drifting.DriftWork`."""

    def __init__(self, schedule: DriftSchedule, looking: DriftLooking, clock: Clock, *, interval_s: float) -> None:
        self._schedule = schedule
        self._looking = looking
        self._clock = clock
        self._interval_s = interval_s

    async def round(self) -> DriftRound:
        """See `DriftWork.round`. A cluster that cannot be looked at does not stop the others; where the database goes
        away, what is left of the tenant is looked at when it is next due."""
        started_s = self._clock.monotonic_s()
        claim: DriftClaim | None = None
        clusters: list[DriftFound] = []
        away = None
        try:
            now = EPOCH + timedelta(microseconds=self._clock.now_us())
            claim = await self._schedule.claim(now=now, interval_s=self._interval_s)
            if claim is not None:
                for cluster_id in await self._looking.clusters(claim.tenant_id):
                    clusters.append(await self._look(claim.tenant_id, cluster_id))  # noqa: PERF401  # kept if it ends
        except Unavailable as error:
            away = str(error)
        return DriftRound(
            tenant=claim.tenant if claim is not None else None,
            clusters=clusters,
            away=away,
            took_s=self._clock.monotonic_s() - started_s,
        )

    async def _look(self, tenant_id: int, cluster_id: str) -> DriftFound:
        try:
            return await self._looking.look(tenant_id, cluster_id)
        except CallerError as error:
            return DriftFound(cluster_id=cluster_id, found=0, opened=0, resolved=0, skipped=[f"all: {error}"])
