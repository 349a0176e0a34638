"""How far collecting is: a bar for each run on a terminal, a line every few seconds elsewhere; on standard error."""

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from adapters.driving.cli.display import clean
from adapters.driving.cli.output import CommandError, write_error
from core.domain.collection import CollectionRun, CollectionState

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LINE_EVERY_S: Final = 5.0
"""In a log: often enough to see that it lives."""
BAR_WIDTH: Final = 16
"""Leaves room for words on a terminal of 80 columns."""
BEGUN_WITHIN_S: Final = 60.0
"""A collector claims a run within a second unless it is busy with others; then nobody seems to collect at all."""


class NobodyCollectsError(CommandError):
    """No run has begun for long."""


class CollectProgress:
    """Shows runs while they last; `quiet` shows nothing."""

    def __init__(self, runs: Sequence[CollectionRun], *, quiet: bool) -> None:
        self._runs = {run.id: run for run in runs}
        self._quiet = quiet
        self._bars: Progress | None = None
        self._tasks: dict[int, TaskID] = {}
        self._started_s = self._line_s = time.monotonic()

    def __enter__(self) -> Self:
        if not self._quiet and sys.stderr.isatty():
            self._bars = _bars()
            self._bars.start()
            for run in self._runs.values():
                self._tasks[run.id] = self._bars.add_task("", total=None, source=clean(run.source), words="waiting")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def show(self, run: CollectionRun) -> None:
        """A run as it now is."""
        self._runs[run.id] = run
        if self._bars is not None:
            progress = run.progress
            self._bars.update(
                self._tasks[run.id], total=progress.items or None, completed=progress.done, words=_words(run)
            )
        elif not self._quiet and time.monotonic() - self._line_s >= LINE_EVERY_S:
            self._line_s = time.monotonic()
            for each in self._runs.values():
                write_error(f"{clean(each.source)}: {_words(each)}")

    def check_begun(self) -> None:
        """Raises `NobodyCollectsError` where no run has begun for long."""
        waiting = all(run.state is CollectionState.WAITING for run in self._runs.values())
        if waiting and time.monotonic() - self._started_s > BEGUN_WITHIN_S:
            raise NobodyCollectsError(
                f"no collector has begun it within {BEGUN_WITHIN_S:.0f} s: `sextant serve` and `sextant keep` collect "
                "unless SEXTANT_COLLECTION_ENABLED is false; the run stays in line: sextant sources runs"
            )


def _bars() -> "Progress":
    from rich import progress
    from rich.console import Console

    return progress.Progress(
        progress.TextColumn("{task.fields[source]}", markup=False),
        progress.BarColumn(BAR_WIDTH),
        progress.TaskProgressColumn(),
        progress.TextColumn("{task.fields[words]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )


def _words(run: CollectionRun) -> str:
    progress, counts = run.progress, run.progress.counts
    if run.state is CollectionState.WAITING:
        return "waiting"
    if not progress.items:
        return "looking what there is"
    words = f"{progress.done:,} of {progress.items:,}, {counts.fetched:,} samples, {counts.stored:,} new"
    return f"{words}, {progress.failed:,} failed" if progress.failed else words
