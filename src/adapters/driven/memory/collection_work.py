"""The work of collectors in memory."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import uuid4

import msgspec

from adapters.driven.memory.collection_tables import CollectionRunRow, InstanceRow
from adapters.driven.memory.database import MemoryDatabase
from core.domain.collection import (
    COLLECTION_ENDED,
    CollectionRequest,
    CollectionRun,
    CollectionState,
    Instance,
    ItemResult,
    Problem,
    Progress,
)
from core.domain.errors import Conflict
from core.domain.source_configs import SourceKind
from core.domain.sources import SOURCE_SCOPE, following_run
from ports.driven.metric_source import SeenInstance
from ports.driven.source_store import SCHEDULE, SOURCE_DELETED, Checkpoint, CollectionClaim


class MemoryCollectionWorkStore:
    """Implements `CollectionWorkStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._tables = database.collection

    async def claim(self, *, now: datetime, lease_s: float, running_max: int) -> CollectionClaim | None:
        """One whose lease has ended, one that waits, or one that is due."""
        self._end_orphans(now)
        row = self._run_out(now) or self._waiting(running_max) or self._due(now, running_max)
        if row is None:
            return None
        source = self._tables.sources.get(row.source_id) if row.source_id is not None else None
        if source is not None:
            row.spec = source.source.spec
        row.run = msgspec.structs.replace(
            row.run,
            source=row.spec.name if source is not None else row.run.source,
            kind=row.spec.kind,
            state=CollectionState.RUNNING,
            attempts=row.run.attempts + 1,
            started_at=row.run.started_at or now,
        )
        row.token, row.leased_until = uuid4(), now + timedelta(seconds=lease_s)
        return CollectionClaim(
            tenant_id=row.tenant_id,
            tenant=self._database.tenants[row.tenant_id].tenant.name,
            run=row.run,
            spec=row.spec,
            scope=row.scope,
            sealed=source.sealed if source is not None else row.sealed,
            token=row.token,
            finished_items=frozenset(row.finished),
        )

    async def checkpoints(self, claim: CollectionClaim) -> Sequence[Checkpoint]:
        """By item and series."""
        kept = self._tables.checkpoints.get((claim.tenant_id, claim.scope), {})
        return [kept[key] for key in sorted(kept)]

    async def advance(
        self,
        claim: CollectionClaim,
        *,
        checkpoints: Sequence[Checkpoint],
        caught_up: Sequence[Checkpoint],
        results: Sequence[ItemResult],
        finished: Sequence[str],
        progress: Progress,
        now: datetime,
        lease_s: float,
    ) -> None:
        """Notes how far a run is and renews the claim."""
        row = self._held(claim)
        if _is_orphan(row):
            raise _lost(claim)
        kept = self._tables.checkpoints.setdefault((claim.tenant_id, claim.scope), {})
        for checkpoint in checkpoints:
            old = kept.get((checkpoint.item, checkpoint.series))
            if old is None or old.through < checkpoint.through:
                kept[checkpoint.item, checkpoint.series] = checkpoint
        for checkpoint in caught_up:
            kept.pop((checkpoint.item, checkpoint.series), None)
        row.results.update({result.item: result for result in results})
        row.finished.update(finished)
        row.run = msgspec.structs.replace(row.run, progress=progress)
        row.leased_until = now + timedelta(seconds=lease_s)

    async def extend(self, claims: Sequence[CollectionClaim], *, now: datetime, lease_s: float) -> None:
        """Renews claims that still hold."""
        tokens = {claim.token for claim in claims}
        for row in self._tables.runs.values():
            if row.token in tokens and row.run.state is CollectionState.RUNNING:
                row.leased_until = now + timedelta(seconds=lease_s)

    async def see_instances(
        self, claim: CollectionClaim, provider: SourceKind, instances: Sequence[SeenInstance], *, now: datetime
    ) -> int:
        """Adds or updates instances; returns how many are new."""
        self._held(claim)
        latest = {seen.external_id: seen for seen in instances}
        return sum(self._see(claim.tenant_id, provider, latest[external_id], now) for external_id in sorted(latest))

    async def finish(
        self, claim: CollectionClaim, state: CollectionState, problem: Problem | None, *, now: datetime
    ) -> None:
        """Ends the run."""
        _end(self._held(claim), state, problem, now)

    async def forget(self, *, before: datetime, limit: int) -> int:
        """Deletes old runs, oldest end first."""
        ended = [row.run for row in self._tables.runs.values() if row.run.state in COLLECTION_ENDED]
        old = [(run.finished_at, run.id) for run in ended if run.finished_at is not None and run.finished_at < before]
        gone = sorted(old)[:limit]
        for _, run_id in gone:
            del self._tables.runs[run_id]
        return len(gone)

    def _end_orphans(self, now: datetime) -> None:
        """Runs of deleted sources come to nothing."""
        for row in self._tables.runs.values():
            if _is_orphan(row) and (row.run.state is CollectionState.WAITING or _has_run_out(row, now)):
                _end(row, CollectionState.FAILED, SOURCE_DELETED, now)

    def _run_out(self, now: datetime) -> CollectionRunRow | None:
        rows = [row for row in self._tables.runs.values() if _has_run_out(row, now)]
        return min(rows, key=lambda row: (row.leased_until or now, row.run.id), default=None)

    def _waiting(self, running_max: int) -> CollectionRunRow | None:
        scopes, running = self._tables.running()
        for row in self._tables.runs.values():
            free = (row.tenant_id, row.scope) not in scopes and running[row.tenant_id] < running_max
            if row.run.state is CollectionState.WAITING and free:
                return row
        return None

    def _due(self, now: datetime, running_max: int) -> CollectionRunRow | None:
        scopes, running = self._tables.running()
        due = [
            (row.source.next_run_at, row.source.id)
            for row in self._tables.sources.values()
            if row.source.next_run_at is not None
            and row.source.next_run_at <= now
            and (row.tenant_id, row.source.scope) not in scopes
            and running[row.tenant_id] < running_max
        ]
        if not due:
            return None
        due_at, source_id = min(due)
        row = self._tables.sources[source_id]
        source, interval_us = row.source, row.source.spec.interval_us
        assert interval_us is not None, "only such a source has a next run"
        row.source = msgspec.structs.replace(source, next_run_at=following_run(due_at, interval_us, now))
        run = CollectionRun(
            id=self._database.next_id("collection_runs"),
            source=source.spec.name,
            kind=source.spec.kind,
            request=CollectionRequest(),
            requested_by=SCHEDULE,
            state=CollectionState.WAITING,
            problem=None,
            progress=Progress(),
            attempts=0,
            requested_at=now,
            started_at=None,
            finished_at=None,
        )
        self._tables.runs[run.id] = CollectionRunRow(
            tenant_id=row.tenant_id, run=run, spec=source.spec, scope=source.scope, source_id=source.id, sealed=None
        )
        return self._tables.runs[run.id]

    def _see(self, tenant_id: int, provider: SourceKind, seen: SeenInstance, now: datetime) -> bool:
        """Whether it is new."""
        key = (tenant_id, provider, seen.external_id)
        known_id = self._tables.known.get(key)
        if known_id is not None:
            row = self._tables.instances[known_id]
            row.instance = msgspec.structs.replace(
                row.instance,
                kind=seen.kind,
                region=seen.region if seen.region is not None else row.instance.region,
                name=seen.name if seen.name is not None else row.instance.name,
                tags=seen.tags or row.instance.tags,
                last_seen_at=max(row.instance.last_seen_at, now),
            )
            return False
        instance = Instance(
            id=self._database.next_id("instances"),
            provider=provider,
            external_id=seen.external_id,
            kind=seen.kind,
            region=seen.region,
            name=seen.name,
            tags=seen.tags,
            first_seen_at=now,
            last_seen_at=now,
            synthetic=provider is SourceKind.SYNTHETIC,
        )
        self._tables.known[key] = instance.id
        self._tables.instances[instance.id] = InstanceRow(tenant_id=tenant_id, instance=instance)
        return True

    def _held(self, claim: CollectionClaim) -> CollectionRunRow:
        row = self._tables.runs.get(claim.run.id)
        if row is None or row.token != claim.token or row.run.state is not CollectionState.RUNNING:
            raise _lost(claim)
        return row


def _has_run_out(row: CollectionRunRow, now: datetime) -> bool:
    running = row.run.state is CollectionState.RUNNING
    return running and row.leased_until is not None and row.leased_until <= now


def _is_orphan(row: CollectionRunRow) -> bool:
    return row.source_id is None and row.scope.startswith(SOURCE_SCOPE)


def _end(row: CollectionRunRow, state: CollectionState, problem: Problem | None, now: datetime) -> None:
    row.run = msgspec.structs.replace(row.run, state=state, problem=problem, finished_at=now)
    row.sealed = None
    row.results = {result.item: result for result in row.shown()}
    row.finished = set()


def _lost(claim: CollectionClaim) -> Conflict:
    return Conflict(f"run {claim.run.id} of tenant {claim.tenant!r} is no longer this process's")
