"""Tenants, API keys and metric definitions on PostgreSQL."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from adapters.driven.postgres.database import Connection, Database, Role
from adapters.driven.postgres.queries import load_queries
from adapters.driven.postgres.rules import follow_definition
from core.domain.definitions import Aggregation, AlertThreshold, MetricDefinition, MetricType
from core.domain.errors import Conflict, NotFound
from core.domain.tenants import ApiKey, KeyRecord, Scope, Tenant
from ports.driven.tenant_store import LimitOverrides, TenantPolicy

TIMEOUT_S: Final = 10.0
"""Every statement here touches a few rows; longer means that the database is in trouble."""

SQL = load_queries(__package__, "tenants.sql")


class PostgresTenantStore:
    """Implements `ports.driven.tenant_store.TenantStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> Sequence[Tenant]:
        """See `TenantStore.list`."""
        async with self._operator(Role.READER) as connection:
            return [_tenant(row) for row in await connection.fetch(SQL["list"])]

    async def get(self, tenant: str) -> Tenant:
        """See `TenantStore.get`."""
        async with self._operator(Role.READER) as connection:
            row = await connection.fetchrow(SQL["get"], tenant)
        if row is None:
            raise NotFound("tenant", tenant)
        return _tenant(row)

    async def create(self, name: str, limits: LimitOverrides) -> Tenant:
        """See `TenantStore.create`."""
        try:
            async with self._operator(Role.WRITER) as connection:
                row = await connection.fetchrow(SQL["create"], name, *msgspec.structs.astuple(limits))
                assert row is not None
                await connection.execute(SQL["create_catalog"], row["id"])
        except asyncpg.UniqueViolationError:
            raise Conflict(f"a tenant named {name!r} exists already") from None
        return _tenant(row)

    async def policy(self, tenant_id: int) -> TenantPolicy:
        """See `TenantStore.policy`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            row = await connection.fetchrow(SQL["policy"], tenant_id)
        if row is None:
            raise NotFound("tenant", str(tenant_id))
        return TenantPolicy(
            limits=LimitOverrides(**{field: row[field] for field in LimitOverrides.__struct_fields__}),
            retention_days=msgspec.json.decode(row["retention_days"], type=dict[str, int]),
            series_active=row["series_active"],
            definitions_revision=row["policy_revision"],
        )

    async def set_limits(self, tenant_id: int, limits: LimitOverrides) -> None:
        """See `TenantStore.set_limits`."""
        async with self._operator(Role.WRITER) as connection:
            found = await connection.fetchval(SQL["set_limits"], tenant_id, *msgspec.structs.astuple(limits))
            await connection.execute(SQL["bump_policy"], tenant_id)
        if found is None:
            raise NotFound("tenant", str(tenant_id))

    @asynccontextmanager
    async def _operator(self, role: Role) -> AsyncIterator[Connection]:
        async with self._database.transaction(role, operator=True, timeout_s=TIMEOUT_S) as connection:
            yield connection


class PostgresKeyStore:
    """Implements `ports.driven.tenant_store.KeyStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, sha256: bytes) -> KeyRecord | None:
        """See `KeyStore.find`."""
        async with self._database.transaction(Role.READER, timeout_s=TIMEOUT_S) as connection:
            await connection.execute("SELECT set_config('sextant.key_sha256', $1, true)", sha256.hex())
            row = await connection.fetchrow(SQL["find_key"], sha256)
            if row is None:
                return None
            await connection.execute("SELECT set_config('sextant.tenant_id', $1, true)", str(row["tenant_id"]))
            tenant: str = await connection.fetchval(SQL["tenant_name"], row["tenant_id"])
        return KeyRecord(key=_key(row, tenant), tenant_id=row["tenant_id"], sha256=row["sha256"])

    async def list(self, tenant_id: int) -> Sequence[ApiKey]:
        """See `KeyStore.list`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            return [_key(row, row["tenant"]) for row in await connection.fetch(SQL["list_keys"], tenant_id)]

    async def create(
        self,
        tenant: Tenant,
        *,
        name: str | None,
        prefix: str,
        sha256: bytes,
        scopes: frozenset[Scope],
        expires_at: datetime | None,
    ) -> ApiKey:
        """See `KeyStore.create`."""
        held = sorted(scope.value for scope in scopes)
        try:
            async with self._database.transaction(Role.WRITER, tenant_id=tenant.id, timeout_s=TIMEOUT_S) as connection:
                row = await connection.fetchrow(SQL["create_key"], tenant.id, name, prefix, sha256, held, expires_at)
        except asyncpg.UniqueViolationError:
            raise Conflict("this key exists already") from None
        assert row is not None
        return _key(row, tenant.name)

    async def revoke(self, tenant_id: int, key_id: int) -> None:
        """See `KeyStore.revoke`."""
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            if await connection.fetchval(SQL["revoke_key"], tenant_id, key_id) is None:
                raise NotFound("key", str(key_id))


class PostgresDefinitionStore:
    """Implements `ports.driven.definition_store.DefinitionStore`.

    The rule of a definition changes in the definition's transaction.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, tenant_id: int) -> Sequence[MetricDefinition]:
        """See `DefinitionStore.list`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            return [definition_of(row) for row in await connection.fetch(SQL["list_definitions"], tenant_id)]

    async def get(self, tenant_id: int, name: str) -> MetricDefinition:
        """See `DefinitionStore.get`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            row = await connection.fetchrow(SQL["get_definition"], tenant_id, name)
        if row is None:
            raise NotFound("metric definition", name)
        return definition_of(row)

    async def create(self, tenant_id: int, definition: MetricDefinition) -> None:
        """See `DefinitionStore.create`."""
        try:
            async with self._writing(tenant_id) as connection:
                await connection.execute(SQL["create_definition"], tenant_id, *_columns(definition))
                await _changed(connection, tenant_id, definition.name, definition.alert_threshold)
        except asyncpg.UniqueViolationError:
            raise Conflict(f"a definition of {definition.name!r} exists already; PUT replaces it") from None

    async def put(self, tenant_id: int, definition: MetricDefinition) -> bool:
        """See `DefinitionStore.put`."""
        async with self._writing(tenant_id) as connection:
            created: bool = await connection.fetchval(SQL["put_definition"], tenant_id, *_columns(definition))
            await _changed(connection, tenant_id, definition.name, definition.alert_threshold)
        return created

    async def delete(self, tenant_id: int, name: str) -> None:
        """See `DefinitionStore.delete`."""
        async with self._writing(tenant_id) as connection:
            if await connection.fetchval(SQL["delete_definition"], tenant_id, name) is None:
                raise NotFound("metric definition", name)
            await _changed(connection, tenant_id, name, None)

    @asynccontextmanager
    async def _writing(self, tenant_id: int) -> AsyncIterator[Connection]:
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            yield connection


