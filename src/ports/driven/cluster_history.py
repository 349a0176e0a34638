"""Forgetting what was known of clusters and instances long ago, over all tenants."""

from datetime import datetime
from enum import StrEnum
from typing import Protocol


class ClusterRecord(StrEnum):
    """Of what there is a history."""

    SNAPSHOTS = "snapshots"
    """Of capacity; a cluster's newest stays."""
    CHANGES = "changes"
    """Of configurations; of each the newest stays, what tells its state at any time since, and what a collector last
    found."""
    DRIFT = "drift"
    """Settled, with its recommendations; open and acknowledged drift stays, and what was touched since."""
    INSTANCES = "instances"
    """Those that no source has seen since."""


class ClusterHistory(Protocol):
    """Keeper's work. Safe on several servers at once; raises `Unavailable`."""

    async def forget(self, record: ClusterRecord, *, before: datetime, limit: int) -> int:
        """Deletes up to `limit` of those from before that time; returns how many, recommendations not counted."""
        ...
