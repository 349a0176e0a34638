"""A sign of life of the database."""

import asyncio
from typing import Final

from adapters.driven.postgres.database import Database, Role, translated_errors

PROBE_TIMEOUT_S: Final = 3.0
"""An orchestrator's own time-out is rarely shorter."""


class PostgresProbe:
    """Implements `ports.driven.probe.Probe`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def schema_version(self) -> str:
        """See `Probe.schema_version`."""
        with translated_errors(None):
            async with (
                asyncio.timeout(PROBE_TIMEOUT_S),
                self._database.transaction(Role.KEEPER, timeout_s=PROBE_TIMEOUT_S) as connection,
            ):
                version: str = await connection.fetchval("SELECT max(number) FROM sextant.migrations")
        return version
