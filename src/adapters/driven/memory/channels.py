"""Channels in memory."""

from collections.abc import Sequence

import msgspec

from adapters.driven.memory.alert_tables import ChannelRow
from adapters.driven.memory.database import MemoryDatabase
from core.domain.errors import Conflict, NotFound
from core.domain.notifications import Channel, ChannelConfig


class MemoryChannelStore:
    """Implements `ChannelStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def list(self, tenant_id: int) -> Sequence[Channel]:
        """All, by name."""
        return sorted(channels_of(self._database, tenant_id), key=lambda channel: channel.config.name)

    async def get(self, tenant_id: int, channel_id: int) -> Channel:
        """One, or `NotFound`."""
        return self._row(tenant_id, channel_id).channel

    async def create(self, tenant_id: int, config: ChannelConfig, secrets: tuple[str, ...]) -> Channel:
        """Adds one, or raises `Conflict`."""
        self._check_free(tenant_id, config, None)
        now = self._database.now()
        channel = Channel(
            id=self._database.next_id("channels"),
            config=config,
            secrets_set=len(secrets),
            disabled_reason=None,
            created_at=now,
            updated_at=now,
        )
        self._database.channels[channel.id] = ChannelRow(tenant_id=tenant_id, channel=channel, secrets=secrets)
        return channel

    async def replace(
        self, tenant_id: int, channel_id: int, config: ChannelConfig, secrets: tuple[str, ...] | None
    ) -> Channel:
        """Replaces one, of the same type."""
        row = self._row(tenant_id, channel_id)
        if type(config) is not type(row.channel.config):
            raise Conflict(f"the type of the channel {channel_id} cannot change")
        self._check_free(tenant_id, config, channel_id)
        row.secrets = row.secrets if secrets is None else secrets
        row.channel = msgspec.structs.replace(
            row.channel,
            config=config,
            secrets_set=len(row.secrets),
            disabled_reason=None if config.enabled else row.channel.disabled_reason,
            updated_at=self._database.now(),
        )
        return row.channel

    async def delete(self, tenant_id: int, channel_id: int) -> None:
        """Removes one, with its notifications."""
        self._row(tenant_id, channel_id)
        del self._database.channels[channel_id]
        for message in list(self._database.notifications.values()):
            if message.channel_id == channel_id:
                del self._database.notifications[message.id]

    async def secrets(self, tenant_id: int, channel_id: int) -> tuple[str, ...]:
        """For sending."""
        return self._row(tenant_id, channel_id).secrets

    async def disable(self, tenant_id: int, channel_id: int, reason: str) -> None:
        """Gives it up; the first reason stays."""
        row = self._row(tenant_id, channel_id)
        row.channel = msgspec.structs.replace(
            row.channel,
            config=msgspec.structs.replace(row.channel.config, enabled=False),
            disabled_reason=row.channel.disabled_reason or reason,
            updated_at=self._database.now(),
        )

    def _row(self, tenant_id: int, channel_id: int) -> ChannelRow:
        row = self._database.channels.get(channel_id)
        if row is None or row.tenant_id != tenant_id:
            raise NotFound("channel", str(channel_id))
        return row

    def _check_free(self, tenant_id: int, config: ChannelConfig, channel_id: int | None) -> None:
        for channel in channels_of(self._database, tenant_id):
            if channel.config.name == config.name and channel.id != channel_id:
                raise Conflict(f"there is a channel {config.name!r} already")


def channels_of(database: MemoryDatabase, tenant_id: int) -> list[Channel]:
    """A tenant's channels by id."""
    return [row.channel for row in database.channels.values() if row.tenant_id == tenant_id]
