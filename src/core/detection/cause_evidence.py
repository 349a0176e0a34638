"""What speaks for and against one service as the cause: its evidence, each with the series behind it, in words."""

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from core.detection.metric_meaning import SIDE_LABEL, MetricKind
from core.detection.observations import Moved, Observations, Silence
from core.detection.service_graph import ServiceGraph
from core.detection.symptoms import Explained, explained
from core.domain.times import format_time

NOTABLE_SCALES: Final = 3.0
"""The three-sigma rule: what moved less is not told, though it counts for the little that it is."""
FURTHER_MAX: Final = 10
"""Pieces of evidence told beside those that count; more is a list of metrics, not a reason."""


class EvidenceKind(StrEnum):
    """What sort of thing speaks against a service."""

    RESOURCE = "resource"
    LATENCY = "latency"
    ERRORS = "errors"
    CALLS = "calls"
    SILENCE = "silence"


class Evidence(msgspec.Struct, frozen=True):
    """One thing that speaks against a service."""

    kind: EvidenceKind
    strength: float
    """Robust standard deviations, at least 0; of a symptom only the part that no callee explains."""
    counts: bool
    """The strongest of its kind, so part of the score."""
    said: str
    metric: str | None = None
    """None where the evidence is that samples are missing."""
    labels: Mapping[str, str] = {}
    baseline: float | None = None
    """The level before, in the metric's unit."""
    value: float | None = None
    """The level after, in the metric's unit."""
    first_us: int | None = None
    """When first seen, microseconds since the Unix epoch."""


class Counter(msgspec.Struct, frozen=True):
    """One thing that speaks for a service's innocence."""

    kind: EvidenceKind
    said: str


class Testimony(msgspec.Struct, frozen=True):
    """All that is known of one service."""

    evidence: tuple[Evidence, ...]
    counter_evidence: tuple[Counter, ...]

    def strength(self, kind: EvidenceKind) -> float:
        """Of the strongest evidence of a kind; 0 where there is none."""
        return max((one.strength for one in self.evidence if one.kind is kind), default=0.0)


def testify(seen: Observations, graph: ServiceGraph, service: str) -> Testimony:
    """Everything that speaks for and against `service`; the strongest evidence first."""
    latency, latency_why = _symptom(seen, graph, service, MetricKind.LATENCY)
    errors, errors_why = _symptom(seen, graph, service, MetricKind.ERRORS)
    kinds = (_resource(seen, service), latency, errors, _calls(seen, graph, service), _silence(seen, service))
    told = [
        msgspec.structs.replace(one, counts=place == 0)
        for kind in kinds
        for place, one in enumerate(sorted(kind, key=_rank))
        if one.strength > 0 and (place == 0 or one.strength >= NOTABLE_SCALES)
    ]
    counting = sorted((one for one in told if one.counts), key=_rank)
    further = sorted((one for one in told if not one.counts), key=_rank)
    counters = [*latency_why, *errors_why]
    if seen.of_service(service, MetricKind.RESOURCE) and max(one.strength for one in kinds[0]) < NOTABLE_SCALES:
        counters.append(Counter(EvidenceKind.RESOURCE, f"no resource of {service} is used notably more than before"))
    return Testimony((*counting, *further[:FURTHER_MAX]), tuple(counters))


def _resource(seen: Observations, service: str) -> list[Evidence]:
    moved = seen.of_service(service, MetricKind.RESOURCE)
    return [_evidence(EvidenceKind.RESOURCE, one, one.worse) for one in moved]


