"""The server's own secrets in memory."""

import secrets

from adapters.driven.memory.database import MemoryDatabase
from ports.driven.server_secrets import SECRET_SIZE_BYTES


class MemoryServerSecrets:
    """Implements `ServerSecrets`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def get(self, name: str) -> bytes:
        """The secret of that name, made where there is none."""
        return self._database.server_secrets.setdefault(name, secrets.token_bytes(SECRET_SIZE_BYTES))
