"""What a reader may ask of stored samples."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from core.domain.definitions import Aggregation
from core.domain.matchers import LabelMatcher
from core.domain.queries import (
    AggregateResult,
    Fill,
    LatestSample,
    RawPage,
    SeriesResult,
)
from core.domain.tenants import Principal
from core.domain.times import TimeRange


class Selector(msgspec.Struct, frozen=True):
    """Series of one metric name that satisfy all matchers."""

    name: str
    matchers: tuple[LabelMatcher, ...] = ()


class Querying(Protocol):
    """Safe to call concurrently. All raise `Forbidden`, `InvalidInput`, `TooExpensive` and `Unavailable`.

    Ranges reach no further back than the metric's retention.
    """

    async def raw(
        self, principal: Principal, selector: Selector, time_range: TimeRange, *, limit: int, cursor: str | None
    ) -> RawPage:
        """Samples by (timestamp, series), a page at a time."""
        ...

    async def latest(self, principal: Principal, selector: Selector) -> Sequence[LatestSample]:
        """The newest sample of each matching series, within retention."""
        ...

    async def aggregate(
        self, principal: Principal, selector: Selector, time_range: TimeRange, *, group_by: Sequence[str]
    ) -> AggregateResult:
        """Statistics over the whole range, a row per distinct set of `group_by` labels."""
        ...

    async def series(
        self,
        principal: Principal,
        selector: Selector,
        time_range: TimeRange,
        *,
        bucket_us: int,
        group_by: Sequence[str],
        aggregation: Aggregation | None,
        fill: Fill,
    ) -> SeriesResult:
        """One value a bucket and line; `aggregation` None takes the definition's default."""
        ...

    async def names(self, principal: Principal, prefix: str) -> Sequence[str]:
        """The tenant's metric names with that prefix."""
        ...

    async def label_names(self, principal: Principal) -> Sequence[str]:
        """The tenant's label names."""
        ...

    async def label_values(self, principal: Principal, label: str) -> Sequence[str]:
        """The values of one label."""
        ...
