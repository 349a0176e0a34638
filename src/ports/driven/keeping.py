"""Keeping the store: what happens to points after they were acknowledged, in the background."""

from typing import Protocol

import msgspec


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """What the journal holds beyond the settler's cursor."""

    points: int
    blocks: int
    oldest_us: int | None
    """When the oldest unsettled block was appended; None where there is none."""


class SettleOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one settle did."""

    points: int
    """Points read from the journal, repeats included."""
    rows: int
    """Distinct (series, ts) among them."""
    late: int
    """Rows not newer than their series' last settled one."""
    replaced: int
    """Late rows that took the place of a settled one."""
    blocks: int
    busy: bool = False
    """Another process was settling; nothing was done."""


class StorageStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the store is and holds; counts are exact, sizes as the database reports them."""

    engine: str
    """``timescaledb``, ``postgresql`` or ``memory``."""
    engine_version: str
    licence: str | None
    """TimescaleDB's licence setting; None on other engines."""
    schema_version: str
    tenants: int
    series: int
    samples: int
    unsettled_points: int
    unsettled_oldest_us: int | None
    unevaluated_points: int
    """Acknowledged, and not held against alert rules yet."""
    unevaluated_oldest_us: int | None
    chunks: int
    compressed_chunks: int
    size_bytes: int
    """Of the settled samples with their indexes; stored aggregates and the journal not counted."""
    uncompressed_bytes: int | None
    """What the settled samples would take as plain rows without an index; None where nothing is compressed."""
    oldest_us: int | None
    newest_us: int | None


class Keeping(Protocol):
    """Background work on the store. Every method is safe to repeat and to run on several servers at once."""

    async def backlog(self) -> Backlog:
        """How much waits to be settled."""
        ...

    async def settle(self, *, points_max: int) -> SettleOutcome:
        """Moves about `points_max` points, whole blocks in commit order, to samples in one transaction."""
        ...

    async def refresh_aggregates(self, *, now_us: int) -> int:
        """Brings stored aggregates up to what is settled; returns how many ranges were refreshed."""
        ...

    async def compress(self, *, older_than_us: int) -> int:
        """Moves chunks wholly before `older_than_us` to the columnstore, and recompresses those that late points
        reopened; returns how many."""
        ...

    async def drop_expired(self, *, now_us: int) -> int:
        """Deletes samples past their definition's retention, to the day; returns chunks or partitions dropped."""
        ...

    async def forget_replies(self, *, older_than_us: int) -> int:
        """Deletes idempotency keys from before `older_than_us`; returns how many."""
        ...

    async def recount_series(self, *, seen_since_us: int) -> None:
        """Sets each tenant's count of active series: those with a sample settled, or created, since then."""
        ...

    async def status(self) -> StorageStatus:
        """What the store is and holds."""
        ...
