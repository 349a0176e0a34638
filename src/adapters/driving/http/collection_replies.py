"""Runs of sources as they go out together: their sums, and what went wrong by source."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from core.domain.collection import (
    COLLECTION_ENDED,
    CollectionRun,
    CollectionRunDetail,
    Counts,
    Problem,
    ProblemKind,
)
from ports.driving.collecting import StartedRuns

NOT_STARTED: Final = ProblemKind.CONFIGURATION


class CollectionRunsReply(msgspec.Struct, frozen=True):
    """Runs, newest first, and the cursor of the next page where there is one."""

    data: Sequence[CollectionRun]
    next_cursor: str | None


class CollectionReply(msgspec.Struct, frozen=True, kw_only=True):
    """The runs that a request started, and what came of them so far."""

    runs: Sequence[CollectionRunDetail]
    totals: Counts
    """Over all runs."""
    errors: Mapping[str, Problem]
    """By source: what went wrong with it as a whole, with some of its items, or with putting it in line."""


def collection_reply(started: StartedRuns, details: Sequence[CollectionRunDetail]) -> CollectionReply:
    """The runs that were started, as they are now, and what was not."""
    totals = Counts()
    errors = {source: Problem(kind=NOT_STARTED, message=message) for source, message in started.errors.items()}
    for detail in details:
        totals = totals.plus(detail.run.progress.counts)
        problem = _problem(detail)
        if problem is not None:
            errors[detail.run.source] = problem
    return CollectionReply(runs=details, totals=totals, errors=errors)


def all_ended(details: Sequence[CollectionRunDetail]) -> bool:
    """Whether none of the runs goes on."""
    return all(detail.run.state in COLLECTION_ENDED for detail in details)


def _problem(detail: CollectionRunDetail) -> Problem | None:
    """What is wrong with a run; of items that failed the first stands for all. Having no data is no failure."""
    if detail.run.problem is not None:
        return detail.run.problem
    failed = [(item.item, item.problem) for item in detail.items if item.problem is not None]
    failed = [(item, problem) for item, problem in failed if problem.kind is not ProblemKind.NO_DATA]
    if not failed:
        return None
    (item, problem), count = failed[0], max(len(failed), detail.run.progress.failed)
    return Problem(kind=problem.kind, message=f"failed items: {count}; {item}: {problem.message}")
