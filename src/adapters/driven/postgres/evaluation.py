"""Evaluation on PostgreSQL: an advisory lock leads, a generation fences, effects commit with the journal's cursor."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from adapters.driven.postgres.alert_rows import alert_of
from adapters.driven.postgres.database import Connection, Database, Role
from adapters.driven.postgres.journal import SQL as JOURNAL_SQL
from adapters.driven.postgres.journal import read_blocks
from adapters.driven.postgres.queries import load_queries
from core.domain.alert_state import AlertState
from core.domain.columns import Int32s
from core.domain.errors import Unavailable
from core.domain.remediation import RemediationPolicy, workflow_id
from core.domain.rules import AlertRule, RuleMode
from core.domain.times import format_time
from ports.driven.evaluation_store import (
    CONSUMER,
    ActiveRule,
    Effects,
    EpisodeWrite,
    SeriesInfo,
    StoredState,
    Taken,
    Target,
    Term,
)

SWEEP_AFTER_LOOKS: Final = 10
"""About a second of quiet: under steady ingest the next settle deletes what was passed."""

SQL = load_queries(__package__, "evaluation.sql")

_STATE: Final = msgspec.json.Decoder(AlertState)
_RULE: Final = msgspec.json.Decoder(AlertRule)
_POLICY: Final = msgspec.json.Decoder(RemediationPolicy)
_TEXTS: Final = msgspec.json.Decoder(dict[str, str])


class PostgresEvaluationStore:
    """Implements `ports.driven.evaluation_store.EvaluationStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[Term | None]:
        """See `EvaluationStore.lead`."""
        async with self._database.session() as session:
            if not await session.fetchval(SQL["try_lead"]):
                yield None
                return
            async with self._database.transaction(Role.KEEPER) as connection:
                await connection.execute(SQL["close_terms"])
                generation = await connection.fetchval(SQL["begin_term"])
                await connection.execute(SQL["forget_orphans"])
                if await connection.fetchval(JOURNAL_SQL["register"], CONSUMER):
                    await connection.execute(JOURNAL_SQL["start_cursors"], CONSUMER)
            yield PostgresTerm(self._database, generation)
            await session.fetchval(SQL["stop_leading"])  # after an error the lock goes with the connection instead


class PostgresTerm:
    """Implements `Term`."""

    def __init__(self, database: Database, generation: int) -> None:
        self._database = database
        self._generation = generation
        self._quiet_looks: int | None = None
        """How often nothing was found since the last commit; None once the journal was swept."""

    async def rules(self) -> Sequence[ActiveRule]:
        """See `Term.rules`."""
        async with self._database.transaction(Role.KEEPER) as connection:
            rows = await connection.fetch(SQL["rules"])
        return [
            ActiveRule(
                tenant_id=row["tenant_id"], id=row["id"], revision=row["revision"], rule=_RULE.decode(row["rule"])
            )
            for row in rows
        ]

    async def states(self) -> Sequence[StoredState]:
        """See `Term.states`."""
        async with self._database.transaction(Role.KEEPER) as connection:
            rows = await connection.fetch(SQL["states"])
        return [
            StoredState(
                target=Target(row["tenant_id"], row["rule_id"], row["target_key"]),
                state=_STATE.decode(row["state"]),
                labels=_TEXTS.decode(row["labels"]),
                subject=row["subject"],
                announced=row["announced"],
                close_requested=row["close_requested"],
            )
            for row in rows
        ]

    async def series(self, series_ids: Int32s) -> Sequence[SeriesInfo]:
        """See `Term.series`."""
        async with self._database.transaction(Role.KEEPER) as connection:
            return [_series(row) for row in await connection.fetch(SQL["series"], series_ids.tolist())]

    async def series_of(self, tenant_id: int, name: str) -> Sequence[SeriesInfo]:
        """See `Term.series_of`."""
        async with self._database.transaction(Role.KEEPER) as connection:
            return [_series(row) for row in await connection.fetch(SQL["series_of"], tenant_id, name)]

    async def last_series(self) -> int:
        """See `Term.last_series`."""
        async with self._database.transaction(Role.KEEPER) as connection:
            last: int = await connection.fetchval(SQL["last_series"])
            return last

    async def take(self, *, points_max: int, skip_at: int | None) -> Taken:
        """See `Term.take`."""
        async with self._database.transaction(Role.KEEPER) as connection:
            chosen = _within(await connection.fetch(SQL["unread"], CONSUMER), points_max)
            generation, revision = await connection.fetchrow(SQL["counters"])
            self._check(generation)
            await self._sweep(connection, found=bool(chosen))
            skipped = skip_at is not None and revision == skip_at
            blocks = [] if skipped else await read_blocks(connection, chosen)
        positions: dict[int, int] = {}
        for writer, sequence in chosen:
            positions[writer] = max(sequence, positions.get(writer, 0))
        return Taken(blocks=blocks, positions=positions, rules_revision=revision)

    async def commit(self, taken: Taken, effects: Effects) -> None:
        """See `Term.commit`."""
        async with self._database.transaction(Role.KEEPER) as connection:
            await connection.execute(SQL["hold_term"])
            generation, _ = await connection.fetchrow(SQL["counters"])
            self._check(generation)
            await _EffectWriter(connection).write(effects)
            if taken.positions:
                self._quiet_looks = 0
                columns = list(taken.positions), list(taken.positions.values())
                await connection.execute(JOURNAL_SQL["move_cursors"], CONSUMER, *columns)

    async def _sweep(self, connection: Connection, *, found: bool) -> None:
        """Once it is quiet: what the settler had moved before it was evaluated is nobody's any more."""
        if found or self._quiet_looks is None:
            return
        self._quiet_looks += 1
        if self._quiet_looks == SWEEP_AFTER_LOOKS:
            await connection.execute(SQL["sweep"])
            self._quiet_looks = None

    def _check(self, generation: int) -> None:
        if generation != self._generation:
            raise Unavailable("another process evaluates alerts by now")


class _EffectWriter:
    """Writes effects in a transaction under way."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def write(self, effects: Effects) -> None:
        """States, episodes, events and remediations, as far as there are any."""
        await self._write_states(effects)
        ids = await self._write_episodes(effects.episodes)
        told = [
            (ids[episode.target, episode.episode], event.value)
            for episode in effects.episodes
            for event in episode.events
        ]
        if told:
            await self._connection.execute(SQL["write_events"], *map(list, zip(*told, strict=True)))
        repaired = [episode for episode in effects.episodes if episode.remediate]
        if repaired:
            await self._write_remediations(repaired, ids)

    async def _write_states(self, effects: Effects) -> None:
        kept = [one for one in effects.states.values() if one is not None]
        gone = [target for target, one in effects.states.items() if one is None]
        if kept:
            await self._connection.execute(SQL["write_states"], _json([_state_row(one) for one in kept]))
        if gone:
            columns = zip(*((one.tenant_id, one.rule_id, one.key) for one in gone), strict=True)
            await self._connection.execute(SQL["forget_states"], *map(list, columns))

    async def _write_episodes(self, episodes: Sequence[EpisodeWrite]) -> dict[tuple[Target, int], int]:
        """The alert's id of each episode."""
        dropped = [one for one in episodes if one.state is None]
        if dropped:
            keys = [(one.target.tenant_id, one.target.rule_id, one.target.key, one.episode) for one in dropped]
            await self._connection.execute(SQL["drop_episodes"], *map(list, zip(*keys, strict=True)))
        written = [_episode_row(one, one.rule) for one in episodes if one.state is not None and one.rule is not None]
        ended = [_ended_row(one) for one in episodes if one.state is not None and one.rule is None]
        rows: list[Any] = []
        if written:
            rows += await self._connection.fetch(SQL["write_episodes"], _json(written))
        if ended:
            rows += await self._connection.fetch(SQL["end_episodes"], _json(ended))
        return {
            (Target(row["tenant_id"], row["rule_id"], row["target_key"]), row["episode"]): row["id"] for row in rows
        }

    async def _write_remediations(self, episodes: Sequence[EpisodeWrite], ids: dict[tuple[Target, int], int]) -> None:
        rules = {ids[one.target, one.episode]: one for one in episodes}
        wanted = {(one.target.tenant_id, one.rule.remediation) for one in episodes if one.rule is not None}
        found = await self._connection.fetch(SQL["policies"], *map(list, zip(*wanted, strict=True)))
        policies = {(row["tenant_id"], row["name"]): (row["id"], _POLICY.decode(row["policy"])) for row in found}
        rows = []
        for row in await self._connection.fetch(SQL["alerts"], list(rules)):
            episode = rules[row["id"]]
            assert episode.rule is not None
            policy_id, policy = policies.get((row["tenant_id"], episode.rule.remediation), (0, None))
            if policy is not None and policy.enabled:
                rows.append(
                    {
                        "tenant_id": row["tenant_id"],
                        "alert_id": row["id"],
                        "rule_name": row["rule_name"],
                        "policy_id": policy_id,
                        "policy_name": policy.name,
                        "workflow_id": workflow_id(row["tenant_id"], row["rule_id"], row["target_key"], row["episode"]),
                        "dry_run": policy.dry_run,
                        "alert": alert_of(row),
                        "rule": episode.rule,
                        "policy": policy,
                    }
                )
        if rows:
            await self._connection.execute(SQL["write_remediations"], _json(rows))


def _within(rows: Sequence[Any], points_max: int) -> list[tuple[int, int]]:
    """The first blocks that hold `points_max` together, at least one."""
    chosen: list[tuple[int, int]] = []
    points = 0
    for row in rows:
        if chosen and points + row["points"] > points_max:
            break
        chosen.append((row["writer"], row["sequence"]))
        points += row["points"]
    return chosen


def _series(row: Any) -> SeriesInfo:
    return SeriesInfo(
        series_id=row["id"], tenant_id=row["tenant_id"], name=row["name"], labels=_TEXTS.decode(row["labels"])
    )


def _state_row(stored: StoredState) -> dict[str, object]:
    target = stored.target
    return {
        "tenant_id": target.tenant_id,
        "rule_id": target.rule_id,
        "target_key": target.key,
        "state": stored.state,
        "labels": stored.labels,
        "subject": stored.subject.hex(),
        "announced": stored.announced,
    }


def _episode_row(episode: EpisodeWrite, rule: AlertRule) -> dict[str, object]:
    return {
        **_ended_row(episode),
        "rule_name": rule.name,
        "metric": rule.metric,
        "labels": episode.labels,
        "state": episode.state,
        "severity": episode.severity,
        "value": episode.value,
        "threshold": episode.threshold,
        "started_at": format_time(episode.started_us),
        "fired_at": _time(episode.fired_us),
        "no_data": episode.no_data,
        "shadow": rule.mode is RuleMode.SHADOW,
        "announced": episode.announced,
        "annotations": episode.annotations,
        "runbook_url": rule.runbook_url,
        "channels": rule.channels,
    }


def _ended_row(episode: EpisodeWrite) -> dict[str, object]:
    target = episode.target
    return {
        "tenant_id": target.tenant_id,
        "rule_id": target.rule_id,
        "target_key": target.key,
        "episode": episode.episode,
        "resolved_at": _time(episode.resolved_us),
        "resolution": episode.resolution,
    }


def _time(ts_us: int | None) -> str | None:
    return format_time(ts_us) if ts_us is not None else None


def _json(rows: Sequence[dict[str, object]]) -> str:
    return msgspec.json.encode(rows).decode()
