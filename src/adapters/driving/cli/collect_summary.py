"""What collecting brought, for a person: an item a line, the totals, and what to do about what failed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from adapters.driving.cli.display import clean, write_line, write_rows
from adapters.driving.cli.output import write
from core.domain.collection import (
    CollectionRun,
    CollectionRunDetail,
    CollectionState,
    ItemResult,
    Problem,
    ProblemKind,
)

ITEMS_MAX: Final = 40
"""Lines of one run; --json has all that the server keeps."""


def write_summary(
    runs: Sequence[CollectionRunDetail],
    errors: Mapping[str, Problem],
    *,
    origins: Mapping[int, Sequence[str]] | None = None,
) -> None:
    """Prints each run, and what could not be begun; `origins` name where a run's credentials came from."""
    for place, detail in enumerate(runs):
        if place:
            write("")
        _write_run(detail)
        hint = _hint(detail, (origins or {}).get(detail.run.id, ()))
        if hint is not None:
            write_line(hint, indent=2)
    for source, error in errors.items():
        write_line(f"{clean(source)}: not collected: {error.message}", style="red", indent=2)


def totals_text(run: CollectionRun) -> str:
    """A run's sums in one sentence."""
    counts, progress = run.progress.counts, run.progress
    words = [
        f"{_counted(counts.fetched, 'sample')} fetched",
        f"{counts.stored:,} stored",
        f"{counts.revised:,} revised",
        f"{counts.unchanged:,} unchanged",
    ]
    if counts.refused:
        words.append(f"{counts.refused:,} refused")
    words.append(f"{counts.created:,} new series")
    if progress.failed:
        words.append(f"{progress.failed:,} of {_counted(progress.items, 'item')} failed")
    if progress.instances_seen:
        new = f" ({progress.instances_created:,} new)" if progress.instances_created else ""
        words.append(_counted(progress.instances_seen, "instance") + new)
    if progress.snapshots_stored:
        words.append(_counted(progress.snapshots_stored, "capacity snapshot"))
    if progress.changes_recorded:
        words.append(f"{_counted(progress.changes_recorded, 'change')} of configuration")
    words.append(_counted(progress.calls, "call"))
    if progress.cost_usd:
        words.append(f"about ${progress.cost_usd:.4f}")
    return ", ".join(words)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _write_run(detail: CollectionRunDetail) -> None:
    run, items = detail.run, detail.items
    shown = sorted(items, key=lambda item: item.problem is None)[:ITEMS_MAX]
    if shown:
        refused = any(item.counts.refused for item in shown)
        columns = ("item", "fetched", "stored", "revised", "new series", *(("refused",) if refused else ()), "state")
        write_rows(columns, [_row(item, refused=refused) for item in shown], wide=("item",))
        left = run.progress.done - len(shown)
        if left > 0:
            write(f"… and {_counted(left, 'more item')}; --json shows more of them")
    state = "" if run.state is CollectionState.DONE else f" ({run.state.value})"
    write_line(f"{clean(run.source)}{state}: {totals_text(run)}", indent=2)
    for problem in _problems(run, items):
        write_line(problem, style="yellow", indent=2)


def _row(item: ItemResult, *, refused: bool) -> tuple[str, ...]:
    counts = item.counts
    numbers = [counts.fetched, counts.stored, counts.revised, counts.created]
    state = "ok" if item.problem is None else _words(item.problem.kind)
    return (item.item, *(f"{number:,}" for number in [*numbers, *([counts.refused] if refused else [])]), state)


def _problems(run: CollectionRun, items: Iterable[ItemResult]) -> Sequence[str]:
    """Each distinct problem once, with the items that have it; that of the run unless it only sums items' up."""
    found: dict[tuple[ProblemKind, str], list[str]] = {}
    for item in items:
        if item.problem is not None:
            found.setdefault((item.problem.kind, item.problem.message), []).append(item.item)
    texts = [_problem_text(kind, message, names) for (kind, message), names in found.items()]
    if run.problem is None or any(message in run.problem.message for _, message in found):
        return texts
    return [_problem_text(run.problem.kind, run.problem.message, ()), *texts]


def _problem_text(kind: ProblemKind, message: str, names: Sequence[str]) -> str:
    where = ""
    if names:
        where = f" ({names[0]}" + (f" and {len(names) - 1:,} more)" if len(names) > 1 else ")")
    return f"{_words(kind)}{where}: {message}"


def _words(kind: ProblemKind) -> str:
    return kind.value.replace("_", " ")


def _hint(detail: CollectionRunDetail, origins: Sequence[str]) -> str | None:
    """Where the credentials came from that a vendor does not take."""
    problems = [detail.run.problem, *(item.problem for item in detail.items)]
    doubted = any(one is not None and one.kind in _DOUBTS for one in problems)
    return f"the credentials are those of this machine: {', '.join(origins)}" if doubted and origins else None


_DOUBTS: Final = (ProblemKind.CREDENTIALS, ProblemKind.PERMISSION)
