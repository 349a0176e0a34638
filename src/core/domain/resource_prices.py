"""What a cluster's cpu and memory cost, so that requests can be compared in money."""

from typing import Final

import msgspec

from core.domain.capacity import CapacitySnapshot

HOURS_PER_MONTH: Final = 730.0
"""A year's hours over twelve, as cloud providers bill."""
CPU_SHARE: Final = 0.5
"""Of a cluster's cost; the rest is memory's. Providers sell both together, and what frees a node is whichever runs out
first: half each prices a cluster at its cost, whatever its nodes' shape."""


class ResourcePrices(msgspec.Struct, frozen=True, kw_only=True):
    """What asking for something costs a month."""

    cpu_core_usd: float
    memory_byte_usd: float

    def of(self, *, cpu_cores: float, memory_bytes: float) -> float:
        """US dollars a month; negative where less than nothing is asked for, which is what is saved."""
        return cpu_cores * self.cpu_core_usd + memory_bytes * self.memory_byte_usd


def resource_prices(snapshot: CapacitySnapshot) -> ResourcePrices | None:
    """By the snapshot's cost and what it can hand out; None where either is not known."""
    cost, allocatable = snapshot.hourly_cost_usd, snapshot.allocatable
    if cost is None or allocatable.cpu_cores <= 0 or allocatable.memory_bytes <= 0:
        return None
    a_month = cost * HOURS_PER_MONTH
    return ResourcePrices(
        cpu_core_usd=a_month * CPU_SHARE / allocatable.cpu_cores,
        memory_byte_usd=a_month * (1 - CPU_SHARE) / allocatable.memory_bytes,
    )
