"""Reading pod metrics: for each pod its bucket averages, many pods and metrics in one snapshot.

Everything that looks at clusters (telemetry, right-sizing, drift, recommendations) reads through here, so that a pod's
number is the same everywhere. It reads for whoever was let in: callers check scopes.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from core.domain.aggregation import Partials, finish, lines_of, merge_partials, partials_of
from core.domain.columns import Columns, Float64s, Int32s, Int64s, overriding
from core.domain.definitions import Aggregation
from core.domain.errors import TooExpensive
from core.domain.matchers import LabelMatcher, MatchOp
from core.domain.names import check_cluster_id
from core.domain.queries import CATALOG_ANSWER_MAX
from core.domain.series import Series
from core.domain.telemetry import CLUSTER, NAMESPACE, NODE, POD, RESTARTS, STANDARD_METRICS, WORKLOAD
from core.domain.times import MINUTE_US, TimeRange
from core.services.policies import Policies
from core.services.telemetry_presence import shares_of
from ports.driven.clock import Clock
from ports.driven.sample_reader import Lines, SampleReader, SeriesTable, Snapshot

BUCKETS_READ_MAX: Final = 2_000_000
"""Pods times buckets of one metric: 6,000 pods in 300 buckets. Their partial aggregates take 160 MB."""
AROUND_US: Final = 15 * MINUTE_US
"""Some samples of whatever is collected more often than by the ten minutes."""
AROUND_SAMPLES_MAX: Final = 10_000
COUNTERS: Final = frozenset({RESTARTS})
"""Standard metrics that only grow; an average of one says nothing."""


class PodSeries(msgspec.Struct, frozen=True, eq=False):
    """One pod's bucket averages of one metric, unless others were asked for; of a counter (`COUNTERS`) the greatest
    value in each bucket.

    Labels that are missing are "". A series without a pod is that of a whole workload, as sources have it that do not
    tell pods apart. Several series of one pod (two sources, or two nodes that it ran on) are one: their samples count
    alike, and `node` is that of the series catalogued last.
    """

    metric: str
    namespace: str
    workload: str
    pod: str
    node: str
    ts_us: Int64s
    """Starts of buckets that have samples, ascending, microseconds since the Unix epoch, aligned to it; shape (n,),
    n > 0."""
    values: Float64s
    """Finite, shape (n,)."""
    shares: Float64s
    """What part of each bucket the pod was there (`telemetry_presence`), above 0 and at most 1, shape (n,)."""


class TelemetryReading:
    """Pod metrics of a tenant's clusters. Safe to call concurrently."""

    def __init__(self, reader: SampleReader, policies: Policies, clock: Clock) -> None:
        self._reader = reader
        self._policies = policies
        self._clock = clock

    async def read(
        self,
        tenant_id: int,
        cluster_id: str,
        names: Sequence[str],
        time_range: TimeRange,
        step_us: int,
        *,
        namespace: str | None = None,
        workload: str | None = None,
        pod: str | None = None,
        aggregation: Aggregation = Aggregation.AVG,
    ) -> Sequence[PodSeries]:
        """The pods' series of all `names` in the range, those without samples left out; names in the order given, pods
        ascending by (namespace, workload, pod).

        `aggregation` is what the values of buckets are: avg, min or max (`COUNTERS` are always max). What a metric's
        retention keeps no longer is left out. All names are read in one snapshot. Raises `InvalidInput`,
        `TooExpensive` past the tenant's limits or `BUCKETS_READ_MAX`, and `Unavailable`.
        """
        matchers = _matchers(cluster_id, namespace, workload, pod)
        rules = await self._policies.of(tenant_id)
        now_us = self._clock.now_us()
        found: list[PodSeries] = []
        async with self._reader.snapshot(tenant_id, rules.limits) as snapshot:
            for name in names:
                kept = time_range.clamped(rules.cutoff_us(name, now_us))
                table = await snapshot.find(name, matchers)
                if kept is not None and len(table.series_ids):
                    how = Aggregation.MAX if name in COUNTERS else aggregation
                    found += await _pods(snapshot, name, cluster_id, table, kept, step_us, how)
        return found

    async def clusters(self, tenant_id: int) -> Sequence[str]:
        """All clusters that series were ever told of, ascending, at most `CATALOG_ANSWER_MAX`. Raises `Unavailable`."""
        return await self._reader.label_values(tenant_id, CLUSTER, CATALOG_ANSWER_MAX)

    async def known(
        self,
        tenant_id: int,
        cluster_id: str,
        *,
        namespace: str | None = None,
        workload: str | None = None,
        pod: str | None = None,
    ) -> bool:
        """Whether there is a series of any standard metric, with samples or without."""
        matchers = _matchers(cluster_id, namespace, workload, pod)
        rules = await self._policies.of(tenant_id)
        async with self._reader.snapshot(tenant_id, rules.limits) as snapshot:
            for metric in STANDARD_METRICS:
                if len((await snapshot.find(metric.name, matchers)).series_ids):
                    return True
        return False


