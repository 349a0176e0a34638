"""Alert rules on PostgreSQL, those that follow metric definitions or detection's settings too."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg
import msgspec

from adapters.driven.postgres.database import Connection, Database, Role
from adapters.driven.postgres.queries import load_queries
from core.domain.alerts import StoredRule
from core.domain.definitions import AlertThreshold
from core.domain.errors import Conflict, NotFound
from core.domain.rules import AlertRule, RuleOrigin, definition_rule, definition_rule_name, detection_rule_names

TIMEOUT_S: Final = 10.0
"""Every statement here touches a few rows; longer means that the database is in trouble."""

SQL = load_queries(__package__, "rules.sql")

_RULE: Final = msgspec.json.Decoder(AlertRule)


class PostgresRuleStore:
    """Implements `ports.driven.alerting_store.RuleStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, tenant_id: int) -> Sequence[StoredRule]:
        """See `RuleStore.list`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            return [_stored(row) for row in await connection.fetch(SQL["list"], tenant_id)]

    async def get(self, tenant_id: int, rule_id: int) -> StoredRule:
        """See `RuleStore.get`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            row = await connection.fetchrow(SQL["get"], tenant_id, rule_id)
        if row is None:
            raise _missing(rule_id)
        return _stored(row)

    async def create(self, tenant_id: int, rule: AlertRule) -> StoredRule:
        """See `RuleStore.create`."""
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            return await _create(connection, tenant_id, rule, RuleOrigin.API)

    async def replace(self, tenant_id: int, rule_id: int, rule: AlertRule) -> StoredRule:
        """See `RuleStore.replace`."""
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            return await _replace(connection, tenant_id, await _own(connection, tenant_id, rule_id), rule)

    async def delete(self, tenant_id: int, rule_id: int) -> None:
        """See `RuleStore.delete`."""
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            await _delete(connection, tenant_id, await _own(connection, tenant_id, rule_id))


async def follow_definition(
    connection: Connection, tenant_id: int, metric: str, threshold: AlertThreshold | None
) -> None:
    """Makes the rule of a metric's definition what its threshold says, inside the transaction that writes that.

    Raises `Conflict` where a rule of the tenant's own bears its name.
    """
    rule = definition_rule(metric, threshold or AlertThreshold())
    row = await connection.fetchrow(SQL["lock_named"], tenant_id, definition_rule_name(metric))
    stored = _stored(row) if row is not None else None
    if stored is not None and stored.origin is not RuleOrigin.DEFINITION:
        if rule is not None:
            raise _taken(rule)
        return
    if rule is None:
        if stored is not None:
            await _delete(connection, tenant_id, stored)
    elif stored is None:
        await _create(connection, tenant_id, rule, RuleOrigin.DEFINITION)
    else:
        await _replace(connection, tenant_id, stored, rule)


async def follow_detection(connection: Connection, tenant_id: int, rule: AlertRule) -> None:
    """Makes the rule that watches the risks be just this, inside the transaction that asks for it.

    Where a rule of the tenant's own bears its name it takes another one, and keeps that.
    """
    for name in detection_rule_names(rule.name):
        row = await connection.fetchrow(SQL["lock_detection"], tenant_id)
        if row is not None:
            stored = _stored(row)
            await _replace(connection, tenant_id, stored, msgspec.structs.replace(rule, name=stored.rule.name))
            return
        named = msgspec.structs.replace(rule, name=name)
        if await connection.fetchval(SQL["create_detection"], tenant_id, name, _json(named)) is not None:
            await bump_revision(connection)
            return


async def bump_revision(connection: Connection) -> None:
    """Makes evaluation look at rules and requests to close again; last in a transaction, since others wait for it."""
    await connection.execute(SQL["bump_revision"])


async def _own(connection: Connection, tenant_id: int, rule_id: int) -> StoredRule:
    """A rule that its tenant may change, locked."""
    row = await connection.fetchrow(SQL["lock"], tenant_id, rule_id)
    if row is None:
        raise _missing(rule_id)
    stored = _stored(row)
    match stored.origin:
        case RuleOrigin.API:
            return stored
        case RuleOrigin.DEFINITION:
            raise Conflict(f"the rule {stored.rule.name!r} follows its metric's definition: change the threshold there")
        case RuleOrigin.DETECTION:
            raise Conflict(f"the rule {stored.rule.name!r} follows detection's settings: change those")


async def _create(connection: Connection, tenant_id: int, rule: AlertRule, origin: RuleOrigin) -> StoredRule:
    try:
        row = await connection.fetchrow(SQL["create"], tenant_id, rule.name, origin.value, _json(rule))
    except asyncpg.UniqueViolationError:
        raise _taken(rule) from None
    assert row is not None
    await bump_revision(connection)
    return _stored(row)


async def _replace(connection: Connection, tenant_id: int, stored: StoredRule, rule: AlertRule) -> StoredRule:
    if stored.rule == rule:
        return stored
    try:
        row = await connection.fetchrow(SQL["replace"], tenant_id, stored.id, rule.name, _json(rule))
    except asyncpg.UniqueViolationError:
        raise _taken(rule) from None
    assert row is not None
    await bump_revision(connection)
    return _stored(row)


async def _delete(connection: Connection, tenant_id: int, stored: StoredRule) -> None:
    await connection.execute(SQL["delete"], tenant_id, stored.id)
    await bump_revision(connection)


def _stored(row: Mapping[str, Any]) -> StoredRule:
    return StoredRule(
        id=row["id"],
        origin=RuleOrigin(row["origin"]),
        rule=_RULE.decode(row["rule"]),
        revision=row["revision"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _json(rule: AlertRule) -> str:
    return msgspec.json.encode(rule).decode()


def _missing(rule_id: int) -> NotFound:
    return NotFound("alert rule", str(rule_id))


def _taken(rule: AlertRule) -> Conflict:
    return Conflict(f"an alert rule named {rule.name!r} exists already")
