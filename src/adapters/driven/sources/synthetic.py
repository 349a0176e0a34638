"""The synthetic source: a fleet of made-up machines and a made-up cluster, for demonstrations.

It has data for every instant, past and present, and says the same whenever it is asked about the same one. What it
gives carries the label ``synthetic="true"``.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager

from adapters.driven.sources.call_budget import BudgetSpent, CallBudget
from adapters.driven.sources.points import in_parts
from adapters.driven.sources.surroundings import Surroundings
from adapters.driven.sources.synthetic_cluster import Cluster
from adapters.driven.sources.synthetic_fleet import FLEET_METRICS, Fleet
from core.domain.source_configs import SyntheticConfig
from core.domain.sources import SourceSpec
from core.domain.telemetry import STANDARD_METRICS
from core.domain.times import TimeRange, parse_duration
from ports.driven.clock import Clock
from ports.driven.metric_source import Collected, Discovery, ItemWindow, MetricSource, SeriesPoints, SourceItem, Usage


class SyntheticSource:
    """Implements `MetricSource`."""

    def __init__(self, fleet: Fleet | None, cluster: Cluster, budget: CallBudget, clock: Clock) -> None:
        """Without a `fleet` only the cluster is told of."""
        self._fleet = fleet
        self._cluster = cluster
        self._budget = budget
        self._clock = clock

    async def discover(self, time_range: TimeRange) -> Discovery:
        """See `MetricSource.discover`."""
        cluster = self._cluster
        items = [SourceItem(f"fleet {name}", name) for name in FLEET_METRICS] if self._fleet else []
        if cluster.workloads:
            items += [
                SourceItem(f"cluster {cluster.cluster_id} {metric.name}", f"{metric.name} of {cluster.cluster_id}")
                for metric in STANDARD_METRICS
            ]
        return Discovery(
            items=items,
            instances=self._fleet.instances() if self._fleet else (),
            snapshots=cluster.snapshots(time_range),
            configurations=cluster.configurations(since_us=time_range.start_us, now_us=self._clock.now_us()),
        )

    async def collect(self, wanted: Sequence[ItemWindow]) -> AsyncIterator[Collected]:
        """See `MetricSource.collect`."""
        for one in wanted:
            try:
                await self._budget.spend()
            except BudgetSpent as spent:
                yield Collected(key=one.item.key, problem=spent.problem)
                continue
            for part in in_parts(one.item.key, self._series(one)):
                yield part
            yield Collected(key=one.item.key, complete=True)

    def usage(self) -> Usage:
        """See `MetricSource.usage`."""
        return self._budget.usage()

    def _series(self, wanted: ItemWindow) -> Iterator[SeriesPoints]:
        metric = wanted.item.key.rpartition(" ")[2]
        if wanted.item.key.startswith("fleet ") and self._fleet:
            return self._fleet.series(metric, wanted.time_range)
        return self._cluster.series(metric, wanted.time_range)


@asynccontextmanager
async def open_synthetic(
    spec: SourceSpec,
    credentials: Mapping[str, str],  # noqa: ARG001  # it takes none
    surroundings: Surroundings,
    *,
    trusted: bool,  # noqa: ARG001  # it touches nothing
    cluster_id: str | None,
    namespaces: Sequence[str],
) -> AsyncIterator[MetricSource]:
    """The fleet and the cluster; the cluster alone, so called and narrowed, where one or its namespaces are named."""
    config = spec.config
    assert isinstance(config, SyntheticConfig), "opened by its kind"
    step_us = parse_duration(config.step, "config.step")
    narrowed = cluster_id is not None or bool(namespaces)
    yield SyntheticSource(
        None if narrowed else Fleet(size=config.instances, seed=config.seed, step_us=step_us),
        Cluster(
            cluster_id=cluster_id or config.cluster_id,
            seed=config.seed,
            step_us=step_us,
            namespaces=tuple(namespaces),
        ),
        CallBudget(spec, surroundings.clock, surroundings.pause),
        surroundings.clock,
    )
