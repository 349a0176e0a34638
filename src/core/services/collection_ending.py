"""What has come of the things that a run had to do, and how it ends by that."""

import msgspec

from core.domain.collection import CollectionState, ItemResult, Problem, ProblemKind, Progress
from core.services.collection_screening import cleaned


class Ending(msgspec.Struct, frozen=True):
    """How a run ends."""

    state: CollectionState
    problem: Problem | None = None


class Tasks:
    """How many things a run has to do, and what has come of those that ended."""

    def __init__(self, count: int, finished: int) -> None:
        """`finished` of `count` were done by earlier attempts."""
        self.count = count
        self._finished = finished
        self._ended: dict[str, ItemResult] = {}
        self._failed: dict[str, ItemResult] = {}

    @property
    def done(self) -> int:
        """How many have ended."""
        return self._finished + len(self._ended)

    @property
    def failed(self) -> int:
        """Of those done."""
        return len(self._failed)

    def end(self, result: ItemResult) -> None:
        """Notes that one has ended so; calling it again for the same one replaces that."""
        self._ended[result.item] = result
        if result.failed:
            self._failed[result.item] = result

    def problem(self) -> Problem | None:
        """The first failure and how many there are; None where nothing failed."""
        first = next(iter(self._failed.values()), None)
        if first is None or first.problem is None:
            return None
        message = f"{self.failed} of {self.count} failed, such as {first.item}: {first.problem.message}"
        return msgspec.structs.replace(first.problem, message=cleaned(message))

    def silence(self) -> Problem | None:
        """Why nothing came, where that is known."""
        if self.count == 0:
            return Problem(kind=ProblemKind.NO_DATA, message="the source has nothing to fetch")
        return next((result.problem for result in self._ended.values() if result.problem is not None), None)

    def ending(self, progress: Progress, cut_off: Problem | None) -> Ending:
        """How the run ends; `cut_off` is what ended it before its time."""
        problem = cut_off or self.problem()
        if problem is None:
            return Ending(CollectionState.DONE, self.silence() if progress.counts.fetched == 0 else None)
        something = (
            progress.counts.stored + progress.counts.revised + progress.counts.unchanged > 0
            or self.done > self.failed
            or progress.snapshots_stored + progress.changes_recorded > 0
        )
        return Ending(CollectionState.PARTIAL if something else CollectionState.FAILED, problem)


def failed(kind: ProblemKind, message: str) -> Ending:
    """A run that could not begin."""
    return Ending(CollectionState.FAILED, Problem(kind=kind, message=cleaned(message)))
