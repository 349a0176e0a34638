"""What an incident's signals say, in short pieces of a sentence, each with the rows that it rests on."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from enum import Enum
from typing import Final

import msgspec
import numpy as np

from core.detection.incident_words import counted, is_resource, listed, quoted, reading, spoken
from core.detection.metric_meaning import ObservedSeries
from core.domain.anomalies import Anomaly, Detector
from core.domain.incidents import Reference, ReferenceKind, Signal, SignalKind
from core.domain.times import EPOCH

REFERENCES_MAX: Final = 50
"""Of one sentence; whoever wants the other rows of a storm finds them in the timeline."""
_VARIANCE = re.compile(r"variance escalated (?:([0-9.]+)x|from none)")
_TREND = re.compile(r"\brose (?:[0-9]+%|from 0)")
_BAND = re.compile(r"\b(?:value|level) (-?[0-9.e+-]+), usually (-?[0-9.e+-]+) to (-?[0-9.e+-]+)")
_SPIKE = re.compile(r"\bspiked\b")


class Sort(Enum):
    """What a signal tells of."""

    ERROR = "error"
    WARNING = "warning"
    LEVEL = "level"
    """A posted warning or error about a resource."""
    SPIKE = "spike"
    UNUSUAL = "unusual"
    TREND = "trend"
    VARIANCE = "variance"
    ALERT = "alert"
    CHANGE = "change"


class Piece(msgspec.Struct, frozen=True):
    """A part of a sentence."""

    text: str
    short: str
    """For the title."""
    references: tuple[Reference, ...]


def sort_of(signal: Signal) -> Sort:
    """What a signal tells of; of an anomaly its recorded words say which detector spoke."""
    match signal.kind:
        case SignalKind.ALERT:
            return Sort.ALERT
        case SignalKind.CHANGE:
            return Sort.CHANGE
        case SignalKind.ERROR:
            if is_resource(signal.metric):
                return Sort.LEVEL
            return Sort.ERROR if signal.severe else Sort.WARNING
        case SignalKind.ANOMALY:
            if _SPIKE.search(signal.text):
                return Sort.SPIKE
            if _VARIANCE.search(signal.text):
                return Sort.VARIANCE
            return Sort.TREND if _TREND.search(signal.text) else Sort.UNUSUAL


def is_condition(signal: Signal) -> bool:
    """Whether it tells of a state that was found at some time, not of something that happened at its moment."""
    return sort_of(signal) in (Sort.TREND, Sort.VARIANCE)


def is_low(signal: Signal) -> bool:
    """Whether it tells of less than usual, which is no shortage."""
    return sort_of(signal) is Sort.UNUSUAL and _how_unusual([signal]) == "unusually low"


def references_to(signals: Iterable[Signal]) -> tuple[Reference, ...]:
    """The rows behind signals, at most `REFERENCES_MAX`."""
    found: dict[tuple[ReferenceKind, str], None] = {}
    for signal in signals:
        kind, _, row = signal.key.partition(":")
        found[ReferenceKind(kind), row] = None
        if signal.anomaly_id is not None:
            found[ReferenceKind.ANOMALY, str(signal.anomaly_id)] = None
        if len(found) >= REFERENCES_MAX:
            break
    return tuple(Reference(kind=kind, id=row) for kind, row in list(found)[:REFERENCES_MAX])


def samples(series: ObservedSeries, start_us: int, end_us: int) -> Reference:
    """The samples of a series in [start, end)."""
    start, end = (EPOCH + timedelta(microseconds=int(at_us)) for at_us in (start_us, end_us))
    return Reference(kind=ReferenceKind.SAMPLES, metric=series.name, labels=dict(series.labels), start=start, end=end)


class Levels:
    """Where measured series stood at one moment."""

    def __init__(self, series: Iterable[ObservedSeries], at_us: int) -> None:
        self._at_us = at_us
        self._series = {(one.name, frozenset(one.labels.items())): one for one in series}

    def before(self, metric: str, labels: Mapping[str, str]) -> tuple[float, Reference] | None:
        """The series' last sample up to the moment, and where it is."""
        one = self._series.get((metric, frozenset(labels.items())))
        usable = np.flatnonzero((one.ts_us <= self._at_us) & np.isfinite(one.values)) if one is not None else ()
        if one is None or not len(usable):
            return None
        last = usable[np.argmax(one.ts_us[usable])]
        return float(one.values[last]), samples(one, int(one.ts_us[last]), int(one.ts_us[last]) + 1)


def pieces_of(
    signals: Sequence[Signal], conditions: Sequence[Anomaly] = (), levels: Levels | None = None
) -> list[Piece]:
    """What happened, the worst first; changes are told elsewhere. `conditions` are of the same hosts and services."""
    sorts = defaultdict[Sort, list[Signal]](list)
    about = defaultdict[str, dict[Sort, list[Signal]]](lambda: defaultdict(list))
    for signal in signals:
        sorts[sort_of(signal)].append(signal)
        about[signal.metric][sort_of(signal)].append(signal)
    known = levels or Levels((), 0)
    pieces = []
    if errors := sorts[Sort.ERROR]:
        pieces.append(Piece(counted(len(errors), "error event"), counted(len(errors), "error"), references_to(errors)))
    if warnings := sorts[Sort.WARNING]:
        told = counted(len(warnings), "warning")
        pieces.append(Piece(told, told, references_to(warnings)))
    for metric in sorted({*about, *(one.metric for one in conditions)}, key=_resources_first):
        states = [one for one in conditions if one.metric == metric]
        pieces += _of_metric(metric, about.get(metric, {}), states, known)
    if alerts := sorts[Sort.ALERT]:
        said = listed(sorted({quoted(one.text) for one in alerts}))
        text = f"alert {said}" if len(alerts) == 1 else f"{counted(len(alerts), 'alert')} ({said})"
        pieces.append(Piece(text, counted(len(alerts), "alert"), references_to(alerts)))
    return pieces


