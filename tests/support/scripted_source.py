"""A metric source whose vendor is the test's: it answers what the test has put there, item by item."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import numpy as np

from core.domain.collection import Problem, ProblemKind
from core.domain.sources import SourceSpec
from core.domain.times import TimeRange
from ports.driven.metric_source import (
    Collected,
    Discovery,
    ItemWindow,
    MetricSource,
    SeenInstance,
    SeriesPoints,
    SourceError,
    SourceItem,
    Usage,
)

SeriesKey = tuple[str, tuple[tuple[str, str], ...]]
"""A metric's name and its labels, ascending."""


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """How the source was opened."""

    spec: SourceSpec
    credentials: Mapping[str, str]
    trusted: bool
    cluster_id: str | None
    namespaces: Sequence[str]


class ScriptedVendor:
    """What a vendor has, and what it was asked. Implements `SourceOpener`."""

    def __init__(self) -> None:
        self.data: dict[str, dict[SeriesKey, dict[int, float]]] = {}
        """Item → series → timestamp → the value that the vendor has now."""
        self.extra: dict[str, list[SeriesPoints]] = {}
        """Item → series that are given whatever is asked for."""
        self.problems: dict[str, Problem] = {}
        """Items that fail, after their first series where they have one."""
        self.found: dict[str, Any] = {}
        """What else `discover` finds, as `Discovery`'s fields."""
        self.unopened: SourceError | None = None
        self.undiscovered: Exception | None = None
        self.silent: set[str] = set()
        """Items that are never answered."""
        self.titles: dict[str, str] = {}
        """Item → what it is called, where that is not the usual."""
        self.instances: dict[str, SeenInstance] = {}
        """Item → what its series are about."""
        self.piece_us: int | None = None
        """Answers say how far they are after each such piece of a window; None: they never do."""
        self.pieces_max: int | None = None
        """So many of them a run's budget allows; None: all."""
        self.before: Callable[[str], Awaitable[None]] | None = None
        """Called with the item before each of its parts; may raise."""
        self.opened: list[Opened] = []
        self.asked: list[tuple[str, TimeRange]] = []
        self.discovered: list[TimeRange] = []
        self.is_open = False

    def put(self, item: str, name: str, points: Mapping[int, float], **labels: str) -> None:
        """Adds points of one series to an item, or replaces their values."""
        series = self.data.setdefault(item, {}).setdefault((name, tuple(sorted(labels.items()))), {})
        series.update(points)

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
        if self.unopened is not None:
            raise self.unopened
        self.opened.append(
            Opened(spec=spec, credentials=credentials, trusted=trusted, cluster_id=cluster_id, namespaces=namespaces)
        )
        self.is_open = True
        try:
            yield _ScriptedSource(self)
        finally:
            self.is_open = False


class _ScriptedSource:
    def __init__(self, vendor: ScriptedVendor) -> None:
        self._vendor = vendor
        self._calls = 0
        self._asked = 0
        """Pieces."""

    async def discover(self, time_range: TimeRange) -> Discovery:
        vendor = self._vendor
        vendor.discovered.append(time_range)
        if vendor.undiscovered is not None:
            raise vendor.undiscovered
        self._calls += 1
        keys = dict.fromkeys([*vendor.data, *vendor.extra, *vendor.problems, *vendor.silent])
        return Discovery(
            items=[SourceItem(key, vendor.titles.get(key, f"all of {key}")) for key in keys], **vendor.found
        )

    async def collect(self, wanted: Sequence[ItemWindow]) -> AsyncIterator[Collected]:
        vendor = self._vendor
        for one in wanted:
            key = one.item.key
            vendor.asked.append((key, one.time_range))
            self._calls += 1
            if key in vendor.silent:
                continue
            if vendor.piece_us is not None:
                async for part in self._pieces(key, one.time_range, vendor.piece_us):
                    yield part
                continue
            for series in self._series(key, one.time_range):
                await self._moment(key)
                yield Collected(key=key, series=[series])
                if key in vendor.problems:
                    break
            await self._moment(key)
            problem = vendor.problems.get(key)
            yield Collected(key=key, problem=problem, complete=problem is None)

    async def _pieces(self, key: str, time_range: TimeRange, length_us: int) -> AsyncIterator[Collected]:
        """A window's answer piece by piece; each is a call."""
        for start_us in range(time_range.start_us, time_range.end_us, length_us):
            if self._vendor.pieces_max is not None and self._asked >= self._vendor.pieces_max:
                yield Collected(key=key, problem=Problem(kind=ProblemKind.BUDGET, message="used up"))
                return
            self._asked += 1
            piece = TimeRange(start_us, min(start_us + length_us, time_range.end_us))
            await self._moment(key)
            yield Collected(key=key, series=self._series(key, piece), answered_until_us=piece.end_us)
        yield Collected(key=key, complete=True)

    def usage(self) -> Usage:
        return Usage(calls=self._calls, cost_usd=self._calls / 8)

    def _series(self, key: str, time_range: TimeRange) -> list[SeriesPoints]:
        found = []
        for (name, labels), points in self._vendor.data.get(key, {}).items():
            inside = [ts_us for ts_us in points if time_range.start_us <= ts_us < time_range.end_us]
            found.append(
                SeriesPoints(
                    name=name,
                    labels=dict(labels),
                    ts_us=np.array(inside, np.int64),
                    values=np.array([points[ts_us] for ts_us in inside], np.float64),
                    instance=self._vendor.instances.get(key),
                )
            )
        return [*found, *self._vendor.extra.get(key, [])]

    async def _moment(self, key: str) -> None:
        if self._vendor.before is not None:
            await self._vendor.before(key)
