"""The parameters of events, detection and incidents, as `adapters.driving.http.parameters` has those of queries."""

from typing import Annotated, Final
from uuid import UUID

from litestar.openapi.spec import Example
from litestar.params import PathParameter, QueryParameter

from core.domain.anomalies import Detector
from core.domain.errors import InvalidInput
from core.domain.events import EventSeverity
from core.domain.incidents import IncidentState
from core.domain.series import LABEL_VALUE_BYTES_MAX
from core.domain.times import TIME_US_MIN, TimeRange, parse_duration, parse_time
from ports.driven.clock import Clock

PRECISION_DAYS_DEFAULT: Final = 30
PRECISION_DAYS_MAX: Final = 3_650
"""Ten years: longer than anomalies are kept."""
SEARCH_CHARS_MAX: Final = 200
"""What people search for is a word or a line."""


def _example(value: object) -> list[Example]:
    return [Example(summary=str(value), value=value)]


def _only(what: str, example: object, *, chars_max: int | None = None, name: str | None = None) -> QueryParameter:
    return QueryParameter(name=name, description=f"Only {what}.", max_length=chars_max, examples=_example(example))


def _instant(what: str, example: str) -> QueryParameter:
    return QueryParameter(
        description=f"Only {what}, RFC 3339 with a zone.", format="date-time", examples=_example(example)
    )


_NOON: Final = "2026-01-31T12:00:00Z"
_LATER: Final = "2026-01-31T13:00:00Z"
_TEXT: Final = LABEL_VALUE_BYTES_MAX

EventInPath = Annotated[
    UUID, PathParameter(description="Id of the event.", examples=_example("3f6c1a52-8f0b-4d3e-9c55-6f1f0e6d2b11"))
]
AnomalyInPath = Annotated[
    UUID, PathParameter(description="Id of the anomaly.", examples=_example("7a1d7c1e-52b4-5c0e-8a44-0d3c5f4b9e21"))
]
IncidentInPath = Annotated[int, PathParameter(description="Id of the incident.", examples=_example(7))]
PurgeInPath = Annotated[int, PathParameter(description="Id of the purge.", examples=_example(7))]

HappenedFrom = Annotated[str | None, _instant("what happened at this instant or later", _NOON)]
HappenedBefore = Annotated[str | None, _instant("what happened before this instant", _LATER)]
SeverityOfEvent = Annotated[EventSeverity | None, _only("events of this severity", "error")]
OnHost = Annotated[str | None, _only("what is on this host", "web-1", chars_max=_TEXT)]
OfService = Annotated[str | None, _only("what belongs to this service", "checkout", chars_max=_TEXT)]
AboutMetric = Annotated[str | None, _only("what is about this metric", "cpu", chars_max=_TEXT)]
OfFingerprint = Annotated[
    str | None, _only("what has this fingerprint, which is `host:metric`", "web-1:cpu", chars_max=_TEXT)
]
Synthetic = Annotated[bool | None, _only("what the simulator made; with `false` only what it did not make", False)]
TellsOfAnomaly = Annotated[
    bool | None,
    _only(
        "events that detection wrote for an anomaly; with `false` only those that were posted", True, name="anomalies"
    ),
]

SeenFrom = Annotated[str | None, _instant("anomalies last seen at this instant or later", _NOON)]
SeenBefore = Annotated[str | None, _instant("anomalies last seen before this instant", _LATER)]
OfDetector = Annotated[Detector | None, _only("what this detector found", "spike")]
OpenAnomaly = Annotated[
    bool | None, _only("anomalies that detection still finds; with `false` only those that ended", True, name="open")
]
RiskMin = Annotated[
    float | None,
    QueryParameter(description="Only anomalies with at least this risk.", ge=0.0, le=1.0, examples=_example(0.8)),
]
Marked = Annotated[
    bool | None, _only("anomalies that somebody marked as true or false; with `false` only unmarked ones", False)
]
Days = Annotated[
    int,
    QueryParameter(
        description="Of anomalies first seen in the last so many days.",
        ge=1,
        le=PRECISION_DAYS_MAX,
        examples=_example(PRECISION_DAYS_DEFAULT),
    ),
]

StateOfIncident = Annotated[IncidentState | None, _only("incidents in this state", "acknowledged", name="state")]
Active = Annotated[
    bool | None, _only("incidents that are open or acknowledged; with `false` only those that are over", True)
]
BeganFrom = Annotated[str | None, _instant("incidents that started at this instant or later", _NOON)]
BeganBefore = Annotated[str | None, _instant("incidents that started before this instant", _LATER)]
Search = Annotated[
    str | None,
    _only(
        "incidents in whose title or narrative this stands, whatever the case of its letters",
        "memory",
        chars_max=SEARCH_CHARS_MAX,
        name="text",
    ),
]


def stretch(*, since: str | None, start: str | None, end: str | None, since_default: str, clock: Clock) -> TimeRange:
    """What a body asks to be looked at: from `start`, or the last `since`, to `end`, or now. Raises `InvalidInput`."""
    if since is not None and start is not None:
        raise InvalidInput("since", "give either since, such as 48h, or start")
    end_us = clock.now_us() if end is None else parse_time(end, "end")
    if start is not None:
        return TimeRange(parse_time(start, "start"), end_us)
    return TimeRange(max(TIME_US_MIN, end_us - parse_duration(since or since_default, "since")), end_us)
