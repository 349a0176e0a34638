"""Which service made things go wrong at an instant: suspects with evidence, most likely first.

Theory of operation. Four independent things can speak against a service:

- resource: it uses more of something than before; nobody else's fault makes it do so;
- latency and errors: symptoms, which travel from a callee to its callers. A service's symptom is what its callers see
  of it (averaged over callers: one who is alone with a complaint may be the cause of it) or what it says of itself,
  and only the part that its own callees' symptoms do not explain counts. A callee explains no more than it slowed
  itself, and only if it did so no later (the idea of MonitorRank, M. Kim et al., SIGMETRICS 2013, without the walk);
- calls: its callees are called otherwise than before, or no longer. Traffic is made by callers: when it stops while the
  callee is well, the caller fails before it calls;
- silence: it no longer reports itself.

Each kind speaks once, by its strongest voice, with log(1 + scales): scales are robust standard deviations
(`level_shift`, `presence`), heavy-tailed, so only their order of magnitude means something. A suspect's score is the
sum over kinds, as in a naive Bayes classifier with power-law likelihoods. No weights, nothing learnt, nothing by name
of a service.

A call edge that is slow on the client's side and not on the server's is a fault of the network or of the pod's
interface: the server is suspected and the finding says so.
"""

import math
from collections.abc import Iterable
from typing import Final

import msgspec

from core.detection.cause_evidence import (
    NOTABLE_SCALES,
    Counter,
    Evidence,
    EvidenceKind,
    Testimony,
    testify,
)
from core.detection.metric_meaning import MetricKind, ObservedSeries
from core.detection.observations import Observations, observe
from core.detection.service_graph import ServiceGraph, service_graph
from core.domain.times import HOUR_US, MINUTE_US

BEFORE_US: Final = HOUR_US
"""Long enough for the scatter of a series, short enough to leave out the last hour's daily course."""
AFTER_US: Final = 5 * MINUTE_US
"""Five samples at the usual minute: enough for a median, too few for the repair to be in it."""
_SCORE_DIGITS: Final = 9
"""Scores nearer than this differ by rounding only; the name decides, so that units and order of lines never do."""


class Suspect(msgspec.Struct, frozen=True):
    """A service that may be the cause."""

    service: str
    score: float
    """The sum over kinds of log(1 + strength of its strongest evidence); comparable within one ranking only."""
    hypothesis: str
    """What is likely wrong, in words."""
    evidence: tuple[Evidence, ...]
    """What counts (the strongest of each kind) and what else moved by `NOTABLE_SCALES`; the strongest first."""
    counter_evidence: tuple[Counter, ...]
    """What speaks against it."""


def rank_causes(
    series: Iterable[ObservedSeries],
    graph: ServiceGraph,
    at_us: int,
    *,
    before_us: int = BEFORE_US,
    after_us: int = AFTER_US,
) -> tuple[Suspect, ...]:
    """The services with any evidence against them, most likely first; of equals in alphabetical order.

    `at_us`: when it began, microseconds since the Unix epoch. Only samples in [at - before, at + after) count. Calls
    that are measured but not in `graph` are added to it. The order of `series` and the units of metrics do not matter.
    """
    seen = observe(series, at_us, before_us=before_us, after_us=after_us)
    known = _known(seen, graph)
    suspects = [_suspect(seen, known, service) for service in known.services]
    found = [suspect for suspect in suspects if suspect.score > 0]
    return tuple(sorted(found, key=lambda suspect: (-suspect.score, suspect.service)))


def _known(seen: Observations, graph: ServiceGraph) -> ServiceGraph:
    declared = [(client, server) for client, servers in graph.callees.items() for server in servers]
    return service_graph([*declared, *seen.on_edge], [*graph.services, *seen.on_service])


def _suspect(seen: Observations, graph: ServiceGraph, service: str) -> Suspect:
    testimony = testify(seen, graph, service)
    return Suspect(
        service=service,
        score=round(sum(math.log1p(testimony.strength(kind)) for kind in EvidenceKind), _SCORE_DIGITS),
        hypothesis=_hypothesis(testimony, seen, graph, service),
        evidence=testimony.evidence,
        counter_evidence=testimony.counter_evidence,
    )


def _hypothesis(testimony: Testimony, seen: Observations, graph: ServiceGraph, service: str) -> str:
    """The plainest reading of the strongest evidence; what was not notable makes no hypothesis."""
    notable = [one for one in testimony.evidence if one.strength >= NOTABLE_SCALES]
    kinds = {one.kind for one in notable}
    if EvidenceKind.SILENCE in kinds:
        return f"{service}, or a replica of it, is gone"
    if EvidenceKind.RESOURCE in kinds:
        metric = next(one.metric for one in notable if one.kind is EvidenceKind.RESOURCE)
        return f"{service} runs short of a resource, or works more than it should: see {metric}"
    if EvidenceKind.LATENCY in kinds:
        return _slowness(seen, graph, service)
    if EvidenceKind.ERRORS in kinds:
        return f"{service} fails by itself"
    if EvidenceKind.CALLS in kinds:
        return f"{service} fails, or decides otherwise, before it calls others"
    return f"nothing notable; {service} moved a little"


def _slowness(seen: Observations, graph: ServiceGraph, service: str) -> str:
    """Slow for its clients and not for itself is the network's or the pod interface's fault."""
    of_edges = [
        one for client in graph.callers_of(service) for one in seen.of_edge((client, service), MetricKind.LATENCY)
    ]
    own = [one.worse for one in of_edges if one.seen_by_server]
    own += [one.worse for one in seen.of_service(service, MetricKind.LATENCY)]
    waiting = [one.worse for one in of_edges if not one.seen_by_server]
    if own and max(own) < NOTABLE_SCALES <= max(waiting, default=0.0):
        return f"network to {service}, or its pod's: its clients wait longer, it does not work longer"
    return f"{service} is slow by itself"
