"""One look at a cluster: its objects and what they use now. What cannot be listed is a problem of its own."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from adapters.driven.sources.call_budget import BudgetSpent
from adapters.driven.sources.eks_api import ClusterLists, ListFailed, Listing
from adapters.driven.sources.eks_configurations import Autoscalers, WorkloadState
from adapters.driven.sources.eks_objects import (
    AUTOSCALERS,
    DAEMONSETS,
    DEPLOYMENTS,
    NODE_METRICS,
    NODES,
    POD_METRICS,
    PODS,
    STATEFULSETS,
    Autoscaler,
    Node,
    NodeUse,
    Pod,
    PodUse,
    Workload,
    read_quantity,
)
from core.domain.collection import Problem, ProblemKind
from ports.driven.metric_source import SourceError

WORKLOAD_KINDS: Final[Mapping[str, Listing]] = {
    "Deployment": DEPLOYMENTS,
    "StatefulSet": STATEFULSETS,
    "DaemonSet": DAEMONSETS,
}
_LASTING: Final = frozenset({ProblemKind.PERMISSION, ProblemKind.NO_DATA})
"""Until somebody changes the cluster; any other failure may be over at the next look."""

T = TypeVar("T")


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """What was found; None where it was not asked for, or could not be listed in any of the namespaces."""

    nodes: Sequence[Node] | None
    node_uses: Sequence[NodeUse] | None
    pods: Sequence[Pod] | None
    pod_uses: Sequence[PodUse] | None
    autoscalers: Autoscalers
    workloads: Sequence[WorkloadState]
    """As far as they could be listed."""
    has_all_workloads: bool
    problems: Sequence[tuple[str, Problem]]


async def look_at(lists: ClusterLists, namespaces: Sequence[str], *, pod_uses: bool) -> Cluster:
    """The cluster as it is now, of these namespaces or all; with what each pod uses if `pod_uses`.

    What nodes use is looked at where all pods are. Raises `SourceError`.
    """
    looking = _Looking(lists)
    nodes = await looking.all(NODES, Node)
    if looking.problems and looking.problems[0][1].kind is ProblemKind.UNREACHABLE:
        # The others would be waited for as long.
        raise SourceError(ProblemKind.UNREACHABLE, looking.problems[0][1].message)
    pods = await looking.each(PODS, Pod, namespaces)
    workloads: list[WorkloadState] = []
    problems_before = len(looking.problems)
    for kind, listing in WORKLOAD_KINDS.items():
        found = await looking.each(listing, Workload, namespaces)
        workloads += [WorkloadState(kind, workload) for workload in found or ()]
    has_all_workloads = len(looking.problems) == problems_before
    autoscalers = await looking.each(AUTOSCALERS, Autoscaler, namespaces)
    return Cluster(
        nodes=nodes,
        node_uses=None if namespaces else await looking.all(NODE_METRICS, NodeUse),
        pods=pods,
        pod_uses=await looking.each(POD_METRICS, PodUse, namespaces) if pod_uses else None,
        autoscalers=Autoscalers(
            found=autoscalers or (),
            unknown=frozenset(place for listing, place in looking.incomplete if listing == AUTOSCALERS),
            come_again=frozenset(place for listing, place in looking.come_again if listing == AUTOSCALERS),
        ),
        workloads=workloads,
        has_all_workloads=has_all_workloads,
        problems=looking.problems,
    )


class _Looking:
    def __init__(self, lists: ClusterLists) -> None:
        self._lists = lists
        self.problems: list[tuple[str, Problem]] = []
        self.incomplete: set[tuple[Listing, str | None]] = set()
        """What has a problem, and in which namespace; None: in all."""
        self.come_again: set[tuple[Listing, str | None]] = set()
        """Of these what the next look may find."""

    async def all(self, listing: Listing, of: type[T]) -> Sequence[T] | None:
        return await self._listed(listing, of, [None])

    async def each(self, listing: Listing, of: type[T], namespaces: Sequence[str]) -> Sequence[T] | None:
        """Of each namespace by itself, whose rights may differ; of all at once where none is named."""
        return await self._listed(listing, of, namespaces or [None])

    async def _listed(self, listing: Listing, of: type[T], places: Iterable[str | None]) -> Sequence[T] | None:
        found: list[T] = []
        answered = False
        for place in places:
            title = f"{listing}{f' in {place}' if place else ''}"
            try:
                listed = await self._lists.all(listing, place, of, read_quantity)
            except (ListFailed, BudgetSpent) as failed:
                self.problems.append((title, failed.problem))
                self.incomplete.add((listing, place))
                if failed.problem.kind not in _LASTING:
                    self.come_again.add((listing, place))
                continue
            answered = True
            found += listed.objects
            if listed.unreadable:
                self.incomplete.add((listing, place))
                message = f"{listed.unreadable} of them are not what Kubernetes documents, and are left out"
                self.problems.append((title, Problem(kind=ProblemKind.BAD_ANSWER, message=message)))
        return found if answered else None
