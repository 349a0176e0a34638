"""The four HTTP vendors side by side: each one's double with one series of its own, and the shipped client on it."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import msgspec
import numpy as np

from core.domain.columns import Float64s, Int64s
from core.domain.source_configs import (
    DatadogConfig,
    HawkeyeConfig,
    NewRelicConfig,
    NrqlQuery,
    PrometheusConfig,
    PromQuery,
)
from ports.driven.metric_source import MetricSource
from tests.support.vendors.datadog import API_KEY, APP_KEY, DatadogDouble, Sent
from tests.support.vendors.double import VendorDouble
from tests.support.vendors.hawkeye import KEY as HAWKEYE_KEY
from tests.support.vendors.hawkeye import HawkeyeDouble, Signal
from tests.support.vendors.newrelic import ACCOUNT_ID, Events, NewRelicDouble
from tests.support.vendors.newrelic import KEY as NEWRELIC_KEY
from tests.support.vendors.opened import World
from tests.support.vendors.prometheus import PrometheusDouble, Scraped

TOKEN = "t0ken-of-a-tenant"
WRONG_KEY = "wrong-key-of-somebody-else"
SECRETS = (API_KEY, APP_KEY, NEWRELIC_KEY, HAWKEYE_KEY, TOKEN, WRONG_KEY)

Minutes = Mapping[int, float]
"""Values by minutes' starts, in seconds since the Unix epoch, ascending."""


class OneSeries(msgspec.Struct, eq=False):
    """A vendor with one series, and its client."""

    double: VendorDouble
    source: MetricSource
    stranger: MetricSource
    """The same client with wrong credentials."""
    has: Callable[[Minutes], None]
    """From now on this is all that the vendor has."""
    limited: "Limited"
    """The client anew, for a run of so many calls."""


Limited = Callable[[int], AbstractAsyncContextManager[MetricSource]]
Serve = Callable[[World], AbstractAsyncContextManager[OneSeries]]


@asynccontextmanager
async def datadog(world: World) -> AsyncIterator[OneSeries]:
    """Datadog with one host."""
    double = DatadogDouble(world.clock)
    config = DatadogConfig(queries=("avg:system.cpu.idle{*} by {host}",))

    def has(minutes: Minutes) -> None:
        double.sent = [Sent("system.cpu.idle", {"host": "a"}, *_columns(minutes))]

    async with double.serving():
        source, stranger = (
            world.datadog(double.url, config, {"api_key": key, "app_key": APP_KEY}) for key in (API_KEY, WRONG_KEY)
        )
        keys = {"api_key": API_KEY, "app_key": APP_KEY}
        limited = _each(lambda calls: world.datadog(double.url, config, keys, calls_per_run_max=calls))
        yield OneSeries(double, source, stranger, has, limited)


@asynccontextmanager
async def newrelic(world: World) -> AsyncIterator[OneSeries]:
    """New Relic with one kind of event."""
    double = NewRelicDouble(world.clock)
    query = NrqlQuery(metric="m", select="max(x) FROM Transaction", facet=("host",))
    config = NewRelicConfig(account_id=ACCOUNT_ID, queries=(query,))

    def has(minutes: Minutes) -> None:
        known = dict(minutes)
        double.events = [Events("Transaction", {"host": "a"}, lambda _, start_s: known.get(start_s))] if known else []

    async with double.serving():
        source, stranger = (world.newrelic(double.url, config, {"api_key": key}) for key in (NEWRELIC_KEY, WRONG_KEY))
        keys = {"api_key": NEWRELIC_KEY}
        limited = _each(lambda calls: world.newrelic(double.url, config, keys, calls_per_run_max=calls))
        yield OneSeries(double, source, stranger, has, limited)


@asynccontextmanager
async def hawkeye(world: World) -> AsyncIterator[OneSeries]:
    """Hawkeye with one pod."""
    double = HawkeyeDouble(world.clock)

    def has(minutes: Minutes) -> None:
        double.signals = [Signal("c", "n", "p", "cpu", "cores", dict(minutes))]

    has({})
    async with double.serving(), AsyncExitStack() as opened:
        config = HawkeyeConfig(base_url=double.url, cluster_id="c")
        source, stranger = [
            await opened.enter_async_context(world.opened(config, {"api_key": key})) for key in (HAWKEYE_KEY, WRONG_KEY)
        ]

        def limited(calls: int) -> AbstractAsyncContextManager[MetricSource]:
            return world.opened(config, {"api_key": HAWKEYE_KEY}, calls_per_run_max=calls)

        yield OneSeries(double, source, stranger, has, limited)


@asynccontextmanager
async def prometheus(world: World) -> AsyncIterator[OneSeries]:
    """Prometheus with one target, behind a token."""
    double = PrometheusDouble(world.clock)
    double.token = TOKEN

    def has(minutes: Minutes) -> None:
        double.scraped = [Scraped({"__name__": "up", "instance": "a"}, *_columns(minutes))]

    async with double.serving(), AsyncExitStack() as opened:
        config = PrometheusConfig(url=double.url, queries=(PromQuery(metric="up", promql="up"),))
        source, stranger = [
            await opened.enter_async_context(world.opened(config, {"bearer_token": token}))
            for token in (TOKEN, WRONG_KEY)
        ]

        def limited(calls: int) -> AbstractAsyncContextManager[MetricSource]:
            return world.opened(config, {"bearer_token": TOKEN}, calls_per_run_max=calls)

        yield OneSeries(double, source, stranger, has, limited)


VENDORS: tuple[Serve, ...] = (datadog, newrelic, hawkeye, prometheus)


def _each(made: Callable[[int], MetricSource]) -> Limited:
    @asynccontextmanager
    async def limited(calls: int) -> AsyncIterator[MetricSource]:
        yield made(calls)

    return limited


def _columns(minutes: Minutes) -> tuple[Int64s, Float64s]:
    return np.array(list(minutes), np.int64), np.array(list(minutes.values()), np.float64)
