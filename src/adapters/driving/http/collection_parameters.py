"""The parameters of sources, their runs, and instances."""

import re
from typing import Annotated, Final

from litestar.params import PathParameter, QueryParameter

from adapters.driving.http.parameter_words import example, only
from core.domain.collection import CollectionState
from core.domain.errors import InvalidInput
from core.domain.series import LABEL_VALUE_BYTES_MAX
from core.domain.source_configs import NAME_CHARS_MAX, SourceKind
from core.domain.times import MINUTE_US, SECOND_US, format_duration, parse_duration

WAIT_DEFAULT: Final = "60s"
WAIT_US_MAX: Final = 5 * MINUTE_US
"""As long as proxies commonly let a request take; what runs longer is polled."""

_NO_WAIT: Final = re.compile(r"0+(ms|s|m|h)?\Z", re.ASCII)
_COLON: Final = re.compile(r"(?<!\\):")


_KINDS: Final = ", ".join(f"`{kind.value}`" for kind in SourceKind)

SourceInPath = Annotated[str, PathParameter(description="Name of the source.", examples=example("production-aws"))]
CollectedInPath = Annotated[
    str,
    PathParameter(
        description=f"A kind of source, which means all enabled ones of it: {_KINDS}; or the name of one stored "
        "source, enabled or not.",
        examples=example("cloudwatch"),
    ),
]
RunInPath = Annotated[int, PathParameter(description="Id of the run.", examples=example(7))]
InstanceInPath = Annotated[int, PathParameter(description="Id of the instance.", examples=example(7))]

OfSource = Annotated[
    str | None, only("runs of the source of this name", "production-aws", name="source", chars_max=NAME_CHARS_MAX)
]
StateOfRun = Annotated[CollectionState | None, only("runs in this state", "partial", name="state")]
Wait = Annotated[
    str,
    QueryParameter(
        description="How long to wait for the runs to end, up to 5m; `0`: not at all.",
        examples=example(WAIT_DEFAULT),
    ),
]
OfProvider = Annotated[
    SourceKind | None, only("instances that this kind of source told of", "cloudwatch", name="provider")
]
OfInstanceKind = Annotated[
    str | None, only("instances of this kind", "ec2", name="kind", chars_max=LABEL_VALUE_BYTES_MAX)
]
InRegion = Annotated[
    str | None, only("instances in this region", "eu-central-1", name="region", chars_max=LABEL_VALUE_BYTES_MAX)
]
WithTag = Annotated[
    str | None,
    QueryParameter(
        name="tag",
        description="Only instances with this tag, as `key:value`. A colon in the key is written `\\:`.",
        max_length=2 * LABEL_VALUE_BYTES_MAX,
        examples=example("env:production"),
    ),
]
SeenSince = Annotated[
    str | None,
    QueryParameter(
        description="Only instances seen at this instant or later, RFC 3339 with a zone.",
        format="date-time",
        examples=example("2026-01-31T12:00:00Z"),
    ),
]


def wait_s(wait: str) -> float:
    """Seconds to wait; raises `InvalidInput`."""
    if _NO_WAIT.match(wait):
        return 0.0
    wait_us = parse_duration(wait, "wait")
    if wait_us > WAIT_US_MAX:
        raise InvalidInput("wait", f"at most {format_duration(WAIT_US_MAX)}; look at the runs again later")
    return wait_us / SECOND_US


def tag_pair(text: str | None) -> tuple[str, str] | None:
    """Key and value of a tag, None where there is none; raises `InvalidInput`."""
    if text is None:
        return None
    key, *rest = _COLON.split(text, maxsplit=1)
    if not key or not rest:
        raise InvalidInput("tag", f"{text[:64]!r} is not a tag as key:value")
    return key.replace("\\:", ":"), rest[0]
