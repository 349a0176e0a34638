"""Who has trouble in an incident: its hosts and services, each with what happened to it and when that began."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import msgspec

from core.detection.incident_readings import Sort, is_condition, sort_of
from core.domain.anomalies import Anomaly
from core.domain.incidents import Signal
from core.domain.times import DAY_US, HOUR_US, MINUTE_US, SECOND_US, TimeRange

TOGETHER_US: Final = 5 * SECOND_US
"""Moves nearer to each other than clocks and sampling intervals differ by have no order."""
BEFORE_US: Final = HOUR_US
AFTER_US: Final = 5 * MINUTE_US
"""As `core.detection.causes` looks at an instant."""
SPAN_US_MAX: Final = DAY_US
"""Samples of a longer incident are not looked at beyond its first day."""


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to one host or service."""

    entity: str
    hosts: frozenset[str]
    """The host itself, or those that the service's signals are of."""
    services: frozenset[str]
    """The service itself, or those that the host's signals are of."""
    signals: tuple[Signal, ...]
    """Ascending in time, without changes."""
    changes: tuple[Signal, ...]
    """Ascending in time."""
    conditions: tuple[Anomaly, ...]
    """What was the matter with it all along."""
    first_us: int | None
    """When the first thing happened; None where there are only changes."""

    @property
    def errors(self) -> list[Signal]:
        """Error events and warnings that are not about a resource."""
        return [one for one in self.signals if sort_of(one) in (Sort.ERROR, Sort.WARNING)]

    @property
    def all(self) -> list[Signal]:
        """Its signals and changes, ascending in time."""
        return in_order([*self.signals, *self.changes])

    @property
    def start_us(self) -> int:
        """When anything was first heard of it."""
        return self.first_us if self.first_us is not None else self.changes[0].at_us

    @property
    def earliest(self) -> list[Signal]:
        """The signal that `start_us` is of, as a list of one."""
        return [one for one in self.all if one.at_us == self.start_us][:1]


def in_order(signals: Iterable[Signal]) -> list[Signal]:
    """Ascending in time; of equals in the order of their keys."""
    return sorted(signals, key=lambda signal: (signal.at_us, signal.key))


def entity_of(signal: Signal, services: Collection[str]) -> str:
    """The service, where it is one of the service graph's, else the host, as `Signal.entity` has it."""
    return signal.service if signal.service and signal.service in services else signal.entity


def troubles_of(
    signals: Iterable[Signal], conditions: Sequence[Anomaly], services: Collection[str]
) -> tuple[Trouble, ...]:
    """Of each entity, the first to move first. `services`: those of the service graph."""
    by_entity = defaultdict[str, list[Signal]](list)
    for signal in in_order(signals):
        by_entity[entity_of(signal, services)].append(signal)
    troubles = [_trouble(entity, found, conditions, by_entity) for entity, found in by_entity.items()]
    return tuple(sorted(troubles, key=lambda one: (one.first_us is None, one.start_us, one.entity)))


def began_us(signals: Iterable[Signal]) -> int:
    """When the trouble began: the first signal that is no change and no state found at some time; else the first."""
    ordered = in_order(signals)
    return min(one.at_us for one in _happened(ordered) or ordered)


def main_us(signals: Iterable[Signal]) -> int:
    """The middle of the trouble: as many signals came before as after."""
    ordered = in_order(signals)
    happened = _happened(ordered) or ordered
    return min(happened[(len(happened) - 1) // 2].at_us, began_us(ordered) + SPAN_US_MAX)


def samples_range(signals: Sequence[Signal]) -> TimeRange:
    """The samples that an analysis looks at; raises `ValueError` without signals."""
    start_us = began_us(signals)
    return TimeRange(max(0, start_us - BEFORE_US), max(start_us + AFTER_US, main_us(signals) + 1))


def _happened(signals: Sequence[Signal]) -> list[Signal]:
    return [one for one in signals if sort_of(one) is not Sort.CHANGE and not is_condition(one)]


def _trouble(
    entity: str, signals: Sequence[Signal], conditions: Sequence[Anomaly], entities: Collection[str]
) -> Trouble:
    hosts = frozenset(one.host for one in signals if one.host)
    told = [one for one in signals if sort_of(one) is not Sort.CHANGE]
    concerning = [
        one
        for one in conditions
        if entity in (one.host, one.service) or (one.host in hosts and one.host not in entities)
    ]
    return Trouble(
        entity=entity,
        hosts=hosts,
        services=frozenset(one.service for one in signals if one.service),
        signals=tuple(told),
        changes=tuple(one for one in signals if sort_of(one) is Sort.CHANGE),
        conditions=tuple(
            sorted(concerning, key=lambda one: (one.fingerprint, one.finding.detector.value, str(one.id)))
        ),
        first_us=min((one.at_us for one in _happened(signals) or told), default=None),
    )
