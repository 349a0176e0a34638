"""What was measured around an incident, by the host or service that it is of."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from core.detection.cause_evidence import NOTABLE_SCALES, Evidence
from core.detection.causes import AFTER_US, BEFORE_US
from core.detection.incident_readings import samples
from core.detection.incident_troubles import Trouble
from core.detection.incident_words import is_resource, spoken
from core.detection.level_shift import level_shift
from core.detection.metric_meaning import SERVICE_LABEL, ObservedSeries
from core.domain.events import host_of
from core.domain.incidents import Reference

BEHIND_MAX: Final = 3
"""Series referred to where evidence is that samples are missing."""
_SERVICE_KEPT: Final = "service as measured"
"""Keeps series apart that differ in a label which is overwritten; no label can have this name."""

Identity = tuple[str, frozenset[tuple[str, str]]]


class Samples:
    """Series by entity. A host's series counts as that of the entity that the host's signals are of."""

    def __init__(
        self,
        series: Iterable[ObservedSeries],
        troubles: Mapping[str, Trouble],
        services: Collection[str],
        began_us: int,
    ) -> None:
        """`services`: those of the service graph; `began_us`: when the trouble began."""
        self._span_us = max(0, began_us - BEFORE_US), began_us + AFTER_US
        self._began_us = began_us
        self._of = defaultdict[str, list[ObservedSeries]](list)
        self._original: dict[Identity, ObservedSeries] = {}
        self.by_entity: list[ObservedSeries] = []
        """All of them, each with the entity as its `service`, as `core.detection.causes` takes them."""
        for one in sorted(series, key=lambda one: (one.name, sorted(one.labels.items()))):
            named = one
            if one.edge is not None:
                for entity in one.edge:
                    self._of[entity].append(one)
            elif (owner := _owner(one, troubles, services)) is not None:
                kept = {_SERVICE_KEPT: one.labels[SERVICE_LABEL]} if SERVICE_LABEL in one.labels else {}
                labels = {**one.labels, **kept, SERVICE_LABEL: owner}
                named = msgspec.structs.replace(one, labels=labels)
                self._of[owner].append(one)
            self._original[_identity(named.name, named.labels)] = one
            self.by_entity.append(named)

    def behind(self, evidence: Evidence, entity: str) -> tuple[Reference, ...]:
        """The samples that evidence rests on; where it is that samples are missing, some of those there were."""
        one = self._original.get(_identity(evidence.metric, evidence.labels)) if evidence.metric is not None else None
        found: Sequence[ObservedSeries] = self._of[entity][:BEHIND_MAX] if one is None else [one]
        return tuple(samples(series, *self._span_us) for series in found)

    def unmoved(self, entity: str) -> dict[str, Reference]:
        """The resources of an entity that were measured and did not move, as people call them, with samples of each."""
        moved, still = set[str](), dict[str, Reference]()
        start_us, end_us = self._span_us
        for one in self._of.get(entity, ()):
            if one.edge is None and is_resource(one.name):
                inside = (one.ts_us >= start_us) & (one.ts_us < end_us)
                shift = level_shift(one.ts_us[inside], one.values[inside], self._began_us, recent_us=AFTER_US)
                if shift is not None and abs(shift.scales) >= NOTABLE_SCALES:
                    moved.add(spoken(one.name))
                elif shift is not None:
                    still.setdefault(spoken(one.name), samples(one, start_us, end_us))
        return {name: reference for name, reference in still.items() if name not in moved}


def _owner(series: ObservedSeries, troubles: Mapping[str, Trouble], services: Collection[str]) -> str | None:
    """The entity that a series is of, as `entity_of` has it for signals."""
    service, host = series.service or None, host_of(series.labels)
    if service in services or host is None:
        return service
    if host not in troubles:
        owners = [one.entity for one in troubles.values() if host in one.hosts]
        if len(owners) == 1:
            return owners[0]
        if service in troubles:
            return service
    return host


def _identity(name: str, labels: Mapping[str, str]) -> Identity:
    return name, frozenset(labels.items())
