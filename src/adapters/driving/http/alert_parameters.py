"""The parameters of alerts and remediation, as `adapters.driving.http.parameters` has those of queries."""

from collections.abc import Sequence
from typing import Annotated, Final
from uuid import UUID

from litestar.openapi.spec import Example
from litestar.params import PathParameter, QueryParameter

from adapters.driving.http.parameters import CURSOR_CHARS_MAX
from core.domain.alerts import EpisodeState
from core.domain.errors import NotFound
from core.domain.matchers import parse_matchers
from core.domain.notifications import NotificationState
from core.domain.remediation import RemediationState
from core.domain.rules import NAME_CHARS_MAX, Severity
from core.domain.times import TimeRange, parse_time

PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 1_000
"""Some hundred kilobytes of JSON; more comes by cursor."""
INTEGER_MAX: Final = 2**31 - 1
"""Ids of what people set up are PostgreSQL integers; a larger one is nobody's, and is not looked up."""
BIGINT_MAX: Final = 2**63 - 1
"""The same of what Sextant itself adds, such as alerts."""


def _example(value: object) -> list[Example]:
    return [Example(summary=str(value), value=value)]


def _in_path(what: str) -> PathParameter:
    return PathParameter(description=f"Id of the {what}.", examples=_example(7))


AlertInPath = Annotated[int, _in_path("alert")]
RuleInPath = Annotated[int, _in_path("rule")]
SilenceInPath = Annotated[int, _in_path("silence")]
InhibitionInPath = Annotated[int, _in_path("inhibition")]
ChannelInPath = Annotated[int, _in_path("channel")]
PolicyInPath = Annotated[int, _in_path("policy")]
RemediationInPath = Annotated[int, _in_path("remediation")]
NotificationInPath = Annotated[
    UUID,
    PathParameter(
        description="Id of the notification, the same however often it is sent.",
        examples=_example("0b8f9f3a-3f0e-5c7e-9a53-5f5a4d0e2c11"),
    ),
]

StateOfAlert = Annotated[
    EpisodeState | None,
    QueryParameter(
        name="state",
        description="Only alerts in this state; `firing` lists the active ones.",
        examples=_example("firing"),
    ),
]
SeverityOfAlert = Annotated[
    Severity | None,
    QueryParameter(
        description="Only alerts whose worst severity so far is this; a pending one has none.",
        examples=_example("critical"),
    ),
]
RuleOfAlert = Annotated[
    str | None,
    QueryParameter(
        description="Only alerts of the rule of this name.",
        max_length=NAME_CHARS_MAX,
        examples=_example("processors are busy"),
    ),
]
MetricOfAlert = Annotated[
    str | None, QueryParameter(description="Only alerts about this metric.", examples=_example("cpu.usage"))
]
LabelsOfAlert = Annotated[
    list[str] | None,
    QueryParameter(
        name="label",
        description="Only alerts whose labels, the rule's own included, satisfy this: `host=a`, `host!=a`, "
        "`host=~a.*` or `host!~a.*` (RE2, the whole value must match). May repeat; all must hold.",
        examples=_example(["host=web-1", "region=~eu-.*"]),
    ),
]
Acknowledged = Annotated[
    bool | None,
    QueryParameter(description="Only alerts that somebody has acknowledged, or nobody has.", examples=_example(False)),
]
Shadow = Annotated[
    bool | None,
    QueryParameter(description="Only alerts of rules in shadow mode, or only of live ones.", examples=_example(False)),
]
StartedFrom = Annotated[
    str | None,
    QueryParameter(
        description="Only alerts that started at this instant or later, RFC 3339 with a zone.",
        format="date-time",
        examples=_example("2026-01-31T12:00:00Z"),
    ),
]
StartedBefore = Annotated[
    str | None,
    QueryParameter(
        description="Only alerts that started before this instant, RFC 3339 with a zone.",
        format="date-time",
        examples=_example("2026-01-31T13:00:00Z"),
    ),
]
PageLimit = Annotated[
    int,
    QueryParameter(description="How many a page holds at most.", ge=1, le=PAGE_MAX, examples=_example(PAGE_DEFAULT)),
]
DocumentsLimit = Annotated[
    int,
    QueryParameter(
        description="How many a page holds at most; of rows with documents no more than 100 come at once, and "
        "`next_cursor` leads on.",
        ge=1,
        le=PAGE_MAX,
        examples=_example(PAGE_DEFAULT),
    ),
]
PageCursor = Annotated[
    str | None,
    QueryParameter(
        description="Where the page begins: `next_cursor` of the page before it, with the same filters.",
        max_length=CURSOR_CHARS_MAX,
    ),
]
Ended = Annotated[
    bool, QueryParameter(description="Whether to list those that have ended, too.", examples=_example(True))
]
StateOfNotification = Annotated[
    NotificationState | None,
    QueryParameter(
        name="state",
        description="Only notifications in this state; `dead` is the dead-letter list.",
        examples=_example("dead"),
    ),
]
StateOfRemediation = Annotated[
    RemediationState | None,
    QueryParameter(
        name="state", description="Only remediations in this state.", examples=_example("awaiting_approval")
    ),
]
AboutAlert = Annotated[
    int | None,
    QueryParameter(
        name="alert",
        description="Only what is about the alert with this id.",
        ge=1,
        le=BIGINT_MAX,
        examples=_example(7),
    ),
]
AboutRemediation = Annotated[
    int | None,
    QueryParameter(
        name="remediation",
        description="Only what is about the remediation with this id.",
        ge=1,
        le=BIGINT_MAX,
        examples=_example(7),
    ),
]


def existing_id(kind: str, number: int, *, id_max: int = INTEGER_MAX) -> int:
    """`number`, where some `kind` could have it as its id; else raises `NotFound`."""
    if not 1 <= number <= id_max:
        raise NotFound(kind, str(number)[:32])
    return number


def started_range(start: str | None, end: str | None) -> tuple[int | None, int | None]:
    """Both ends in microseconds since the Unix epoch, None where open; raises `InvalidInput`."""
    start_us = None if start is None else parse_time(start, "start")
    end_us = None if end is None else parse_time(end, "end")
    if start_us is not None and end_us is not None:
        TimeRange(start_us, end_us)
    return start_us, end_us


def matcher_texts(texts: Sequence[str] | None) -> tuple[str, ...]:
    """The matchers as they were sent, once they can be read; raises `InvalidInput`."""
    parse_matchers(texts or ())
    return tuple(texts or ())
