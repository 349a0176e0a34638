"""Requests of a cluster's workloads against what their pods use.

use          cpu: the pods' bucket averages, memory: the greatest value in each bucket; percentiles over all of a
             workload's pods and buckets together
request      the median over those of the workload's pods that are there in the newest bucket with any
pods         how many are there at a time, each as far as it was there: the mean over the buckets in which any is
price        of `core.domain.resource_prices`
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Final

import numpy as np

from core.detection.right_sizing import (
    AMOUNT_MAX,
    CPU_RULE,
    MEMORY_RULE,
    Sizing,
    monthly_savings,
    sized,
    verdict_of,
)
from core.domain.columns import Float64s
from core.domain.resource_prices import ResourcePrices
from core.domain.telemetry import CPU_REQUEST, CPU_USAGE, MEMORY_REQUEST, MEMORY_USAGE
from core.services.telemetry_combining import grids_of, rows_of
from core.services.telemetry_reading import PodSeries
from ports.driving.clusters import RightSizing

SIZED_METRICS: Final = (CPU_USAGE, CPU_REQUEST, MEMORY_REQUEST)
"""Read as bucket averages."""
WORST_METRICS: Final = (MEMORY_USAGE,)
"""Read as bucket maxima."""


def right_sizing_of(series: Sequence[PodSeries], starts_us: range, prices: ResourcePrices | None) -> list[RightSizing]:
    """One entry for each workload with samples of use, the largest saving first, those without a price last.

    `series`: of `SIZED_METRICS` and `WORST_METRICS`; what is told of whole workloads only says nothing of a pod and is
    left out. `starts_us`: the starts of the buckets.
    """
    of_pods = [one for one in series if one.pod]
    rows = rows_of(of_pods)
    both = {
        name: grids_of([one for one in of_pods if one.metric == name], rows, starts_us)
        for name in (*SIZED_METRICS, *WORST_METRICS)
    }
    grids, shares = ({name: pair[index] for name, pair in both.items()} for index in range(2))
    answer = []
    for (namespace, workload), keys in groupby(rows, key=lambda key: key[:2]):
        pods = list(keys)
        own = slice(rows[pods[0]], rows[pods[-1]] + 1)
        cpu, memory = grids[CPU_USAGE][own], grids[MEMORY_USAGE][own]
        pods_mean = _pods_mean(np.maximum(shares[CPU_USAGE][own], shares[MEMORY_USAGE][own]))
        if pods_mean:
            sizings = (
                sized(CPU_RULE, cpu.ravel(), _newest_median(grids[CPU_REQUEST][own])),
                sized(MEMORY_RULE, memory.ravel(), _newest_median(grids[MEMORY_REQUEST][own])),
            )
            answer.append(_right_sizing(namespace, workload, pods_mean, *sizings, prices))
    return sorted(answer, key=lambda one: (one.savings_usd_per_month is None, -(one.savings_usd_per_month or 0.0)))


def _right_sizing(
    namespace: str, workload: str, pods: float, cpu: Sizing, memory: Sizing, prices: ResourcePrices | None
) -> RightSizing:
    return RightSizing(
        namespace=namespace,
        workload=workload,
        pods=max(1, round(pods)),
        pods_mean=pods,
        cpu_request_cores=cpu.request,
        cpu_p95_cores=cpu.observed,
        cpu_proposed_cores=cpu.proposed,
        memory_request_bytes=memory.request,
        memory_p99_bytes=memory.observed,
        memory_proposed_bytes=memory.proposed,
        savings_usd_per_month=monthly_savings(cpu, memory, prices, pods),
        verdict=verdict_of(cpu, memory),
    )


def _pods_mean(shares: Float64s) -> float:
    """How many pods are there in the buckets in which any is, on the average; 0 where none ever is."""
    counts = shares.sum(axis=0)
    return float(counts[counts > 0.0].mean()) if (counts > 0.0).any() else 0.0


def _newest_median(requests: Float64s) -> float | None:
    """Of a grid of requests; None where there is none. A request of 0 is none."""
    asked = np.where(requests > 0.0, np.minimum(requests, AMOUNT_MAX), np.nan)
    buckets = np.flatnonzero(~np.isnan(asked).all(axis=0))
    return float(np.nanmedian(asked[:, buckets[-1]])) if len(buckets) else None
