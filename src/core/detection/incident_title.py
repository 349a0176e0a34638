"""The short text that an incident goes by: ``host-stressed: 13 errors, CPU spike``."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final

from core.detection.incident_readings import Sort, pieces_of, sort_of
from core.detection.incident_troubles import entity_of, in_order
from core.detection.incident_words import counted
from core.domain.incidents import Signal

PIECES_MAX: Final = 3
"""In a title."""
NAME_CHARS_MAX: Final = 60
"""Of a host's or service's name in a title; the incident has it whole."""


def title_of(signals: Sequence[Signal], services: Collection[str] = ()) -> str:
    """Where it happened (who has the most signals first, of equals who moved first) and what.

    `services` of the service graph are named instead of their hosts. Raises `ValueError` without signals.
    """
    ordered = in_order(signals)
    count = Counter(entity_of(signal, services) for signal in ordered)
    names = [
        f"{name[: NAME_CHARS_MAX - 1]}…" if len(name) > NAME_CHARS_MAX else name for name, _ in count.most_common()
    ]
    match names:
        case []:
            raise ValueError("an incident has at least one signal")
        case [name]:
            where = name
        case [name, other]:
            where = f"{name} and {other}"
        case [name, *others]:
            where = f"{name} and {len(others):,} more"
    changes = sum(sort_of(signal) is Sort.CHANGE for signal in ordered)
    what = [piece.short for piece in pieces_of(ordered)][:PIECES_MAX]
    if changes and len(what) < PIECES_MAX:
        what.append(counted(changes, "change"))
    return f"{where}: {', '.join(what)}"
