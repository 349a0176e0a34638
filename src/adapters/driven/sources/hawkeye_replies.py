"""Hawkeye's answers, as docs/hawkeye.md has them."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from adapters.driven.sources.naming import label_set
from adapters.driven.sources.points import NotPoints, columns, series_points
from adapters.driven.sources.vendor_failures import Refusal
from adapters.runtime.outbound import OutboundReply
from core.domain.collection import ProblemKind
from core.domain.telemetry import CLUSTER, NAMESPACE, NODE, POD, STANDARD_METRICS, WORKLOAD
from core.domain.times import SECOND_US, TimeRange
from ports.driven.metric_source import SeenInstance, SeriesPoints

_SIGNALS: Final = {metric.signal: metric for metric in STANDARD_METRICS}


class _Cluster(msgspec.Struct):
    cluster_id: str


class Clusters(msgspec.Struct):
    """A page of clusters."""

    clusters: list[_Cluster]
    next_cursor: str | None = None


class _Series(msgspec.Struct):
    cluster_id: str
    namespace: str
    pod: str
    signal: str
    unit: str
    points: list[Any]
    workload: str | None = None
    node: str | None = None


class Signals(msgspec.Struct):
    """A page of series."""

    series: list[_Series]
    next_cursor: str | None = None


class _Error(msgspec.Struct):
    code: str
    message: str = ""
    permission: str | None = None


class _Errors(msgspec.Struct):
    error: _Error


def series_of(page: Signals, piece: TimeRange) -> Iterator[SeriesPoints]:
    """The page's series by their standard names; raises `NotPoints`."""
    for each in page.series:
        metric = _SIGNALS.get(each.signal)
        if metric is None:
            continue  # By the contract more signals may come to it.
        if each.unit != metric.unit:
            raise NotPoints(f"{each.signal} in {each.unit[:32]!r}, not in {metric.unit}")
        if not (each.cluster_id and each.namespace and each.pod):
            raise NotPoints(f"a series of {each.signal} without cluster_id, namespace or pod")
        labels = label_set(
            {
                CLUSTER: each.cluster_id,
                NAMESPACE: each.namespace,
                WORKLOAD: each.workload or "",
                POD: each.pod,
                NODE: each.node or "",
            }
        )
        instance = None
        if each.node:
            name = labels[NODE]
            tags = {CLUSTER: labels[CLUSTER]}
            instance = SeenInstance(external_id=f"{labels[CLUSTER]}/{name}", kind="node", name=name, tags=tags)
        yield series_points(metric.name, labels, columns(each.points, SECOND_US, piece, nulls=True), instance)


def explained(reply: OutboundReply) -> Refusal | None:
    """By the contract's codes."""
    try:
        error = msgspec.json.decode(reply.body, type=_Errors).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    said = f"Hawkeye answered {reply.status} ({error.code}): {error.message}"
    match error.code:
        case "unauthorized":
            return Refusal(kind=ProblemKind.CREDENTIALS, message=f"Hawkeye does not know the key: {error.message}")
        case "forbidden":
            needs = f"; it needs the permission {error.permission}" if error.permission else ""
            return Refusal(kind=ProblemKind.PERMISSION, message=f"{said}{needs}")
        case "invalid_request" | "unknown_cluster":
            return Refusal(kind=ProblemKind.BAD_QUERY, message=said)
        case "window_too_large":
            return Refusal(kind=ProblemKind.BAD_QUERY, message=said, too_large=True)
        case "cursor_expired":
            return Refusal(kind=ProblemKind.UNREACHABLE, message=f"{said}; the next run begins the window again")
        case _:
            return None
