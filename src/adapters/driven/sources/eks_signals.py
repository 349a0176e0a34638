"""Golden signals of pods, as a Prometheus that scrapes a cluster has them, by the names that are usual there.

cAdvisor's ``container_*`` (every kubelet has them), and of applications ``http_request_duration_seconds`` or
``http_requests_total``, as Prometheus' own client libraries and instrumentation guides call them.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from core.domain.telemetry import (
    CPU_USAGE,
    ERROR_RATE,
    IO_READ,
    IO_WRITE,
    LATENCY_P50,
    LATENCY_P95,
    LATENCY_P99,
    MEMORY_USAGE,
    THROUGHPUT,
)

RATE_WINDOW: Final = "5m"
"""Holds several scrapes at the usual intervals, as a rate needs."""

_BY: Final = "sum by (namespace, pod, node)"
_CONTAINERS: Final = 'container!="",container!="POD"'
"""Without the sums over pods and cgroups that cAdvisor gives beside containers, and without pause containers."""
_COUNTERS: Final = ("http_requests_total", "http_request_duration_seconds_count")
"""Of requests; of a pod that has both the first counts."""
_STATUS_LABELS: Final = ("code", "status", "status_code")
"""Labels that hold an HTTP status in one library or another."""


def golden_signals(namespaces: Sequence[str]) -> Mapping[str, str]:
    """PromQL by the standard name of its result, of these namespaces (names that Kubernetes has) or of all."""
    only = f'namespace=~"{"|".join(namespaces)}",' if namespaces else ""
    containers, requests = only + _CONTAINERS, f'{only}pod!=""'
    total = f"({' or '.join(_rate(metric, requests) for metric in _COUNTERS)})"
    failed = " or ".join(
        _rate(metric, f'{requests},{label}=~"5.."') for metric in _COUNTERS for label in _STATUS_LABELS
    )
    return {
        CPU_USAGE: _rate("container_cpu_usage_seconds_total", containers),
        MEMORY_USAGE: f"{_BY} (container_memory_working_set_bytes{{{containers}}})",
        IO_READ: _rate("container_fs_reads_bytes_total", containers),
        IO_WRITE: _rate("container_fs_writes_bytes_total", containers),
        THROUGHPUT: total,
        # No failed request has no series of its own: that is a ratio of 0. No request at all is no ratio.
        ERROR_RATE: f"({failed} or 0 * {total}) / ({total} > 0)",
        LATENCY_P50: _quantile(0.5, requests),
        LATENCY_P95: _quantile(0.95, requests),
        LATENCY_P99: _quantile(0.99, requests),
    }


def _rate(metric: str, matchers: str) -> str:
    return f"{_BY} (rate({metric}{{{matchers}}}[{RATE_WINDOW}]))"


def _quantile(quantile: float, matchers: str) -> str:
    """Without NaN, which a pod that got no request has."""
    buckets = f"rate(http_request_duration_seconds_bucket{{{matchers}}}[{RATE_WINDOW}])"
    return f"histogram_quantile({quantile}, sum by (namespace, pod, node, le) ({buckets})) >= 0"
