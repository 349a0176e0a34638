"""Answering queries: one snapshot, settled samples and the head joined, bucket mathematics, fill."""

import base64
import binascii
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from core.domain.aggregation import (
    DECOMPOSABLE,
    PERCENTILES,
    Buckets,
    finish,
    increases_of,
    lines_of,
    merge_partials,
    partials_of,
    per_second,
    percentiles_of,
)
from core.domain.columns import Columns, Float64s, Int64s, empty_columns, overriding
from core.domain.definitions import (
    RETENTION_DAYS_DEFAULT,
    Aggregation,
    MetricDefinition,
    MetricType,
    default_aggregation,
    retention_cutoff,
)
from core.domain.errors import InvalidInput, TooExpensive
from core.domain.fill import filled
from core.domain.queries import (
    BUCKETS_PER_LINE_MAX,
    CATALOG_ANSWER_MAX,
    LIMIT_MAX,
    POINTS_ANSWERED_MAX,
    AggregateResult,
    AggregateRow,
    Fill,
    LatestSample,
    Line,
    RawPage,
    RawSample,
    SeriesResult,
)
from core.domain.series import check_label_name, check_name
from core.domain.tenants import Limits, Principal, Scope
from core.domain.times import DAY_US, MINUTE_US, TimeRange, format_duration, format_times
from core.services.newest import newest_in
from core.services.policies import Policies
from ports.driven.clock import Clock
from ports.driven.sample_reader import Lines, SampleReader, SeriesTable, Snapshot
from ports.driven.telemetry import Telemetry
from ports.driving.querying import Selector

GROUP_BY_MAX: Final = 10
"""More labels than a table or a chart can show."""
FUTURE_US: Final = DAY_US
"""`latest` looks this far ahead of the clock, past any skew that ingest lets in."""
STATISTICS: Final = (50.0, 95.0, 99.0)


class QueryService:
    """Implements `ports.driving.querying.Querying`."""

    def __init__(self, reader: SampleReader, policies: Policies, clock: Clock, telemetry: Telemetry) -> None:
        self._reader = reader
        self._policies = policies
        self._clock = clock
        self._telemetry = telemetry

    async def raw(
        self, principal: Principal, selector: Selector, time_range: TimeRange, *, limit: int, cursor: str | None
    ) -> RawPage:
        """See `Querying.raw`."""
        if not 1 <= limit <= LIMIT_MAX:
            raise InvalidInput("limit", f"must be from 1 to {LIMIT_MAX}")
        after = _decode_cursor(cursor) if cursor is not None else None
        started_s, limits = await self._begin(principal, selector)
        async with self._reader.snapshot(principal.tenant_id, limits) as snapshot:
            kept = await self._kept(snapshot, selector.name, time_range)
            table = await snapshot.find(selector.name, selector.matchers)
            page = await _page(snapshot, table, kept, limit, after) if kept is not None else RawPage([], None)
        self._end("raw", started_s, len(page.data))
        return page

    async def latest(self, principal: Principal, selector: Selector) -> Sequence[LatestSample]:
        """See `Querying.latest`."""
        started_s, limits = await self._begin(principal, selector)
        now_us = self._clock.now_us()
        async with self._reader.snapshot(principal.tenant_id, limits) as snapshot:
            kept = await self._kept(snapshot, selector.name, TimeRange(0, now_us + FUTURE_US))
            table = await snapshot.find(selector.name, selector.matchers)
            newest = await newest_in(snapshot, table.series_ids, kept) if kept is not None else None
        if newest is None:
            return []
        rows = np.searchsorted(table.series_ids, newest.series_ids).tolist()
        answer = [
            LatestSample(one.name, one.labels, one.source or None, timestamp, value)
            for one, timestamp, value in zip(
                (table.series[row] for row in rows),
                format_times(newest.ts_us.tolist()),
                newest.values.tolist(),
                strict=True,
            )
        ]
        self._end("latest", started_s, len(answer))
        return answer

    async def aggregate(
        self, principal: Principal, selector: Selector, time_range: TimeRange, *, group_by: Sequence[str]
    ) -> AggregateResult:
        """See `Querying.aggregate`."""
        _check_group_by(group_by)
        started_s, limits = await self._begin(principal, selector)
        async with self._reader.snapshot(principal.tenant_id, limits) as snapshot:
            kept = await self._kept(snapshot, selector.name, time_range)
            table = await snapshot.find(selector.name, selector.matchers)
            lines, labels = _group(table, group_by)
            if kept is None or lines.count == 0:
                return AggregateResult(selector.name, [])
            head = snapshot.head(lines.series_ids, kept)
            settled = await snapshot.settled_values(lines, kept, head)
        head_lines = lines_of(head, lines.series_ids, lines.lines)
        rows = []
        for line in range(lines.count):
            values = np.concatenate([settled[line].values, head.values[head_lines == line]])
            if len(values):
                rows.append(_statistics(labels[line], values))
        self._end("aggregate", started_s, len(rows))
        return AggregateResult(selector.name, rows)

    async def series(
        self,
        principal: Principal,
        selector: Selector,
        time_range: TimeRange,
        *,
        bucket_us: int,
        group_by: Sequence[str],
        aggregation: Aggregation | None,
        fill: Fill,
    ) -> SeriesResult:
        """See `Querying.series`."""
        _check_group_by(group_by)
        buckets = _bucket_count(time_range, bucket_us)
        started_s, limits = await self._begin(principal, selector)
        async with self._reader.snapshot(principal.tenant_id, limits) as snapshot:
            definition = await snapshot.definition(selector.name)
            chosen = aggregation or _default_aggregation(definition)
            cutoff_us = self._cutoff_us(definition)
            kept = time_range.clamped(cutoff_us)
            table = await snapshot.find(selector.name, selector.matchers)
            lines, labels = _group(table, group_by)
            if lines.count * buckets > POINTS_ANSWERED_MAX:
                raise TooExpensive(
                    f"{lines.count:,} lines of {buckets:,} buckets are more than {POINTS_ANSWERED_MAX:,} values; "
                    "ask for longer buckets, a shorter range or fewer groups",
                    limit=POINTS_ANSWERED_MAX,
                )
            if kept is None or lines.count == 0:
                return SeriesResult(selector.name, bucket_us, chosen.value, [])
            values = await _buckets(snapshot, lines, kept, bucket_us, chosen, cutoff_us)
        answer = [
            Line(label_set, *filled(starts, line_values, time_range, bucket_us, fill))
            for label_set, starts, line_values in _by_line(values, labels)
        ]
        self._end("series", started_s, sum(len(line.values) for line in answer))
        return SeriesResult(selector.name, bucket_us, chosen.value, answer)

    async def names(self, principal: Principal, prefix: str) -> Sequence[str]:
        """See `Querying.names`."""
        principal.require(Scope.QUERY)
        if "\x00" in prefix:
            raise InvalidInput("prefix", "contains a NUL character")
        return await self._reader.names(principal.tenant_id, prefix, CATALOG_ANSWER_MAX)

    async def label_names(self, principal: Principal) -> Sequence[str]:
        """See `Querying.label_names`."""
        principal.require(Scope.QUERY)
        return await self._reader.label_names(principal.tenant_id, CATALOG_ANSWER_MAX)

    async def label_values(self, principal: Principal, label: str) -> Sequence[str]:
        """See `Querying.label_values`."""
        principal.require(Scope.QUERY)
        check_label_name(label, "label")
        return await self._reader.label_values(principal.tenant_id, label, CATALOG_ANSWER_MAX)

    async def _begin(self, principal: Principal, selector: Selector) -> tuple[float, Limits]:
        principal.require(Scope.QUERY)
        check_name(selector.name)
        rules = await self._policies.of(principal.tenant_id)
        return self._clock.monotonic_s(), rules.limits

    def _end(self, kind: str, started_s: float, points: int) -> None:
        self._telemetry.queried(kind, took_s=self._clock.monotonic_s() - started_s, points=points)

    async def _kept(self, snapshot: Snapshot, name: str, time_range: TimeRange) -> TimeRange | None:
        """The part of the range that the metric's retention keeps."""
        return time_range.clamped(self._cutoff_us(await snapshot.definition(name)))

    def _cutoff_us(self, definition: MetricDefinition | None) -> int:
        """The oldest instant that the metric's retention keeps."""
        days = definition.retention_days if definition is not None else RETENTION_DAYS_DEFAULT
        return retention_cutoff(self._clock.now_us(), days)


async def _page(
    snapshot: Snapshot, table: SeriesTable, kept: TimeRange, limit: int, after: tuple[int, int] | None
) -> RawPage:
    """The first `limit` samples after a position, by (ts, series)."""
    settled = await snapshot.settled_points(table.series_ids, kept, first=limit + 1, after=after)
    head = snapshot.head(table.series_ids, kept)
    if after is not None:
        later = (head.ts_us > after[0]) | ((head.ts_us == after[0]) & (head.series_ids > after[1]))
        head = head.take(later)
    points = overriding(settled, head)
    points = points.take(np.lexsort((points.series_ids, points.ts_us))[: limit + 1])
    more = len(points) > limit
    points = points.take(slice(limit))
    rows = np.searchsorted(table.series_ids, points.series_ids).tolist()
    samples = [
        RawSample(timestamp, one.name, one.labels, one.source or None, value)
        for one, timestamp, value in zip(
            (table.series[row] for row in rows),
            format_times(points.ts_us.tolist()),
            points.values.tolist(),
            strict=True,
        )
    ]
    return RawPage(samples, _encode_cursor(points) if more else None)


