"""Capacity snapshots and plans, and what follows from them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from core.detection.capacity_outlook import CONFIDENCE, MEASURED, Measure
from core.domain.capacity import CapacityPlan, CapacitySnapshot
from core.domain.definitions import Aggregation
from core.domain.errors import InvalidInput, NotFound, TooLarge
from core.domain.names import check_cluster_id
from core.domain.resource_prices import ResourcePrices, resource_prices
from core.domain.tenants import Principal, Scope
from core.domain.times import DAY_US, TimeRange
from core.services.capacity_outlooks import SNAPSHOTS_READ_MAX, headroom_of, resource_forecast
from core.services.capacity_right_sizing import SIZED_METRICS, WORST_METRICS, right_sizing_of
from core.services.cursors import check_page
from core.services.recording import READ_ALERTS, Recorder
from core.services.telemetry_combining import bucket_starts_us, bucket_width_us
from core.services.telemetry_reading import TelemetryReading
from ports.driven.audit_log import AuditLog
from ports.driven.clock import Clock
from ports.driven.cluster_store import CapacityStore
from ports.driving.clusters import CapacityForecast, HeadroomReply, RightSizingReply

SNAPSHOTS_PER_REQUEST_MAX: Final = 1_000
"""Six weeks of one cluster by the hour."""
FUTURE_MAX: Final = timedelta(days=1)
"""Past any skew of clocks: one snapshot of next year would stand as the latest until then."""
DAYS_MAX: Final = 3_650.0
"""Ten years back or ahead, which is past every cluster."""
SIZING_BUCKETS_MAX: Final = 700
"""Two weeks in half hours."""


class CapacityService:
    """Implements `ports.driving.clusters.Capacity`."""

    def __init__(self, capacity: CapacityStore, reading: TelemetryReading, audit: AuditLog, clock: Clock) -> None:
        self._capacity = capacity
        self._reading = reading
        self._recorder = Recorder(audit, clock)
        self._clock = clock

    async def post(self, principal: Principal, snapshots: Sequence[CapacitySnapshot]) -> int:
        """See `Capacity.post`."""
        principal.require(Scope.INGEST)
        if len(snapshots) > SNAPSHOTS_PER_REQUEST_MAX:
            raise TooLarge(
                f"{len(snapshots)} snapshots; send at most {SNAPSHOTS_PER_REQUEST_MAX} in one request",
                limit=SNAPSHOTS_PER_REQUEST_MAX,
            )
        latest = self._recorder.now() + FUTURE_MAX
        for snapshot in snapshots:
            if snapshot.ts > latest:
                raise InvalidInput("ts", f"{snapshot.ts.isoformat()} is more than a day ahead of the server's clock")
        return await self._capacity.put(principal.tenant_id, snapshots) if snapshots else 0

    async def latest(self, principal: Principal, cluster_id: str) -> CapacitySnapshot:
        """See `Capacity.latest`."""
        self._check_reading(principal, cluster_id)
        return await self._capacity.latest(principal.tenant_id, cluster_id)

    async def list(
        self, principal: Principal, cluster_id: str, *, start: datetime | None, end: datetime | None, limit: int
    ) -> Sequence[CapacitySnapshot]:
        """See `Capacity.list`."""
        self._check_reading(principal, cluster_id)
        check_page(limit)
        if start is not None and end is not None and end <= start:
            raise InvalidInput("end_date", f"{end.isoformat()} is not after start_date {start.isoformat()}")
        return await self._capacity.list(principal.tenant_id, cluster_id, start=start, end=end, limit=limit)

    async def forecast(
        self, principal: Principal, cluster_id: str, *, days: float, horizon_days: float
    ) -> CapacityForecast:
        """See `Capacity.forecast`. `start` and `end` are the first and the last snapshot looked at; resources of which
        the newest has nothing allocatable, or tells no requests, are left out. Raises `NotFound` where there is no
        snapshot."""
        self._check_reading(principal, cluster_id)
        _check_days("horizon_days", horizon_days)
        snapshots = await self._recent(principal, cluster_id, days)
        plan = await self._capacity.plan(principal.tenant_id, cluster_id)
        forecasts = {
            measure: [
                found
                for each in resources
                if (found := resource_forecast(snapshots, each, plan, horizon_days=horizon_days, measure=measure))
                is not None
            ]
            for measure, resources in MEASURED.items()
        }
        return CapacityForecast(
            cluster_id=cluster_id,
            snapshots=len(snapshots),
            start=snapshots[0].ts,
            end=snapshots[-1].ts,
            confidence=CONFIDENCE,
            horizon_days=horizon_days,
            resources=forecasts[Measure.USED],
            requested=forecasts[Measure.REQUESTED],
        )

    async def headroom(self, principal: Principal, cluster_id: str, *, days: float) -> HeadroomReply:
        """See `Capacity.headroom`. Raises `NotFound` where there is no snapshot."""
        self._check_reading(principal, cluster_id)
        snapshots = await self._recent(principal, cluster_id, days)
        return headroom_of(snapshots, await self._capacity.plan(principal.tenant_id, cluster_id))

    async def right_sizing(self, principal: Principal, cluster_id: str, *, days: float) -> RightSizingReply:
        """See `Capacity.right_sizing`; what each number is, `capacity_right_sizing` says. Raises `NotFound` where the
        cluster has no telemetry."""
        self._check_reading(principal, cluster_id)
        now = self._recorder.now()
        time_range = self._range(days)
        width_us = bucket_width_us(time_range, SIZING_BUCKETS_MAX)
        found = [
            one
            for names, aggregation in ((SIZED_METRICS, Aggregation.AVG), (WORST_METRICS, Aggregation.MAX))
            for one in await self._reading.read(
                principal.tenant_id, cluster_id, names, time_range, width_us, aggregation=aggregation
            )
        ]
        if not found and not await self._reading.known(principal.tenant_id, cluster_id):
            raise NotFound("cluster with telemetry", cluster_id)
        prices = await self._prices(principal, cluster_id)
        return RightSizingReply(
            cluster_id=cluster_id,
            start=now - timedelta(microseconds=time_range.end_us - time_range.start_us),
            end=now,
            workloads=right_sizing_of(found, bucket_starts_us(time_range, width_us), prices),
        )

    async def plan(self, principal: Principal, cluster_id: str) -> CapacityPlan:
        """See `Capacity.plan`."""
        self._check_reading(principal, cluster_id)
        plan = await self._capacity.plan(principal.tenant_id, cluster_id)
        if plan is None:
            raise NotFound("capacity plan of cluster", cluster_id)
        return plan

    async def put_plan(self, principal: Principal, cluster_id: str, plan: CapacityPlan | None) -> None:
        """See `Capacity.put_plan`; removing one raises `NotFound` where there is none."""
        principal.require(Scope.ALERTS)
        check_cluster_id("cluster_id", cluster_id)
        before = await self._capacity.plan(principal.tenant_id, cluster_id)
        if before is None and plan is None:
            raise NotFound("capacity plan of cluster", cluster_id)
        await self._capacity.put_plan(principal.tenant_id, cluster_id, plan)
        if before != plan:
            done = "declared" if plan is not None else "removed"
            await self._recorder.changed(
                principal, f"{done} the capacity plan of {cluster_id!r}", before=before, after=plan
            )

    def _check_reading(self, principal: Principal, cluster_id: str) -> None:
        principal.require_any(*READ_ALERTS)
        check_cluster_id("cluster_id", cluster_id)

    async def _recent(self, principal: Principal, cluster_id: str, days: float) -> Sequence[CapacitySnapshot]:
        """The snapshots of the last `days`, ascending, or else the newest alone."""
        start = self._recorder.now() - timedelta(days=_check_days("days", days))
        found = await self._capacity.list(
            principal.tenant_id, cluster_id, start=start, end=None, limit=SNAPSHOTS_READ_MAX
        )
        return found or [await self._capacity.latest(principal.tenant_id, cluster_id)]

    async def _prices(self, principal: Principal, cluster_id: str) -> ResourcePrices | None:
        """By the newest snapshot, where there is one."""
        try:
            return resource_prices(await self._capacity.latest(principal.tenant_id, cluster_id))
        except NotFound:
            return None

    def _range(self, days: float) -> TimeRange:
        """The last `days`."""
        now_us = self._clock.now_us()
        return TimeRange(max(0, now_us - round(_check_days("days", days) * DAY_US)), now_us)


def _check_days(field: str, days: float) -> float:
    if not 1.0 / 24.0 <= days <= DAYS_MAX:  # in this order NaN is refused too
        raise InvalidInput(field, f"must be from an hour (0.0417) to {DAYS_MAX:g} days")
    return days
