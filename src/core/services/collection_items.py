"""The items of one run: where each stands, and what has come of it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Final

import msgspec

from core.domain.collection import CollectionRequest, ItemResult, Problem, ProblemKind
from core.domain.series import SeriesIdentity
from core.domain.times import TimeRange
from core.services.collection_rows import Tally
from core.services.collection_screening import KEY_CHARS_MAX, cleaned, cleaned_problem
from core.services.collection_windows import (
    Asked,
    instant_of,
    instant_us,
    refused_from,
    series_through_after,
    through_after,
    window_of,
)
from ports.driven.metric_source import Collected, SourceItem
from ports.driven.source_store import Checkpoint

BEHIND_MAX: Final = 1_000
"""Series of one item that are remembered as being behind; what an explosion of labels has beyond that is fetched only
from when there is room for it."""

FORGOTTEN_MAX: Final = 1_000
"""Of one run: more than come and go between two."""
PART_MARK: Final = "\x1f"
"""Between an item's key and what part of it was asked for; no query holds this character."""

_GOLDEN_64: Final = 0x9E3779B97F4A7C15
"""2**64 / 1.618…"""
_decoder = msgspec.json.Decoder(SeriesIdentity)


class Standing(msgspec.Struct, eq=False):
    """How far an item is stored, in microseconds."""

    through_us: int | None = None
    behind: dict[SeriesIdentity, int] = {}
    """Series that had no room, and how far each of them is stored."""


class Moves(msgspec.Struct, frozen=True, eq=False):
    """What an item does to its checkpoints."""

    checkpoints: Sequence[Checkpoint] = ()
    caught_up: Sequence[Checkpoint] = ()


class RunItem:
    """One item while it is fetched."""

    def __init__(self, item: SourceItem, name: str, standing: Standing, window: TimeRange | None) -> None:
        """`name` is what it is called in the checkpoints."""
        self.item = item
        self.name = name
        self.standing = standing
        self.window = window
        """None: nothing is left to ask for."""
        self.tally = Tally()
        self.problem: Problem | None = None
        self.ended = window is None
        self._answered_until_us: int | None = None
        self._newly_behind: set[SeriesIdentity] = set()

    def take(self, part: Collected) -> None:
        """Notes how a part, whose points are stored, ends the item, if it does, or how far it is."""
        if part.answered_until_us is not None:
            self._answered_until_us = part.answered_until_us
        if part.problem is not None:
            self.end(cleaned_problem(part.problem))
        elif part.complete:
            self.ended = True

    def end(self, problem: Problem) -> None:
        """Notes that the item is over, with a problem; the first one stays."""
        self.ended = True
        self.problem = self.problem or problem

    @property
    def is_stored(self) -> bool:
        """Whether all that the source has of the window is stored, as far as it can be."""
        return self.ended and (self.problem is None or self.problem.kind is ProblemKind.NO_DATA)

    @property
    def stored(self) -> TimeRange | None:
        """What of the window is stored, as far as it can be, from its start on; None where that is not known of any."""
        if self.window is None or self.is_stored:
            return self.window
        until_us = min(self._answered_until_us or 0, self.window.end_us)
        return TimeRange(self.window.start_us, until_us) if until_us > self.window.start_us else None

    def result(self, title: str) -> ItemResult:
        """What came of it."""
        problem = self.problem
        if self.is_stored and self.tally.refusals:
            reason, _ = self.tally.refusals.most_common(1)[0]
            refused = sum(self.tally.refusals.values())
            problem = Problem(kind=ProblemKind.REFUSED, message=cleaned(f"{refused} samples refused: {reason}"))
        return ItemResult(item=title, counts=self.tally.counts, problem=problem)

    def moves(self, asked: Asked, has_room: Iterable[SeriesIdentity]) -> Moves:
        """How its checkpoints move by what is stored now; `has_room` are those behind that have room."""
        stored = self.stored
        if self.window is None or stored is None:
            return Moves()
        through_us = through_after(asked, self.standing.through_us, stored)
        checkpoints, caught_up = [], []
        if through_us is not None and through_us != self.standing.through_us:
            checkpoints.append(Checkpoint(item=self.name, series="", through=instant_of(through_us)))
        for identity in has_room:
            reached_us = series_through_after(asked, self.standing.behind[identity], stored)
            moved = Checkpoint(item=self.name, series=_encoded(identity), through=instant_of(reached_us))
            if reached_us >= (self.window.end_us if through_us is None else through_us):
                caught_up.append(moved)
            elif reached_us > self.standing.behind[identity]:
                checkpoints.append(moved)
        from_us = refused_from(self.standing.through_us, self.window)
        newly = self.tally.no_room - self.standing.behind.keys() - self._newly_behind
        room = max(0, BEHIND_MAX - len(self.standing.behind) - len(self._newly_behind))
        told = list(newly)[:room]
        self._newly_behind.update(told)
        checkpoints += [
            Checkpoint(item=self.name, series=_encoded(identity), through=instant_of(from_us)) for identity in told
        ]
        return Moves(checkpoints, caught_up)


