"""Series of what is true of pods now: what they use, and what they ask for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta

import numpy as np

from adapters.driven.sources.eks_objects import Pod, PodUse
from adapters.driven.sources.eks_pods import KnownPods, is_over, restarts, running_limits, running_requests, total
from adapters.driven.sources.points import series_points
from core.domain.telemetry import (
    CPU_LIMIT,
    CPU_REQUEST,
    CPU_USAGE,
    MEMORY_LIMIT,
    MEMORY_REQUEST,
    MEMORY_USAGE,
    RESTARTS,
)
from core.domain.times import EPOCH
from ports.driven.metric_source import SeriesPoints


def wishes(pods: Iterable[Pod], known: KnownPods, ts_us: int) -> Sequence[SeriesPoints]:
    """Requests, limits and restarts of the pods that are not over, all at `ts_us`; what is not set is absent."""
    series: list[SeriesPoints] = []
    for pod in pods:
        if not is_over(pod):
            values = {
                CPU_REQUEST: running_requests(pod, "cpu"),
                CPU_LIMIT: running_limits(pod, "cpu"),
                MEMORY_REQUEST: running_requests(pod, "memory"),
                MEMORY_LIMIT: running_limits(pod, "memory"),
                RESTARTS: float(restarts(pod)),
            }
            series += _points(known.labels(pod.metadata.namespace, pod.metadata.name), ts_us, values)
    return series


def uses(measured: Iterable[PodUse], known: KnownPods) -> Sequence[SeriesPoints]:
    """Use of cpu and memory, each at the instant it was measured: read again, it is the same point."""
    series: list[SeriesPoints] = []
    for use in measured:
        amounts = [container.usage for container in use.containers]
        values = {CPU_USAGE: total(amounts, "cpu"), MEMORY_USAGE: total(amounts, "memory")}
        ts_us = (use.timestamp - EPOCH) // timedelta(microseconds=1)
        series += _points(known.labels(use.metadata.namespace, use.metadata.name), ts_us, values)
    return series


def _points(labels: Mapping[str, str], ts_us: int, values: Mapping[str, float | None]) -> Iterator[SeriesPoints]:
    for name, value in values.items():
        if value is not None:
            yield series_points(name, labels, (np.array([ts_us], np.int64), np.array([value], np.float64)))
