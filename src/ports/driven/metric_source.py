"""One metric source as the core sees it: what there is to fetch, and fetching it.

    SourceError                 nothing (more) can be had from this source now; carries a `Problem`

What concerns one item only is no exception but a `Collected` with a problem: the others go on.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from core.domain.capacity import CapacitySnapshot
from core.domain.collection import Problem, ProblemKind
from core.domain.columns import Float64s, Int64s
from core.domain.configurations import ObservedConfiguration
from core.domain.sources import SourceSpec
from core.domain.times import TimeRange


class SourceError(Exception):
    """The source cannot be asked at all."""

    def __init__(self, kind: ProblemKind, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(kind=kind, message=message)


class SourceItem(msgspec.Struct, frozen=True, order=True):
    """What is fetched, and fails, by itself: one query, or one metric of one instance.

    `key` is the same for the same thing in every run: checkpoints belong to it. `title` is for a person.
    """

    key: str
    title: str


class ItemWindow(msgspec.Struct, frozen=True):
    """An item and the range wanted of it, whose end is never in the future."""

    item: SourceItem
    time_range: TimeRange


class SeenInstance(msgspec.Struct, frozen=True, kw_only=True):
    """An instance as the source names it."""

    external_id: str
    kind: str
    region: str | None = None
    name: str | None = None
    tags: dict[str, str] = {}


class SeriesPoints(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """Points of one series. `ts_us` int64 and `values` float64, both shape (n,), in any order.

    Absent values are left out, never 0; NaN may stand here and is refused when stored.
    """

    name: str
    labels: Mapping[str, str]
    ts_us: Int64s
    values: Float64s
    instance: SeenInstance | None = None


class ListedWorkloads(msgspec.Struct, frozen=True, kw_only=True):
    """All workloads that a cluster has now, or that some of its namespaces have: any other is gone."""

    cluster_id: str
    namespaces: Sequence[str]
    """Empty: all."""
    names: frozenset[tuple[str, str]]
    """Namespace and workload, as in configurations."""


class Discovery(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What a source has, as far as it was allowed to look."""

    items: Sequence[SourceItem]
    instances: Sequence[SeenInstance] = ()
    snapshots: Sequence[CapacitySnapshot] = ()
    configurations: Sequence[ObservedConfiguration] = ()
    workloads: ListedWorkloads | None = None
    """None where not all could be listed, or none were."""
    problems: Sequence[tuple[str, Problem]] = ()
    """What could not be looked at, by its name."""


class Collected(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A part of one item's answer.

    `complete` says that the whole window has been answered with this part; an item with a `problem` other than
    `NO_DATA` is never complete, and is fetched next time from `answered_until_us` on, or else from the same place.
    """

    key: str
    series: Sequence[SeriesPoints] = ()
    complete: bool = False
    answered_until_us: int | None = None
    """Everything of the window before that instant has been answered with this part and those before; None: not known.
    Of an item's parts the last one that says it holds."""
    problem: Problem | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What asking has cost so far."""

    calls: int = 0
    cost_usd: float = 0.0


class MetricSource(Protocol):
    """One opened source. Not safe for concurrent calls. Every call has time limits; bodies are bounded."""

    async def discover(self, time_range: TimeRange) -> Discovery:
        """What there is to fetch in that range. Raises `SourceError`."""
        ...

    def collect(self, wanted: Sequence[ItemWindow]) -> AsyncIterator[Collected]:
        """Fetches the items, grouped as suits the vendor, in parts of at most some ten thousand points.

        Every item gets a part that is `complete` or has a problem, unless `SourceError` ends it all. Asks at the pace
        and within the budget of its `SourceSpec`: when that is used up the remaining items get a `BUDGET` problem.
        """
        ...

    def usage(self) -> Usage:
        """What was spent since it was opened."""
        ...


class SourceOpener(Protocol):
    """Makes the source that a spec describes."""

    def open(
        self,
        spec: SourceSpec,
        credentials: Mapping[str, str],
        *,
        trusted: bool,
        cluster_id: str | None,
        namespaces: Sequence[str],
    ) -> AbstractAsyncContextManager[MetricSource]:
        """`trusted` sources may use what is the server's own: its cloud credentials, its cluster, its network.

        `cluster_id` and `namespaces` (empty: as configured) narrow what is collected. Raises `SourceError`.
        """
        ...
