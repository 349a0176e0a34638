"""Hawkeye APM by the contract that this project documents in docs/hawkeye.md: the golden signals of each pod."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from adapters.driven.sources.call_budget import BudgetSpent, CallBudget
from adapters.driven.sources.hawkeye_replies import Clusters, Signals, explained, series_of
from adapters.driven.sources.naming import item_key
from adapters.driven.sources.points import NotPoints, in_parts
from adapters.driven.sources.surroundings import Surroundings
from adapters.driven.sources.turns import Pieces, in_turn
from adapters.driven.sources.vendor_failures import AnswerTooLarge, VendorFailed
from adapters.driven.sources.vendor_http import Vendor, VendorHttp, base_address
from core.domain.collection import Problem, ProblemKind
from core.domain.source_configs import HawkeyeConfig
from core.domain.sources import SourceSpec
from core.domain.times import DAY_US, MINUTE_US, SECOND_US, TimeRange
from ports.driven.metric_source import (
    Collected,
    Discovery,
    ItemWindow,
    MetricSource,
    SourceError,
    SourceItem,
    Usage,
)

STEP_US: Final = MINUTE_US
RANGE_US: Final = DAY_US
"""The widest window that the contract allows."""
SERIES_PER_PAGE: Final = 200
"""A day of minutes of so many series is some seven megabytes."""
PAGES_MAX: Final = 1_000
"""Of one window: 200,000 series."""
CURSOR_CHARS_MAX: Final = 1_000

PageT = TypeVar("PageT", Clusters, Signals)


class HawkeyeSource:
    """Implements `MetricSource`: one item for each cluster, or for each namespace that is wanted of it."""

    def __init__(
        self,
        http: VendorHttp,
        budget: CallBudget,
        *,
        configured: HawkeyeConfig,
        cluster_id: str | None,
        namespaces: Sequence[str],
    ) -> None:
        """`cluster_id` and `namespaces` (empty: all) narrow what is `configured`."""
        self._http = http
        self._budget = budget
        self._configured = configured
        self._cluster_id = cluster_id
        self._namespaces = namespaces
        self._scopes: dict[str, tuple[str, str | None]] = {}

    async def discover(self, time_range: TimeRange) -> Discovery:  # noqa: ARG002  # clusters have no range
        """See `MetricSource.discover`; asks for the clusters where none is named."""
        namespaces = self._wanted_namespaces()
        wanted = self._cluster_id or self._configured.cluster_id
        if self._configured.cluster_id not in (None, wanted) or namespaces is None:
            said = "nothing of what this source is configured for was asked for: its cluster or namespaces are others"
            return Discovery(items=[], problems=[(wanted or "", Problem(kind=ProblemKind.NO_DATA, message=said))])
        try:
            clusters = [wanted] if wanted else [cluster async for cluster in self._clusters()]
        except (VendorFailed, BudgetSpent) as failed:
            raise SourceError(failed.problem.kind, failed.problem.message) from None
        for cluster in clusters:
            for namespace in namespaces or (None,):
                self._scopes[item_key(cluster, namespace or "")] = (cluster, namespace)
        items = [
            SourceItem(key, cluster if namespace is None else f"{cluster}/{namespace}")
            for key, (cluster, namespace) in self._scopes.items()
        ]
        none = Problem(kind=ProblemKind.NO_DATA, message="Hawkeye knows no cluster that this key may see")
        return Discovery(items=items, problems=[] if items else [("clusters", none)])

    def collect(self, wanted: Sequence[ItemWindow]) -> AsyncIterator[Collected]:
        """See `MetricSource.collect`."""
        return in_turn(wanted, self._fetch, self._no_data)

    def usage(self) -> Usage:
        """See `MetricSource.usage`."""
        return self._budget.usage()

    async def _clusters(self) -> AsyncIterator[str]:
        async for page in self._pages("/v1/clusters", Clusters, {"limit": str(SERIES_PER_PAGE)}):
            for cluster in page.clusters:
                yield cluster.cluster_id

    async def _fetch(self, window: ItemWindow) -> AsyncGenerator[Collected, None]:
        cluster, namespace = self._scopes[window.item.key]
        start_us = window.time_range.start_us // STEP_US * STEP_US
        steps = TimeRange(start_us, -(-window.time_range.end_us // STEP_US) * STEP_US)
        pieces = Pieces(steps, length_us=RANGE_US, shortest_us=STEP_US)
        for piece in pieces:
            params = {
                "cluster_id": cluster,
                "start": str(piece.start_us // SECOND_US),
                "end": str(piece.end_us // SECOND_US),
                "step": str(STEP_US // SECOND_US),
                "limit": str(SERIES_PER_PAGE),
            }
            if namespace is not None:
                params["namespace"] = namespace
            try:
                async for page in self._pages("/v1/golden-signals", Signals, params):
                    for part in in_parts(window.item.key, series_of(page, piece)):
                        yield part
                yield Collected(key=window.item.key, answered_until_us=piece.end_us)
            except AnswerTooLarge as too_large:
                pieces.shorten(piece, too_large)
            except NotPoints as error:
                raise self._http.failure(ProblemKind.BAD_ANSWER, f"Hawkeye answered {error}") from None

    async def _pages(self, path: str, model: type[PageT], params: Mapping[str, str]) -> AsyncIterator[PageT]:
        cursor: str | None = None
        seen: set[str] = set()
        for _ in range(PAGES_MAX):
            page = await self._http.form(path, model, params if cursor is None else {**params, "cursor": cursor})
            yield page
            cursor = page.next_cursor
            if cursor is None:
                return
            if len(cursor) > CURSOR_CHARS_MAX or cursor in seen:
                raise self._http.failure(ProblemKind.BAD_ANSWER, "Hawkeye answered a cursor that leads nowhere")
            seen.add(cursor)
        raise self._http.failure(ProblemKind.BAD_ANSWER, f"Hawkeye answered more than {PAGES_MAX} pages")

    def _wanted_namespaces(self) -> Sequence[str] | None:
        """Empty: all; None: what is asked for lies outside of what is configured."""
        if not self._configured.namespaces or not self._namespaces:
            return self._configured.namespaces or self._namespaces
        return [name for name in self._namespaces if name in self._configured.namespaces] or None

    def _no_data(self, _: TimeRange) -> str:
        return (
            "Hawkeye has no golden signals there in that range: look for a misspelt cluster or namespace, or pods "
            f"without its agent.{self._http.clock_note()}"
        )


@asynccontextmanager
async def open_hawkeye(
    spec: SourceSpec,
    credentials: Mapping[str, str],
    surroundings: Surroundings,
    *,
    trusted: bool,
    cluster_id: str | None,
    namespaces: Sequence[str],
) -> AsyncIterator[MetricSource]:
    """The source that `spec` describes; asks nothing yet. Raises `SourceError`."""
    assert isinstance(spec.config, HawkeyeConfig)
    key = credentials["api_key"]
    vendor = Vendor(
        name="Hawkeye",
        base_url=base_address(spec.config.base_url),
        headers={"Authorization": f"Bearer {key}"},
        secrets=(key,),
        explain=explained,
    )
    budget = CallBudget(spec, surroundings.clock, surroundings.pause)
    client = surroundings.client_for(trusted=trusted)
    http = VendorHttp(vendor, client, budget, surroundings.clock, surroundings.pause)
    yield HawkeyeSource(http, budget, configured=spec.config, cluster_id=cluster_id, namespaces=namespaces)
