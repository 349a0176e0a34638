"""Where signals happened, and how much two such places have to do with each other, whatever the time between them.

A weight is how sure one reason alone would make us, in (0, 1), if both signals happened at once. `core.detection.
correlation` tells what becomes of the weights.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from core.domain.dependencies import Dependency
from core.domain.events import HOST_LABELS, SERVICE_LABEL, SYNTHETIC_LABEL
from core.domain.incidents import Signal

SAME_PLACE: Final = 0.8
"""One host, or one service: still enough at the end of the window."""
RELATED: Final = 0.7
"""A declared call, or a service and the host that it runs on: enough within the window, and less than one place."""
SCOPE: Final = 0.65
"""Of the rarest label that names where something runs: enough only close together, or with another such label."""
OTHER_LABEL: Final = 0.25
"""Of the rarest of all other labels, such as ``env=prod``: never enough alone, though it may turn the balance."""
WEIGHT_MIN: Final = 0.05
"""A reason of less weight changes nothing and only fills the list."""
ENTITIES_ASSUMED: Final = 20
"""How rare a label is, is counted among the entities in sight. In a quiet moment these are few, so at least so many
are assumed to be there."""
SERVICES_PER_HOST_MAX: Final = 3
"""A host that runs more than these says nothing about which of them it troubles."""
NEIGHBOURS_MAX: Final = 64
"""Of one name, in sight at once; one that everything calls is found from its callers' side too."""
SCOPE_LABELS: Final = frozenset(
    {"cluster", "namespace", "zone", "availability_zone", "rack", "node_pool", "node", "pod", "deployment", "app"}
    | {"application", "component", "database", "queue", "topic", "shard", "volume", "pool"}
)
"""Labels that name a part of the system. All others may say anything, such as a device's or a method's name."""
_SAID_ELSEWHERE: Final = frozenset(
    {*HOST_LABELS, SERVICE_LABEL, SYNTHETIC_LABEL, "alertname", "metric", "fingerprint", "severity", "rule"}
)

Label = tuple[str, str]


class Place(msgspec.Struct, frozen=True):
    """Where signals happened; places are equal where nothing tells them apart."""

    entity: str
    host: str | None
    service: str | None
    names: tuple[str, ...]
    """By which dependencies may call it: the host's, the service's, and those of the few services that it runs. Empty
    where there is neither: the entity is a metric then."""
    scopes: tuple[Label, ...]
    """Of the labels in `SCOPE_LABELS` those that another entity has too."""
    others: tuple[Label, ...]
    """The same of all other labels."""


class Reason(msgspec.Struct, frozen=True, order=True):
    """One thing that two places have to do with each other."""

    weight: float
    said: str


class Places:
    """The places of all signals in sight, and the relations between them."""

    def __init__(self, signals: Sequence[Signal], dependencies: Iterable[Dependency]) -> None:
        """`signals` are all in sight; how rare a label is, is counted among them."""
        self._entities = len({signal.entity for signal in signals})
        carriers = defaultdict[Label, set[str]](set)
        services = defaultdict[str, set[str]](set)
        for signal in signals:
            for label in signal.labels.items():
                carriers[label].add(signal.entity)
            if signal.host and signal.service:
                services[signal.host].add(signal.service)
        self._carriers = {label: len(entities) for label, entities in carriers.items() if len(entities) > 1}
        self._services = {
            host: sorted(names) for host, names in services.items() if len(names) <= SERVICES_PER_HOST_MAX
        }
        self._calls = {(one.client, one.server) for one in dependencies}
        self._places: dict[Place, Place] = {}
        self._by_key = {signal.key: self._place(signal) for signal in signals}
        self._relations: dict[tuple[int, int], tuple[Reason, ...]] = {}

    def all(self) -> Iterable[Place]:
        """Each place once."""
        return self._places.values()

    def place(self, signal: Signal) -> Place:
        """Where one of the signals happened; the same object for equal places."""
        return self._by_key[signal.key]

    def _place(self, signal: Signal) -> Place:
        shared = sorted(label for label in signal.labels.items() if label in self._carriers)
        names = {
            signal.host,
            signal.service,
            *(self._services.get(signal.host or "", ()) if not signal.service else ()),
        }
        place = Place(
            entity=signal.entity,
            host=signal.host,
            service=signal.service,
            names=tuple(sorted(name for name in names if name)),
            scopes=tuple(label for label in shared if label[0] in SCOPE_LABELS),
            others=tuple(label for label in shared if label[0] not in SCOPE_LABELS | _SAID_ELSEWHERE),
        )
        return self._places.setdefault(place, place)

    def relation(self, one: Place, other: Place) -> tuple[Reason, ...]:
        """What two places, given by `place`, have to do with each other; the weightiest first."""
        pair = (id(one), id(other)) if id(one) <= id(other) else (id(other), id(one))
        known = self._relations.get(pair)
        if known is None:
            found = sorted(self._reasons(one, other), key=lambda reason: (-reason.weight, reason.said))
            known = self._relations[pair] = tuple(reason for reason in found if reason.weight >= WEIGHT_MIN)
        return known

    def _reasons(self, one: Place, other: Place) -> Iterable[Reason]:
        if one.host and one.host == other.host:
            yield Reason(SAME_PLACE, f"same host {one.host}")
        elif one.service != other.service and (shared := sorted(set(one.names) & set(other.names))):
            yield Reason(
                RELATED, f"{shared[0]} runs on {' and '.join(sorted(host for host in {one.host, other.host} if host))}"
            )
        if one.service and one.service == other.service:
            yield Reason(SAME_PLACE, f"same service {one.service}")
        elif not one.names and one.entity == other.entity and not other.names:
            yield Reason(SAME_PLACE, f"same metric {one.entity}")
        calls = [(a, b) for x in one.names for y in other.names for a, b in ((x, y), (y, x)) if (a, b) in self._calls]
        if calls:
            client, server = min(calls)
            yield Reason(RELATED, f"{client} calls {server}")
        if one.entity != other.entity:
            yield from (
                Reason(SCOPE * self._rarity(label), _both(label)) for label in _common(one.scopes, other.scopes)
            )
            others = [
                Reason(OTHER_LABEL * self._rarity(label), _both(label)) for label in _common(one.others, other.others)
            ]
            yield from sorted(others)[-1:]

    def _rarity(self, label: Label) -> float:
        """From near 1, where only two of many entities have it, to 0, where all have."""
        return 1 - self._carriers[label] / max(self._entities, ENTITIES_ASSUMED)


def neighbours(places: Iterable[Place], dependencies: Iterable[Dependency]) -> Mapping[str, Sequence[str]]:
    """Of each name in sight those in sight that call it or that it calls, at most `NEIGHBOURS_MAX`."""
    present = {name for place in places for name in place.names}
    found = defaultdict[str, set[str]](set)
    for one in dependencies:
        if one.client in present and one.server in present:
            found[one.client].add(one.server)
            found[one.server].add(one.client)
    return {name: sorted(names)[:NEIGHBOURS_MAX] for name, names in found.items()}


def _common(some: Sequence[Label], others: Sequence[Label]) -> list[Label]:
    return [label for label in some if label in others]


def _both(label: Label) -> str:
    return f"both have {label[0]}={label[1]}"
