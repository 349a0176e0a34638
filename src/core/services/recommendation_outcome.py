"""What applying a recommendation brought: what the workload asked for, and how full it was, before and after.

Theory of operation. Both sides are at most 24 hours of telemetry next to the change. What is asked for is the sum over
pods in each bucket, averaged over the buckets that have samples, so that gaps and a changed number of pods are as they
were. Its price is that of the cluster's newest snapshot on both sides: what is compared is the request, not the market.
Nothing is filled in: what cannot be known is None, and the note says why.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
import numpy as np

from core.domain.columns import Float64s
from core.domain.errors import InvalidInput, NotFound, TooExpensive
from core.domain.recommendations import Outcome, Recommendation, Saturation
from core.domain.recommended_changes import Place
from core.domain.resource_prices import HOURS_PER_MONTH, resource_prices
from core.domain.telemetry import CPU_REQUEST, CPU_USAGE, MEMORY_REQUEST, MEMORY_USAGE
from core.domain.times import DAY_US, EPOCH, HOUR_US, MINUTE_US, TimeRange, format_duration
from core.services.telemetry_combining import bucket_starts_us, combined, grids_of, rows_of, without_doubles
from core.services.telemetry_reading import PodSeries, TelemetryReading
from ports.driven.cluster_store import CapacityStore

SIDE_US: Final = DAY_US
"""A day on either side of the change has every hour of it."""
STEP_US: Final = 5 * MINUTE_US
SNAPSHOTS_MAX: Final = 1_000
"""A day of snapshots taken every 90 seconds."""
PERCENTILE: Final = 95.0
METRICS: Final = (CPU_REQUEST, MEMORY_REQUEST, CPU_USAGE, MEMORY_USAGE)


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One side of a change; None where there are no samples."""

    cpu_request_cores: float | None
    memory_request_bytes: float | None
    cpu_saturation: float | None
    memory_saturation: float | None


class OutcomeReading:
    """Measures what recommendations brought. Safe to call concurrently."""

    def __init__(self, reading: TelemetryReading, capacity: CapacityStore) -> None:
        self._reading = reading
        self._capacity = capacity

    async def outcome(
        self, tenant_id: int, recommendation: Recommendation, place: Place, *, begun_at: datetime | None, now: datetime
    ) -> Outcome:
        """Of one that was applied at `applied_at`, by a remediation that began at `begun_at`. Raises `Unavailable`."""
        applied_at = recommendation.applied_at
        if applied_at is None:
            return _unknown(recommendation, "not applied yet, so there is nothing to measure")
        before = _range(_us(begun_at or applied_at) - SIDE_US, _us(begun_at or applied_at))
        after = _range(_us(applied_at), min(_us(applied_at) + SIDE_US, _us(now)))
        if after is None or before is None:
            return _unknown(recommendation, "applied this moment: nothing was measured since")
        if recommendation.recommendation_type == "scale_nodes":
            return await self._of_nodes(tenant_id, recommendation, before, after)
        if place.namespace is None or place.workload is None:
            return _unknown(recommendation, "it names no workload, so nothing can be measured")
        try:
            sides = [await self._side(tenant_id, place, side) for side in (before, after)]
        except (InvalidInput, TooExpensive) as error:
            return _unknown(recommendation, f"it could not be measured: {error}")
        return await self._of_workload(tenant_id, recommendation, sides[0], sides[1], after)

    async def _side(self, tenant_id: int, place: Place, side: TimeRange) -> Measured:
        series = await self._reading.read(
            tenant_id,
            place.cluster_id,
            METRICS,
            side,
            STEP_US,
            namespace=place.namespace,
            workload=place.workload,
        )
        return measured(series, side)

    async def _of_workload(
        self, tenant_id: int, recommendation: Recommendation, before: Measured, after: Measured, side: TimeRange
    ) -> Outcome:
        notes = [_span(side)]
        cpu = _saved(before.cpu_request_cores, after.cpu_request_cores)
        memory = _saved(before.memory_request_bytes, after.memory_request_bytes)
        unknown = [what for what, saved in (("cpu", cpu), ("memory", memory)) if saved is None]
        notes += [f"{what} requests are not reported on both sides, so they do not count" for what in unknown]
        realised = None
        if cpu is not None or memory is not None:
            realised = await self._price(tenant_id, recommendation.cluster_id, cpu or 0.0, memory or 0.0)
            if realised is None:
                notes.append("the cluster's snapshots do not tell its cost")
        measured_anything = any(value is not None for value in msgspec.structs.astuple(after))
        return Outcome(
            predicted_savings_usd=recommendation.estimated_savings_usd,
            realised_savings_usd=realised,
            saturation=Saturation(
                cpu_before=before.cpu_saturation,
                cpu_after=after.cpu_saturation,
                memory_before=before.memory_saturation,
                memory_after=after.memory_saturation,
            ),
            measured_until=_at(side.end_us) if measured_anything else None,
            note="; ".join(notes),
        )

    async def _of_nodes(
        self, tenant_id: int, recommendation: Recommendation, before: TimeRange, after: TimeRange
    ) -> Outcome:
        """By what the cluster cost an hour."""
        costs = [await self._hourly_cost(tenant_id, recommendation.cluster_id, side) for side in (before, after)]
        saved = _saved(*costs)
        note = "no snapshots with a cost on both sides" if saved is None else "by the hourly cost in the snapshots"
        return Outcome(
            predicted_savings_usd=recommendation.estimated_savings_usd,
            realised_savings_usd=None if saved is None else saved * HOURS_PER_MONTH,
            saturation=Saturation(),
            measured_until=_at(after.end_us) if costs[1] is not None else None,
            note=f"{_span(after)}; {note}",
        )

    async def _hourly_cost(self, tenant_id: int, cluster_id: str, side: TimeRange) -> float | None:
        snapshots = await self._capacity.list(
            tenant_id, cluster_id, start=_at(side.start_us), end=_at(side.end_us), limit=SNAPSHOTS_MAX
        )
        costs = [cost for snapshot in snapshots if (cost := snapshot.hourly_cost_usd) is not None]
        return float(np.mean(costs)) if costs else None

    async def _price(self, tenant_id: int, cluster_id: str, cpu_cores: float, memory_bytes: float) -> float | None:
        try:
            prices = resource_prices(await self._capacity.latest(tenant_id, cluster_id))
        except NotFound:
            return None
        return None if prices is None else prices.of(cpu_cores=cpu_cores, memory_bytes=memory_bytes)


