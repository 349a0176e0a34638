"""The made-up cluster's workloads: what they ask for, and what they use.

`shop/checkout` leaks: its use grows by 40 % a day from above its requests on, and its answers become slower, until it
is begun anew every ten days. `shop/search` uses a tenth of what it asks for. The others are as they should be.
"""

import hashlib
from typing import Final

import msgspec
import numpy as np

from adapters.driven.sources.synthetic_values import daily, noise, since_cycle_start
from core.domain import telemetry
from core.domain.columns import Float64s, Int64s
from core.domain.times import DAY_US, HOUR_US

MIB: Final = 1 << 20
LEAK_DAYS: Final = 10
LEAK_A_DAY: Final = 1.4
RESTART_US: Final = 8 * HOUR_US
"""How often a leaking pod is killed."""


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """One workload. Amounts are of one of its pods."""

    namespace: str
    name: str
    cpu_request: float
    cpu_limit: float
    memory_request: float
    memory_limit: float
    use: float
    """Of what it asks for, on average."""
    requests_per_second: float
    latency_s: float
    """The median."""
    leaks: bool = False


WORKLOADS: Final = (
    Workload(
        namespace="shop",
        name="checkout",
        cpu_request=0.1,
        cpu_limit=4.0,
        memory_request=96.0 * MIB,
        memory_limit=4_096.0 * MIB,
        use=1.25,
        requests_per_second=20.0,
        latency_s=0.08,
        leaks=True,
    ),
    Workload(
        namespace="shop",
        name="search",
        cpu_request=2.0,
        cpu_limit=4.0,
        memory_request=4_096.0 * MIB,
        memory_limit=8_192.0 * MIB,
        use=0.1,
        requests_per_second=35.0,
        latency_s=0.03,
    ),
    Workload(
        namespace="shop",
        name="cart",
        cpu_request=0.25,
        cpu_limit=1.0,
        memory_request=256.0 * MIB,
        memory_limit=512.0 * MIB,
        use=0.6,
        requests_per_second=25.0,
        latency_s=0.02,
    ),
    Workload(
        namespace="platform",
        name="gateway",
        cpu_request=0.5,
        cpu_limit=1.0,
        memory_request=512.0 * MIB,
        memory_limit=1_024.0 * MIB,
        use=0.65,
        requests_per_second=90.0,
        latency_s=0.01,
    ),
    Workload(
        namespace="platform",
        name="auth",
        cpu_request=0.25,
        cpu_limit=0.5,
        memory_request=256.0 * MIB,
        memory_limit=512.0 * MIB,
        use=0.55,
        requests_per_second=40.0,
        latency_s=0.015,
    ),
    Workload(
        namespace="data",
        name="pipeline",
        cpu_request=1.0,
        cpu_limit=2.0,
        memory_request=1_024.0 * MIB,
        memory_limit=2_048.0 * MIB,
        use=0.7,
        requests_per_second=5.0,
        latency_s=0.2,
    ),
    Workload(
        namespace="data",
        name="warehouse",
        cpu_request=1.0,
        cpu_limit=2.0,
        memory_request=2_048.0 * MIB,
        memory_limit=4_096.0 * MIB,
        use=0.6,
        requests_per_second=3.0,
        latency_s=0.35,
    ),
)
PODS: Final = 2
"""Of each workload."""
_TAIL: Final = {telemetry.LATENCY_P50: 1.0, telemetry.LATENCY_P95: 2.5, telemetry.LATENCY_P99: 4.0}


def pod_name(workload: Workload, pod: int, seed: int) -> str:
    """As a Deployment's pods are called."""
    digest = hashlib.blake2b(f"{seed} {workload.namespace} {workload.name} {pod}".encode(), digest_size=8).hexdigest()
    return f"{workload.name}-{digest[:9]}-{digest[9:14]}"


def pod_values(workload: Workload, pod: int, metric: str, ts_us: Int64s, *, seed: int) -> Float64s:
    """What a pod measures at each instant; `metric` is a standard name."""
    wave = daily(ts_us, peak_hour=13.0)
    jitter = 1.0 + 0.03 * noise(ts_us, seed, workload.namespace, workload.name, pod, metric)
    # A leak fills memory by day and by night; the others follow their users.
    course = LEAK_A_DAY ** _leaked_days(ts_us) if workload.leaks else 1.0 + 0.2 * wave
    match metric:
        case telemetry.CPU_USAGE:
            return np.minimum(workload.cpu_request * workload.use * course * jitter, workload.cpu_limit)
        case telemetry.CPU_REQUEST:
            return np.full(len(ts_us), workload.cpu_request)
        case telemetry.CPU_LIMIT:
            return np.full(len(ts_us), workload.cpu_limit)
        case telemetry.MEMORY_USAGE:
            used = workload.memory_request * workload.use * (course if workload.leaks else 1.0 + 0.05 * wave)
            return np.rint(np.minimum(used * jitter, workload.memory_limit))
        case telemetry.MEMORY_REQUEST:
            return np.full(len(ts_us), workload.memory_request)
        case telemetry.MEMORY_LIMIT:
            return np.full(len(ts_us), workload.memory_limit)
        case telemetry.IO_READ | telemetry.IO_WRITE:
            return np.rint(2_000.0 * workload.requests_per_second * (1.0 + 0.3 * wave) * jitter)
        case telemetry.THROUGHPUT:
            return workload.requests_per_second * (1.0 + 0.3 * wave) * jitter
        case telemetry.ERROR_RATE:
            return np.clip(0.002 * jitter * (course if workload.leaks else 1.0), 0.0, 1.0)
        case telemetry.RESTARTS:
            return np.floor_divide(ts_us, RESTART_US) % 100.0 if workload.leaks else np.zeros(len(ts_us))
        case _:
            slower = np.sqrt(course) if workload.leaks else 1.0 + 0.1 * wave
            return workload.latency_s * _TAIL[metric] * slower * jitter


def _leaked_days(ts_us: Int64s) -> Float64s:
    return LEAK_DAYS * since_cycle_start(ts_us, LEAK_DAYS * DAY_US)
