"""Datadog's time series query, version 1: https://docs.datadoghq.com/api/latest/metrics/query-timeseries-points/

Theory of operation. Datadog rolls points up by how wide the range is that was asked for: one hour comes in 20 s, four
hours in minutes, a day in five minutes (https://docs.datadoghq.com/dashboards/functions/rollup/). Two ranges of
different widths would thus give different points at the same instants. So every request is for exactly `RANGE_US`
ending at a whole minute, none later than the window, and of its answer only those intervals are kept that it covers
whole and that are wanted: points are minutes' averages, or what the query's own `.rollup()` says, however the windows
of two runs overlap. The interval that holds a window's start is given whole; one that is not over at its end, be it the
minute under way, is left to the next run.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from adapters.driven.sources.call_budget import CallBudget
from adapters.driven.sources.naming import item_key, label_set, metric_name
from adapters.driven.sources.points import NotPoints, columns, in_parts, series_points
from adapters.driven.sources.surroundings import Surroundings
from adapters.driven.sources.turns import Pieces, in_turn
from adapters.driven.sources.vendor_failures import Refusal, VendorFailed
from adapters.driven.sources.vendor_http import Vendor, VendorHttp
from adapters.runtime.outbound import OutboundReply
from core.domain.collection import ProblemKind
from core.domain.source_configs import DatadogConfig
from core.domain.sources import SourceSpec
from core.domain.times import HOUR_US, MINUTE_US, SECOND_US, TimeRange
from ports.driven.metric_source import (
    Collected,
    Discovery,
    ItemWindow,
    MetricSource,
    SeenInstance,
    SeriesPoints,
    SourceItem,
    Usage,
)

RANGE_US: Final = 4 * HOUR_US
"""The widest that is answered in minutes."""
INTERVAL_US_MAX: Final = HOUR_US
"""The longest rollup of a query's own that is always covered whole: requests overlap by as much."""
PERMISSION: Final = "timeseries_query"


