"""The parameters of telemetry, capacity and configurations: clusters and what is in them, and stretches of time."""

import re
from datetime import datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

from litestar.params import PathParameter, QueryParameter

from adapters.driving.http.alert_parameters import PAGE_MAX
from adapters.driving.http.parameter_words import example, only, only_instant
from adapters.driving.http.parameters import segment_text
from core.domain.configurations import ConfigKind
from core.domain.names import check_cluster_id
from core.domain.times import EPOCH, HOUR_US, TIME_US_MIN, TimeRange, parse_time
from ports.driven.clock import Clock

HOURS_DEFAULT: Final = 24.0
HOURS_MAX: Final = 8_784.0
"""A leap year: as far as anyone compares."""
DAYS_MAX: Final = 366.0
NAME_CHARS_MAX: Final = 253
"""Of a cluster, a namespace, a workload or a pod, as Kubernetes bounds them."""

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)


def _in_path(what: str, name: str) -> PathParameter:
    return PathParameter(
        description=f"Name of the {what}; a / in it is written %2F, a % as %25.", examples=example(name)
    )


def _of_baseline(what: str, value: str, *, name: str | None = None) -> QueryParameter:
    return QueryParameter(
        name=name,
        description=f"The {what} of the baseline.",
        min_length=1,
        max_length=NAME_CHARS_MAX,
        examples=example(value),
    )


def _days(what: str, value: float, *, name: str | None = None) -> QueryParameter:
    return QueryParameter(name=name, description=what, gt=0, le=DAYS_MAX, examples=example(value))


ClusterInPath = Annotated[str, _in_path("cluster", "prod-eu")]
NamespaceInPath = Annotated[str, _in_path("namespace", "shop")]
WorkloadInPath = Annotated[str, _in_path("workload, such as a Deployment", "checkout")]
PodInPath = Annotated[str, _in_path("pod", "checkout-6d5f7c9b8-x2k4q")]
ConfigChangeInPath = Annotated[
    UUID, PathParameter(description="Id of the change.", examples=example("5b0c9a52-1f7e-4d0f-8a39-7c4b9be0d671"))
]

Hours = Annotated[
    float,
    QueryParameter(
        description="The range: so many hours, up to now.",
        gt=0,
        le=HOURS_MAX,
        examples=example(HOURS_DEFAULT),
    ),
]
InNamespace = Annotated[str | None, only("what is in this namespace", "shop", chars_max=NAME_CHARS_MAX)]
InCluster = Annotated[
    str | None, only("what belongs to this cluster", "prod-eu", name="cluster_id", chars_max=NAME_CHARS_MAX)
]
OfWorkload = Annotated[str | None, only("what belongs to this workload", "checkout", chars_max=NAME_CHARS_MAX)]
OfConfigKind = Annotated[ConfigKind | None, only("changes of this part of the configuration", "image", name="kind")]
ChangedFrom = Annotated[str | None, only_instant("changes at this instant or later", "2026-01-31T12:00:00Z")]
ChangedBefore = Annotated[str | None, only_instant("changes before this instant", "2026-01-31T13:00:00Z")]
AtInstant = Annotated[
    str | None,
    QueryParameter(
        name="ts",
        description="The instant, RFC 3339 with a zone. Default: now.",
        format="date-time",
        examples=example("2026-01-31T12:00:00Z"),
    ),
]
OfOneNamespace = Annotated[
    str | None,
    QueryParameter(
        name="namespace",
        description="The workload's namespace. It may be left out where only one has a workload of that name.",
        max_length=NAME_CHARS_MAX,
        examples=example("shop"),
    ),
]

BaselineCluster = Annotated[str, _of_baseline("cluster", "prod-eu", name="cluster_id")]
BaselineNamespace = Annotated[str, _of_baseline("namespace", "shop")]
BaselineWorkload = Annotated[str, _of_baseline("workload", "checkout")]
BaselineKind = Annotated[
    ConfigKind, QueryParameter(description="Which part of the configuration.", examples=example("resource"))
]

StartDate = Annotated[
    str | None,
    QueryParameter(
        description="Only snapshots of this instant or later: RFC 3339 with a zone, or a date, whose day begins at "
        "midnight UTC.",
        examples=example("2026-01-01"),
    ),
]
EndDate = Annotated[
    str | None,
    QueryParameter(
        description="Only snapshots before this instant, RFC 3339 with a zone; or a date, the whole of whose day in "
        "UTC is included.",
        examples=example("2026-01-31"),
    ),
]
SnapshotLimit = Annotated[
    int,
    QueryParameter(
        description="How many at most: the newest of the range.", ge=1, le=PAGE_MAX, examples=example(PAGE_MAX)
    ),
]
ForecastDays = Annotated[float, _days("The line is drawn through the snapshots of the last so many days.", 30.0)]
HorizonDays = Annotated[
    float, _days("How far ahead to look; what comes later is `not within`.", 90.0, name="horizon_days")
]
UseDays = Annotated[float, _days("Use is judged by the last so many days.", 7.0)]


def cluster_name(field: str, segment: str) -> str:
    """The name of a cluster, or of something in one, that a path segment holds; raises `InvalidInput`."""
    name = segment_text(segment)
    check_cluster_id(field, name)
    return name


def last_hours(hours: float, clock: Clock) -> TimeRange:
    """So many hours, up to now."""
    now_us = clock.now_us()
    return TimeRange(max(TIME_US_MIN, now_us - max(1, round(hours * HOUR_US))), now_us)


def instant_of(field: str, text: str | None) -> datetime | None:
    """The instant of an RFC 3339 text, None where it is None; raises `InvalidInput`."""
    return None if text is None else EPOCH + timedelta(microseconds=parse_time(text, field))


def day_or_instant(field: str, text: str | None, *, ends: bool = False) -> datetime | None:
    """An instant, or the beginning (`ends`: the end) of a day in UTC; raises `InvalidInput`."""
    if text is None or not _DATE.match(text):
        return instant_of(field, text)
    midnight = EPOCH + timedelta(microseconds=parse_time(f"{text}T00:00:00Z", field))
    return midnight + timedelta(days=1) if ends else midnight
