"""Items one after the other: what one of them meets, and what that means for the others."""

from collections.abc import AsyncGenerator
from itertools import pairwise

import numpy as np
import pytest

from adapters.driven.sources.call_budget import BudgetSpent
from adapters.driven.sources.points import in_parts, series_points
from adapters.driven.sources.turns import Pieces, in_turn
from adapters.driven.sources.vendor_failures import AnswerTooLarge, VendorFailed
from core.domain.collection import Problem, ProblemKind
from core.domain.times import TimeRange
from ports.driven.metric_source import Collected, ItemWindow, SourceError, SourceItem

WINDOW = TimeRange(0, 1_000)
WANTED = [ItemWindow(SourceItem(str(index), f"item {index}"), WINDOW) for index in range(8)]


async def ended(failures: dict[str, ProblemKind | BudgetSpent]) -> tuple[list[ProblemKind | None], SourceError | None]:
    """How each item ended, by its problem, where some of them fail."""

    async def fetch(window: ItemWindow) -> AsyncGenerator[Collected, None]:
        failure = failures.get(window.item.key)
        if isinstance(failure, BudgetSpent):
            raise failure
        if failure is not None:
            raise VendorFailed(Problem(kind=failure, message="no"))
        points = np.array([1, 2]), np.array([0.5, 1.5])
        for part in in_parts(window.item.key, [series_points(f"m{window.item.key}", {}, points)]):
            yield part

    kinds: list[ProblemKind | None] = []
    try:
        async for part in in_turn(WANTED, fetch, lambda _: "nothing"):
            if part.complete or part.problem:
                kinds.append(part.problem.kind if part.problem else None)  # noqa: PERF401  # what came before an error
    except SourceError as error:
        return kinds, error
    return kinds, None


@pytest.mark.parametrize("kind", [ProblemKind.BAD_QUERY, ProblemKind.BAD_ANSWER, ProblemKind.UNREACHABLE])
async def test_one_failing_item_does_not_stop_the_others(kind: ProblemKind) -> None:
    """Two in a row neither."""
    kinds, error = await ended({"1": kind, "2": kind, "5": kind})
    assert kinds == [None, kind, kind, None, None, kind, None, None]
    assert error is None


@pytest.mark.parametrize("kind", [ProblemKind.UNREACHABLE, ProblemKind.PERMISSION])
async def test_three_in_a_row_end_all(kind: ProblemKind) -> None:
    """Each takes minutes of tries, and the next one would too."""
    kinds, error = await ended({str(index): kind for index in range(2, 8)})
    assert kinds == [None, None, kind, kind, kind]
    assert error is not None
    assert error.problem.kind is kind


async def test_bad_queries_in_a_row_end_nothing() -> None:
    """Each is its own item's."""
    kinds, error = await ended({str(index): ProblemKind.BAD_QUERY for index in range(7)})
    assert kinds == [ProblemKind.BAD_QUERY] * 7 + [None]
    assert error is None


@pytest.mark.parametrize("kind", [ProblemKind.CREDENTIALS, ProblemKind.CONFIGURATION])
async def test_what_concerns_the_source_ends_all(kind: ProblemKind) -> None:
    """At once."""
    kinds, error = await ended({"1": kind})
    assert kinds == [None]
    assert error is not None
    assert error.problem.kind is kind


@pytest.mark.parametrize(
    ("failure", "kind"),
    [(ProblemKind.RATE_LIMITED, ProblemKind.RATE_LIMITED), (BudgetSpent("used up"), ProblemKind.BUDGET)],
)
async def test_a_limit_is_told_of_all_that_is_left(failure: ProblemKind | BudgetSpent, kind: ProblemKind) -> None:
    """None of them is asked for."""
    kinds, error = await ended({"3": failure})
    assert kinds == [None] * 3 + [kind] * 5
    assert error is None


def test_pieces_cover_the_window_once() -> None:
    """Also where they are shortened on the way."""
    pieces = Pieces(TimeRange(5, 1_000), length_us=400, shortest_us=10)
    too_large, asked, answered = AnswerTooLarge(Problem(kind=ProblemKind.BAD_ANSWER, message="no")), [], []
    for piece in pieces:
        asked.append((piece.start_us, piece.end_us))
        if len(asked) in (2, 3):
            pieces.shorten(piece, too_large)
        else:
            answered.append(asked[-1])
    assert asked[:4] == [(5, 405), (405, 805), (405, 605), (405, 505)]
    assert answered[0][0] == 5
    assert answered[-1][1] == 1_000
    assert all(before[1] == after[0] for before, after in pairwise(answered))
    with pytest.raises(AnswerTooLarge):
        pieces.shorten(TimeRange(0, 19), too_large)