def _symptom(
    seen: Observations, graph: ServiceGraph, service: str, kind: MetricKind
) -> tuple[list[Evidence], list[Counter]]:
    """The evidence of latency or of errors, and what speaks against it."""
    by_callee = explained(seen, graph, service, kind)
    told = EvidenceKind(kind.value)
    counters = list(_explained_away(service, told, by_callee))
    unexplained = 1 - by_callee.share
    evidence = [_evidence(told, one, one.worse * unexplained) for one in seen.of_service(service, kind)]
    views: dict[tuple[str, str], dict[str, Moved]] = {}
    for client in graph.callers_of(service):
        for one in seen.of_edge((client, service), kind):
            view = views.setdefault((one.series.name, one.series.labels.get(SIDE_LABEL, "")), {})
            view[client] = max(view.get(client, one), one, key=lambda moved: moved.worse)
    for view in views.values():
        strongest = max(view.values(), key=lambda moved: moved.worse)
        agreed = math.expm1(sum(math.log1p(one.worse) for one in view.values()) / len(view))
        evidence.append(_evidence(told, strongest, agreed * unexplained))
        well = [client for client, one in view.items() if one.worse < NOTABLE_SCALES <= strongest.worse]
        if well:
            counters.append(Counter(told, f"{', '.join(well)} sees no change of {_what(strongest)}"))
    return evidence, counters


def _explained_away(service: str, kind: EvidenceKind, by_callee: Explained) -> Iterable[Counter]:
    if by_callee.by is not None and by_callee.by.worse >= NOTABLE_SCALES:
        said = f"{by_callee.share:.0%} of the {kind} of {service} is explained by {_change(by_callee.by)}"
        yield Counter(kind, said)


def _calls(seen: Observations, graph: ServiceGraph, service: str) -> list[Evidence]:
    """What the service's callees tell of how it calls them; a callee that fell silent itself tells nothing."""
    evidence = []
    for callee in graph.callees_of(service):
        silent = seen.silent_service.get(callee, Silence()).surprise
        lost = seen.silent_edge.get((service, callee), Silence())
        if lost.surprise > silent:
            said = f"calls from {service} to {callee} are missing{_since(lost)}"
            evidence.append(Evidence(EvidenceKind.CALLS, lost.surprise, False, said, first_us=lost.since_us))
        traffic = [*seen.of_service(callee, MetricKind.TRAFFIC), *seen.of_edge((service, callee), MetricKind.TRAFFIC)]
        evidence += [_evidence(EvidenceKind.CALLS, one, abs(one.shift.scales)) for one in traffic]
    return evidence


def _silence(seen: Observations, service: str) -> list[Evidence]:
    silent = seen.silent_service.get(service, Silence())
    if not silent.surprise:
        return []
    said = f"samples of {service}, or of some of its replicas, are missing{_since(silent)}"
    return [Evidence(EvidenceKind.SILENCE, silent.surprise, False, said, first_us=silent.since_us)]


def _evidence(kind: EvidenceKind, moved: Moved, strength: float) -> Evidence:
    return Evidence(
        kind=kind,
        strength=strength,
        counts=False,
        said=_change(moved),
        metric=moved.series.name,
        labels=dict(sorted(moved.series.labels.items())),
        baseline=moved.shift.baseline,
        value=moved.shift.value,
        first_us=moved.shift.first_us,
    )


def _change(moved: Moved) -> str:
    shift = moved.shift
    first = f", first at {format_time(shift.first_us)}" if abs(shift.scales) >= NOTABLE_SCALES else ""
    return f"{_what(moved)}: {shift.baseline:.4g} to {shift.value:.4g} ({shift.scales:+.1f} scales){first}"


def _what(moved: Moved) -> str:
    edge = moved.series.edge
    if edge is None:
        return f"{moved.series.name} of {moved.series.instance or moved.series.service}"
    side = moved.series.labels.get(SIDE_LABEL)
    return f"{moved.series.name} of calls from {edge[0]} to {edge[1]}" + (f", {side}'s side" if side else "")


def _since(silence: Silence) -> str:
    return "" if silence.since_us is None else f" since {format_time(silence.since_us)}"


def _rank(evidence: Evidence) -> tuple[float, str]:
    return -evidence.strength, evidence.said
