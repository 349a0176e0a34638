"""The parameters of queries: what each is called and means in OpenAPI, and how its text becomes a value."""

from collections.abc import Sequence
from typing import Annotated, Final

from litestar.openapi.spec import Example
from litestar.params import PathParameter, QueryParameter

from core.domain.definitions import Aggregation
from core.domain.errors import InvalidInput
from core.domain.queries import LIMIT_MAX, Fill
from core.domain.series import LABELS_MAX, check_label_name, check_name
from core.domain.times import HOUR_US, TIME_US_MIN, TimeRange, parse_time
from ports.driven.clock import Clock

RANGE_DEFAULT_US: Final = HOUR_US
"""What a query looks at that names no start."""
BUCKET_DEFAULT: Final = "5m"
CURSOR_CHARS_MAX: Final = 512
"""Several times what any cursor of ours takes."""


def _example(value: object) -> list[Example]:
    return [Example(summary=str(value), value=value)]


MetricName = Annotated[
    str,
    QueryParameter(description="The metric's name.", examples=_example("cpu.usage")),
]
MetricInPath = Annotated[
    str,
    PathParameter(description="The metric's name.", examples=_example("cpu.usage")),
]
LabelInPath = Annotated[
    str,
    PathParameter(description="The label's name; a / in it is written %2F.", examples=_example("host")),
]
Start = Annotated[
    str | None,
    QueryParameter(
        description="First instant of the range, RFC 3339 with a zone. Default: one hour before the end.",
        format="date-time",
        examples=_example("2026-01-31T12:00:00Z"),
    ),
]
End = Annotated[
    str | None,
    QueryParameter(
        description="End of the range, itself not in it, RFC 3339 with a zone. Default: now.",
        format="date-time",
        examples=_example("2026-01-31T13:00:00Z"),
    ),
]
Matchers = Annotated[
    list[str] | None,
    QueryParameter(
        name="label",
        description="Which series: `host=a`, `host!=a`, `host=~a.*` or `host!~a.*` (RE2, the whole value must "
        "match). May repeat; all must hold. A label that a series lacks counts as empty.",
        examples=_example(["host=web-1", "region=~eu-.*"]),
    ),
]
GroupBy = Annotated[
    list[str] | None,
    QueryParameter(
        description="Labels to tell lines apart by; may repeat or be separated by commas. Without it one line is "
        "drawn over all matching series.",
        examples=_example(["host"]),
    ),
]
Limit = Annotated[
    int,
    QueryParameter(description="How many samples a page holds at most.", ge=1, le=LIMIT_MAX, examples=_example(100)),
]
Cursor = Annotated[
    str | None,
    QueryParameter(
        description="Where the page begins: `next_cursor` of the page before it.", max_length=CURSOR_CHARS_MAX
    ),
]
Prefix = Annotated[
    str, QueryParameter(description="Only names that begin with this.", max_length=200, examples=_example("cpu"))
]
Bucket = Annotated[
    str,
    QueryParameter(
        description="The length of a bucket: a whole number of ms, s, m, h, d or w. Buckets are aligned to the epoch.",
        examples=_example("5m"),
    ),
]
Agg = Annotated[
    Aggregation | None,
    QueryParameter(
        description="How a bucket's samples become one value. Default: by the metric's definition (gauge and summary "
        "avg, counter rate, histogram p95).",
        examples=_example("avg"),
    ),
]
FillWith = Annotated[
    Fill,
    QueryParameter(
        description="What stands in a bucket without a value; `none` leaves it out.", examples=_example("null")
    ),
]
TenantInQuery = Annotated[
    str | None,
    QueryParameter(description="Name or id of the tenant. Default: the key's own.", examples=_example("acme")),
]


def time_range(start: str | None, end: str | None, clock: Clock) -> TimeRange:
    """The range asked for; raises `InvalidInput`."""
    end_us = clock.now_us() if end is None else parse_time(end, "end")
    start_us = max(TIME_US_MIN, end_us - RANGE_DEFAULT_US) if start is None else parse_time(start, "start")
    return TimeRange(start_us, end_us)


def group_labels(texts: Sequence[str] | None) -> list[str]:
    """The labels to group by, in the order given, each once; raises `InvalidInput`."""
    labels = list(dict.fromkeys(label.strip() for text in texts or () for label in text.split(",")))
    if len(labels) > LABELS_MAX:
        raise InvalidInput("group_by", f"{len(labels)} labels; no series has more than {LABELS_MAX}")
    for label in labels:
        check_label_name(label, "group_by")
    return labels


def metric_name(text: str) -> str:
    """`text`, if it can be a metric's name; else raises `InvalidInput`."""
    check_name(text)
    return text


def label_name(text: str) -> str:
    """The label that a path segment names."""
    label = segment_text(text)
    check_label_name(label, "label")
    return label


def segment_text(segment: str) -> str:
    """What was sent as a path segment, in which `front` leaves slashes and percent signs encoded."""
    return segment.replace("%2F", "/").replace("%25", "%")
