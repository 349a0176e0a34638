"""What a cluster has, what of it is used, and what was planned."""

import math
from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from core.domain.errors import InvalidInput
from core.domain.names import check_cluster_id
from core.domain.times import check_instant

NODE_TYPES_MAX: Final = 200
RESOURCES: Final = ("cpu", "memory", "pods")
"""In the order in which they are shown."""

Amount = Annotated[float, Meta(ge=0, le=1e18)]
"""Finite: JSON has no other numbers."""


class Resources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Amounts of what a cluster hands out."""

    cpu_cores: Amount
    memory_bytes: Amount
    pods: Amount

    def of(self, resource: str) -> float:
        """The amount of one of `RESOURCES`."""
        return {"cpu": self.cpu_cores, "memory": self.memory_bytes, "pods": self.pods}[resource]


class NodeType(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All nodes of one type."""

    instance_type: str
    count: Annotated[int, Meta(ge=0, le=1_000_000)]
    cost_usd_per_hour: Amount | None = None
    """Of one of them; None where it is not known."""


class CapacitySnapshot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cluster's capacity at one instant. Raises `InvalidInput` naming the field."""

    cluster_id: str
    ts: datetime
    nodes: tuple[NodeType, ...]
    allocatable: Resources
    used: Resources
    requested: Resources | None = None
    """What pods ask for; None where it is not known."""
    cost_usd_per_hour: Amount | None = None
    """None: the sum over `nodes` where all their costs are known."""
    source: str = "api"
    synthetic: bool = False

    def __post_init__(self) -> None:
        check_cluster_id("cluster_id", self.cluster_id)
        check_instant("ts", self.ts)
        if len(self.nodes) > NODE_TYPES_MAX:
            raise InvalidInput("nodes", f"at most {NODE_TYPES_MAX} node types")
        for node in self.nodes:
            check_cluster_id("nodes.instance_type", node.instance_type)
        check_cluster_id("source", self.source)

    @property
    def node_count(self) -> int:
        """Of all types."""
        return sum(node.count for node in self.nodes)

    @property
    def hourly_cost_usd(self) -> float | None:
        """See `cost_usd_per_hour`."""
        if self.cost_usd_per_hour is not None:
            return self.cost_usd_per_hour
        if not self.nodes or any(node.cost_usd_per_hour is None for node in self.nodes):
            return None
        return math.fsum(node.count * (node.cost_usd_per_hour or 0.0) for node in self.nodes)

    def utilisation(self, resource: str) -> float | None:
        """Used ÷ allocatable of one of `RESOURCES`; None where nothing is allocatable."""
        allocatable = self.allocatable.of(resource)
        return self.used.of(resource) / allocatable if allocatable > 0 else None


class CapacityPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How full a cluster is meant to be; what goes beyond it is drift. Raises `InvalidInput`."""

    utilisation_max: dict[str, Annotated[float, Meta(gt=0, le=1)]] = msgspec.field(
        default_factory=lambda: {"cpu": 0.75, "memory": 0.8, "pods": 0.85}
    )
    """Of cpu, memory and pods."""
    nodes_min: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    nodes_max: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    runway_days_min: Annotated[float, Meta(ge=0, le=3_650)] | None = 14.0
    """A forecast that reaches `utilisation_max` sooner is drift; null: not looked at."""

    def __post_init__(self) -> None:
        for resource in self.utilisation_max:
            if resource not in RESOURCES:
                raise InvalidInput("utilisation_max", f"{resource[:64]!r} is none of {', '.join(RESOURCES)}")
        if self.nodes_min is not None and self.nodes_max is not None and self.nodes_min > self.nodes_max:
            raise InvalidInput("nodes_min", "must not be above nodes_max")
