"""How much of a service's symptoms its callees explain: a caller waits for them and fails with them."""

from collections.abc import Sequence

import msgspec

from core.detection.metric_meaning import MetricKind
from core.detection.observations import Moved, Observations
from core.detection.service_graph import ServiceGraph


class Explained(msgspec.Struct, frozen=True):
    """Which share of a symptom a callee explains, from 0 to 1, and the callee's symptom; None where nothing does."""

    share: float = 0.0
    by: Moved | None = None


def explained(seen: Observations, graph: ServiceGraph, service: str, kind: MetricKind) -> Explained:
    """What explains most of `service`'s latency or errors.

    In one metric, changes compare in its unit: a callee that slowed by 0.2 s explains 0.2 s. Between metrics that may
    have different units, they compare in scales. A callee that moved later explains nothing.
    """
    own = _seen_from(seen, [(client, service) for client in graph.callers_of(service)], [service], kind)
    callees = graph.callees_of(service)
    outgoing = _seen_from(seen, [(service, callee) for callee in callees], callees, kind)
    most = Explained()
    for name in sorted({one.series.name for one in own}):
        symptom = max((one for one in own if one.series.name == name), key=lambda moved: moved.worse_by)
        earlier = [one for one in outgoing if one.shift.first_us <= symptom.shift.first_us + seen.interval_us]
        alike = [one for one in earlier if one.series.name == name]
        for one in alike or earlier:
            share = _share_in_unit(symptom, one) if alike else _share_in_scales(symptom, one)
            if share > most.share:
                most = Explained(share, one)
    return most


def _seen_from(
    seen: Observations, edges: Sequence[tuple[str, str]], servers: Sequence[str], kind: MetricKind
) -> list[Moved]:
    """How those who wait see it: the edges as clients do; where no edge is measured, what the servers say."""
    waiting = [one for edge in edges for one in seen.of_edge(edge, kind) if not one.seen_by_server]
    return waiting or [one for server in servers for one in seen.of_service(server, kind)]


def _share_in_unit(symptom: Moved, callee: Moved) -> float:
    return min(1.0, callee.worse_by / symptom.worse_by) if symptom.worse_by > 0 else 0.0


def _share_in_scales(symptom: Moved, callee: Moved) -> float:
    both = symptom.worse + callee.worse
    return callee.worse / both if both > 0 else 0.0
