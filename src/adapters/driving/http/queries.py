"""The query routes: parameters in, a question to the core, its answer out."""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from litestar import Controller, get

from adapters.driving.http.guards import ApiRequest, ClockDependency, ServicesDependency, authenticated
from adapters.driving.http.parameters import (
    BUCKET_DEFAULT,
    Agg,
    Bucket,
    Cursor,
    End,
    FillWith,
    GroupBy,
    LabelInPath,
    Limit,
    Matchers,
    MetricInPath,
    MetricName,
    Prefix,
    Start,
    group_labels,
    label_name,
    metric_name,
    time_range,
)
from core.domain.matchers import parse_matchers
from core.domain.queries import LIMIT_DEFAULT, AggregateResult, Fill, LatestSample, Line, RawPage, SeriesResult
from core.domain.times import format_duration, format_time, parse_duration
from ports.driving.querying import Selector

TAG: Final = "Queries"


class Texts(msgspec.Struct, frozen=True):
    """Names or values, ascending."""

    data: Sequence[str]


class LatestReply(msgspec.Struct, frozen=True):
    """The newest sample of every matching series."""

    data: Sequence[LatestSample]


class SeriesPoint(msgspec.Struct, frozen=True, gc=False):
    """One bucket by its start; the value is null where `fill` left it so."""

    bucket: str
    value: float | None


class SeriesLine(msgspec.Struct, frozen=True):
    """One line, by the labels that it was grouped by."""

    labels: dict[str, str]
    points: list[SeriesPoint]


class SeriesReply(msgspec.Struct, frozen=True):
    """Values by bucket, and the bucket and aggregation that were used."""

    name: str
    bucket: str
    agg: str
    data: list[SeriesLine]


class QueryController(Controller):
    """Reading samples, with scope ``query``."""

    path = "/api/v1/metrics"
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @get("/", operation_id="raw_samples", summary="Raw samples")
    async def raw(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        clock: ClockDependency,
        name: MetricName,
        start: Start = None,
        end: End = None,
        label: Matchers = None,
        limit: Limit = LIMIT_DEFAULT,
        cursor: Cursor = None,
    ) -> RawPage:
        """Stored samples in the order of time, a page at a time. Where `next_cursor` is not null there are more:
        repeat the request with it as `cursor` and with the same range."""
        return await services.querying.raw(
            request.user, _selector(name, label), time_range(start, end, clock), limit=limit, cursor=cursor
        )

    @get("/names", operation_id="metric_names", summary="Metric names")
    async def names(self, request: ApiRequest, services: ServicesDependency, prefix: Prefix = "") -> Texts:
        """Names of the tenant's metrics, in alphabetical order."""
        return Texts(await services.querying.names(request.user, prefix))

    @get("/labels", operation_id="label_names", summary="Label names")
    async def labels(self, request: ApiRequest, services: ServicesDependency) -> Texts:
        """Names of the labels that the tenant's series carry, in alphabetical order."""
        return Texts(await services.querying.label_names(request.user))

    @get("/labels/{label:str}/values", operation_id="label_values", summary="Values of a label")
    async def label_values(self, request: ApiRequest, services: ServicesDependency, label: LabelInPath) -> Texts:
        """Values of one label among the tenant's series, in alphabetical order."""
        return Texts(await services.querying.label_values(request.user, label_name(label)))

    @get("/latest/{name:str}", operation_id="latest_samples", summary="Latest samples")
    async def latest(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        name: MetricInPath,
        label: Matchers = None,
    ) -> LatestReply:
        """The newest sample of every matching series, within the metric's retention."""
        return LatestReply(await services.querying.latest(request.user, _selector(name, label)))

    @get("/aggregate/{name:str}", operation_id="aggregate", summary="Statistics over a range")
    async def aggregate(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        clock: ClockDependency,
        name: MetricInPath,
        start: Start = None,
        end: End = None,
        label: Matchers = None,
        group_by: GroupBy = None,
    ) -> AggregateResult:
        """Count, average, extremes, sum and percentiles of all samples in the range, a row per distinct set of
        `group_by` labels. Percentiles are continuous, with linear interpolation."""
        return await services.querying.aggregate(
            request.user,
            _selector(name, label),
            time_range(start, end, clock),
            group_by=group_labels(group_by),
        )

    @get("/series/{name:str}", operation_id="series", summary="Values by bucket")
    async def series(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        clock: ClockDependency,
        name: MetricInPath,
        bucket: Bucket = BUCKET_DEFAULT,
        start: Start = None,
        end: End = None,
        label: Matchers = None,
        group_by: GroupBy = None,
        agg: Agg = None,
        fill: FillWith = Fill.NONE,
    ) -> SeriesReply:
        """One value per bucket and line, for charts. `increase` sums the rises between consecutive samples of
        each series, a drop being a counter's reset; `rate` is that per second. Nothing is extrapolated."""
        result = await services.querying.series(
            request.user,
            _selector(name, label),
            time_range(start, end, clock),
            bucket_us=parse_duration(bucket, "bucket"),
            group_by=group_labels(group_by),
            aggregation=agg,
            fill=fill,
        )
        return series_reply(result)


def series_reply(result: SeriesResult) -> SeriesReply:
    """The answer as it goes out: every distinct instant is formatted once, however many lines have it."""
    starts = {line.buckets_us.tobytes(): line.buckets_us for line in result.lines}
    distinct = np.unique(np.concatenate(list(starts.values()))).tolist() if starts else []
    texts = {bucket_us: format_time(bucket_us) for bucket_us in distinct}
    return SeriesReply(
        result.name,
        format_duration(result.bucket_us),
        result.aggregation,
        [SeriesLine(line.labels, _points(line, texts)) for line in result.lines],
    )


def _points(line: Line, texts: dict[int, str]) -> list[SeriesPoint]:
    # A NaN stands for an empty bucket, and msgspec writes it as null.
    return list(map(SeriesPoint, map(texts.__getitem__, line.buckets_us.tolist()), line.values.tolist()))


def _selector(name: str, matchers: Sequence[str] | None) -> Selector:
    return Selector(metric_name(name), parse_matchers(matchers or ()))
