"""A cluster's capacity: what its nodes hand out, what is used of it, and what pods ask for."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from adapters.driven.sources.eks_objects import Node, NodeUse, Pod
from adapters.driven.sources.eks_pods import is_over, scheduled_requests
from adapters.driven.sources.naming import label_value
from core.domain.capacity import NODE_TYPES_MAX, CapacitySnapshot, NodeType, Resources
from core.domain.errors import InvalidInput
from core.domain.names import check_cluster_id
from ports.driven.metric_source import SeenInstance

SOURCE: Final = "eks"
UNKNOWN_TYPE: Final = "unknown"
OTHER_TYPES: Final = "other"

_TYPE_LABELS: Final = ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type")
_REGION_LABELS: Final = ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region")
_TAGS: Final = {
    "zone": ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"),
    "arch": ("kubernetes.io/arch",),
    "os": ("kubernetes.io/os",),
    "capacity_type": ("eks.amazonaws.com/capacityType", "karpenter.sh/capacity-type"),
    "node_group": ("eks.amazonaws.com/nodegroup", "karpenter.sh/nodepool"),
}


def snapshot_of(
    cluster_id: str,
    ts: datetime,
    nodes: Sequence[Node],
    uses: Sequence[NodeUse],
    pods: Sequence[Pod],
    prices: Mapping[str, float],
) -> CapacitySnapshot | None:
    """The capacity of the nodes that are ready; None where nothing is known of their use. `prices` are US dollars an
    hour by instance type.

    A node that is not ready hands out nothing, and nothing measures it.
    """
    ready = {node.metadata.name: node for node in nodes if is_ready(node)}
    used = [use.usage for use in uses if use.metadata.name in ready]
    if not used:
        return None
    there = [pod for pod in pods if pod.spec.node_name in ready and not is_over(pod)]
    return CapacitySnapshot(
        cluster_id=cluster_id,
        ts=ts,
        nodes=_node_types(list(ready.values()), prices),
        allocatable=Resources(
            **{
                field: math.fsum(node.status.allocatable.get(resource, 0.0) for node in ready.values())
                for field, resource in (("cpu_cores", "cpu"), ("memory_bytes", "memory"), ("pods", "pods"))
            }
        ),
        used=Resources(
            cpu_cores=math.fsum(each.get("cpu", 0.0) for each in used),
            memory_bytes=math.fsum(each.get("memory", 0.0) for each in used),
            pods=len(there),
        ),
        requested=Resources(
            cpu_cores=math.fsum(scheduled_requests(pod, "cpu") for pod in there),
            memory_bytes=math.fsum(scheduled_requests(pod, "memory") for pod in there),
            pods=len(there),
        ),
        source=SOURCE,
    )


def is_ready(node: Node) -> bool:
    """Whether it takes part; one that says nothing about it does."""
    return all(each.status == "True" for each in node.status.conditions if each.type == "Ready")


def instance_of(node: Node, cluster_id: str) -> SeenInstance:
    """The node as the catalogue of instances knows it."""
    tags = {name: _label(node, labels) for name, labels in _TAGS.items()}
    tags["instance_type"] = _instance_type(node)
    tags["cluster_id"] = cluster_id
    tags["provider_id"] = node.spec.provider_id
    return SeenInstance(
        external_id=node.metadata.name,
        kind="node",
        region=_label(node, _REGION_LABELS) or None,
        name=node.metadata.name,
        tags={name: label_value(value) for name, value in tags.items() if value},
    )


def _node_types(nodes: Sequence[Node], prices: Mapping[str, float]) -> tuple[NodeType, ...]:
    """Counts by type, those with most nodes first; the rarest of too many are counted together, at their mean price."""
    counts = Counter(_instance_type(node) for node in nodes).most_common()
    types = [NodeType(instance_type=name, count=count, cost_usd_per_hour=prices.get(name)) for name, count in counts]
    kept, rest = types[: NODE_TYPES_MAX - 1], types[NODE_TYPES_MAX - 1 :]
    if len(rest) > 1:
        count = sum(each.count for each in rest)
        costs = [each.count * each.cost_usd_per_hour for each in rest if each.cost_usd_per_hour is not None]
        mean = math.fsum(costs) / count if len(costs) == len(rest) else None
        rest = [NodeType(instance_type=OTHER_TYPES, count=count, cost_usd_per_hour=mean)]
    return (*kept, *rest)


def _instance_type(node: Node) -> str:
    name = _label(node, _TYPE_LABELS)
    try:
        check_cluster_id("instance_type", name)
    except InvalidInput:
        return UNKNOWN_TYPE
    return name


def _label(node: Node, names: Sequence[str]) -> str:
    return next((node.metadata.labels[name] for name in names if node.metadata.labels.get(name)), "")
