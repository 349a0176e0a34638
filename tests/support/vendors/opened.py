"""Sources of the four HTTP vendors, opened on their doubles. The client code is the one that is shipped."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from adapters.driven.memory.clock import FakeClock
from adapters.driven.sources.call_budget import CallBudget
from adapters.driven.sources.datadog import DatadogSource, datadog_vendor
from adapters.driven.sources.newrelic import NewRelicSource, newrelic_vendor
from adapters.driven.sources.newrelic_signals import asks_of
from adapters.driven.sources.opening import VendorSources
from adapters.driven.sources.vendor_http import Vendor, VendorHttp
from core.domain.source_configs import DatadogConfig, NewRelicConfig, SourceConfig
from core.domain.sources import SourceSpec
from ports.driven.metric_source import MetricSource
from tests.support.vendors.passing import PassingPause, loopback_surroundings


class World:
    """A clock, waits that pass at once, and a network of which only loopback is reached."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.pause = PassingPause(self.clock)
        self.surroundings = loopback_surroundings(self.clock, self.pause)

    @asynccontextmanager
    async def opened(
        self,
        config: SourceConfig,
        credentials: Mapping[str, str],
        *,
        cluster_id: str | None = None,
        namespaces: Sequence[str] = (),
        calls_per_run_max: int = 1_000,
    ) -> AsyncIterator[MetricSource]:
        """The source of a tenant that is not trusted."""
        spec = spec_of(config, calls_per_run_max)
        sources = VendorSources(self.surroundings)
        async with sources.open(
            spec, credentials, trusted=False, cluster_id=cluster_id, namespaces=namespaces
        ) as source:
            yield source

    def datadog(
        self, url: str, config: DatadogConfig, keys: Mapping[str, str], *, calls_per_run_max: int = 1_000
    ) -> MetricSource:
        """Datadog at an address of its own, which no configuration can say."""
        http, budget = self._http(datadog_vendor(url, keys), config, calls_per_run_max)
        return DatadogSource(config, http, budget)

    def newrelic(
        self,
        url: str,
        config: NewRelicConfig,
        keys: Mapping[str, str],
        *,
        cluster_id: str | None = None,
        namespaces: Sequence[str] = (),
        calls_per_run_max: int = 1_000,
    ) -> MetricSource:
        """The same of New Relic."""
        http, budget = self._http(newrelic_vendor(url, keys), config, calls_per_run_max)
        return NewRelicSource(config, asks_of(config, cluster_id, namespaces), http, budget)

    def _http(self, vendor: Vendor, config: SourceConfig, calls_per_run_max: int) -> tuple[VendorHttp, CallBudget]:
        budget = CallBudget(spec_of(config, calls_per_run_max), self.clock, self.pause)
        return VendorHttp(vendor, self.surroundings.client, budget, self.clock, self.pause), budget


class Only:
    """A `SourceOpener` that knows one source: two of the vendors have no address that a configuration can say."""

    def __init__(self, source: MetricSource) -> None:
        self._source = source

    @asynccontextmanager
    async def open(
        self,
        spec: SourceSpec,
        credentials: Mapping[str, str],
        *,
        trusted: bool,
        cluster_id: str | None,
        namespaces: Sequence[str],
    ) -> AsyncIterator[MetricSource]:
        """See `SourceOpener.open`."""
        yield self._source


def spec_of(config: SourceConfig, calls_per_run_max: int = 1_000) -> SourceSpec:
    """A source that is asked as fast as may be."""
    return SourceSpec(name="it", config=config, calls_per_minute=60_000, calls_per_run_max=calls_per_run_max)
