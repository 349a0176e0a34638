"""One part of looking at a cluster for drift: what it judged, and what it could not look at."""

from collections.abc import Sequence
from typing import Final

import msgspec

from core.detection.drift_findings import Judged

LINES_MAX: Final = 20
"""Of one part's reasons; how many more there are is said."""


class DriftPart(msgspec.Struct, frozen=True, kw_only=True):
    """What one part brought."""

    judged: Judged = {}
    skipped: Sequence[str] = ()


def bounded(lines: Sequence[str]) -> list[str]:
    """The first `LINES_MAX`, and how many more there are."""
    if len(lines) <= LINES_MAX:
        return list(lines)
    return [*lines[:LINES_MAX], f"and {len(lines) - LINES_MAX:,} more like these"]