async def _buckets(
    snapshot: Snapshot, lines: Lines, kept: TimeRange, bucket_us: int, aggregation: Aggregation, cutoff_us: int
) -> Buckets:
    head = snapshot.head(lines.series_ids, kept)
    if aggregation in DECOMPOSABLE:
        ends = aggregation in (Aggregation.FIRST, Aggregation.LAST)
        parts = list(await snapshot.settled_partials(lines, kept, bucket_us, head, ends=ends))
        parts.append(partials_of(head, lines_of(head, lines.series_ids, lines.lines), bucket_us))
        return finish(merge_partials(parts), aggregation)
    points = overriding(await snapshot.settled_points(lines.series_ids, kept), head)
    if aggregation in PERCENTILES:
        line_of = lines_of(points, lines.series_ids, lines.lines)
        return percentiles_of(points, line_of, bucket_us, [PERCENTILES[aggregation]])[0]
    before = await _last_before(snapshot, lines, kept, cutoff_us)
    increases = increases_of(
        overriding(before, points), lines.series_ids, lines.lines, bucket_us, start_us=kept.start_us
    )
    return per_second(increases, bucket_us) if aggregation is Aggregation.RATE else increases


async def _last_before(snapshot: Snapshot, lines: Lines, kept: TimeRange, cutoff_us: int) -> Columns:
    """Each series' last sample before the range: the first delta's other end, so answers do not depend on start.

    What retention no longer keeps is not looked at, because it may be deleted at any time.
    """
    since_us = max(0, cutoff_us)
    if kept.start_us <= since_us:
        return empty_columns()
    return await newest_in(snapshot, lines.series_ids, TimeRange(since_us, kept.start_us))


def _group(table: SeriesTable, group_by: Sequence[str]) -> tuple[Lines, list[dict[str, str]]]:
    """Series to lines, one per distinct set of `group_by` labels, in ascending order of their values."""
    if not group_by:
        count = 1 if len(table.series_ids) else 0
        return Lines(table.series_ids, np.zeros(len(table.series_ids), np.int32), count), [{}] * count
    keys = [tuple(one.labels.get(label, "") for label in group_by) for one in table.series]
    distinct = {key: line for line, key in enumerate(sorted(set(keys)))}
    lines = np.fromiter((distinct[key] for key in keys), np.int32, len(keys))
    labels = [dict(zip(group_by, key, strict=True)) for key in distinct]
    return Lines(table.series_ids, lines, len(distinct)), labels


def _by_line(values: Buckets, labels: Sequence[dict[str, str]]) -> list[tuple[dict[str, str], Int64s, Float64s]]:
    """Each line that has values, with its bucket starts and values."""
    bounds = np.searchsorted(values.lines, np.arange(len(labels) + 1))
    return [
        (labels[line], values.buckets_us[start:end], values.values[start:end])
        for line, (start, end) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
        if end > start
    ]


def _statistics(labels: dict[str, str], values: Float64s) -> AggregateRow:
    with np.errstate(over="ignore"):
        p50, p95, p99 = np.percentile(values, STATISTICS).tolist()
        return AggregateRow(
            labels,
            len(values),
            float(values.mean()),
            float(values.min()),
            float(values.max()),
            float(values.sum()),
            p50,
            p95,
            p99,
        )


def _default_aggregation(definition: MetricDefinition | None) -> Aggregation:
    return definition.default_aggregation if definition is not None else default_aggregation(MetricType.GAUGE)


def _bucket_count(time_range: TimeRange, bucket_us: int) -> int:
    count = -(-time_range.end_us // bucket_us) - time_range.start_us // bucket_us
    if count > BUCKETS_PER_LINE_MAX:
        shortest_us = -(-(time_range.end_us - time_range.start_us) // (BUCKETS_PER_LINE_MAX - 1))
        rounded_us = -(-shortest_us // MINUTE_US) * MINUTE_US
        raise InvalidInput(
            "bucket",
            f"{format_duration(bucket_us)} makes {count:,} buckets of this range; at most {BUCKETS_PER_LINE_MAX:,} "
            f"are answered: use {format_duration(rounded_us)} or longer",
        )
    return count


def _check_group_by(group_by: Sequence[str]) -> None:
    if len(group_by) > GROUP_BY_MAX:
        raise InvalidInput("group_by", f"{len(group_by)} labels; at most {GROUP_BY_MAX} are allowed")
    if len(set(group_by)) < len(group_by):
        raise InvalidInput("group_by", "names a label twice")
    for label in group_by:
        check_label_name(label, "group_by")


def _encode_cursor(points: Columns) -> str:
    position = (int(points.ts_us[-1]), int(points.series_ids[-1]))
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def _decode_cursor(cursor: str) -> tuple[int, int]:
    try:
        ts_us, series_id = msgspec.json.decode(
            base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=tuple[int, int]
        )
    except (msgspec.DecodeError, binascii.Error, ValueError):
        raise InvalidInput("cursor", "is not one that this server gave; pass next_cursor as it came") from None
    if not (0 <= ts_us < 1 << 53 and 0 <= series_id < 1 << 31):
        raise InvalidInput("cursor", "is not one that this server gave; pass next_cursor as it came")
    return ts_us, series_id