class DatadogSource:
    """Implements `MetricSource`: one item for each query."""

    def __init__(self, config: DatadogConfig, http: VendorHttp, budget: CallBudget) -> None:
        self._site = config.site
        self._http = http
        self._budget = budget
        self._queries = {item_key(query): query for query in config.queries}

    async def discover(self, time_range: TimeRange) -> Discovery:  # noqa: ARG002  # queries are the same in any range
        """See `MetricSource.discover`; asks nothing."""
        return Discovery(items=[SourceItem(key, query) for key, query in self._queries.items()])

    def collect(self, wanted: Sequence[ItemWindow]) -> AsyncIterator[Collected]:
        """See `MetricSource.collect`."""
        return in_turn(wanted, self._fetch, self._no_data)

    def usage(self) -> Usage:
        """See `MetricSource.usage`."""
        return self._budget.usage()

    async def _fetch(self, window: ItemWindow) -> AsyncGenerator[Collected, None]:
        start_us = window.time_range.start_us // MINUTE_US * MINUTE_US
        end_us = window.time_range.end_us // MINUTE_US * MINUTE_US
        if start_us == end_us:
            return
        for piece in Pieces(TimeRange(start_us, end_us), length_us=RANGE_US - INTERVAL_US_MAX, shortest_us=MINUTE_US):
            answer = await self._answer(self._queries[window.item.key], piece.end_us)
            self._check_intervals(answer)
            try:
                for part in in_parts(window.item.key, _series(answer, piece), answered_until_us=piece.end_us):
                    yield part
            except NotPoints as error:
                raise self._http.failure(ProblemKind.BAD_ANSWER, f"Datadog answered {error}") from None

    async def _answer(self, query: str, end_us: int) -> "_Answer":
        params = {"from": str((end_us - RANGE_US) // SECOND_US), "to": str(end_us // SECOND_US), "query": query}
        try:
            answer = await self._http.get("/api/v1/query", _Answer, params)
        except VendorFailed as failed:
            if failed.problem.kind is not ProblemKind.PERMISSION:
                raise
            raise await self._refused() from None
        if answer.status != "ok" or answer.error or answer.errors:
            said = answer.error or "; ".join(answer.errors) or f"status {answer.status!r}"
            raise self._http.failure(ProblemKind.BAD_QUERY, f"Datadog refused the query: {said}")
        return answer

    def _check_intervals(self, answer: "_Answer") -> None:
        for each in answer.series:
            if not 0 < each.interval * SECOND_US <= INTERVAL_US_MAX:
                raise self._http.failure(
                    ProblemKind.BAD_QUERY,
                    f"rolls up to {each.interval:g} s; at most {INTERVAL_US_MAX // SECOND_US} may be",
                )

    async def _refused(self) -> VendorFailed:
        """What a 403 is about, which Datadog says of its own accord nowhere: a key, or a permission."""
        for path, credential in (("/api/v1/validate", "API key"), ("/api/v2/validate_keys", "application key")):
            try:
                await self._http.get(path, _Valid)
            except VendorFailed as failed:
                if failed.problem.kind in (ProblemKind.PERMISSION, ProblemKind.CREDENTIALS):
                    return self._http.failure(
                        ProblemKind.CREDENTIALS,
                        f"Datadog does not know the {credential} at the site {self._site}: the key is wrong or "
                        "revoked, or it belongs to another site",
                    )
                if failed.problem.kind in (ProblemKind.UNREACHABLE, ProblemKind.RATE_LIMITED):
                    return failed
        return self._http.failure(
            ProblemKind.PERMISSION,
            f"Datadog's application key may not query metrics: give it, and the role of its owner, the permission "
            f"{PERMISSION}",
        )

    def _no_data(self, within: TimeRange) -> str:
        if within.start_us // MINUTE_US == within.end_us // MINUTE_US:
            return "the range ends before its minute does: a later run fetches it"
        return (
            "Datadog has no points for this query in that range: look for a misspelt metric or tag, an agent that is "
            f"not running, a rollup whose interval is not over, or another site than {self._site}."
            f"{self._http.clock_note()}"
        )


@asynccontextmanager
async def open_datadog(
    spec: SourceSpec,
    credentials: Mapping[str, str],
    surroundings: Surroundings,
    *,
    trusted: bool,
    cluster_id: str | None,  # noqa: ARG001  # its queries say what is wanted
    namespaces: Sequence[str],  # noqa: ARG001  # the same
) -> AsyncIterator[MetricSource]:
    """The source that `spec` describes; asks nothing yet."""
    assert isinstance(spec.config, DatadogConfig)
    budget = CallBudget(spec, surroundings.clock, surroundings.pause)
    vendor = datadog_vendor(f"https://api.{spec.config.site}", credentials)
    client = surroundings.client_for(trusted=trusted)
    yield DatadogSource(spec.config, VendorHttp(vendor, client, budget, surroundings.clock, surroundings.pause), budget)


def datadog_vendor(base_url: str, credentials: Mapping[str, str]) -> Vendor:
    """Datadog's API at `base_url`."""
    keys = (credentials["api_key"], credentials["app_key"])
    return Vendor(
        name="Datadog",
        base_url=base_url,
        headers={"DD-API-KEY": keys[0], "DD-APPLICATION-KEY": keys[1]},
        secrets=keys,
        explain=_explained,
        reset_header="x-ratelimit-reset",
    )


class _Series(msgspec.Struct):
    pointlist: list[Any]
    metric: str | None = None
    expression: str | None = None
    scope: str | None = None
    tag_set: list[str] | None = None
    aggr: str | None = None
    interval: float = MINUTE_US / SECOND_US
    """Seconds."""


class _Answer(msgspec.Struct):
    status: str = "ok"
    error: str | None = None
    errors: list[str] = []
    series: list[_Series] = []


class _Valid(msgspec.Struct):
    """Both checks answer with more or less beside the status; it is the status that counts."""


class _Errors(msgspec.Struct):
    errors: list[str]


def _explained(reply: OutboundReply) -> Refusal | None:
    """Datadog's own words on what is wrong with a query; 401 and 403 are looked into by asking again."""
    if reply.status == 401:
        return Refusal(kind=ProblemKind.PERMISSION, message="Datadog answered 401")
    if reply.status not in (400, 422):
        return None
    try:
        said = "; ".join(msgspec.json.decode(reply.body, type=_Errors).errors)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return Refusal(kind=ProblemKind.BAD_QUERY, message=f"Datadog refused the query: {said}")


def _series(answer: _Answer, piece: TimeRange) -> Iterator[SeriesPoints]:
    for each in answer.series:
        tags = _tags(each)
        labels = label_set((name, ",".join(sorted(values))) for name, values in tags.items())
        if each.aggr not in (None, "avg"):
            # Else the sum and the average of a metric would be one series.
            labels.setdefault("aggregator", str(each.aggr))
        host = labels.get("host") if len(tags.get("host", ())) == 1 else None
        instance = SeenInstance(external_id=host, kind="host", name=host) if host else None
        interval_us = round(each.interval * SECOND_US)
        first_us, last_us = piece.start_us // interval_us * interval_us, piece.end_us - interval_us
        if first_us <= last_us:
            points = columns(each.pointlist, 1_000, TimeRange(first_us, last_us + 1), nulls=True)
            yield series_points(metric_name(each.metric or each.expression or "unnamed"), labels, points, instance)


def _tags(series: _Series) -> dict[str, set[str]]:
    """The tags by name: those the query groups by, and those its scope fixes; wildcards and formulas fix none."""
    fixed = [tag for tag in (series.scope or "").split(",") if not any(mark in tag for mark in "*!() ")]
    tags: dict[str, set[str]] = {}
    for tag in [*(series.tag_set or ()), *fixed]:
        name, _, value = tag.partition(":")
        if value:
            tags.setdefault(name, set()).add(value)
    return tags