async def _pods(
    snapshot: Snapshot,
    name: str,
    cluster_id: str,
    table: SeriesTable,
    kept: TimeRange,
    step_us: int,
    aggregation: Aggregation,
) -> list[PodSeries]:
    """The series of one metric."""
    lines, pods = _lines(table)
    buckets = -(-kept.end_us // step_us) - kept.start_us // step_us
    if lines.count * buckets > BUCKETS_READ_MAX:
        raise TooExpensive(
            f"{name}: {lines.count:,} pods in {buckets:,} buckets are more than {BUCKETS_READ_MAX:,} values; "
            "ask for a namespace, a workload or a shorter range",
            limit=BUCKETS_READ_MAX,
        )
    head = snapshot.head(lines.series_ids, kept)
    parts: list[Partials] = list(await snapshot.settled_partials(lines, kept, step_us, head, ends=False))
    parts.append(partials_of(head, lines_of(head, lines.series_ids, lines.lines), step_us))
    with np.errstate(over="ignore"):  # a sum of the greatest numbers there are: clipped below
        cells = merge_partials(parts)
        merged = finish(cells, aggregation)
    values = finite(merged.values)
    shares = await shares_of(cells, kept, step_us, _Samples(snapshot, name, cluster_id, lines, kept))
    bounds = np.searchsorted(merged.lines, np.arange(lines.count + 1)).tolist()
    return [
        PodSeries(
            name,
            one.labels.get(NAMESPACE, ""),
            one.labels.get(WORKLOAD, ""),
            one.labels.get(POD, ""),
            one.labels.get(NODE, ""),
            merged.buckets_us[start:end],
            values[start:end],
            shares[start:end],
        )
        for one, start, end in zip(pods, bounds[:-1], bounds[1:], strict=True)
        if end > start
    ]


class _Samples(msgspec.Struct, frozen=True, eq=False):
    """Those of one metric that tell the interval between them; implements `telemetry_presence.Samples`."""

    snapshot: Snapshot
    name: str
    cluster_id: str
    lines: Lines
    kept: TimeRange

    async def of(self, lines: Int32s) -> Columns:
        """See `Samples.of`."""
        ids = self.lines.series_ids[np.isin(self.lines.lines, lines)]
        return overriding(await self.snapshot.settled_points(ids, self.kept), self.snapshot.head(ids, self.kept))

    async def around(self, since_us: int) -> Columns:
        """See `Samples.around`: the first of `AROUND_US`."""
        ids = (await self.snapshot.find(self.name, _matchers(self.cluster_id, None, None, None))).series_ids
        start_us = max(self.kept.start_us, min(since_us, self.kept.end_us - AROUND_US))
        time_range = TimeRange(start_us, min(start_us + AROUND_US, self.kept.end_us))
        settled = await self.snapshot.settled_points(ids, time_range, first=AROUND_SAMPLES_MAX)
        return overriding(settled, self.snapshot.head(ids, time_range))


def _lines(table: SeriesTable) -> tuple[Lines, list[Series]]:
    """Series to lines, one per pod in ascending order, and each line's series that was catalogued last."""
    keys = [
        (one.labels.get(NAMESPACE, ""), one.labels.get(WORKLOAD, ""), one.labels.get(POD, "")) for one in table.series
    ]
    newest = dict(zip(keys, table.series, strict=True))  # ascending by id: the last of each key stays
    order = sorted(newest)
    line_of = {key: line for line, key in enumerate(order)}
    lines: Int32s = np.fromiter((line_of[key] for key in keys), np.int32, len(keys))
    return Lines(table.series_ids, lines, len(order)), [newest[key] for key in order]


def _matchers(
    cluster_id: str, namespace: str | None, workload: str | None, pod: str | None
) -> tuple[LabelMatcher, ...]:
    wanted = ((CLUSTER, cluster_id), (NAMESPACE, namespace), (WORKLOAD, workload), (POD, pod))
    for label, value in wanted:
        if value is not None:
            check_cluster_id(label, value)
    return tuple(LabelMatcher(label, MatchOp.EQUAL, value) for label, value in wanted if value is not None)


def finite(values: Float64s) -> Float64s:
    """The same with what overflowed put back to the greatest number there is: JSON has no infinity."""
    greatest = np.finfo(np.float64).max
    return np.clip(values, -greatest, greatest)
