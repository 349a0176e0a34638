"""Fetching items one after the other, so that what one of them meets decides about the others as little as can be."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Final

from adapters.driven.sources.call_budget import BudgetSpent
from adapters.driven.sources.vendor_failures import AnswerTooLarge, VendorFailed
from core.domain.collection import Problem, ProblemKind
from core.domain.times import TimeRange
from ports.driven.metric_source import Collected, ItemWindow, SeriesPoints, SourceError

FAILURES_IN_A_ROW_MAX: Final = 3
"""Items that fail alike one after the other: the next ones would too, after as long a wait each."""

_ENDS_ALL: Final = frozenset({ProblemKind.CREDENTIALS, ProblemKind.CONFIGURATION})
_ENDS_IN_A_ROW: Final = frozenset({ProblemKind.PERMISSION, ProblemKind.UNREACHABLE})

Fetch = Callable[[ItemWindow], AsyncGenerator[Collected, None]]
"""All parts of one item, without the last, `complete` one; raises `VendorFailed`, `BudgetSpent`."""
NoData = Callable[[TimeRange], str]
"""Why an item may have nothing in a range."""


async def in_turn(wanted: Sequence[ItemWindow], fetch: Fetch, no_data: NoData) -> AsyncIterator[Collected]:
    """Each item's parts, and how it ended; `no_data` says why an item may have none. Raises `SourceError`.

    Wrong credentials end all. So does what `FAILURES_IN_A_ROW_MAX` items meet one after the other. Once the budget or
    the vendor's rate limit is reached the remaining items have that problem too, and are not asked for.
    """
    series_of = SeriesOwners()
    alike = 0
    for index, window in enumerate(wanted):
        try:
            async with aclosing(_one(window, fetch, no_data, series_of)) as parts:
                async for part in parts:
                    yield part
            alike = 0
        except BudgetSpent as spent:
            for part in _left(wanted[index:], spent.problem):
                yield part
            return
        except VendorFailed as failed:
            problem = failed.problem
            if problem.kind in _ENDS_ALL:
                raise SourceError(problem.kind, problem.message) from None
            if problem.kind is ProblemKind.RATE_LIMITED:
                for part in _left(wanted[index:], problem):
                    yield part
                return
            yield Collected(key=window.item.key, problem=problem)
            alike = alike + 1 if problem.kind in _ENDS_IN_A_ROW else 0
            if alike == FAILURES_IN_A_ROW_MAX:
                raise SourceError(problem.kind, problem.message) from None


class SeriesOwners:
    """Which item gives which series, so that two that give the same one do not overwrite each other in silence."""

    def __init__(self) -> None:
        self._owners: dict[int, ItemWindow] = {}

    def check(self, window: ItemWindow, series: Sequence[SeriesPoints]) -> None:
        """Raises `VendorFailed` where another item has given one of them."""
        for each in series:
            # 64 bits of a hash: a run has some hundred thousand series at most.
            identity = hash((each.name, frozenset(each.labels.items())))
            owner = self._owners.setdefault(identity, window)
            if owner.item.key != window.item.key:
                raise VendorFailed(
                    Problem(
                        kind=ProblemKind.BAD_QUERY,
                        message=f"gives a series of {each.name} that {owner.item.title[:100]!r} gives too, with the "
                        "same labels: change one of the two",
                    )
                )


class Pieces:
    """A window cut into pieces, shorter ones once an answer was too large. The pieces are asked for in order."""

    def __init__(self, time_range: TimeRange, *, length_us: int, shortest_us: int) -> None:
        """`length_us` is tried first, `shortest_us` is the least that makes sense to the vendor."""
        self._end_us = time_range.end_us
        self._start_us = time_range.start_us
        self._length_us = max(length_us, shortest_us)
        self._shortest_us = shortest_us

    def __iter__(self) -> Iterator[TimeRange]:
        while self._start_us < self._end_us:
            piece = TimeRange(self._start_us, min(self._start_us + self._length_us, self._end_us))
            self._start_us = piece.end_us
            yield piece

    def shorten(self, piece: TimeRange, why: AnswerTooLarge) -> None:
        """The piece just given comes again in pieces of half its length; raises `why` where it cannot be halved."""
        half_us = (piece.end_us - piece.start_us) // 2 // self._shortest_us * self._shortest_us
        if half_us == 0:
            raise why
        self._start_us, self._length_us = piece.start_us, half_us


async def _one(
    window: ItemWindow, fetch: Fetch, no_data: NoData, series_of: SeriesOwners
) -> AsyncGenerator[Collected, None]:
    found = False
    async with aclosing(fetch(window)) as parts:
        async for part in parts:
            series_of.check(window, part.series)
            found = found or any(len(each.ts_us) for each in part.series)
            yield part
    problem = None if found else Problem(kind=ProblemKind.NO_DATA, message=no_data(window.time_range))
    yield Collected(key=window.item.key, complete=True, problem=problem)


def _left(windows: Sequence[ItemWindow], problem: Problem) -> Iterator[Collected]:
    return (Collected(key=window.item.key, problem=problem) for window in windows)
