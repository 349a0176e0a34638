"""Telemetry of clusters: the labels and the standard names that every source of pod metrics uses."""

from typing import Final

import msgspec

CLUSTER: Final = "cluster_id"
NAMESPACE: Final = "namespace"
WORKLOAD: Final = "workload"
POD: Final = "pod"
NODE: Final = "node"

CPU_USAGE: Final = "pod_cpu_usage_cores"
CPU_REQUEST: Final = "pod_cpu_request_cores"
CPU_LIMIT: Final = "pod_cpu_limit_cores"
MEMORY_USAGE: Final = "pod_memory_working_set_bytes"
MEMORY_REQUEST: Final = "pod_memory_request_bytes"
MEMORY_LIMIT: Final = "pod_memory_limit_bytes"
IO_READ: Final = "pod_io_read_bytes_per_second"
IO_WRITE: Final = "pod_io_write_bytes_per_second"
THROUGHPUT: Final = "pod_requests_per_second"
ERROR_RATE: Final = "pod_request_error_ratio"
LATENCY_P50: Final = "pod_request_latency_p50_seconds"
LATENCY_P95: Final = "pod_request_latency_p95_seconds"
LATENCY_P99: Final = "pod_request_latency_p99_seconds"
RESTARTS: Final = "pod_restarts_total"


class StandardMetric(msgspec.Struct, frozen=True, kw_only=True):
    """One standard name, and how values of several pods become one of a workload, a namespace or a cluster."""

    signal: str
    """As replies name it."""
    name: str
    unit: str
    combine: str
    """`sum`, `max` (of latencies: nothing better can be had of percentiles) or `weighted` (by throughput)."""


STANDARD_METRICS: Final = (
    StandardMetric(signal="latency_p50", name=LATENCY_P50, unit="seconds", combine="max"),
    StandardMetric(signal="latency_p95", name=LATENCY_P95, unit="seconds", combine="max"),
    StandardMetric(signal="latency_p99", name=LATENCY_P99, unit="seconds", combine="max"),
    StandardMetric(signal="throughput", name=THROUGHPUT, unit="requests/second", combine="sum"),
    StandardMetric(signal="error_rate", name=ERROR_RATE, unit="ratio", combine="weighted"),
    StandardMetric(signal="cpu", name=CPU_USAGE, unit="cores", combine="sum"),
    StandardMetric(signal="cpu_request", name=CPU_REQUEST, unit="cores", combine="sum"),
    StandardMetric(signal="cpu_limit", name=CPU_LIMIT, unit="cores", combine="sum"),
    StandardMetric(signal="memory", name=MEMORY_USAGE, unit="bytes", combine="sum"),
    StandardMetric(signal="memory_request", name=MEMORY_REQUEST, unit="bytes", combine="sum"),
    StandardMetric(signal="memory_limit", name=MEMORY_LIMIT, unit="bytes", combine="sum"),
    StandardMetric(signal="io_read", name=IO_READ, unit="bytes/second", combine="sum"),
    StandardMetric(signal="io_write", name=IO_WRITE, unit="bytes/second", combine="sum"),
    StandardMetric(signal="restarts", name=RESTARTS, unit="restarts", combine="sum"),
)
"""In the order in which they are shown."""
