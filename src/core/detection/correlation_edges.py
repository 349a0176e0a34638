"""Which signals belong together, and why: scored edges between them. `core.detection.correlation` has the theory."""

import bisect
import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from core.detection.correlation_clusters import EDGES_PER_SIGNAL_MAX, Clusters
from core.detection.correlation_places import RELATED, Place, Places, Reason, neighbours
from core.detection.incident_words import lasting
from core.detection.lags import tolerance_us
from core.domain.dependencies import Dependency
from core.domain.incidents import LearnedLag, Signal, SignalEdge

THRESHOLD: Final = 0.5
"""An edge below it joins nothing."""
FADED: Final = 0.25
"""What is lost of a weight at the end of the window, and evenly less before."""
LAGGED: Final = RELATED
"""The weight of a learned lag that is met exactly: it was as good as a declared call at least three times."""
LOOKED_BACK_AT: Final = 3
"""Of the signals that share a host, a service, a label or a call with one, the latest of so many places are looked at;
what came earlier is joined through these."""
_SCORE_DIGITS: Final = 6

Key = tuple[str, ...]


class Ended(msgspec.Struct, frozen=True):
    """Signals of an incident that was resolved, and may open again."""

    at_us: int
    """When it was over: as it was resolved, or grew quiet before."""
    resolved_us: int
    """What happened before is no reason to open it again."""
    signals: Sequence[Signal]


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What edges depend on besides the signals themselves."""

    places: Places
    dependencies: Sequence[Dependency]
    lags: Sequence[LearnedLag]
    window_us: int
    reopen_within_us: int


def edges_between(
    waiting: Sequence[Signal], settled: Sequence[Signal], ended: Sequence[Ended], around: Surroundings
) -> list[SignalEdge]:
    """The edges of `waiting` signals among each other and to the `settled` ones of incidents, some of which `ended`.

    The order in which they are given does not matter, and the edges come in no order.
    """
    timeline = sorted([*waiting, *settled], key=_moment)
    fresh = {signal.key for signal in waiting}
    near = neighbours(around.places.all(), around.dependencies)
    edges = _Edges(around, fresh)
    for signal, other, since_us in _reopening(waiting, near, ended, around):
        edges.weigh(other, signal, since_us / around.reopen_within_us)
    for first, then in itertools.chain(_nearby(timeline, near, around), _lagged(timeline, around.lags)):
        edges.weigh(first, then, (then.at_us - first.at_us) / around.window_us)
    return edges.found


class _Edges:
    """Scores pairs, each once."""

    def __init__(self, around: Surroundings, fresh: Collection[str]) -> None:
        self.found: list[SignalEdge] = []
        self._fresh = fresh
        self._clusters = Clusters(fresh)
        self._count = Counter[str]()
        self._places = around.places
        self._lags = {(lag.first, lag.then): lag for lag in around.lags}
        self._seen: set[tuple[str, str]] = set()

    def weigh(self, first: Signal, then: Signal, distance: float) -> None:
        """Keeps the edge between two signals unless it is below the threshold.

        `distance` in time: 0 at once, 1 at the end of the time in which they may belong together.
        """
        if (first.key, then.key) in self._seen or not self._matters(first.key, then.key):
            return
        self._seen.add((first.key, then.key))
        reasons: list[Reason] = []
        if distance <= 1:
            kept = 1 - FADED * distance
            related = self._places.relation(self._places.place(first), self._places.place(then))
            reasons = [Reason(kept * reason.weight, reason.said) for reason in related]
        reasons += self._lag_met(first, then)
        doubt = 1.0
        for reason in reasons:
            doubt *= 1 - reason.weight
        score = round(1 - doubt, _SCORE_DIGITS)
        if score >= THRESHOLD:
            said = tuple(one.said for one in sorted(reasons, key=lambda reason: (-reason.weight, reason.said)))
            self.found.append(SignalEdge(first=first.key, then=then.key, score=score, reasons=said))
            if first.key in self._fresh and then.key in self._fresh:
                self._clusters.join(first.key, then.key)
                self._count[then.key] += 1

    def _matters(self, first: str, then: str) -> bool:
        """Whether an edge between them could change anything. To waiting signals that it is together with, a signal
        needs no more edges than are kept; which incident it becomes part of depends on all edges to incidents."""
        if first in self._fresh and then in self._fresh:
            few = self._count[then] < EDGES_PER_SIGNAL_MAX
            return few or self._clusters.name(first) != self._clusters.name(then)
        return first in self._fresh or then in self._fresh

    def _lag_met(self, first: Signal, then: Signal) -> Iterator[Reason]:
        lag = self._lags.get((first.entity, then.entity))
        if lag is None:
            return
        missed = abs(then.at_us - first.at_us - lag.lag_us) / tolerance_us(lag)
        if missed <= 1:
            said = f"{lag.then} usually moves {lasting(lag.lag_us)} after {lag.first} ({lag.incidents} incidents)"
            yield Reason(LAGGED * (1 - FADED * missed), said)


def _nearby(
    timeline: Sequence[Signal], near: Mapping[str, Sequence[str]], around: Surroundings
) -> Iterator[tuple[Signal, Signal]]:
    """Pairs within the window that may have something to do with each other, the earlier one first."""
    latest = defaultdict[Key, dict[int, Signal]](dict)
    for signal in timeline:
        place = around.places.place(signal)
        for key in (*_own_keys(place), *_neighbour_keys(place, near)):
            for other in itertools.islice(reversed(latest[key].values()), LOOKED_BACK_AT) if key in latest else ():
                if signal.at_us - other.at_us > around.window_us:
                    break
                yield other, signal
        for key in _own_keys(place):
            of_key = latest[key]
            of_key.pop(id(place), None)  # So that the order of the places is that of their latest signals.
            of_key[id(place)] = signal


def _lagged(timeline: Sequence[Signal], lags: Sequence[LearnedLag]) -> Iterator[tuple[Signal, Signal]]:
    """For each lag and each signal it leads to, the signals on either side of the moment that it points back to."""
    by_entity = defaultdict[str, list[Signal]](list)
    for signal in timeline:
        by_entity[signal.entity].append(signal)
    for lag in lags:
        earlier = by_entity.get(lag.first, [])
        times_us = [signal.at_us for signal in earlier]
        for then in by_entity.get(lag.then, []) if earlier else ():
            place = bisect.bisect_left(times_us, then.at_us - lag.lag_us)
            for first in earlier[max(0, place - 1) : place + 1]:
                if first.at_us <= then.at_us:
                    yield first, then


def _reopening(
    waiting: Sequence[Signal], near: Mapping[str, Sequence[str]], ended: Sequence[Ended], around: Surroundings
) -> Iterator[tuple[Signal, Signal, int]]:
    """Pairs of a waiting signal and an earlier one of an incident that was over shortly before, with the time since."""
    latest = defaultdict[Key, dict[int, Signal]](dict)
    ended = sorted(ended, key=lambda one: one.at_us)
    for number, one in enumerate(ended):
        for signal in sorted(one.signals, key=_moment):
            for key in _own_keys(around.places.place(signal)):
                latest[key][number] = signal
    for signal in waiting:
        place = around.places.place(signal)
        candidates: dict[tuple[int, str], Signal] = {}
        for key in (*_own_keys(place), *_neighbour_keys(place, near)):
            found = itertools.islice(reversed(latest[key].items()), LOOKED_BACK_AT) if key in latest else ()
            candidates |= {(number, other.key): other for number, other in found}
        for (number, _), other in candidates.items():
            since_us = signal.at_us - ended[number].at_us
            if signal.at_us >= max(other.at_us, ended[number].resolved_us) and since_us <= around.reopen_within_us:
                yield signal, other, since_us


def _own_keys(place: Place) -> Iterable[Key]:
    """What makes signals candidates for each other."""
    keys: list[Key] = [("name", name) for name in place.names] or [("metric", place.entity)]
    keys += [("label", *label) for label in place.scopes]
    if len(place.scopes) > 1:
        keys.append(("labels", *itertools.chain.from_iterable(place.scopes)))
    return keys


def _neighbour_keys(place: Place, near: Mapping[str, Sequence[str]]) -> Collection[Key]:
    return [("name", neighbour) for name in place.names for neighbour in near.get(name, ())]


def _moment(signal: Signal) -> tuple[int, str]:
    return signal.at_us, signal.key