def standings(checkpoints: Iterable[Checkpoint]) -> dict[str, Standing]:
    """How far each item is stored, by its name."""
    found: dict[str, Standing] = {}
    for checkpoint in checkpoints:
        standing = found.setdefault(checkpoint.item, Standing())
        if checkpoint.series:
            standing.behind[_decoder.decode(checkpoint.series)] = instant_us(checkpoint.through)
        else:
            standing.through_us = instant_us(checkpoint.through)
    return found


def name_in(request: CollectionRequest, key: str) -> str:
    """What an item is called in the checkpoints: a request for a part of it has checkpoints of its own, because what it
    leaves out is not stored."""
    return cleaned(key, KEY_CHARS_MAX) + _part_of(request)


def own_range(asked: Asked, request: CollectionRequest, standing: Mapping[str, Standing]) -> TimeRange:
    """The range that a run looks at beside its items: from where the last one ended, or else that of a new item."""
    part = _part_of(request)
    through_us = [
        stands.through_us
        for name, stands in standing.items()
        if stands.through_us is not None and _part_in(name) == part
    ]
    window = window_of(asked, max(through_us, default=None))
    return window or TimeRange(asked.end_us - asked.settle_us, asked.end_us)


def forgotten(asked: Asked, standing: Mapping[str, Standing], names: Set[str]) -> list[Checkpoint]:
    """Checkpoints of what the source does not have any more, once they are so old that they say nothing: at most
    `FORGOTTEN_MAX`."""
    old = [
        (name, series)
        for name, stands in standing.items()
        if name not in names and (stands.through_us or 0) < asked.floor_us
        for series in ["", *map(_encoded, stands.behind)]
    ]
    return [
        Checkpoint(item=name, series=series, through=instant_of(asked.floor_us)) for name, series in old[:FORGOTTEN_MAX]
    ]


def turn_of(run_id: int, items: int) -> int:
    """Which of so many items a run begins with: each one's turn comes, where no run can afford them all.

    By steps of the golden ratio, which spread evenly also where only each tenth run, say, is this source's.
    """
    return (run_id * _GOLDEN_64 % 2**64) * items >> 64


def titles(items: Sequence[SourceItem]) -> dict[str, str]:
    """What each item is called in results, by its key: its title, and the key too where several share that."""
    shown = {item.key: cleaned(item.title) for item in items}
    times = Counter(shown.values())
    return {key: cleaned(f"{title} ({key})") if times[title] > 1 else title for key, title in shown.items()}


def _part_of(request: CollectionRequest) -> str:
    if request.cluster_id is None and not request.namespaces:
        return ""
    return PART_MARK + msgspec.json.encode((request.cluster_id, sorted(set(request.namespaces)))).decode()


def _part_in(name: str) -> str:
    _, mark, part = name.rpartition(PART_MARK)
    return mark + part if mark else ""


def _encoded(identity: SeriesIdentity) -> str:
    return msgspec.json.encode(identity).decode()