async def _changed(connection: Connection, tenant_id: int, metric: str, threshold: AlertThreshold | None) -> None:
    """Follows a change of a definition; the count that all tenants share is the last thing that is waited for."""
    await connection.execute(SQL["bump_policy"], tenant_id)
    await follow_definition(connection, tenant_id, metric, threshold)


def definition_of(row: Mapping[str, Any]) -> MetricDefinition:
    """The definition in a row of `metric_definitions`."""
    warning, critical = row["alert_warning"], row["alert_critical"]
    return MetricDefinition(
        name=row["name"],
        display_name=row["display_name"],
        description=row["description"],
        unit=row["unit"],
        type=MetricType(row["type"]),
        aggregation=Aggregation(row["aggregation"]) if row["aggregation"] else None,
        retention_days=row["retention_days"],
        alert_threshold=AlertThreshold(warning, critical) if (warning, critical) != (None, None) else None,
    )


def _columns(definition: MetricDefinition) -> tuple[object, ...]:
    threshold = definition.alert_threshold or AlertThreshold()
    return (
        definition.name,
        definition.display_name,
        definition.description,
        definition.unit,
        definition.type.value,
        definition.aggregation.value if definition.aggregation else None,
        definition.retention_days,
        threshold.warning,
        threshold.critical,
    )


def _tenant(row: Mapping[str, Any]) -> Tenant:
    return Tenant(id=row["id"], name=row["name"], created_at=row["created_at"])


def _key(row: Mapping[str, Any], tenant: str) -> ApiKey:
    return ApiKey(
        id=row["id"],
        tenant=tenant,
        name=row["name"],
        prefix=row["prefix"],
        scopes=frozenset(Scope(scope) for scope in row["scopes"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )
