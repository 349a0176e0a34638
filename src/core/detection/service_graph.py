"""Who calls whom: the service graph that symptoms travel along, from a callee to its callers."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec


class ServiceGraph(msgspec.Struct, frozen=True):
    """Call edges between services. Cycles are allowed: nothing here walks further than one edge."""

    services: tuple[str, ...]
    """All that are named, in alphabetical order."""
    callees: Mapping[str, tuple[str, ...]]
    """Whom a service calls; a service that calls nobody is missing."""
    callers: Mapping[str, tuple[str, ...]]
    """Who calls a service; a service that nobody calls is missing."""

    def callees_of(self, service: str) -> tuple[str, ...]:
        """The services that `service` calls, in alphabetical order."""
        return self.callees.get(service, ())

    def callers_of(self, service: str) -> tuple[str, ...]:
        """The services that call `service`, in alphabetical order."""
        return self.callers.get(service, ())


def service_graph(calls: Iterable[tuple[str, str]], others: Iterable[str] = ()) -> ServiceGraph:
    """The graph of the edges (client, server), each counted once, and of services without edges.

    A service that calls itself tells nothing about another one, so such an edge is left out.
    """
    callees, callers = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    services = set(others)
    for client, server in calls:
        services |= {client, server}
        if client != server:
            callees[client].add(server)
            callers[server].add(client)
    return ServiceGraph(
        services=tuple(sorted(services)),
        callees={service: tuple(sorted(named)) for service, named in callees.items()},
        callers={service: tuple(sorted(named)) for service, named in callers.items()},
    )
