"""Keys that the server makes for itself, such as the one that signs links."""

from typing import Final, Protocol

SECRET_SIZE_BYTES: Final = 32
"""As long as a SHA-256: more would not make a signature any stronger."""


class ServerSecrets(Protocol):
    """Safe to call concurrently. Raises `Unavailable`."""

    async def get(self, name: str) -> bytes:
        """The secret of that name, `SECRET_SIZE_BYTES` long; made at random once, the same for every process."""
        ...
