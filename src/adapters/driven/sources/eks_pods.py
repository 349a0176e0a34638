"""Pods: the workload that each belongs to, what it asks for, and the labels of its series."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Final

from adapters.driven.sources.eks_objects import Amounts, Container, Pod
from adapters.driven.sources.naming import label_set
from core.domain.telemetry import CLUSTER, NAMESPACE, NODE, POD, WORKLOAD

TEMPLATE_HASH_LABEL: Final = "pod-template-hash"
_SCHEDULED = re.compile(r"-\d{8,10}\Z", re.ASCII)
"""What a CronJob adds to the names of its Jobs: the minute."""
_SCHEDULED_POD = re.compile(r"(.+?)-\d{8,10}(?:-\d{1,5})?-[a-z0-9]{5}\Z", re.ASCII)
"""A pod of such a Job; between the two stands its index, where the Job gives its pods any."""
_ENDED: Final = frozenset({"Succeeded", "Failed"})
_SUFFIXES: Final = ("[a-z0-9]{1,10}-[a-z0-9]{5}", "[a-z0-9]{5}", r"\d{1,5}")
"""What a Deployment, a DaemonSet and a StatefulSet add to the names of their pods."""


def workload_of(pod: Pod) -> str:
    """The name of the Deployment, StatefulSet, DaemonSet, Job or CronJob that made the pod; without one its own."""
    owner = next((each for each in pod.metadata.owner_references if each.controller), None)
    if owner is None:
        return pod.metadata.name
    match owner.kind:
        case "ReplicaSet":
            template_hash = pod.metadata.labels.get(TEMPLATE_HASH_LABEL)
            return owner.name.removesuffix(f"-{template_hash}") if template_hash else owner.name
        case "Job":
            return _SCHEDULED.sub("", owner.name)
        case "Node":  # of a static pod, whose name ends in its node's
            return pod.metadata.name.removesuffix(f"-{owner.name}")
        case _:
            return owner.name


class KnownPods:
    """The pods that are there, by namespace and name, and the workloads that others may have belonged to.

    What is past has the same labels before and after a pod is gone or has moved, so that it is stored once.
    """

    def __init__(self, cluster_id: str, pods: Iterable[Pod], workloads: Iterable[tuple[str, str]]) -> None:
        """`workloads` are namespaces and names; what made the pods counts as well, listed or not."""
        self._cluster_id = cluster_id
        self._pods = {(pod.metadata.namespace, pod.metadata.name): pod for pod in pods}
        names: dict[str, set[str]] = {}
        for namespace, name in workloads:
            names.setdefault(namespace, set()).add(name)
        for (namespace, _), pod in self._pods.items():
            if pod.metadata.owner_references:
                names.setdefault(namespace, set()).add(workload_of(pod))
        self._made_by = {namespace: _made_by(some) for namespace, some in names.items()}

    def labels(self, namespace: str, pod: str, node: str | None = None) -> dict[str, str]:
        """The labels of a pod's series, none of them empty; `node` None: where it is now, if it is there.

        Of a pod that is gone the workload is the one whose pods have such names, if there is one.
        """
        known = self._pods.get((namespace, pod))
        if known is not None:
            workload = workload_of(known)
            node = known.spec.node_name if node is None else node
        else:
            made_by = self._made_by.get(namespace)
            match = (made_by.match(pod) if made_by is not None else None) or _SCHEDULED_POD.match(pod)
            workload = match[1] if match is not None else ""
        return label_set(
            {CLUSTER: self._cluster_id, NAMESPACE: namespace, WORKLOAD: workload, POD: pod, NODE: node or ""}
        )


def is_over(pod: Pod) -> bool:
    """Whether it has ended, and holds nothing any more."""
    return pod.status.phase in _ENDED


def restarts(pod: Pod) -> int:
    """Of all its containers, since it was made."""
    return sum(each.restart_count for each in (*pod.status.container_statuses, *pod.status.init_container_statuses))


def running_requests(pod: Pod, resource: str) -> float | None:
    """What its containers ask for while it runs; None where none of them asks."""
    asked = [each.resources.requests[resource] for each in _running(pod) if resource in each.resources.requests]
    return math.fsum(asked) if asked else None


def running_limits(pod: Pod, resource: str) -> float | None:
    """What its containers may use; None where one of them may use anything."""
    limits = [each.resources.limits.get(resource) for each in _running(pod)]
    return math.fsum(limits) if limits and None not in limits else None  # type: ignore[arg-type]  # there is no None


def scheduled_requests(pod: Pod, resource: str) -> float:
    """What it takes of its node: https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers"""
    going_on, most = 0.0, 0.0
    for container in pod.spec.init_containers:
        own = _request(container, resource)
        if container.restart_policy == "Always":
            going_on += own
            most = max(most, going_on)
        else:
            most = max(most, going_on + own)
    together = going_on + math.fsum(_request(container, resource) for container in pod.spec.containers)
    return max(most, together) + pod.spec.overhead.get(resource, 0.0)


def total(amounts: Iterable[Amounts], resource: str) -> float | None:
    """The sum where each has some; None where one has none, or there are none."""
    found: list[float] = []
    for each in amounts:
        if resource not in each:
            return None
        found.append(each[resource])
    return math.fsum(found) if found else None


def _made_by(workloads: Iterable[str]) -> re.Pattern[str]:
    # The longest name first: of `web` and `web-api` the pod web-api-7d9f-x2x4z is of the second.
    names = "|".join(re.escape(name) for name in sorted(workloads, key=len, reverse=True))
    return re.compile(f"({names})-(?:{'|'.join(_SUFFIXES)})\\Z", re.ASCII)


def _request(container: Container, resource: str) -> float:
    requests: Mapping[str, float] = container.resources.requests
    return requests.get(resource, 0.0)


def _running(pod: Pod) -> list[Container]:
    return [*pod.spec.containers, *(each for each in pod.spec.init_containers if each.restart_policy == "Always")]
