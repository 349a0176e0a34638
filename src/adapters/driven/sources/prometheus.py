"""Any server that answers Prometheus' `query_range`: labels as they come, names as configured."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from adapters.driven.sources.call_budget import CallBudget
from adapters.driven.sources.naming import item_key, label_set
from adapters.driven.sources.points import series_points
from adapters.driven.sources.prometheus_query import Answered, RangeQueries, prometheus_vendor
from adapters.driven.sources.surroundings import Surroundings
from adapters.driven.sources.turns import in_turn
from adapters.driven.sources.vendor_http import VendorHttp, base_address
from core.domain.source_configs import PrometheusConfig, PromQuery
from core.domain.sources import SourceSpec
from core.domain.times import TimeRange, parse_duration
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

TARGET: Final = "instance"
"""The label that Prometheus itself gives what it scrapes."""


class PrometheusSource:
    """Implements `MetricSource`: one item for each query."""

    def __init__(self, config: PrometheusConfig, http: VendorHttp, budget: CallBudget) -> None:
        self._http = http
        self._budget = budget
        self._step_us = parse_duration(config.step, "step")
        self._ranges = RangeQueries(http, step_us=self._step_us)
        self._labels = config.labels
        self._queries = {item_key(query.metric, query.promql): query for query in config.queries}

    async def discover(self, time_range: TimeRange) -> Discovery:  # noqa: ARG002  # queries are the same in any range
        """See `MetricSource.discover`; asks nothing."""
        items = [SourceItem(key, f"{query.metric}: {query.promql}") for key, query in self._queries.items()]
        return Discovery(items=items)

    def collect(self, wanted: Sequence[ItemWindow]) -> AsyncIterator[Collected]:
        """See `MetricSource.collect`."""
        return in_turn(wanted, self._fetch, self._no_data)

    def usage(self) -> Usage:
        """See `MetricSource.usage`."""
        return self._budget.usage()

    def _fetch(self, window: ItemWindow) -> AsyncGenerator[Collected, None]:
        query = self._queries[window.item.key]

        def named(answered: Answered) -> SeriesPoints:
            return _named(query, answered, self._labels)

        return self._ranges.parts(window.item.key, query.promql, window.time_range, named)

    def _no_data(self, within: TimeRange) -> str:
        if (within.start_us - 1) // self._step_us == (within.end_us - 1) // self._step_us:
            return "no instant of the step lies in the range: a later run fetches the next"
        return (
            f"{self._http.vendor.name} has no series for this query in that range: look for a misspelt metric or "
            f"label, a target that is not scraped, or data older than its retention.{self._http.clock_note()}"
        )


@asynccontextmanager
async def open_prometheus(
    spec: SourceSpec,
    credentials: Mapping[str, str],
    surroundings: Surroundings,
    *,
    trusted: bool,
    cluster_id: str | None,  # noqa: ARG001  # a server knows no clusters: its queries say what is wanted
    namespaces: Sequence[str],  # noqa: ARG001  # the same
) -> AsyncIterator[MetricSource]:
    """The source that `spec` describes; asks nothing yet. Raises `SourceError`."""
    assert isinstance(spec.config, PrometheusConfig)
    vendor = prometheus_vendor(base_address(spec.config.url), credentials)
    budget = CallBudget(spec, surroundings.clock, surroundings.pause)
    client = surroundings.client_for(trusted=trusted)
    yield PrometheusSource(
        spec.config, VendorHttp(vendor, client, budget, surroundings.clock, surroundings.pause), budget
    )


def _named(query: PromQuery, answered: Answered, own: Mapping[str, str]) -> SeriesPoints:
    """The series with the source's `own` labels, which make its instance another one than that of the same address."""
    found = label_set((name, value) for name, value in answered.labels.items() if name != "__name__")
    labels = {**found, **own}
    target = answered.labels.get(TARGET)
    if not target:
        return series_points(query.metric, labels, answered.points)
    tags = {name: labels[name] for name in ("job", *own) if name in labels}
    place = ",".join(f"{name}={value}" for name, value in sorted(own.items()))
    external_id = f"{target}{{{place}}}" if place else target
    instance = SeenInstance(external_id=external_id, kind="target", name=target, tags=tags)
    return series_points(query.metric, labels, answered.points, instance)
