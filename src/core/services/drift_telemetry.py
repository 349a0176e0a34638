"""Drift in a cluster's telemetry: use against requests, limits and its own past, latency and errors against theirs.

What is looked at ends with the newest half hour of which anything is known, so that a source that is collected by the
hour is judged by what it last said.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Final

import msgspec
import numpy as np

from core.detection.drift_findings import STEP_US, Judged, Subject, lasts, recent_buckets
from core.detection.drift_right_size import Surroundings, WorkloadUse, judged_oversized
from core.detection.drift_shift import (
    CPU_SHIFT,
    ERROR_SHIFT,
    LATENCY_SHIFT,
    MEMORY_SHIFT,
    ShiftRule,
    can_compare,
    shifted,
)
from core.detection.drift_usage import judged_usage
from core.detection.right_sizing import AMOUNT_MAX, Sizing
from core.domain.columns import Bools, Float64s
from core.domain.definitions import Aggregation
from core.domain.errors import InvalidInput, TooExpensive
from core.domain.names import check_cluster_id
from core.domain.resource_prices import ResourcePrices
from core.domain.telemetry import (
    CPU_LIMIT,
    CPU_REQUEST,
    CPU_USAGE,
    ERROR_RATE,
    LATENCY_P95,
    MEMORY_LIMIT,
    MEMORY_REQUEST,
    MEMORY_USAGE,
    STANDARD_METRICS,
    THROUGHPUT,
)
from core.domain.times import DAY_US, EPOCH, HOUR_US, TimeRange, format_time
from core.services.capacity_right_sizing import right_sizing_of
from core.services.drift_part import DriftPart
from core.services.telemetry_combining import bucket_starts_us, combined, grids_of, rows_of, without_doubles
from core.services.telemetry_reading import PodSeries, TelemetryReading
from ports.driven.pause import Pause
from ports.driving.clusters import RightSizing

RANGE_US: Final = 8 * DAY_US
"""Today, and the same time of the seven days before."""
SHORT_RANGE_US: Final = 30 * HOUR_US
"""The same time of yesterday, of a source that is some hours late."""
AGE_US_MAX: Final = 3 * HOUR_US
"""How old the newest half hour may be: two turns of a collection by the hour."""
JUDGED_AT_ONCE: Final = 10
"""Workloads, some 30 ms of the processor: then others' requests may go on."""
USE_METRICS: Final = (CPU_USAGE, CPU_REQUEST, CPU_LIMIT, MEMORY_REQUEST, MEMORY_LIMIT)
WORST_METRICS: Final = (MEMORY_USAGE,)
"""Read as bucket maxima: a pod is killed by its peak."""
SIGNAL_METRICS: Final = (LATENCY_P95, THROUGHPUT, ERROR_RATE)
_COMBINE: Final = {metric.name: metric.combine for metric in STANDARD_METRICS}
_NAMES: Final = {
    "cpu": (CPU_USAGE, CPU_REQUEST, CPU_LIMIT),
    "memory": (MEMORY_USAGE, MEMORY_REQUEST, MEMORY_LIMIT),
}


class _Workload(msgspec.Struct, frozen=True):
    """A workload and the rows of its pods."""

    subject: Subject
    rows: slice


async def look_at_telemetry(
    reading: TelemetryReading,
    pause: Pause,
    tenant_id: int,
    cluster_id: str,
    now_us: int,
    prices: ResourcePrices | None,
) -> DriftPart:
    """All that telemetry says; what is too expensive to read of a week is read of a day, or else skipped. Raises
    `Unavailable`."""
    parts: list[DriftPart] = []
    for wanted, judge in (
        (((USE_METRICS, Aggregation.AVG), (WORST_METRICS, Aggregation.MAX)), _judged_use),
        (((SIGNAL_METRICS, Aggregation.AVG),), _judged_signals),
    ):
        for range_us in (RANGE_US, SHORT_RANGE_US):
            time_range = TimeRange(max(0, now_us - range_us), now_us)
            try:
                series = [
                    one
                    for names, aggregation in wanted
                    for one in await reading.read(
                        tenant_id, cluster_id, names, time_range, STEP_US, aggregation=aggregation
                    )
                ]
            except TooExpensive as error:
                parts.append(DriftPart(skipped=[f"telemetry of {range_us // HOUR_US} h: {error}"]))
                continue
            if series:
                parts.append(await _judged(judge, series, cluster_id, time_range, prices, pause))
            break
    if not parts:
        return DriftPart(skipped=["telemetry: there is none of the last 8 days"])
    return DriftPart(
        judged={key: found for part in parts for key, found in part.judged.items()},
        skipped=sorted({line for part in parts for line in part.skipped}),
    )


