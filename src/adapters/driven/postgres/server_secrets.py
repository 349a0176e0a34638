"""The server's own secrets on PostgreSQL, out of reach of the roles that requests run in."""

import secrets
from typing import Final

from adapters.driven.postgres.database import Database, Role
from adapters.driven.postgres.queries import load_queries
from ports.driven.server_secrets import SECRET_SIZE_BYTES

TIMEOUT_S: Final = 10.0
"""Every statement here touches one row; longer means that the database is in trouble."""

SQL = load_queries(__package__, "server_secrets.sql")


class PostgresServerSecrets:
    """Implements `ports.driven.server_secrets.ServerSecrets`; each secret is read once, as none ever changes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, bytes] = {}

    async def get(self, name: str) -> bytes:
        """See `ServerSecrets.get`."""
        if name not in self._known:
            self._known[name] = await self._read_or_make(name)
        return self._known[name]

    async def _read_or_make(self, name: str) -> bytes:
        async with self._database.transaction(Role.KEEPER, timeout_s=TIMEOUT_S) as connection:
            secret: bytes | None = await connection.fetchval(SQL["get"], name)
            if secret is None:
                await connection.execute(SQL["make"], name, secrets.token_bytes(SECRET_SIZE_BYTES))
                secret = await connection.fetchval(SQL["get"], name)
        assert secret is not None
        return secret