def measured(series: Sequence[PodSeries], side: TimeRange) -> Measured:
    """What a workload's pods asked for together, and the 95th percentile of their use ÷ request."""
    totals = {metric: _totals([one for one in series if one.metric == metric], side) for metric in METRICS}
    return Measured(
        cpu_request_cores=_mean(totals[CPU_REQUEST]),
        memory_request_bytes=_mean(totals[MEMORY_REQUEST]),
        cpu_saturation=_saturation(totals[CPU_USAGE], totals[CPU_REQUEST]),
        memory_saturation=_saturation(totals[MEMORY_USAGE], totals[MEMORY_REQUEST]),
    )


def _totals(series: Sequence[PodSeries], side: TimeRange) -> Float64s:
    """One metric's sum over pods, for each bucket of the side; NaN where nobody was heard of."""
    starts_us = bucket_starts_us(side, STEP_US)
    if not series:
        return np.full(len(starts_us), np.nan)
    pods = without_doubles(series)
    amounts, shares = grids_of(pods, rows_of(pods), starts_us)
    total: Float64s = combined(amounts, "sum", np.zeros(1, np.int64), shares)[0]
    return total


def _mean(totals: Float64s) -> float | None:
    there = totals[~np.isnan(totals)]
    return float(np.mean(there)) if len(there) else None


def _saturation(used: Float64s, requested: Float64s) -> float | None:
    there = ~np.isnan(used) & (requested > 0)
    return float(np.percentile(used[there] / requested[there], PERCENTILE)) if there.any() else None


def _saved(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else before - after


def _unknown(recommendation: Recommendation, note: str) -> Outcome:
    return Outcome(
        predicted_savings_usd=recommendation.estimated_savings_usd,
        realised_savings_usd=None,
        saturation=Saturation(),
        measured_until=None,
        note=note,
    )


def _span(side: TimeRange) -> str:
    """How much was measured, for a person."""
    length_us = side.end_us - side.start_us
    unit_us = HOUR_US if length_us >= HOUR_US else MINUTE_US
    whole_us = length_us - length_us % unit_us
    said = format_duration(whole_us) if whole_us else "less than 1m"
    return f"measured over {said} since, against up to 24h before"


def _range(start_us: int, end_us: int) -> TimeRange | None:
    return TimeRange(max(start_us, 0), end_us) if end_us > max(start_us, 0) else None


def _us(instant: datetime) -> int:
    return (instant - EPOCH) // timedelta(microseconds=1)


def _at(instant_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=instant_us)
