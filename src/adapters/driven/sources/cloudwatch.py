"""AWS CloudWatch by GetMetricData: EC2's metrics by instance, and any other namespace's by its dimensions.

A point is a whole period, at the period's start: the one that is not over yet is left to the next run, and the one
that holds the window's start is asked for again. What CloudWatch has no value for is absent, never 0: EC2's
namespace has no memory at all.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

from adapters.driven.actions.shown import shown
from adapters.driven.sources.call_budget import BudgetSpent, CallBudget
from adapters.driven.sources.cloudwatch_client import AwsAccount
from adapters.driven.sources.cloudwatch_discovery import CloudWatchDiscovery
from adapters.driven.sources.cloudwatch_failures import HOW_TO_SIGN_IN, SAID_CHARS_MAX
from adapters.driven.sources.cloudwatch_items import CloudWatchItem
from adapters.driven.sources.cloudwatch_queries import (
    COST_USD_PER_METRIC,
    Answered,
    Batch,
    Page,
    batches,
    by_definition,
    cut_at,
    no_data,
    nothing_complete,
    read_page,
    request_of,
    whole_periods,
)
from adapters.driven.sources.points import in_parts
from adapters.driven.sources.surroundings import Surroundings
from core.domain.collection import Problem, ProblemKind
from core.domain.source_configs import CloudWatchConfig
from core.domain.sources import SourceSpec
from core.domain.times import TimeRange, parse_duration
from ports.driven.clock import Clock
from ports.driven.metric_source import Collected, Discovery, ItemWindow, MetricSource, SourceError, Usage

REPEATS_MAX: Final = 1
"""Of queries that CloudWatch says it failed at by itself; what fails again is asked for by the next run."""
FAILED_CALLS_MAX: Final = 2
"""Calls in a row without an answer, each repeated: then CloudWatch is away, and the rest would wait in vain."""
PAGES_MAX: Final = 1_000
"""Of one call: 500 metrics with one-minute points of 35 days come in 251."""

_FAILED_INSIDE: Final = "CloudWatch failed at it by itself (InternalError); the next run asks again"
_AWAY = frozenset({ProblemKind.UNREACHABLE, ProblemKind.RATE_LIMITED})
_FOR_ALL = frozenset({ProblemKind.CREDENTIALS, ProblemKind.PERMISSION, ProblemKind.CONFIGURATION})


@asynccontextmanager
async def open_cloudwatch(
    spec: SourceSpec,
    credentials: Mapping[str, str],
    surroundings: Surroundings,
    *,
    trusted: bool,
    cluster_id: str | None,  # noqa: ARG001 (CloudWatch knows no clusters)
    namespaces: Sequence[str],  # noqa: ARG001 (nor namespaces of Kubernetes)
) -> AsyncIterator[MetricSource]:
    """One account in one region. Without credentials a trusted tenant has AWS's standard chain; another has nothing."""
    config = spec.config
    assert isinstance(config, CloudWatchConfig)
    if not trusted and "access_key_id" not in credentials:
        raise SourceError(ProblemKind.CREDENTIALS, f"there are no AWS credentials: {HOW_TO_SIGN_IN}")
    if not trusted and config.endpoint_url is not None:
        message = "only tenants that the operator trusts (SEXTANT_WORKER_TENANTS) may name an endpoint_url"
        raise SourceError(ProblemKind.CONFIGURATION, message)
    budget = CallBudget(spec, surroundings.clock, surroundings.pause)
    async with AwsAccount(
        region=config.region,
        credentials=credentials,
        endpoint_url=config.endpoint_url,
        trusted=trusted,
        outbound=surroundings.client_for(trusted=trusted),
        budget=budget,
        pause=surroundings.pause,
    ) as account:
        yield CloudWatchSource(account, config, budget, surroundings.clock)


