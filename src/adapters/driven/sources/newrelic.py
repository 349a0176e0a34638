"""New Relic's NerdGraph: https://docs.newrelic.com/docs/apis/nerdgraph/examples/nerdgraph-nrql-tutorial/

Theory of operation. A query answers in buckets that begin where its range does; ranges are therefore cut at whole
buckets since the epoch, and the bucket that is not over yet is left to the next run, which begins with it. TIMESERIES
takes 366 buckets at most.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from adapters.driven.sources.call_budget import CallBudget
from adapters.driven.sources.newrelic_replies import Reply, by_facet, judged, series_of, unknown_key
from adapters.driven.sources.newrelic_signals import Ask, asks_of
from adapters.driven.sources.points import NotPoints, in_parts
from adapters.driven.sources.surroundings import Surroundings
from adapters.driven.sources.turns import Pieces, in_turn
from adapters.driven.sources.vendor_failures import AnswerTooLarge, Refusal
from adapters.driven.sources.vendor_http import Vendor, VendorHttp
from core.domain.collection import ProblemKind
from core.domain.source_configs import NewRelicConfig
from core.domain.sources import SourceSpec
from core.domain.times import SECOND_US, TimeRange, parse_duration
from ports.driven.metric_source import (
    Collected,
    Discovery,
    ItemWindow,
    MetricSource,
    SourceItem,
    Usage,
)

BUCKETS_MAX: Final = 366
FACETS_MAX: Final = 5_000
"""What LIMIT MAX stands for."""
NRQL_S: Final = 60
"""How long New Relic may work on a query; its default is 5 s, an account's limit one minute or more."""
TIMEOUT_S: Final = 70.0

_ADDRESSES: Final = {"us": "https://api.newrelic.com", "eu": "https://api.eu.newrelic.com"}
_QUERY: Final = """query($account: Int!, $nrql: Nrql!, $timeout: Seconds) {
  actor { account(id: $account) { nrql(query: $nrql, timeout: $timeout) { results metadata { facets } } } }
}"""


class NewRelicSource:
    """Implements `MetricSource`: one item for each NRQL query."""

    def __init__(self, config: NewRelicConfig, asks: Sequence[Ask], http: VendorHttp, budget: CallBudget) -> None:
        self._account_id = config.account_id
        self._bucket_us = parse_duration(config.bucket, "bucket")
        self._http = http
        self._budget = budget
        self._asks = {ask.key: ask for ask in asks}

    async def discover(self, time_range: TimeRange) -> Discovery:  # noqa: ARG002  # queries are the same in any range
        """See `MetricSource.discover`; asks nothing."""
        return Discovery(items=[SourceItem(key, ask.title) for key, ask in self._asks.items()])

    def collect(self, wanted: Sequence[ItemWindow]) -> AsyncIterator[Collected]:
        """See `MetricSource.collect`."""
        return in_turn(wanted, self._fetch, self._no_data)

    def usage(self) -> Usage:
        """See `MetricSource.usage`."""
        return self._budget.usage()

    async def _fetch(self, window: ItemWindow) -> AsyncGenerator[Collected, None]:
        ask, bucket_us = self._asks[window.item.key], self._bucket_us
        start_us = window.time_range.start_us // bucket_us * bucket_us
        end_us = window.time_range.end_us // bucket_us * bucket_us
        if start_us == end_us:
            return
        whole = TimeRange(start_us, end_us)
        pieces = Pieces(whole, length_us=BUCKETS_MAX * bucket_us, shortest_us=bucket_us)
        for piece in pieces:
            try:
                rows = await self._rows(ask, piece)
            except AnswerTooLarge as too_large:
                pieces.shorten(piece, too_large)
                continue
            try:
                faceted = by_facet(ask, rows)
                has_all = len(faceted) < FACETS_MAX
                until_us = piece.end_us if has_all else None
                for part in in_parts(window.item.key, series_of(ask, faceted, piece), answered_until_us=until_us):
                    yield part
            except NotPoints as error:
                raise self._http.failure(ProblemKind.BAD_ANSWER, f"New Relic answered {error}") from None
            if not has_all:
                raise self._http.failure(
                    ProblemKind.BAD_QUERY,
                    f"New Relic answers {FACETS_MAX} facets at most, and this query has as many or more: narrow it, "
                    "or make several of it",
                )

    async def _rows(self, ask: Ask, piece: TimeRange) -> list[dict[str, Any]]:
        nrql = ask.within(piece.start_us // 1_000, piece.end_us // 1_000, self._bucket_us // SECOND_US)
        variables = {"account": self._account_id, "nrql": nrql, "timeout": NRQL_S}
        body = msgspec.json.encode({"query": _QUERY, "variables": variables})
        reply = await self._http.post("/graphql", Reply, body, "application/json", self._judged)
        assert reply.nrql is not None
        return reply.nrql.results

    def _judged(self, reply: Reply) -> Refusal | None:
        return judged(reply, self._account_id)

    def _no_data(self, within: TimeRange) -> str:
        if within.start_us // self._bucket_us == within.end_us // self._bucket_us:
            return "the range ends before its bucket does: a later run fetches it"
        return (
            f"New Relic's account {self._account_id} has nothing for this query in that range: look for a misspelt "
            "attribute or event, an agent or integration that is not installed, or data in another account or region."
            f"{self._http.clock_note()}"
        )


@asynccontextmanager
async def open_newrelic(
    spec: SourceSpec,
    credentials: Mapping[str, str],
    surroundings: Surroundings,
    *,
    trusted: bool,
    cluster_id: str | None,
    namespaces: Sequence[str],
) -> AsyncIterator[MetricSource]:
    """The source that `spec` describes; asks nothing yet."""
    assert isinstance(spec.config, NewRelicConfig)
    budget = CallBudget(spec, surroundings.clock, surroundings.pause)
    vendor = newrelic_vendor(_ADDRESSES[spec.config.region], credentials)
    client = surroundings.client_for(trusted=trusted)
    http = VendorHttp(vendor, client, budget, surroundings.clock, surroundings.pause)
    yield NewRelicSource(spec.config, asks_of(spec.config, cluster_id, namespaces), http, budget)


def newrelic_vendor(base_url: str, credentials: Mapping[str, str]) -> Vendor:
    """New Relic's API at `base_url`."""
    key = credentials["api_key"]
    return Vendor(
        name="New Relic",
        base_url=base_url,
        headers={"API-Key": key},
        secrets=(key,),
        explain=lambda reply: unknown_key() if reply.status == 401 else None,
        timeout_s=TIMEOUT_S,
    )
