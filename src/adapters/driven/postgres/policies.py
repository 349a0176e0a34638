"""Remediation policies on PostgreSQL; their secrets are written by requests and read by the keeper alone."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg
import msgspec

from adapters.driven.postgres.database import Database, Role
from adapters.driven.postgres.queries import load_queries
from core.domain.errors import Conflict, NotFound
from core.domain.remediation import RemediationPolicy, StoredPolicy

TIMEOUT_S: Final = 10.0
"""Every statement here touches a few rows; longer means that the database is in trouble."""

SQL = load_queries(__package__, "policies.sql")


class PostgresPolicyStore:
    """Implements `ports.driven.remediation_store.PolicyStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, tenant_id: int) -> Sequence[StoredPolicy]:
        """See `PolicyStore.list`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            return [_stored(row) for row in await connection.fetch(SQL["list"], tenant_id)]

    async def get(self, tenant_id: int, policy_id: int) -> StoredPolicy:
        """See `PolicyStore.get`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            return _found(await connection.fetchrow(SQL["get"], tenant_id, policy_id), policy_id)

    async def create(self, tenant_id: int, policy: RemediationPolicy, secrets: Mapping[str, str]) -> StoredPolicy:
        """See `PolicyStore.create`."""
        try:
            async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
                row = await connection.fetchrow(
                    SQL["create"], tenant_id, policy.name, _json(policy), _json(dict(secrets)), sorted(secrets)
                )
        except asyncpg.UniqueViolationError:
            raise _taken(policy) from None
        assert row is not None
        return _stored(row)

    async def replace(
        self, tenant_id: int, policy_id: int, policy: RemediationPolicy, secrets: Mapping[str, str] | None
    ) -> StoredPolicy:
        """See `PolicyStore.replace`."""
        values: tuple[object, ...] = (tenant_id, policy_id, policy.name, _json(policy))
        query = SQL["replace"]
        if secrets is not None:
            values = (*values, _json(dict(secrets)), sorted(secrets))
            query = SQL["replace_with_secrets"]
        try:
            async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
                return _found(await connection.fetchrow(query, *values), policy_id)
        except asyncpg.UniqueViolationError:
            raise _taken(policy) from None

    async def delete(self, tenant_id: int, policy_id: int) -> None:
        """See `PolicyStore.delete`."""
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            if await connection.fetchval(SQL["delete"], tenant_id, policy_id) is None:
                raise _missing(policy_id)

    async def secrets(self, tenant_id: int, policy_id: int) -> Mapping[str, str]:
        """See `PolicyStore.secrets`."""
        async with self._database.transaction(Role.KEEPER, timeout_s=TIMEOUT_S) as connection:
            secrets = await connection.fetchval(SQL["secrets"], tenant_id, policy_id)
        return msgspec.json.decode(secrets, type=dict[str, str]) if secrets is not None else {}


def _stored(row: Mapping[str, Any]) -> StoredPolicy:
    return StoredPolicy(
        id=row["id"],
        policy=msgspec.json.decode(row["policy"], type=RemediationPolicy),
        secret_names=tuple(row["secret_names"]),
        revision=row["revision"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _found(row: Mapping[str, Any] | None, policy_id: int) -> StoredPolicy:
    if row is None:
        raise _missing(policy_id)
    return _stored(row)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _missing(policy_id: int) -> NotFound:
    return NotFound("remediation policy", str(policy_id))


def _taken(policy: RemediationPolicy) -> Conflict:
    return Conflict(f"a remediation policy named {policy.name!r} exists already")
