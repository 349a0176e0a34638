"""The made-up cluster: its pods' telemetry, its capacity, and its workloads' configurations."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

import msgspec

from adapters.driven.sources.synthetic_values import ANCHOR_US, grid, noise, since_cycle_start
from adapters.driven.sources.synthetic_workloads import MIB, PODS, WORKLOADS, Workload, pod_name, pod_values
from core.domain import telemetry
from core.domain.capacity import CapacitySnapshot, NodeType, Resources
from core.domain.configurations import ConfigKind, ObservedConfiguration
from core.domain.times import DAY_US, EPOCH, HOUR_US, TimeRange
from ports.driven.metric_source import SeriesPoints

NODES: Final = ("ip-10-0-1-11", "ip-10-0-2-12", "ip-10-0-3-13")
NODE_TYPE: Final = NodeType(instance_type="m5.2xlarge", count=len(NODES), cost_usd_per_hour=0.384)
ALLOCATABLE: Final = Resources(cpu_cores=23.7, memory_bytes=90_000.0 * MIB, pods=174.0)
GROWTH_US: Final = 30 * DAY_US
"""How long the use of cpu grows until half of it goes away again: from 50 % to 95 % of what is allocatable."""
RELEASE_US: Final = 2 * DAY_US
"""How often checkout is released: once in the window of a first collection."""


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """One cluster; the same for the same seed, whatever it is called."""

    cluster_id: str
    seed: int
    step_us: int
    namespaces: Sequence[str]
    """Empty: all."""

    @property
    def workloads(self) -> list[Workload]:
        """Those in the namespaces that are looked at."""
        return [each for each in WORKLOADS if not self.namespaces or each.namespace in self.namespaces]

    def series(self, metric: str, time_range: TimeRange) -> Iterator[SeriesPoints]:
        """One series of each pod; `metric` is a standard name."""
        ts_us = grid(time_range, self.step_us)
        for place, workload in enumerate(self.workloads):
            for pod in range(PODS):
                yield SeriesPoints(
                    name=metric,
                    labels={
                        telemetry.CLUSTER: self.cluster_id,
                        telemetry.NAMESPACE: workload.namespace,
                        telemetry.WORKLOAD: workload.name,
                        telemetry.POD: pod_name(workload, pod, self.seed),
                        telemetry.NODE: NODES[(place + pod) % len(NODES)],
                        "synthetic": "true",
                    },
                    ts_us=ts_us,
                    values=pod_values(workload, pod, metric, ts_us, seed=self.seed),
                )

    def snapshots(self, time_range: TimeRange) -> list[CapacitySnapshot]:
        """The cluster's capacity at each full hour of the range."""
        ts_us = grid(time_range, HOUR_US)
        busy = 0.5 + 0.45 * since_cycle_start(ts_us, GROWTH_US) + 0.002 * noise(ts_us, self.seed, "cpu")
        full = 0.6 + 0.005 * noise(ts_us, self.seed, "memory")
        return [
            CapacitySnapshot(
                cluster_id=self.cluster_id,
                ts=EPOCH + timedelta(microseconds=instant_us),
                nodes=(NODE_TYPE,),
                allocatable=ALLOCATABLE,
                used=Resources(
                    cpu_cores=ALLOCATABLE.cpu_cores * cpu,
                    memory_bytes=ALLOCATABLE.memory_bytes * memory,
                    pods=float(PODS * len(WORKLOADS) + 4 * len(NODES)),
                ),
                requested=_REQUESTED,
                source="synthetic",
                synthetic=True,
            )
            for instant_us, cpu, memory in zip(ts_us.tolist(), busy.tolist(), full.tolist(), strict=True)
        ]

    def configurations(self, *, since_us: int, now_us: int) -> list[ObservedConfiguration]:
        """Each workload's image and resources now; before checkout's image also the one that it had until it was
        released, where that was not before `since_us`."""
        release = (now_us - ANCHOR_US) // RELEASE_US
        released_us = ANCHOR_US + release * RELEASE_US
        releases = [release] if released_us < since_us else [release - 1, release]
        found: list[ObservedConfiguration] = []
        for workload in self.workloads:
            found += [self._image(workload, number) for number in (releases if workload.leaks else [0])]
            found.append(self._observed(workload, ConfigKind.RESOURCE, _resources(workload)))
        return found

    def _image(self, workload: Workload, release: int) -> ObservedConfiguration:
        image = f"registry.example/{workload.namespace}/{workload.name}:v{max(release, 0) + 1}"
        observed = self._observed(workload, ConfigKind.IMAGE, {"containers": {workload.name: {"image": image}}})
        if not workload.leaks:
            return observed
        released_at = EPOCH + timedelta(microseconds=ANCHOR_US + release * RELEASE_US)
        return msgspec.structs.replace(observed, actor="deploy-bot", changed_at=released_at)

    def _observed(self, workload: Workload, kind: ConfigKind, document: dict[str, object]) -> ObservedConfiguration:
        return ObservedConfiguration(
            cluster_id=self.cluster_id,
            namespace=workload.namespace,
            workload=workload.name,
            kind=kind,
            document=document,
            synthetic=True,
        )


def _resources(workload: Workload) -> dict[str, object]:
    """As a pod template writes them."""
    return {
        "containers": {
            workload.name: {
                "requests": _quantities(workload.cpu_request, workload.memory_request),
                "limits": _quantities(workload.cpu_limit, workload.memory_limit),
            }
        }
    }


def _quantities(cpu_cores: float, memory_bytes: float) -> dict[str, str]:
    return {"cpu": f"{round(cpu_cores * 1_000)}m", "memory": f"{round(memory_bytes / MIB)}Mi"}


_REQUESTED: Final = Resources(
    cpu_cores=sum(PODS * workload.cpu_request for workload in WORKLOADS),
    memory_bytes=sum(PODS * workload.memory_request for workload in WORKLOADS),
    pods=float(PODS * len(WORKLOADS)),
)
