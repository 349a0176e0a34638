"""Telemetry of clusters: the standard metrics of a pod, a workload, a namespace or a cluster, and golden signals.

All numbers begin as bucket averages of single pods (`TelemetryReading`) and are combined as `telemetry_combining` says.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import numpy as np

from core.domain.columns import Float64s
from core.domain.errors import NotFound
from core.domain.queries import CATALOG_ANSWER_MAX
from core.domain.telemetry import CLUSTER, ERROR_RATE, RESTARTS, STANDARD_METRICS, THROUGHPUT, StandardMetric
from core.domain.tenants import Principal
from core.domain.times import EPOCH, TimeRange, format_duration
from core.services.recording import READ_ALERTS
from core.services.telemetry_combining import (
    bucket_starts_us,
    bucket_width_us,
    combined,
    grids_of,
    increases,
    rows_of,
    usual_pods,
    without_doubles,
)
from core.services.telemetry_golden import GOLDEN_METRICS, golden_signals_of
from core.services.telemetry_reading import PodSeries, TelemetryReading, finite
from ports.driven.cluster_store import CapacityStore
from ports.driven.sample_reader import SampleReader
from ports.driving.clusters import GoldenSignalsReply, SignalSeries, TelemetryReply, TelemetryScope

BUCKETS_MAX: Final = 300
"""As many points as a chart shows; a day in steps of five minutes."""
GOLDEN_BUCKETS_MAX: Final = 60
"""Nine metrics of a whole cluster at once: coarser, since only one number of each is shown."""
PODS_SHOWN_MAX: Final = 1_000
_ALL_ROWS: Final = np.zeros(1, np.int64)


class TelemetryService:
    """Implements `ports.driving.clusters.Telemetry`."""

    def __init__(self, reading: TelemetryReading, reader: SampleReader, capacity: CapacityStore) -> None:
        self._reading = reading
        self._reader = reader
        self._capacity = capacity

    async def metrics(self, principal: Principal, scope: TelemetryScope, time_range: TimeRange) -> TelemetryReply:
        """See `Telemetry.metrics`.

        Buckets are whole minutes, hours or days, `BUCKETS_MAX` at most. `restarts` is by how much the pods' counters
        grew since the bucket before it that has samples.
        """
        principal.require_any(*READ_ALERTS)
        width_us = bucket_width_us(time_range, BUCKETS_MAX)
        starts_us = bucket_starts_us(time_range, width_us)
        signals: dict[str, SignalSeries] = {}
        pods: set[str] = set()
        for metric in STANDARD_METRICS:  # one at a time: only one is held whole
            names = (metric.name, THROUGHPUT) if metric.combine == "weighted" else (metric.name,)
            found = await self._read(principal, scope, names, time_range, width_us)
            pods.update(one.pod for one in found if one.pod and one.metric == metric.name)
            signal = _signal(metric, found, starts_us, of_one=scope.pod is not None)
            if signal is not None:
                signals[metric.signal] = signal
        if not pods and not signals:
            await self._check_known(principal, scope)
        return TelemetryReply(
            scope=scope,
            start=EPOCH + timedelta(microseconds=time_range.start_us),
            end=EPOCH + timedelta(microseconds=time_range.end_us),
            bucket=format_duration(width_us),
            metrics=signals,
            pods=sorted(pods)[:PODS_SHOWN_MAX],
        )

    async def golden_signals(
        self, principal: Principal, cluster_id: str, time_range: TimeRange, *, namespace: str | None
    ) -> GoldenSignalsReply:
        """See `Telemetry.golden_signals`; what each number is, `telemetry_golden` says."""
        principal.require_any(*READ_ALERTS)
        scope = TelemetryScope(cluster_id=cluster_id, namespace=namespace)
        width_us = bucket_width_us(time_range, GOLDEN_BUCKETS_MAX)
        found = await self._read(principal, scope, GOLDEN_METRICS, time_range, width_us)
        if not found:
            await self._check_known(principal, scope)
        return GoldenSignalsReply(
            cluster_id=cluster_id,
            start=EPOCH + timedelta(microseconds=time_range.start_us),
            end=EPOCH + timedelta(microseconds=time_range.end_us),
            workloads=golden_signals_of(found, bucket_starts_us(time_range, width_us)),
        )

    async def clusters(self, principal: Principal) -> Sequence[str]:
        """See `Telemetry.clusters`."""
        principal.require_any(*READ_ALERTS)
        heard_of = await self._reader.label_values(principal.tenant_id, CLUSTER, CATALOG_ANSWER_MAX)
        known = await self._capacity.clusters(principal.tenant_id)
        return sorted({*heard_of, *known})

    async def _read(
        self, principal: Principal, scope: TelemetryScope, names: Sequence[str], time_range: TimeRange, width_us: int
    ) -> Sequence[PodSeries]:
        return await self._reading.read(
            principal.tenant_id,
            scope.cluster_id,
            names,
            time_range,
            width_us,
            namespace=scope.namespace,
            workload=scope.workload,
            pod=scope.pod,
        )

    async def _check_known(self, principal: Principal, scope: TelemetryScope) -> None:
        """Raises `NotFound` where nobody ever told of the scope, rather than only not in the range."""
        known = await self._reading.known(
            principal.tenant_id,
            scope.cluster_id,
            namespace=scope.namespace,
            workload=scope.workload,
            pod=scope.pod,
        )
        if known:
            return
        parts = [scope.cluster_id, scope.namespace, scope.workload, scope.pod]
        kind = "pod" if scope.pod else "workload" if scope.workload else "namespace" if scope.namespace else "cluster"
        raise NotFound(f"{kind} with telemetry", "/".join(part for part in parts if part is not None))


def _signal(
    metric: StandardMetric, found: Sequence[PodSeries], starts_us: range, *, of_one: bool
) -> SignalSeries | None:
    """One metric over time; None where no bucket has a value. Of one pod it is what it did while it was there."""
    own = without_doubles([one for one in found if one.metric == metric.name])
    if metric.name == RESTARTS:
        own = increases(own)
    if not own:
        return None
    rows = rows_of(own)
    grid, shares = grids_of(own, rows, starts_us)
    # A restart is one however short the pod's life.
    weights = None if of_one or metric.name == RESTARTS else shares
    if metric.name == ERROR_RATE:
        requests = [one for one in found if one.metric == THROUGHPUT and (one.namespace, one.workload, one.pod) in rows]
        per_second, told = grids_of(requests, rows, starts_us)
        weights = per_second * told
    line = combined(grid, metric.combine, _ALL_ROWS, weights)[0]
    there = np.flatnonzero(~np.isnan(line))
    of_pods = np.array([1.0 if pod else 0.0 for _, _, pod in rows])[:, None]
    [pods] = usual_pods(shares * of_pods, _ALL_ROWS)
    return _series(metric, pods, [starts_us[bucket] for bucket in there], line[there])


def _series(metric: StandardMetric, pods: int, ts_us: Sequence[int], values: Float64s) -> SignalSeries:
    with np.errstate(over="ignore", invalid="ignore"):
        mean, p95 = finite(np.array([values.mean(), np.percentile(values, 95.0)])).tolist()
    return SignalSeries(
        metric=metric.name,
        unit=metric.unit,
        combine=metric.combine,
        pods=pods,
        points=[
            (EPOCH + timedelta(microseconds=start_us), value)
            for start_us, value in zip(ts_us, values.tolist(), strict=True)
        ],
        latest=float(values[-1]),
        avg=mean,
        min=float(values.min()),
        max=float(values.max()),
        p95=p95,
    )
