"""GetMetricData's calls: which queries go into one, and what is in an answer. Pure."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from adapters.driven.sources.cloudwatch_items import CloudWatchItem
from adapters.driven.sources.points import columns, series_points
from core.domain.collection import Problem, ProblemKind
from core.domain.times import DAY_US, HOUR_US, MINUTE_US, SECOND_US, TimeRange, format_duration, format_time
from ports.driven.metric_source import SeriesPoints

QUERIES_PER_CALL_MAX: Final = 500
"""GetMetricData's own limit."""
POINTS_PER_ANSWER_MAX: Final = 100_800
"""GetMetricData's own limit; what has more comes in pages, and each page is paid for all metrics of the call."""
COST_USD_PER_METRIC: Final = 0.01 / 1_000
"""List price of each metric that GetMetricData is asked for."""
FINE_KEPT_US: Final = 15 * DAY_US
"""One-minute points are kept so long, then as five-minute ones for 63 days."""
DELAY_US: Final = 15 * MINUTE_US
"""Basic monitoring publishes every five minutes, and with a delay."""


class Batch(msgspec.Struct, frozen=True, eq=False):
    """What one call asks for."""

    time_range: TimeRange
    items: Sequence[CloudWatchItem]


class Message(msgspec.Struct, frozen=True, rename="pascal"):
    """CloudWatch's own words."""

    value: str = ""


class Result(msgspec.Struct, frozen=True, rename="pascal"):
    """What one page says about one query; `timestamps` in seconds since the Unix epoch."""

    id: str
    status_code: str = ""
    timestamps: list[float] = []
    values: list[float] = []
    messages: list[Message] = []


class Page(msgspec.Struct, frozen=True, rename="pascal"):
    """One answer. Results are read one by one, so that one in another shape spoils no other."""

    metric_data_results: list[Any] = []
    next_token: str | None = None


class Answered(msgspec.Struct, frozen=True, eq=False):
    """What one page says about one item; None where that cannot be read."""

    item: CloudWatchItem
    result: Result | None
    points: SeriesPoints | None
    """None where there are none."""


def whole_periods(time_range: TimeRange, period_us: int) -> TimeRange | None:
    """The periods that begin in the range or hold its start, and are over by its end; None where there is none.

    CloudWatch rounds down likewise; a period that is not over would be stored with a sum that is too low.
    """
    start_us = time_range.start_us - time_range.start_us % period_us
    end_us = time_range.end_us - time_range.end_us % period_us
    return TimeRange(start_us, end_us) if start_us < end_us else None


def batches(wanted: Iterable[tuple[CloudWatchItem, TimeRange]], period_us: int) -> Iterator[Batch]:
    """As few calls as can be, of one page each: items of equal windows together, those of one metric beside each other.

    Whichever is wanted first is in the first one.
    """
    by_range: dict[TimeRange, dict[tuple[str, str, str], list[CloudWatchItem]]] = {}
    for item, time_range in wanted:
        by_range.setdefault(time_range, {}).setdefault(item.definition, []).append(item)
    for time_range, by_metric in by_range.items():
        items = [item for some in by_metric.values() for item in some]
        periods = (time_range.end_us - time_range.start_us) // period_us
        size = max(1, min(QUERIES_PER_CALL_MAX, POINTS_PER_ANSWER_MAX // periods))
        for first in range(0, len(items), size):
            yield Batch(time_range, items[first : first + size])


def cut_at(batch: Batch, metrics: int | None) -> Sequence[Batch]:
    """The batch in two where it has more than so many metrics (None: no limit), unless not even one is affordable."""
    if not metrics or metrics >= len(batch.items):
        return [batch]
    return [Batch(batch.time_range, batch.items[:metrics]), Batch(batch.time_range, batch.items[metrics:])]


def by_definition(batch: Batch) -> Sequence[Batch]:
    """One batch for each metric and statistic in it: what CloudWatch refuses is one of them."""
    parts: dict[tuple[str, str, str], list[CloudWatchItem]] = {}
    for item in batch.items:
        parts.setdefault(item.definition, []).append(item)
    return [Batch(batch.time_range, items) for items in parts.values()]


def request_of(batch: Batch, period_us: int, token: str | None) -> dict[str, Any]:
    """GetMetricData's parameters; the queries' ids are ``q0``, ``q1`` … by their place in the batch."""
    return {
        "MetricDataQueries": [
            {
                "Id": f"q{place}",
                "MetricStat": {
                    "Metric": {
                        "Namespace": item.metric.namespace,
                        "MetricName": item.metric.name,
                        "Dimensions": [{"Name": name, "Value": value} for name, value in item.dimensions],
                    },
                    "Period": period_us // SECOND_US,
                    "Stat": item.metric.statistic,
                },
            }
            for place, item in enumerate(batch.items)
        ],
        "StartTime": batch.time_range.start_us // SECOND_US,
        "EndTime": batch.time_range.end_us // SECOND_US,
        "ScanBy": "TimestampAscending",
        "MaxDatapoints": POINTS_PER_ANSWER_MAX,
        **({} if token is None else {"NextToken": token}),
    }


def read_page(batch: Batch, page: Page) -> Iterator[Answered]:
    """What a page says; results of unknown ids are passed over."""
    by_id = {f"q{place}": item for place, item in enumerate(batch.items)}
    for found in page.metric_data_results:
        result_id = found.get("Id") if isinstance(found, dict) else None
        item = by_id.get(result_id) if isinstance(result_id, str) else None
        if item is None:
            continue
        try:
            result = msgspec.convert(found, Result)
            pairs = list(zip(result.timestamps, result.values, strict=True))
            points = columns(pairs, SECOND_US, batch.time_range, nulls=False)
        except ValueError:
            yield Answered(item, None, None)
        else:
            found_any = len(points[0]) > 0
            yield Answered(
                item, result, series_points(item.name, item.labels, points, item.instance) if found_any else None
            )


def nothing_complete(time_range: TimeRange, period_us: int) -> Problem:
    """Why nothing was asked for."""
    message = (
        f"no period of {format_duration(period_us)} is complete between {format_time(time_range.start_us)} and "
        f"{format_time(time_range.end_us)}; ask for a longer window, or set a shorter period"
    )
    return Problem(kind=ProblemKind.NO_DATA, message=message)


def no_data(item: CloudWatchItem, region: str, time_range: TimeRange, period_us: int, now_us: int) -> Problem:
    """Why CloudWatch may have no points of an item."""
    why = []
    if time_range.start_us < now_us - FINE_KEPT_US and period_us % (5 * MINUTE_US):
        why.append("points of less than 5 minutes are kept for 15 days only: set period to 5m or more")
    if now_us - time_range.end_us < DELAY_US or time_range.end_us - time_range.start_us <= HOUR_US:
        why.append("points come with a delay of up to 15 minutes")
    if item.instance is not None and item.metric.namespace == "AWS/EC2":
        why.append("the instance may be stopped or in another region; AWS/EC2 has no metric of memory or disks' use")
    else:
        why.append("the namespace, the name or the dimensions may be spelled differently, which ListMetrics shows")
    hours = math.ceil((time_range.end_us - time_range.start_us) / HOUR_US)
    return Problem(kind=ProblemKind.NO_DATA, message=f"no points in {region} in these {hours} h; {'; '.join(why)}")
