"""What moved around an instant: on services, on the call edges between them, and what fell silent."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from core.detection.level_shift import LevelShift, increments_per_s, level_shift
from core.detection.metric_meaning import SIDE_LABEL, Meaning, MetricKind, ObservedSeries, meaning_of
from core.detection.presence import Intervals

Edge = tuple[str, str]
"""(client, server) of a call edge."""


class Moved(msgspec.Struct, frozen=True):
    """A series and how it moved."""

    series: ObservedSeries
    meaning: Meaning
    shift: LevelShift

    @property
    def worse(self) -> float:
        """Scales for the worse, at least 0."""
        return max(0.0, -self.shift.scales if self.meaning.less_is_worse else self.shift.scales)

    @property
    def worse_by(self) -> float:
        """The change for the worse in the metric's unit, at least 0."""
        return max(0.0, -self.shift.change if self.meaning.less_is_worse else self.shift.change)

    @property
    def seen_by_server(self) -> bool:
        """Whether an edge's metric was measured at its server, without the network."""
        return self.series.labels.get(SIDE_LABEL) == "server"


class Silence(msgspec.Struct, frozen=True):
    """How surprising it is that something stopped reporting, in standard deviations, and since when."""

    surprise: float = 0.0
    since_us: int | None = None


class Observations(msgspec.Struct, frozen=True):
    """All that moved at `at_us`, in an order that the input's order does not change."""

    at_us: int
    interval_us: int
    """The usual spacing of samples: times nearer to each other than this are the same."""
    on_service: Mapping[str, Sequence[Moved]]
    on_edge: Mapping[Edge, Sequence[Moved]]
    silent_service: Mapping[str, Silence]
    silent_edge: Mapping[Edge, Silence]

    def of_service(self, service: str, kind: MetricKind) -> list[Moved]:
        """What moved on the service itself; metrics of its outgoing calls tell about its callees and are left out."""
        moved = self.on_service.get(service, ())
        return [one for one in moved if one.meaning.kind is kind and not one.meaning.outgoing]

    def of_edge(self, edge: Edge, kind: MetricKind) -> list[Moved]:
        """What moved on the calls from one service to another."""
        return [one for one in self.on_edge.get(edge, ()) if one.meaning.kind is kind]


def observe(series: Iterable[ObservedSeries], at_us: int, *, before_us: int, after_us: int) -> Observations:
    """Looks at the samples in [at - before, at + after); series of no service and no edge are left out.

    What moved is measured against `before_us`, and must have moved since the last `after_us` of it.
    """
    kept = [_within(one, at_us - before_us, at_us + after_us) for one in series if one.edge or one.service]
    kept = sorted((one for one in kept if one.ts_us.size), key=_identity)
    intervals = Intervals(kept, at_us)
    on_service, on_edge = defaultdict[str, list[Moved]](list), defaultdict[Edge, list[Moved]](list)
    replicas = defaultdict[str, dict[str, list[ObservedSeries]]](dict)
    by_edge = defaultdict[Edge, list[ObservedSeries]](list)
    for one in kept:
        moved = _moved(one, at_us, recent_us=after_us)
        if one.edge is not None:
            by_edge[one.edge].append(one)
            on_edge[one.edge] += moved
        elif one.service is not None:
            replicas[one.service].setdefault(one.instance, []).append(one)
            on_service[one.service] += moved
    return Observations(
        at_us=at_us,
        interval_us=intervals.length_us,
        on_service=on_service,
        on_edge=on_edge,
        silent_service={name: Silence(*intervals.silence(list(groups.values()))) for name, groups in replicas.items()},
        silent_edge={edge: Silence(*intervals.silence([group])) for edge, group in by_edge.items()},
    )


def _within(series: ObservedSeries, start_us: int, end_us: int) -> ObservedSeries:
    inside = (series.ts_us >= start_us) & (series.ts_us < end_us) & np.isfinite(series.values)
    return msgspec.structs.replace(series, ts_us=series.ts_us[inside], values=series.values[inside])


def _moved(series: ObservedSeries, at_us: int, *, recent_us: int) -> list[Moved]:
    meaning = meaning_of(series.name)
    ts_us, values = series.ts_us, series.values
    if meaning.counter:
        ts_us, values = increments_per_s(ts_us, values)
    shift = level_shift(ts_us, values, at_us, recent_us=recent_us)
    return [] if shift is None else [Moved(series, meaning, shift)]


def _identity(series: ObservedSeries) -> tuple[str, tuple[tuple[str, str], ...]]:
    return series.name, tuple(sorted(series.labels.items()))
