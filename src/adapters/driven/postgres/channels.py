"""Channels on PostgreSQL; their secrets are written by requests and read by the keeper alone."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg
import msgspec

from adapters.driven.postgres.database import Database, Role
from adapters.driven.postgres.queries import load_queries
from core.domain.errors import Conflict, NotFound
from core.domain.notifications import Channel, ChannelConfig

TIMEOUT_S: Final = 10.0
"""Every statement here touches a few rows; longer means that the database is in trouble."""

SQL = load_queries(__package__, "channels.sql")

_CONFIG: Final = msgspec.json.Decoder(ChannelConfig)


class PostgresChannelStore:
    """Implements `ports.driven.alerting_store.ChannelStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, tenant_id: int) -> Sequence[Channel]:
        """See `ChannelStore.list`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            return [channel_of(row) for row in await connection.fetch(SQL["list"], tenant_id)]

    async def get(self, tenant_id: int, channel_id: int) -> Channel:
        """See `ChannelStore.get`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            return _found(await connection.fetchrow(SQL["get"], tenant_id, channel_id), channel_id)

    async def create(self, tenant_id: int, config: ChannelConfig, secrets: tuple[str, ...]) -> Channel:
        """See `ChannelStore.create`."""
        try:
            async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
                row = await connection.fetchrow(
                    SQL["create"], tenant_id, config.name, _type(config), _json(config), config.enabled, secrets
                )
        except asyncpg.UniqueViolationError:
            raise _taken(config) from None
        assert row is not None
        return channel_of(row)

    async def replace(
        self, tenant_id: int, channel_id: int, config: ChannelConfig, secrets: tuple[str, ...] | None
    ) -> Channel:
        """See `ChannelStore.replace`."""
        values: tuple[object, ...] = (tenant_id, channel_id, config.name, _json(config), config.enabled)
        query = SQL["replace"]
        if secrets is not None:
            values = (*values, secrets)
            query = SQL["replace_with_secrets"]
        try:
            async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
                kind = await connection.fetchval(SQL["lock_type"], tenant_id, channel_id)
                if kind not in (None, _type(config)):
                    raise Conflict(f"the channel {channel_id} is of type {kind!r}, which cannot change")
                return _found(await connection.fetchrow(query, *values), channel_id)
        except asyncpg.UniqueViolationError:
            raise _taken(config) from None

    async def delete(self, tenant_id: int, channel_id: int) -> None:
        """See `ChannelStore.delete`."""
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            if await connection.fetchval(SQL["delete"], tenant_id, channel_id) is None:
                raise _missing(channel_id)

    async def secrets(self, tenant_id: int, channel_id: int) -> tuple[str, ...]:
        """See `ChannelStore.secrets`."""
        async with self._database.transaction(Role.KEEPER, timeout_s=TIMEOUT_S) as connection:
            secrets = await connection.fetchval(SQL["secrets"], tenant_id, channel_id)
        if secrets is None:
            raise _missing(channel_id)
        return tuple(secrets)

    async def disable(self, tenant_id: int, channel_id: int, reason: str) -> None:
        """See `ChannelStore.disable`."""
        async with self._database.transaction(Role.KEEPER, timeout_s=TIMEOUT_S) as connection:
            if await connection.fetchval(SQL["disable"], tenant_id, channel_id, reason) is None:
                raise _missing(channel_id)


def channel_of(row: Mapping[str, Any]) -> Channel:
    """The channel in a row of `sextant.channels`; Sextant may have disabled it since its settings were written."""
    return Channel(
        id=row["id"],
        config=msgspec.structs.replace(_CONFIG.decode(row["config"]), enabled=row["enabled"]),
        secrets_set=row["secrets_set"],
        disabled_reason=row["disabled_reason"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _found(row: Mapping[str, Any] | None, channel_id: int) -> Channel:
    if row is None:
        raise _missing(channel_id)
    return channel_of(row)


def _type(config: ChannelConfig) -> str:
    return str(config.__struct_config__.tag)


def _json(config: ChannelConfig) -> str:
    return msgspec.json.encode(config).decode()


def _missing(channel_id: int) -> NotFound:
    return NotFound("channel", str(channel_id))


def _taken(config: ChannelConfig) -> Conflict:
    return Conflict(f"a channel named {config.name!r} exists already")