def _of_metric(
    metric: str, told: Mapping[Sort, Sequence[Signal]], states: Sequence[Anomaly], levels: Levels
) -> Iterable[Piece]:
    name = spoken(metric)
    spikes, unusual = told.get(Sort.SPIKE, ()), told.get(Sort.UNUSUAL, ())
    if spikes:
        # Another detector that saw the same says it less plainly, and is only referred to.
        text = f"{name} spike to" if len(spikes) == 1 else f"{len(spikes):,} {name} spikes up to"
        short = f"{name} spike" if len(spikes) == 1 else f"{len(spikes):,} {name} spikes"
        yield Piece(_up_to(text, short, spikes), short, references_to([*spikes, *unusual]))
    elif unusual:
        how = _how_unusual(unusual)
        times = " at" if len(unusual) == 1 else f" {len(unusual):,} times, up to"
        text = _up_to(f"{name} {how}{times}", f"{name} {how}", unusual)
        yield Piece(text, f"unusual {name}", references_to(unusual))
    if posted := told.get(Sort.LEVEL, ()):
        noun = "error" if any(one.severe for one in posted) else "warning"
        count = counted(len(posted), f"{name} {noun}")
        yield Piece(
            _up_to(f"{count} at" if len(posted) == 1 else f"{count} up to", count, posted), count, references_to(posted)
        )
    yield from _trend(
        metric, told.get(Sort.TREND, ()), [one for one in states if one.finding.detector is Detector.TREND], levels
    )
    yield from _variance(
        name, told.get(Sort.VARIANCE, ()), [one for one in states if one.finding.detector is Detector.VARIANCE]
    )


def _trend(metric: str, told: Sequence[Signal], states: Sequence[Anomaly], levels: Levels) -> Iterable[Piece]:
    """How far it has come: by the sample before the moment, else by the line that was found."""
    if not told and not states:
        return
    name = spoken(metric)
    course = {"memory": "leak progression", "disk": "filling up"}.get(name, "rising")
    found = [(one.labels, one.finding.observed) for one in states]
    found += [(one.labels, one.value) for one in told if one.value is not None]
    measured = [level for labels, _ in found if (level := levels.before(metric, labels)) is not None]
    references = [*references_to(told), *_to_anomalies(states)]
    value: float | None
    if measured:
        value, reference = max(measured, key=lambda level: level[0])
        references.append(reference)
    else:
        value = max((value for _, value in found), default=None)
    text = f"{name} at {reading(metric, value)} ({course})" if value is not None else f"{name} {course}"
    yield Piece(text, f"{name} {'leak' if name == 'memory' else 'rise'}", _unique(references))


def _variance(name: str, told: Sequence[Signal], states: Sequence[Anomaly]) -> Iterable[Piece]:
    if not told and not states:
        return
    said = [_VARIANCE.search(text) for text in [*(one.finding.phrase for one in states), *(one.text for one in told)]]
    ratios = [float(match[1]) for match in said if match is not None and match[1]]
    text = f"{name} varying {max(ratios):.2f} times as much as before" if ratios else f"{name} varying more than before"
    yield Piece(text, f"unsteady {name}", _unique([*references_to(told), *_to_anomalies(states)]))


def _how_unusual(signals: Sequence[Signal]) -> str:
    """Where all were above what is usual, or all below, that is said."""
    bands = [_BAND.search(one.text) for one in signals]
    above = {float(band[1]) > float(band[3]) for band in bands if band is not None}
    below = {float(band[1]) < float(band[2]) for band in bands if band is not None}
    if None in bands or above == below:
        return "unusual"
    return "unusually high" if above == {True} else "unusually low" if below == {True} else "unusual"


def _up_to(text: str, without: str, signals: Sequence[Signal]) -> str:
    values = _values(signals)
    return f"{text} {reading(signals[0].metric, max(values))}" if values else without


def _values(signals: Sequence[Signal]) -> list[float]:
    return [one.value for one in signals if one.value is not None]


def _to_anomalies(anomalies: Iterable[Anomaly]) -> list[Reference]:
    return [Reference(kind=ReferenceKind.ANOMALY, id=str(one.id)) for one in anomalies]


def _unique(references: Iterable[Reference]) -> tuple[Reference, ...]:
    found: list[Reference] = []
    for reference in references:
        if reference not in found:
            found.append(reference)
    return tuple(found[:REFERENCES_MAX])


def _resources_first(metric: str) -> tuple[int, str]:
    place = {"CPU": 0, "memory": 1, "disk": 2}.get(spoken(metric))
    return (place, metric) if place is not None else (3 if is_resource(metric) else 4, metric)
