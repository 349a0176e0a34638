"""The world of the store's state machine: what was acknowledged, and what every query must answer of it."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

import numpy as np

from core.domain.definitions import RETENTION_DAYS_DEFAULT, Aggregation, retention_cutoff
from core.domain.queries import AggregateRow, Fill
from core.domain.tenants import Principal, Scope, Tenant
from core.domain.times import TimeRange, format_time
from core.services.query import QueryService
from ports.driving.querying import Selector
from tests.support import oracle

HOSTS = ("a", "b", "c")
REGION_OF = {"a": "eu", "b": "eu", "c": "us"}
RETENTION_DAYS = {"plain": RETENTION_DAYS_DEFAULT, "short": 3}
PAGE = 41
PERCENTS = {Aggregation.P50: 50, Aggregation.P90: 90, Aggregation.P95: 95, Aggregation.P99: 99}
GROUPS: Mapping[str, Callable[[str], tuple[tuple[str, str], ...]]] = {
    "": lambda host: (),
    "region": lambda host: (("region", REGION_OF[host]),),
    "host": lambda host: (("host", host),),
}
"""What to group by → the labels of a host's line."""

Answer = dict[tuple[tuple[tuple[str, str], ...], int], tuple[float, float]]
"""(line's labels, bucket) → the value, and the magnitude of what was added up for it."""


@dataclass
class TenantWorld:
    """One tenant: its series by (name, host), and the last acknowledged value of every (series, ts)."""

    tenant: Tenant
    series: dict[tuple[str, str], int]
    model: dict[tuple[int, int], float] = field(default_factory=dict)

    @property
    def principal(self) -> Principal:
        """Who asks."""
        return Principal(tenant_id=self.tenant.id, tenant=self.tenant.name, key_id=0, scopes=frozenset({Scope.QUERY}))

    def kept(self, name: str, end_us: int, now_us: int) -> dict[tuple[int, int], float]:
        """What retention keeps of one metric, before an instant."""
        own = [series_id for (metric, _), series_id in self.series.items() if metric == name]
        return oracle.narrowed(self.model, own, retention_cutoff(now_us, RETENTION_DAYS[name]), end_us)

    def host(self, series_id: int) -> str:
        """The host label of a series."""
        return next(host for (_, host), one in self.series.items() if one == series_id)


async def check_everything(
    service: QueryService, world: TenantWorld, name: str, time_range: TimeRange, step_us: int, now_us: int
) -> None:
    """Asserts that every kind of query gives what the model says."""
    before_end = world.kept(name, time_range.end_us, now_us)
    model = {key: value for key, value in before_end.items() if key[1] >= time_range.start_us}
    await _check_raw(service, world, name, time_range, model)
    await _check_latest(service, world, name, now_us)
    for group in GROUPS:
        await _check_statistics(service, world, name, time_range, model, group)
        for aggregation in Aggregation:
            expected = _expected(world, before_end, model, group, aggregation, time_range, step_us)
            await _check_series(service, world, name, time_range, step_us, group, aggregation, expected)


async def _check_raw(
    service: QueryService, world: TenantWorld, name: str, time_range: TimeRange, model: oracle.Model
) -> None:
    found, cursor = [], None
    while True:
        page = await service.raw(world.principal, Selector(name), time_range, limit=PAGE, cursor=cursor)
        found += [(one.timestamp, one.labels["host"], one.value) for one in page.data]
        cursor = page.next_cursor
        if cursor is None:
            break
        assert len(page.data) == PAGE
    in_order = sorted((ts_us, series_id, value) for (series_id, ts_us), value in model.items())
    assert found == [(format_time(ts_us), world.host(series_id), value) for ts_us, series_id, value in in_order]


async def _check_latest(service: QueryService, world: TenantWorld, name: str, now_us: int) -> None:
    found = await service.latest(world.principal, Selector(name))
    newest = oracle.latest(world.kept(name, now_us, now_us))
    assert {one.labels["host"]: (one.timestamp, one.value) for one in found} == {
        world.host(series_id): (format_time(ts_us), value) for series_id, (ts_us, value) in newest.items()
    }
    assert len(found) == len(newest)


async def _check_statistics(
    service: QueryService, world: TenantWorld, name: str, time_range: TimeRange, model: oracle.Model, group: str
) -> None:
    answer = await service.aggregate(world.principal, Selector(name), time_range, group_by=_names(group))
    found = {tuple(row.labels.items()): row for row in answer.data}
    values = _by_line(world, model, group)
    assert found.keys() == values.keys()
    for line, numbers in values.items():
        _check_row(found[line], numbers)


def _check_row(row: AggregateRow, values: Sequence[float]) -> None:
    magnitude = math.fsum(map(abs, values))
    assert (row.count, row.min, row.max) == (len(values), min(values), max(values))
    assert oracle.close(row.sum, math.fsum(values), magnitude)
    assert oracle.close(row.avg, math.fsum(values) / len(values), magnitude)
    for found, percent in ((row.p50, 50), (row.p95, 95), (row.p99, 99)):
        assert oracle.close(found, float(np.percentile(values, percent)), magnitude)


async def _check_series(
    service: QueryService,
    world: TenantWorld,
    name: str,
    time_range: TimeRange,
    step_us: int,
    group: str,
    aggregation: Aggregation,
    expected: Answer,
) -> None:
    answer = await service.series(
        world.principal,
        Selector(name),
        time_range,
        bucket_us=step_us,
        group_by=_names(group),
        aggregation=aggregation,
        fill=Fill.NONE,
    )
    found = {
        (tuple(line.labels.items()), bucket): value
        for line in answer.lines
        for bucket, value in zip(line.buckets_us.tolist(), line.values.tolist(), strict=True)
    }
    assert found.keys() == expected.keys(), aggregation
    for place, (value, magnitude) in expected.items():
        assert oracle.close(found[place], value, magnitude), (aggregation, place)


def _expected(
    world: TenantWorld,
    before_end: oracle.Model,
    model: oracle.Model,
    group: str,
    aggregation: Aggregation,
    time_range: TimeRange,
    step_us: int,
) -> Answer:
    labels = sorted({GROUPS[group](host) for host in HOSTS})

    def line_of(series_id: int) -> int:
        return labels.index(GROUPS[group](world.host(series_id)))

    values: Iterator[tuple[tuple[int, int], float, float]]
    if aggregation in (Aggregation.INCREASE, Aggregation.RATE):
        per_s = step_us / 1e6 if aggregation is Aggregation.RATE else 1.0
        deltas = oracle.increases(before_end, line_of, step_us, time_range.start_us, time_range.end_us)
        values = ((place, math.fsum(each) / per_s, math.fsum(map(abs, each)) / per_s) for place, each in deltas.items())
    elif aggregation in PERCENTS:
        found = oracle.percentiles(model, line_of, step_us, PERCENTS[aggregation])
        values = ((place, value, abs(value)) for place, value in found.items())
    else:
        values = (
            (
                place,
                each.sum / each.count if aggregation is Aggregation.AVG else getattr(each, aggregation.value),
                each.magnitude,
            )
            for place, each in oracle.summaries(model, line_of, step_us).items()
        )
    return {(labels[line], bucket): (value, magnitude) for (line, bucket), value, magnitude in values}


def _by_line(world: TenantWorld, model: oracle.Model, group: str) -> dict[tuple[tuple[str, str], ...], list[float]]:
    rows = sorted((GROUPS[group](world.host(series_id)), value) for (series_id, _), value in model.items())
    return {line: [value for _, value in each] for line, each in groupby(rows, itemgetter(0))}


def _names(group: str) -> list[str]:
    return [group] if group else []
