"""The golden signals of each workload of a cluster, as one number each over a whole range.

latency      each bucket's greatest among the pods, averaged over the buckets: of percentiles nothing better can be had
throughput, cpu, memory   each bucket's sum over the pods, each as far as it was there, averaged over the buckets
error ratio  of all requests of the range: the pods' ratios weighted by their requests in each bucket; where these are
             not known, or there were none, the plain mean
saturation   the pods' mean use ÷ their mean request, over the pods of which both are known
pods         how many there usually are at a time, by whichever metric knows most
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Final

import numpy as np

from core.domain.columns import Float64s, Int64s
from core.domain.telemetry import (
    CPU_REQUEST,
    CPU_USAGE,
    ERROR_RATE,
    LATENCY_P50,
    LATENCY_P95,
    LATENCY_P99,
    MEMORY_REQUEST,
    MEMORY_USAGE,
    THROUGHPUT,
)
from core.services.telemetry_combining import (
    combined,
    grids_of,
    means_of,
    rows_of,
    usual_pods,
    without_doubles,
)
from core.services.telemetry_reading import PodSeries, finite
from ports.driving.clusters import GoldenSignals

GOLDEN_METRICS: Final = (
    LATENCY_P50,
    LATENCY_P95,
    LATENCY_P99,
    THROUGHPUT,
    ERROR_RATE,
    CPU_USAGE,
    CPU_REQUEST,
    MEMORY_USAGE,
    MEMORY_REQUEST,
)
_ALL_ROWS: Final = np.zeros(1, np.int64)


def golden_signals_of(series: Sequence[PodSeries], starts_us: range) -> list[GoldenSignals]:
    """One entry for each workload of `series` (of `GOLDEN_METRICS`), those with the highest error ratio first; pods
    without a workload are together in one that is called "".

    `starts_us`: the starts of the buckets that `series` are averages of.
    """
    if not series:
        return []
    rows = rows_of(series)
    workloads = [(workload, list(pods)) for workload, pods in groupby(rows, key=lambda key: key[:2])]
    groups = np.cumsum([0, *(len(pods) for _, pods in workloads[:-1])], dtype=np.int64)
    both = {
        name: grids_of(without_doubles([one for one in series if one.metric == name]), rows, starts_us)
        for name in GOLDEN_METRICS
    }
    grids, shares = ({name: pair[index] for name, pair in both.items()} for index in range(2))
    of_pods = np.array([1.0 if pod else 0.0 for _, _, pod in rows])[:, None]
    pods_there = usual_pods(np.maximum.reduce(list(shares.values())) * of_pods, groups)
    columns = {
        **{
            field: means_of(combined(grids[name], how, groups, shares[name]))
            for field, name, how in (
                ("latency_p50_seconds", LATENCY_P50, "max"),
                ("latency_p95_seconds", LATENCY_P95, "max"),
                ("latency_p99_seconds", LATENCY_P99, "max"),
                ("throughput_per_second", THROUGHPUT, "sum"),
                ("cpu_cores", CPU_USAGE, "sum"),
                ("memory_bytes", MEMORY_USAGE, "sum"),
            )
        },
        "error_ratio": _error_ratios(grids[ERROR_RATE], grids[THROUGHPUT] * shares[THROUGHPUT], groups),
        "cpu_saturation": _saturations(grids[CPU_USAGE], grids[CPU_REQUEST], groups),
        "memory_saturation": _saturations(grids[MEMORY_USAGE], grids[MEMORY_REQUEST], groups),
    }
    numbers = {field: [None if np.isnan(one) else one for one in column.tolist()] for field, column in columns.items()}
    answer = [
        GoldenSignals(
            namespace=namespace,
            workload=workload,
            pods=pods_there[index],
            **{field: column[index] for field, column in numbers.items()},
        )
        for index, ((namespace, workload), _) in enumerate(workloads)
    ]
    return sorted(answer, key=lambda one: -1.0 if one.error_ratio is None else one.error_ratio, reverse=True)


def _error_ratios(ratios: Float64s, requests: Float64s, groups: Int64s) -> Float64s:
    """Each group's share of failed requests over all pods and buckets."""
    of_pods = combined(ratios.T, "weighted", _ALL_ROWS, requests.T).T
    known = np.where(np.isnan(ratios), np.nan, requests)
    return combined(of_pods, "weighted", groups, combined(known.T, "sum", _ALL_ROWS).T)[:, 0]


def _saturations(use: Float64s, request: Float64s, groups: Int64s) -> Float64s:
    of_pods, asked = means_of(use), means_of(request)
    both = ~np.isnan(of_pods) & ~np.isnan(asked)
    used = combined(np.where(both, of_pods, np.nan)[:, None], "sum", groups)[:, 0]
    requested = combined(np.where(both, asked, np.nan)[:, None], "sum", groups)[:, 0]
    saturations: Float64s = np.full(len(used), np.nan)
    with np.errstate(over="ignore"):
        np.divide(used, requested, out=saturations, where=requested > 0.0)
    return finite(saturations)
