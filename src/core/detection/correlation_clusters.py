"""Clusters of signals that edges join, and the edges of a cluster that are kept."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from core.domain.incidents import SignalEdge

EDGES_PER_SIGNAL_MAX: Final = 4
"""Beyond those that hold a cluster together, no signal has more: nobody reads them."""
_HOME: Final = ""
"""Stands for an incident whose signals hold together already; no signal's key is empty, and all are greater."""


class Clusters:
    """Which signals are together: a union-find structure. A cluster is named by the least of its keys, so that the
    order of joins shows nowhere."""

    def __init__(self, keys: Iterable[str], home: Iterable[str] = ()) -> None:
        """Each of `keys` alone, and those of `home` together."""
        self._parents = {_HOME: _HOME, **dict.fromkeys(home, _HOME), **{key: key for key in keys}}

    def __contains__(self, key: str) -> bool:
        return key in self._parents

    def name(self, key: str) -> str:
        """Of the cluster that the signal is in."""
        parents = self._parents
        while parents[key] != key:
            parents[key] = key = parents[parents[key]]
        return key

    def join(self, one: str, other: str) -> bool:
        """Whether they were apart."""
        low, high = sorted((self.name(one), self.name(other)))
        self._parents[high] = low
        return low != high


def holding_edges(
    edges: Iterable[SignalEdge], fresh: Iterable[str], settled: Iterable[str] = ()
) -> tuple[SignalEdge, ...]:
    """A maximum spanning forest of `fresh` signals and of `settled` ones, which hold together already (J. B. Kruskal,
    1956), and up to `EDGES_PER_SIGNAL_MAX` of each signal's strongest other edges, in the order of their keys."""
    clusters = Clusters(fresh, settled)
    kept: list[SignalEdge] = []
    count = Counter[str]()
    for edge in sorted(edges, key=lambda edge: (-edge.score, edge.first, edge.then)):
        if edge.first in clusters and edge.then in clusters:
            joins = clusters.join(edge.first, edge.then)
            if joins or max(count[edge.first], count[edge.then]) < EDGES_PER_SIGNAL_MAX:
                kept.append(edge)
                count.update((edge.first, edge.then))
    return tuple(sorted(kept, key=lambda edge: (edge.first, edge.then)))