async def _judged(
    judge: "Callable[[_Told], Iterator[Judged]]",
    series: Sequence[PodSeries],
    cluster_id: str,
    time_range: TimeRange,
    prices: ResourcePrices | None,
    pause: Pause,
) -> DriftPart:
    newest_us = max(int(one.ts_us[-1]) for one in series)
    if newest_us + STEP_US < time_range.end_us - AGE_US_MAX:
        return DriftPart(skipped=[f"telemetry: the newest is of {format_time(newest_us)}"])
    starts_us = bucket_starts_us(time_range, STEP_US)
    told = _Told(series, cluster_id, starts_us, (newest_us - starts_us.start) // STEP_US, prices)
    judged: Judged = {}
    for count, part in enumerate(judge(told), 1):
        judged.update(part)
        if count % JUDGED_AT_ONCE == 0:
            await pause.sleep(0)
    skipped = [f"telemetry: workloads without a namespace, or with names that cannot be shown: {told.unnamed}"]
    return DriftPart(judged=judged, skipped=skipped if told.unnamed else ())


class _Told:
    """Series as grids, and the workloads whose pods are their rows."""

    def __init__(
        self,
        series: Sequence[PodSeries],
        cluster_id: str,
        starts_us: range,
        newest: int,
        prices: ResourcePrices | None,
    ) -> None:
        self.series = series
        self.starts_us = starts_us
        self.newest = newest
        self.prices = prices
        self.recent = recent_buckets(newest)
        self.start = EPOCH + timedelta(microseconds=starts_us[self.recent.start])
        self._by_metric = {
            name: without_doubles([one for one in series if one.metric == name])
            for name in sorted({one.metric for one in series})
        }
        self._rows = rows_of(one for group in self._by_metric.values() for one in group)
        self.workloads, self.unnamed = self._workloads(cluster_id)

    def grid(self, metric: str) -> Float64s:
        """Of all pods, none below 0."""
        return self.grids(metric)[0]

    def grids(self, metric: str) -> tuple[Float64s, Float64s]:
        """The same, and the pods' shares of the buckets."""
        grid, shares = grids_of(self._by_metric.get(metric, []), self._rows, self.starts_us)
        return np.clip(grid, 0.0, AMOUNT_MAX), shares

    def shifts(self, metric: str, rule: ShiftRule, weights: Float64s | None = None) -> Iterator[Judged]:
        """Each workload's metric against its own past, where there is enough of it."""
        if metric not in self._by_metric:
            return
        grid, shares = self.grids(metric)
        weights = shares if weights is None else weights
        for workload in self.workloads:
            own, weighed = grid[workload.rows], weights[workload.rows]
            line = combined(own, _COMBINE[metric], np.zeros(1, np.int64), weighed)[0]
            if can_compare(line, self.newest):
                drift = shifted(workload.subject, rule, line, self.newest, self.start)
                yield {workload.subject.key(rule.what): drift}

    def _workloads(self, cluster_id: str) -> tuple[list[_Workload], int]:
        workloads, unnamed = [], 0
        for (namespace, workload), pods in groupby(self._rows, key=lambda key: key[:2]):
            keys = list(pods)
            try:
                check_cluster_id("namespace", namespace)
                check_cluster_id("workload", workload)
            except InvalidInput:
                unnamed += 1
                continue
            subject = Subject(cluster_id=cluster_id, namespace=namespace, workload=workload)
            workloads.append(_Workload(subject, slice(self._rows[keys[0]], self._rows[keys[-1]] + 1)))
        return workloads, unnamed


def _judged_use(told: _Told) -> Iterator[Judged]:
    """Use against requests, limits and its own past."""
    sizes = {(one.namespace, one.workload): one for one in right_sizing_of(told.series, told.starts_us, told.prices)}
    grids = {name: told.grid(name) for names in _NAMES.values() for name in names}
    for workload in told.workloads:
        subject = workload.subject
        size = sizes.get((subject.namespace or "", subject.workload or ""))
        around = Surroundings(
            subject=subject, start=told.start, pods=size.pods_mean if size is not None else 1.0, prices=told.prices
        )
        uses = {resource: _use_of(resource, grids, workload.rows, told.recent, size) for resource in _NAMES}
        for resource, use in uses.items():
            yield judged_usage(around, resource, use)
        known = {resource: _heard_of(grids[_NAMES[resource][0]][workload.rows]) for resource in _NAMES}
        counts = [int(known[resource].sum()) for resource in _NAMES if uses[resource].sizing.ratio is not None]
        if counts and any(lasts(there[told.recent]) for there in known.values()):
            yield judged_oversized(around, uses, min(counts))
    yield from told.shifts(CPU_USAGE, CPU_SHIFT)
    yield from told.shifts(MEMORY_USAGE, MEMORY_SHIFT)


def _judged_signals(told: _Told) -> Iterator[Judged]:
    """Latency and errors against their own past."""
    yield from told.shifts(LATENCY_P95, LATENCY_SHIFT)
    requests, shares = told.grids(THROUGHPUT)
    yield from told.shifts(ERROR_RATE, ERROR_SHIFT, requests * shares)


def _heard_of(grid: Float64s) -> Bools:
    """Of any pod, in each bucket."""
    there: Bools = np.logical_or.reduce(~np.isnan(grid), axis=0)
    return there


def _use_of(
    resource: str, grids: Mapping[str, Float64s], rows: slice, recent: slice, size: RightSizing | None
) -> WorkloadUse:
    use, request, limit = (grids[name][rows, recent] for name in _NAMES[resource])
    return WorkloadUse(use=use, request=request, limit=limit, sizing=_sizing(resource, size))


def _sizing(resource: str, size: RightSizing | None) -> Sizing:
    if size is None:
        return Sizing(request=None, observed=None, proposed=None)
    if resource == "cpu":
        return Sizing(request=size.cpu_request_cores, observed=size.cpu_p95_cores, proposed=size.cpu_proposed_cores)
    return Sizing(
        request=size.memory_request_bytes, observed=size.memory_p99_bytes, proposed=size.memory_proposed_bytes
    )