class CloudWatchSource:
    """Implements `MetricSource`. An item is one metric with one combination of dimensions."""

    def __init__(self, account: AwsAccount, config: CloudWatchConfig, budget: CallBudget, clock: Clock) -> None:
        self._account = account
        self._config = config
        self._budget = budget
        self._clock = clock
        self._period_us = parse_duration(config.period, "config.period")
        self._items: dict[str, CloudWatchItem] = {}
        self._failed_calls = 0

    async def discover(self, time_range: TimeRange) -> Discovery:  # noqa: ARG002 (what runs now is looked at)
        """See `MetricSource.discover`."""
        items, instances, problems = await CloudWatchDiscovery(self._account, self._config).find()
        self._items = {item.item.key: item for item in items}
        return Discovery(items=[item.item for item in items], instances=instances, problems=problems)

    async def collect(self, wanted: Sequence[ItemWindow]) -> AsyncIterator[Collected]:
        """See `MetricSource.collect`; needs `discover` first, and passes over items that it did not find."""
        asked = []
        for window in wanted:
            item = self._items.get(window.item.key)
            whole = whole_periods(window.time_range, self._period_us)
            if item is not None and whole is not None:
                asked.append((item, whole))
            elif item is not None:
                problem = nothing_complete(window.time_range, self._period_us)
                yield Collected(key=window.item.key, complete=True, problem=problem)
        for batch in batches(asked, self._period_us):
            # What is beyond the budget is refused by it.
            for some in cut_at(batch, self._budget.affordable(COST_USD_PER_METRIC)):
                async for part in self._fetched(some, repeats=0):
                    yield part

    def usage(self) -> Usage:
        """See `MetricSource.usage`."""
        return self._budget.usage()

    async def _fetched(self, batch: Batch, *, repeats: int) -> AsyncIterator[Collected]:
        """The parts of a batch: each of its items ends complete, or with a problem."""
        left = _Left(batch.items)
        problem = _bad("CloudWatch's answer ended without all of its points")
        try:
            async with aclosing(self._pages(batch)) as pages:
                async for page in pages:
                    for answer in page:
                        for part in self._parts(answer, batch, left):
                            yield part
                    if not left.items:
                        break
        except BudgetSpent as spent:
            problem = spent.problem
        except SourceError as error:
            problem = error.problem
            parts = by_definition(Batch(batch.time_range, list(left.items.values())))
            if problem.kind is ProblemKind.BAD_QUERY and len(parts) > 1:
                for smaller in parts:
                    async for part in self._fetched(smaller, repeats=repeats):
                        yield part
                return
            self._give_up(error)
        else:
            if left.failed and repeats < REPEATS_MAX:
                failed = [left.items.pop(key) for key in left.failed]
                async for part in self._fetched(Batch(batch.time_range, failed), repeats=repeats + 1):
                    yield part
        for key in left.items:
            yield Collected(key=key, problem=_bad(_FAILED_INSIDE) if key in left.failed else problem)

    def _parts(self, answer: Answered, batch: Batch, left: "_Left") -> Iterator[Collected]:
        """What one page says of one item; takes it out of `left` where that is its end."""
        key = answer.item.item.key
        if key not in left.items:
            return
        left.failed.discard(key)
        if answer.points is not None:
            left.found.add(key)
            yield from in_parts(key, [answer.points])
        status = None if answer.result is None else answer.result.status_code
        if status == "InternalError":
            left.failed.add(key)
        elif status != "PartialData":
            del left.items[key]
            yield self._ended(answer, batch, found_any=key in left.found)

    async def _pages(self, batch: Batch) -> AsyncGenerator[Sequence[Answered], None]:
        tokens: set[str] = set()
        token = None
        while True:
            request = request_of(batch, self._period_us, token)
            cost_usd = len(batch.items) * COST_USD_PER_METRIC
            page = await self._account.call("cloudwatch", "get_metric_data", request, Page, cost_usd=cost_usd)
            self._failed_calls = 0
            yield list(read_page(batch, page))
            token = page.next_token
            if not token:
                return
            if token in tokens or len(tokens) >= PAGES_MAX:
                raise SourceError(ProblemKind.BAD_ANSWER, "CloudWatch's pages do not come to an end")
            tokens.add(token)

    def _give_up(self, error: SourceError) -> None:
        """Raises `error` where the remaining items would fare no better."""
        self._failed_calls = self._failed_calls + 1 if error.problem.kind in _AWAY else 0
        if error.problem.kind in _FOR_ALL or self._failed_calls >= FAILED_CALLS_MAX:
            raise error

    def _ended(self, answer: Answered, batch: Batch, *, found_any: bool) -> Collected:
        key = answer.item.item.key
        if answer.result is None:
            return Collected(key=key, problem=_bad("CloudWatch's points of it cannot be read"))
        words = "; ".join(message.value for message in answer.result.messages)
        said = f": {shown(words, chars_max=SAID_CHARS_MAX)}" if words else ""
        match answer.result.status_code:
            case "Complete" if found_any:
                return Collected(key=key, complete=True)
            case "Complete":
                now_us = self._clock.now_us()
                problem = no_data(answer.item, self._config.region, batch.time_range, self._period_us, now_us)
                return Collected(key=key, complete=True, problem=problem)
            case "Forbidden":
                message = f"the credentials may not read this metric by cloudwatch:GetMetricData{said}"
                return Collected(key=key, problem=Problem(kind=ProblemKind.PERMISSION, message=message))
            case unknown:
                status = shown(unknown, chars_max=SAID_CHARS_MAX)
                return Collected(key=key, problem=_bad(f"CloudWatch answered with an unknown status {status!r}{said}"))


class _Left:
    """The items of a batch that have not ended, by key."""

    def __init__(self, items: Iterable[CloudWatchItem]) -> None:
        self.items = {item.item.key: item for item in items}
        self.failed: set[str] = set()
        """CloudWatch says that it failed at them by itself."""
        self.found: set[str] = set()
        """They have had points, ended or not."""


def _bad(message: str) -> Problem:
    return Problem(kind=ProblemKind.BAD_ANSWER, message=message)
