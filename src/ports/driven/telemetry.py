"""What the services report about their own work; counting must never fail or wait."""

from collections.abc import Mapping
from typing import Protocol


class Telemetry(Protocol):
    """Sextant's own metrics. Safe to call from anywhere."""

    def ingested(self, *, accepted: int, rejected: Mapping[str, int], cache_hits: int, cache_misses: int) -> None:
        """One request was answered: metrics stored, metrics refused by field, and how its series were found."""
        ...

    def queried(self, kind: str, *, took_s: float, points: int) -> None:
        """One query was answered; `points` is how many samples or buckets the answer holds."""
        ...
