"""Which signals become one incident: pure, so that the same signals always give the same incidents.

Theory of operation. Two signals may belong together for several reasons, each of which has a weight: how sure it alone
would make us if both happened at once. Same host or same service 0.8; a declared call between them, or a service and
the host it runs on, 0.7; a lag learned from earlier incidents 0.7; a label that says where something runs (cluster,
namespace, …) up to 0.65, the rarer the more; the rarest of all other labels (env, region, …) up to 0.25. A weight fades
by up to a quarter over the window, a lag's over its tolerance. Reasons are independent opinions: the score of an edge
is 1 - (1 - w1) (1 - w2) …, and an edge of 0.5 joins. So

- one host or service within the window is clearly enough (at its end 0.8 * 0.75 = 0.6), and a call is too (0.525);
- a common label such as ``env=prod`` is not (0.25), and neither is one scope that many have; a rare scope is while the
  signals are close together, and two scopes that many have together are;
- a lag is enough by itself, and it alone reaches beyond the window.

What edges join, directly or through others, is one cluster (single linkage, by a union-find structure). A cluster
that an edge joins to an incident becomes part of it, of several the one with the strongest edge, of equals the older
one. Any other cluster opens an incident as soon as it is large enough or holds a severe alert. One that is too small
waits until none of its signals can find further company. Synthetic and real signals never meet.

A signal that happens within `reopen_within` after an incident was resolved opens it again: there the time since its
end fades the weights, not the time since its last signal. One that was resolved late, since the signals came late,
ended when its settings would have resolved it. What happened before it was resolved joins it like an open one, and
leaves it resolved.

Near enough to O(n log n): each signal is compared with the latest signals of a few places for each thing that it could
share, never with all others. Of the edges found, those that hold the incident together are kept (a maximum spanning
forest, as Kruskal's algorithm gives it) and a few more for each signal, which is as much as anybody reads.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from core.detection.correlation_clusters import Clusters, holding_edges
from core.detection.correlation_edges import Ended, Surroundings, edges_between
from core.detection.correlation_places import Places
from core.detection.incident_title import title_of
from core.detection.lags import farthest_us
from core.domain.dependencies import Dependency
from core.domain.incidents import (
    CorrelationSettings,
    Incident,
    IncidentState,
    LearnedLag,
    Signal,
    SignalEdge,
    SignalKind,
)
from core.domain.times import EPOCH, MINUTE_US, TimeRange, parse_duration

SETTLE_US: Final = MINUTE_US
"""Signals are waited for a little longer than the window: agents and evaluators report some seconds late."""


class Nearby(msgspec.Struct, frozen=True):
    """An incident that signals may join: open, acknowledged, or resolved not long ago."""

    incident: Incident
    signals: Sequence[Signal]
    """Those of the time that `surroundings_range` names, in any order."""


class Opening(msgspec.Struct, frozen=True):
    """An incident to be opened."""

    title: str
    signals: tuple[Signal, ...]
    """Ascending in time."""
    edges: tuple[SignalEdge, ...]


class Joining(msgspec.Struct, frozen=True):
    """Signals that become part of an incident."""

    incident_id: int
    signals: tuple[Signal, ...]
    edges: tuple[SignalEdge, ...]
    """Among them, and to signals that the incident had."""
    reopen: bool
    """It was resolved, and opens again, since one of the signals happened after that."""


class Decision(msgspec.Struct, frozen=True):
    """What becomes of waiting signals; those it does not name wait on."""

    opened: tuple[Opening, ...]
    grown: tuple[Joining, ...]
    """Each incident once."""
    dropped: tuple[str, ...]
    """Keys of signals that are part of nothing."""


def correlate(
    waiting: Sequence[Signal],
    nearby: Sequence[Nearby],
    dependencies: Sequence[Dependency],
    lags: Sequence[LearnedLag],
    settings: CorrelationSettings,
    now_us: int,
) -> Decision:
    """What becomes of the `waiting` signals; the order in which anything is given does not matter.

    Signals that are part of an incident `nearby` already are passed over.
    """
    parts = [
        _Part(
            [signal for signal in waiting if signal.synthetic is synthetic],
            [one for one in nearby if one.incident.synthetic is synthetic],
            dependencies,
            lags,
            settings,
        )
        for synthetic in (False, True)
    ]
    decisions = [part.decision(now_us) for part in parts]
    return Decision(
        opened=tuple(one for decision in decisions for one in decision.opened),
        grown=tuple(one for decision in decisions for one in decision.grown),
        dropped=tuple(key for decision in decisions for key in decision.dropped),
    )


def surroundings_range(
    waiting: Sequence[Signal], lags: Sequence[LearnedLag], settings: CorrelationSettings
) -> TimeRange:
    """Signals of incidents in this range may have to do with `waiting` ones, of which there must be one at least."""
    reach_us = max(_us(settings, "window"), *(farthest_us(lag) for lag in lags), 0)
    over_us = _us(settings, "resolve_after") + _us(settings, "reopen_within")
    times_us = [signal.at_us for signal in waiting]
    return TimeRange(max(0, min(times_us) - max(reach_us, over_us)), max(times_us) + reach_us + 1)


class _Part:
    """The real signals, or the synthetic ones."""

    def __init__(
        self,
        waiting: Sequence[Signal],
        nearby: Sequence[Nearby],
        dependencies: Sequence[Dependency],
        lags: Sequence[LearnedLag],
        settings: CorrelationSettings,
    ) -> None:
        self._settings = settings
        self._nearby = {one.incident.id: one for one in nearby}
        self._owner = {signal.key: one.incident.id for one in nearby for signal in one.signals}
        fresh = {signal.key: signal for signal in waiting if signal.key not in self._owner}
        self._waiting = sorted(fresh.values(), key=_moment)
        self._farthest_us = defaultdict[str, int](int)
        for lag in lags:
            self._farthest_us[lag.first] = max(self._farthest_us[lag.first], farthest_us(lag))
        in_sight = [*self._waiting, *(signal for one in nearby for signal in one.signals)]
        around = Surroundings(
            places=Places(in_sight, dependencies),
            dependencies=dependencies,
            lags=lags,
            window_us=_us(settings, "window"),
            reopen_within_us=_us(settings, "reopen_within"),
        )
        settled = [signal for one in nearby for signal in one.signals]
        ended = [_ended(one, resolved_at, settings) for one in nearby if (resolved_at := _resolved_at(one)) is not None]
        self._edges = edges_between(self._waiting, settled, ended, around) if self._waiting else []
        self._edges_of = defaultdict[str, list[SignalEdge]](list)
        for edge in self._edges:
            self._edges_of[edge.first].append(edge)
            self._edges_of[edge.then].append(edge)

    def decision(self, now_us: int) -> Decision:
        opened: list[Opening] = []
        joining = defaultdict[int, list[Signal]](list)
        dropped: list[str] = []
        joined = Clusters([signal.key for signal in self._waiting])
        for edge in self._edges:
            if edge.first in joined and edge.then in joined:
                joined.join(edge.first, edge.then)
        clusters = {signal.key: joined.name(signal.key) for signal in self._waiting}
        homes = self._homes(clusters)
        members = defaultdict[str, list[Signal]](list)
        for signal in self._waiting:
            members[clusters[signal.key]].append(signal)
        for cluster, signals in members.items():
            if cluster in homes:
                joining[homes[cluster]] += signals
            elif self._opens(signals):
                opened.append(Opening(title_of(signals), tuple(signals), self._holding(signals)))
            elif all(now_us >= self._waits_until_us(signal) for signal in signals):
                dropped += [signal.key for signal in signals]
        return Decision(tuple(opened), tuple(self._joining(*one) for one in sorted(joining.items())), tuple(dropped))

    def _homes(self, clusters: Mapping[str, str]) -> dict[str, int]:
        """Of each cluster that an edge joins to incidents, the incident that it becomes part of."""
        best: dict[str, tuple[float, datetime, int]] = {}
        for edge in self._edges:
            for key, other in ((edge.first, edge.then), (edge.then, edge.first)):
                if key in clusters and other in self._owner:
                    incident = self._nearby[self._owner[other]].incident
                    rank = (-edge.score, incident.started_at, incident.id)
                    best[clusters[key]] = min(rank, best.get(clusters[key], rank))
        return {cluster: incident_id for cluster, (_, _, incident_id) in best.items()}

    def _opens(self, signals: Sequence[Signal]) -> bool:
        alarming = any(signal.severe and signal.kind is SignalKind.ALERT for signal in signals)
        return alarming or len(signals) >= self._settings.signals_min

    def _waits_until_us(self, signal: Signal) -> int:
        """Signals that it belongs with are known by then."""
        seen_us = signal.at_us if signal.seen_us is None else signal.seen_us
        return seen_us + max(_us(self._settings, "window"), self._farthest_us.get(signal.entity, 0)) + SETTLE_US

    def _joining(self, incident_id: int, signals: Sequence[Signal]) -> Joining:
        home = self._nearby[incident_id]
        resolved_at = _resolved_at(home)
        return Joining(
            incident_id=incident_id,
            signals=tuple(sorted(signals, key=_moment)),
            edges=self._holding(signals, home.signals),
            reopen=resolved_at is not None and any(one.at_us >= _since_epoch_us(resolved_at) for one in signals),
        )

    def _holding(self, fresh: Sequence[Signal], settled: Sequence[Signal] = ()) -> tuple[SignalEdge, ...]:
        edges = {(edge.first, edge.then): edge for signal in fresh for edge in self._edges_of[signal.key]}
        return holding_edges(edges.values(), [one.key for one in fresh], [one.key for one in settled])


def _resolved_at(one: Nearby) -> datetime | None:
    return one.incident.resolved_at if one.incident.state is IncidentState.RESOLVED else None


def _ended(one: Nearby, resolved_at: datetime, settings: CorrelationSettings) -> Ended:
    resolved_us = _since_epoch_us(resolved_at)
    quiet_us = _since_epoch_us(one.incident.last_signal_at) + _us(settings, "resolve_after")
    return Ended(min(resolved_us, quiet_us), resolved_us, one.signals)


def _since_epoch_us(instant: datetime) -> int:
    return (instant - EPOCH) // timedelta(microseconds=1)


def _us(settings: CorrelationSettings, field: str) -> int:
    return parse_duration(getattr(settings, field), f"correlation.{field}")


def _moment(signal: Signal) -> tuple[int, str]:
    return signal.at_us, signal.key
