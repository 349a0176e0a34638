"""Whose trouble may have led to whose: the causal graph of an incident.

Theory of operation. Trouble travels from a callee to its callers and from a host to the services that it runs; where
nothing of that kind is known, from who moved earlier to who moved later, if the signals of both were joined. An edge's
score says how far to believe it; a callee that moved after its caller is believed less, for a cause comes first, though
what is measured of it may come late. A service between two that have trouble may have none of its own to be seen.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from core.detection.incident_troubles import TOGETHER_US
from core.detection.incident_words import lasting
from core.domain.dependencies import Dependency
from core.domain.incidents import GraphEdge, SignalEdge

IN_ORDER: Final = 0.9
"""A callee that moved no later than its caller."""
OUT_OF_ORDER: Final = 0.4
RUNS_ON: Final = 0.8
"""A host and its service; often both are hit by a third thing."""
THROUGH_QUIET: Final = 0.5
"""Each of the two calls by way of a service that shows nothing."""
EARLIER_ONLY: Final = 0.5
"""Of the score of the edge between the signals: that one came first is little."""
EDGES_MAX: Final = 1_000
"""Kept, the strongest: every entity's effects are looked for along all of them."""


class Mover(msgspec.Struct, frozen=True):
    """A node of the graph that has trouble."""

    first_us: int
    """When it first moved."""
    moved: float
    """How much, on the scale of `core.detection.incident_causes`."""
    hosts: frozenset[str]
    services: frozenset[str]


def causal_edges(
    movers: Mapping[str, Mover],
    dependencies: Iterable[Dependency],
    edges: Iterable[SignalEdge],
    owners: Mapping[str, str],
) -> tuple[GraphEdge, ...]:
    """The graph's edges, the strongest first. `owners`: of each signal's key the entity that it is of."""
    found: dict[tuple[str, str], GraphEdge] = {}
    for edge in (*_by_calls(movers, sorted(dependencies)), *_by_hosts(movers), *_by_order(movers, edges, owners)):
        if (edge.cause, edge.effect) not in found and (edge.effect, edge.cause) not in found:
            found[edge.cause, edge.effect] = edge
    return tuple(sorted(found.values(), key=lambda edge: (-edge.score, edge.cause, edge.effect))[:EDGES_MAX])


def reached(edges: Sequence[GraphEdge], movers: Mapping[str, Mover]) -> dict[str, list[str]]:
    """Of each entity the others with trouble that its own may have led to, the nearest first."""
    effects = defaultdict[str, list[str]](list)
    for edge in edges:
        if edge.score > OUT_OF_ORDER:
            effects[edge.cause].append(edge.effect)
    found = {}
    for entity in movers:
        seen = dict.fromkeys([entity])
        queue = [entity]
        for one in queue:
            fresh = [effect for effect in effects[one] if effect not in seen]
            seen |= dict.fromkeys(fresh)
            queue += fresh
        found[entity] = [one for one in queue[1:] if one in movers]
    return found


def explained(edges: Sequence[GraphEdge], movers: Mapping[str, Mover], changed: Collection[str]) -> dict[str, float]:
    """Of each entity the share of its trouble, from 0 to below 1, that the strongest of its causes explains.

    A cause explains no more than it moved itself; but one that was `changed` may have any effect.
    """
    shares = defaultdict[str, float](float)
    for edge in edges:
        cause, effect = movers.get(edge.cause), movers.get(edge.effect)
        if cause is not None and effect is not None and effect.moved > 0:
            share = edge.score * (1.0 if edge.cause in changed else min(1.0, cause.moved / effect.moved))
            shares[edge.effect] = max(shares[edge.effect], share)
    return dict(shares)


def _by_calls(movers: Mapping[str, Mover], dependencies: Sequence[Dependency]) -> Iterable[GraphEdge]:
    callers = defaultdict[str, list[str]](list)
    for one in dependencies:
        callers[one.server].append(one.client)
        if one.client in movers and one.server in movers:
            yield _call(movers, one.client, one.server)
    direct = {(one.client, one.server) for one in dependencies}
    for server in sorted(callers.keys() & movers.keys()):
        for quiet in callers[server]:
            beyond = [client for client in callers[quiet] if client in movers and client != server]
            beyond = [client for client in beyond if (client, server) not in direct]
            if quiet not in movers and beyond:
                yield GraphEdge(cause=server, effect=quiet, score=THROUGH_QUIET, reasons=(f"{quiet} calls {server}",))
                for client in beyond:
                    yield GraphEdge(
                        cause=quiet, effect=client, score=THROUGH_QUIET, reasons=(f"{client} calls {quiet}",)
                    )


def _call(movers: Mapping[str, Mover], client: str, server: str) -> GraphEdge:
    later_us = movers[server].first_us - movers[client].first_us
    reasons = [f"{client} calls {server}"]
    if later_us > TOGETHER_US:
        reasons.append(f"but {server} moved {lasting(later_us)} later")
    elif later_us < -TOGETHER_US:
        reasons.append(f"{server} moved {lasting(-later_us)} earlier")
    score = IN_ORDER if later_us <= TOGETHER_US else OUT_OF_ORDER
    return GraphEdge(cause=server, effect=client, score=score, reasons=tuple(reasons))


def _by_hosts(movers: Mapping[str, Mover]) -> Iterable[GraphEdge]:
    for entity, mover in movers.items():
        for host in sorted(mover.hosts & movers.keys() - {entity}):
            yield GraphEdge(cause=host, effect=entity, score=RUNS_ON, reasons=(f"{entity} runs on {host}",))


def _by_order(
    movers: Mapping[str, Mover], edges: Iterable[SignalEdge], owners: Mapping[str, str]
) -> Iterable[GraphEdge]:
    strongest: dict[tuple[str, str], SignalEdge] = {}
    for edge in edges:
        pair = owners.get(edge.first), owners.get(edge.then)
        if pair[0] is None or pair[1] is None or pair[0] == pair[1]:
            continue
        known = (pair[0], pair[1]) if pair[0] < pair[1] else (pair[1], pair[0])
        best = strongest.get(known, edge)
        strongest[known] = min(best, edge, key=lambda one: (-one.score, one.first, one.then))
    for (one, other), edge in sorted(strongest.items()):
        if movers[one].services & movers[other].services:
            continue  # Replicas of one service are hit by the same thing, not by each other.
        cause, effect = sorted((one, other), key=lambda entity: (movers[entity].first_us, entity))
        earlier_us = movers[effect].first_us - movers[cause].first_us
        if earlier_us > TOGETHER_US:
            reasons = (f"{cause} moved {lasting(earlier_us)} earlier", *edge.reasons)
            yield GraphEdge(cause=cause, effect=effect, score=round(EARLIER_ONLY * edge.score, 6), reasons=reasons)
