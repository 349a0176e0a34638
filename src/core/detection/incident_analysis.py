"""What an incident's signals say together: a title, a causal graph, ranked hypotheses and a narrative.

Pure: the same signals, samples and conditions always give the same words, in whatever order they are given. Every
sentence of the narrative and of the evidence refers to the rows that it rests on.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from core.detection.cause_evidence import NOTABLE_SCALES
from core.detection.causes import Suspect, rank_causes
from core.detection.incident_causes import moved, weigh
from core.detection.incident_evidence import Case
from core.detection.incident_graph import Mover, causal_edges, explained, reached
from core.detection.incident_narrative import narrate
from core.detection.incident_readings import Levels
from core.detection.incident_samples import Samples
from core.detection.incident_title import title_of
from core.detection.incident_troubles import Trouble, began_us, entity_of, in_order, main_us, samples_range, troubles_of
from core.detection.metric_meaning import ObservedSeries
from core.detection.service_graph import service_graph
from core.domain.anomalies import Anomaly
from core.domain.dependencies import Dependency
from core.domain.incidents import CauseHypothesis, GraphNode, IncidentAnalysis, Signal, SignalEdge
from core.domain.times import EPOCH

__all__ = ["analyse", "samples_range"]

NODES_MAX: Final = 100
"""Of a graph: who is suspected, those that moved first, and what connects them. No drawing of more can be read."""
EDGES_MAX: Final = 300
"""Of a graph, between these: the strongest."""
NOTABLE_SCORE: Final = math.log1p(NOTABLE_SCALES)
"""A service against which samples say less is not suspected for it."""


def analyse(
    signals: Sequence[Signal],
    edges: Sequence[SignalEdge],
    series: Sequence[ObservedSeries],
    dependencies: Sequence[Dependency],
    conditions: Sequence[Anomaly],
    now: datetime,
) -> IncidentAnalysis:
    """What is made of an incident; raises `ValueError` without signals.

    `series`: what was measured of its hosts, services and their calls in `samples_range`; none is needed. `conditions`:
    open trend and variance anomalies of the same hosts and services, which are context and not moments.
    """
    if not signals:
        raise ValueError("an incident has at least one signal")
    ordered = in_order(signals)
    case = _case(ordered, edges, series, dependencies, conditions)
    weighed = weigh(case)
    hypotheses = tuple(hypothesis for hypothesis, _ in weighed)
    nodes = _nodes(case, hypotheses)
    shown = {one.entity for one in nodes}
    return IncidentAnalysis(
        title=title_of(ordered, case.services),
        narrative=tuple(narrate(case, weighed)),
        hypotheses=hypotheses,
        nodes=nodes,
        edges=tuple(edge for edge in case.edges if {edge.cause, edge.effect} <= shown)[:EDGES_MAX],
        analysed_at=now,
    )


def _case(
    signals: Sequence[Signal],
    edges: Sequence[SignalEdge],
    series: Sequence[ObservedSeries],
    dependencies: Sequence[Dependency],
    conditions: Sequence[Anomaly],
) -> Case:
    start_us = began_us(signals)
    calls = {(one.client, one.server) for one in dependencies} | {one.edge for one in series if one.edge is not None}
    services = {name for call in calls for name in call}
    troubles = {one.entity: one for one in troubles_of(signals, conditions, services)}
    graph = service_graph(sorted(calls))
    measured = Samples(series, troubles, services, start_us)
    ranked = rank_causes(measured.by_entity, graph, start_us)
    suspects = {
        one.service: one for one in ranked if one.score >= NOTABLE_SCORE and one.service in services | troubles.keys()
    }
    movers = _movers(troubles, suspects, start_us)
    owners = {signal.key: entity_of(signal, services) for signal in signals}
    known = [Dependency(client, server) for client, server in sorted(calls) if client != server]
    found = causal_edges(movers, known, edges, owners)
    effects = reached(found, movers)
    case = Case(
        began_us=start_us,
        services=frozenset(services),
        troubles=troubles,
        movers=movers,
        suspects=suspects,
        edges=found,
        effects=effects,
        explained={},
        samples=measured,
        levels=Levels(series, main_us(signals)),
    )
    changed = {name for name in movers if case.change_of(name) is not None}
    return msgspec.structs.replace(case, explained=explained(found, movers, changed))


def _movers(troubles: Mapping[str, Trouble], suspects: Mapping[str, Suspect], start_us: int) -> dict[str, Mover]:
    """All that have trouble, the first to move first."""
    found = []
    for entity in troubles.keys() | suspects.keys():
        trouble, suspect = troubles.get(entity), suspects.get(entity)
        amount = moved(trouble.signals) if trouble is not None else 0.0
        times_us = [trouble.start_us] if trouble is not None else []
        if suspect is not None:
            amount += suspect.score
            seen = [one.first_us for one in suspect.evidence if one.counts and one.strength >= NOTABLE_SCALES]
            times_us = times_us or [min((at_us for at_us in seen if at_us is not None), default=start_us)]
        hosts, of = (
            (trouble.hosts, trouble.services) if trouble is not None else (frozenset[str](), frozenset({entity}))
        )
        found.append((entity, Mover(times_us[0], amount, hosts, of)))
    return dict(sorted(found, key=lambda one: (one[1].first_us, one[0])))


def _nodes(case: Case, hypotheses: Iterable[CauseHypothesis]) -> tuple[GraphNode, ...]:
    """Those with trouble, the first to move first, then those that connect them."""
    scores = {one.entity: one.score for one in hypotheses}
    connecting = {name for edge in case.edges for name in (edge.cause, edge.effect)} - case.movers.keys()
    entities = [*case.movers, *sorted(connecting)]
    kept = set(list(dict.fromkeys([*scores, *entities]))[:NODES_MAX])
    return tuple(
        GraphNode(
            entity=entity,
            signals=len(case.troubles[entity].all) if entity in case.troubles else 0,
            first_at=EPOCH + timedelta(microseconds=case.movers[entity].first_us) if entity in case.movers else None,
            score=scores.get(entity, 0.0),
        )
        for entity in entities
        if entity in kept
    )
