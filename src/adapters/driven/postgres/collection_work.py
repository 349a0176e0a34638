"""The work of collectors on PostgreSQL: claims are given one at a time, a token fences each."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from adapters.driven.postgres.collection_rows import json_of, run_of, spec_of
from adapters.driven.postgres.database import Connection, Database, Role
from adapters.driven.postgres.queries import affected_rows, load_queries
from core.domain.collection import ITEMS_SHOWN_MAX, CollectionRequest, CollectionState, ItemResult, Problem, Progress
from core.domain.errors import Conflict
from core.domain.source_configs import SourceKind
from core.domain.sources import following_run
from ports.driven.metric_source import SeenInstance
from ports.driven.source_store import SCHEDULE, SOURCE_DELETED, Checkpoint, CollectionClaim

TIMEOUT_S: Final = 30.0
"""Thousands of checkpoints are moved in some tenths of a second; longer means that the database is in trouble."""

LOCK_TIMEOUT_S: Final = 5.0
"""Claims take milliseconds: whoever holds the lock for longer is frozen, and its session ends by itself."""

SQL = load_queries(__package__, "collection_work.sql")


class PostgresCollectionWorkStore:
    """Implements `ports.driven.source_store.CollectionWorkStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, *, now: datetime, lease_s: float, running_max: int) -> CollectionClaim | None:
        """See `CollectionWorkStore.claim`."""
        token, until = uuid4(), now + timedelta(seconds=lease_s)
        async with self._database.transaction(Role.KEEPER, timeout_s=TIMEOUT_S) as connection:
            await connection.execute(SQL["lock_claims"], timeout=LOCK_TIMEOUT_S)
            await connection.execute(SQL["end_orphans"], now, json_of(SOURCE_DELETED))
            run_id = await connection.fetchval(SQL["run_out"], now)
            if run_id is None:
                run_id = await connection.fetchval(SQL["waiting"], running_max)
            if run_id is None:
                run_id = await _begin_due(connection, now, running_max)
            if run_id is None:
                return None
            taken = await connection.fetchrow(SQL["take"], run_id, now, token, until)
            assert taken is not None, "the run is locked"
            finished = [row["key"] for row in await connection.fetch(SQL["finished_items"], run_id)]
        return _claim(taken, token, finished)

    async def checkpoints(self, claim: CollectionClaim) -> Sequence[Checkpoint]:
        """See `CollectionWorkStore.checkpoints`."""
        async with self._database.transaction(Role.KEEPER, timeout_s=TIMEOUT_S) as connection:
            rows = await connection.fetch(SQL["checkpoints"], claim.tenant_id, claim.scope)
        return [Checkpoint(item=row["item"], series=row["series"], through=row["through"]) for row in rows]

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
        """See `CollectionWorkStore.advance`."""
        async with self._database.transaction(Role.KEEPER, timeout_s=TIMEOUT_S) as connection:
            if await _hold(connection, claim):
                raise _lost(claim)
            await _move(connection, claim, checkpoints, caught_up)
            await _note(connection, claim, results, finished)
            until = now + timedelta(seconds=lease_s)
            await connection.execute(SQL["progress"], claim.tenant_id, claim.run.id, json_of(progress), until)

    async def extend(self, claims: Sequence[CollectionClaim], *, now: datetime, lease_s: float) -> None:
        """See `CollectionWorkStore.extend`."""
        run_ids, tokens = [claim.run.id for claim in claims], [claim.token for claim in claims]
        async with self._database.transaction(Role.KEEPER, timeout_s=TIMEOUT_S) as connection:
            await connection.execute(SQL["extend"], run_ids, tokens, now + timedelta(seconds=lease_s))

    async def see_instances(
        self, claim: CollectionClaim, provider: SourceKind, instances: Sequence[SeenInstance], *, now: datetime
    ) -> int:
        """See `CollectionWorkStore.see_instances`."""
        latest = list({seen.external_id: seen for seen in instances}.values())
        synthetic = provider is SourceKind.SYNTHETIC
        values = (claim.tenant_id, provider.value, json_of(latest), now, synthetic)
        async with self._database.transaction(Role.KEEPER, timeout_s=TIMEOUT_S) as connection:
            await _hold(connection, claim)
            return sum(row["created"] for row in await connection.fetch(SQL["see_instances"], *values))

    async def finish(
        self, claim: CollectionClaim, state: CollectionState, problem: Problem | None, *, now: datetime
    ) -> None:
        """See `CollectionWorkStore.finish`."""
        said = json_of(problem) if problem is not None else None
        async with self._database.transaction(Role.KEEPER, timeout_s=TIMEOUT_S) as connection:
            await _hold(connection, claim)
            await connection.execute(SQL["finish"], claim.tenant_id, claim.run.id, state.value, said, now)
            await connection.execute(SQL["prune"], claim.run.id, ITEMS_SHOWN_MAX)

    async def forget(self, *, before: datetime, limit: int) -> int:
        """See `CollectionWorkStore.forget`."""
        async with self._database.transaction(Role.KEEPER, timeout_s=TIMEOUT_S) as connection:
            return affected_rows(await connection.execute(SQL["forget"], before, limit))


async def _begin_due(connection: Connection, now: datetime, running_max: int) -> int | None:
    """The id of a new run of a scheduled source that is due, which is due again later."""
    due = await connection.fetchrow(SQL["due"], now, running_max)
    if due is None:
        return None
    interval_us = spec_of(due["spec"]).interval_us
    assert interval_us is not None, "only such a source has a next run"
    await connection.execute(SQL["schedule"], due["id"], following_run(due["next_run_at"], interval_us, now))
    nothing_special, nothing_done = json_of(CollectionRequest()), json_of(Progress())
    run_id: int | None = await connection.fetchval(
        SQL["add_due"], due["id"], nothing_special, SCHEDULE, nothing_done, now
    )
    return run_id


async def _hold(connection: Connection, claim: CollectionClaim) -> bool:
    """Makes sure that the claim stands until the end of the transaction; returns whether its source was deleted."""
    orphaned: bool | None = await connection.fetchval(SQL["hold"], claim.tenant_id, claim.run.id, claim.token)
    if orphaned is None:
        raise _lost(claim)
    return orphaned


async def _move(
    connection: Connection, claim: CollectionClaim, moved: Sequence[Checkpoint], caught_up: Sequence[Checkpoint]
) -> None:
    # Of those that one call names twice the furthest counts.
    furthest = {_digest(each.item, each.series): each for each in sorted(moved, key=lambda each: each.through)}
    if furthest:
        await connection.execute(
            SQL["move_checkpoints"],
            claim.tenant_id,
            claim.scope,
            list(furthest),
            [each.item for each in furthest.values()],
            [each.series for each in furthest.values()],
            [each.through for each in furthest.values()],
        )
    if caught_up:
        digests = [_digest(each.item, each.series) for each in caught_up]
        await connection.execute(SQL["remove_checkpoints"], claim.tenant_id, claim.scope, digests)


async def _note(
    connection: Connection, claim: CollectionClaim, results: Sequence[ItemResult], finished: Sequence[str]
) -> None:
    latest = {_digest(result.item): result for result in results}
    if latest:
        await connection.execute(
            SQL["add_results"],
            claim.tenant_id,
            claim.run.id,
            list(latest),
            [result.item for result in latest.values()],
            [result.failed for result in latest.values()],
            [json_of(result) for result in latest.values()],
        )
    keys = {_digest(key): key for key in finished}
    if keys:
        await connection.execute(SQL["add_finished"], claim.tenant_id, claim.run.id, list(keys), list(keys.values()))


def _digest(*parts: str) -> bytes:
    """SHA-256 of texts; their lengths keep (``ab``, ``c``) apart from (``a``, ``bc``)."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.digest()


def _claim(run: Mapping[str, Any], token: UUID, finished: Sequence[str]) -> CollectionClaim:
    return CollectionClaim(
        tenant_id=run["tenant_id"],
        tenant=run["tenant"],
        run=run_of(run),
        spec=spec_of(run["spec"]),
        scope=run["scope"],
        sealed=run["credentials"],
        token=token,
        finished_items=frozenset(finished),
    )


def _lost(claim: CollectionClaim) -> Conflict:
    return Conflict(f"run {claim.run.id} of tenant {claim.tenant!r} is no longer this process's")
