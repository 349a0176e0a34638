"""Metric sources, their runs and checkpoints, and instances, in memory."""

from collections import Counter
from datetime import datetime
from uuid import UUID

import msgspec

from core.domain.collection import ITEMS_SHOWN_MAX, CollectionRun, CollectionState, Instance, ItemResult
from core.domain.source_configs import SourceKind
from core.domain.sources import SourceSpec, StoredSource
from ports.driven.source_store import Checkpoint


class SourceRow(msgspec.Struct, eq=False, kw_only=True):
    """One source with its sealed credentials."""

    tenant_id: int
    source: StoredSource
    sealed: bytes | None


class CollectionRunRow(msgspec.Struct, eq=False, kw_only=True):
    """One run with its claim and what came of its items."""

    tenant_id: int
    run: CollectionRun
    spec: SourceSpec
    scope: str
    source_id: int | None
    sealed: bytes | None
    token: UUID | None = None
    leased_until: datetime | None = None
    finished: set[str] = msgspec.field(default_factory=set)
    """Keys of items."""
    results: dict[str, ItemResult] = msgspec.field(default_factory=dict)
    """By item."""

    def shown(self) -> list[ItemResult]:
        """Results that are kept: failed ones first, then by item."""
        return sorted(self.results.values(), key=lambda result: (not result.failed, result.item))[:ITEMS_SHOWN_MAX]


class InstanceRow(msgspec.Struct, eq=False, kw_only=True):
    """One instance."""

    tenant_id: int
    instance: Instance


class CollectionTables:
    """Metric sources, their runs and checkpoints, and instances."""

    def __init__(self) -> None:
        self.sources: dict[int, SourceRow] = {}
        self.runs: dict[int, CollectionRunRow] = {}  # by id, ascending
        self.checkpoints: dict[tuple[int, str], dict[tuple[str, str], Checkpoint]] = {}  # by tenant and scope
        self.instances: dict[int, InstanceRow] = {}  # by id, ascending
        self.known: dict[tuple[int, SourceKind, str], int] = {}  # ids of instances

    def forget_synthetic(self, tenant_id: int) -> None:
        """Deletes a tenant's synthetic instances, and how far collecting made-up data once had come."""
        for row in self.runs.values():
            if row.tenant_id == tenant_id and row.run.kind is SourceKind.SYNTHETIC and row.source_id is None:
                self.checkpoints.pop((tenant_id, row.scope), None)
        for key, instance_id in list(self.known.items()):
            if key[0] == tenant_id and self.instances[instance_id].instance.synthetic:
                del self.instances[instance_id], self.known[key]

    def running(self) -> tuple[set[tuple[int, str]], Counter[int]]:
        """The scopes that have a run now, and how many runs each tenant has."""
        rows = [row for row in self.runs.values() if row.run.state is CollectionState.RUNNING]
        return {(row.tenant_id, row.scope) for row in rows}, Counter(row.tenant_id for row in rows)
