"""Made-up machines like those of EC2, and what they measure."""

import hashlib
from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np

from adapters.driven.sources.synthetic_values import daily, grid, noise
from core.domain.columns import Float64s, Int64s
from core.domain.times import TimeRange
from ports.driven.metric_source import SeenInstance, SeriesPoints

CPU: Final = "ec2_cpu_utilization_percent"
NETWORK_IN: Final = "ec2_network_in_bytes"
NETWORK_OUT: Final = "ec2_network_out_bytes"
FLEET_METRICS: Final = (CPU, NETWORK_IN, NETWORK_OUT)
_REGIONS: Final = ("eu-central-1", "us-east-1", "ap-southeast-2")
_ROLES: Final = ("web", "worker", "database")


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """So many machines; the same ones for the same seed."""

    size: int
    seed: int
    step_us: int

    def instances(self) -> list[SeenInstance]:
        """All of them."""
        return [self._instance(index) for index in range(self.size)]

    def series(self, metric: str, time_range: TimeRange) -> Iterator[SeriesPoints]:
        """One series of each machine."""
        ts_us = grid(time_range, self.step_us)
        for index, instance in enumerate(self.instances()):
            yield SeriesPoints(
                name=metric,
                labels={
                    "instance_id": instance.external_id,
                    "region": instance.region or "",
                    "synthetic": "true",
                },
                ts_us=ts_us,
                values=self._values(metric, index, ts_us),
                instance=instance,
            )

    def _values(self, metric: str, index: int, ts_us: Int64s) -> Float64s:
        load = 0.35 + 0.05 * (index % 5) + 0.15 * daily(ts_us, peak_hour=14.0 + index % 3)
        load = load + 0.05 * noise(ts_us, self.seed, metric, index)
        if metric == CPU:
            return np.clip(100.0 * load, 0.0, 100.0)
        bytes_a_second = 400_000.0 if metric == NETWORK_IN else 1_500_000.0
        return np.rint(bytes_a_second * self.step_us / 1e6 * np.maximum(load, 0.0))

    def _instance(self, index: int) -> SeenInstance:
        digest = hashlib.blake2b(f"{self.seed} {index}".encode(), digest_size=9).hexdigest()
        role = _ROLES[index % len(_ROLES)]
        name = f"demo-{role}-{index // len(_ROLES) + 1}"
        return SeenInstance(
            external_id=f"i-{digest[:17]}",
            kind="ec2",
            region=_REGIONS[index % len(_REGIONS)],
            name=name,
            tags={"Name": name, "role": role, "env": "demo", "synthetic": "true"},
        )
