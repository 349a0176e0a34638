"""A sign of life of the in-memory store."""

from typing import Final

SCHEMA_VERSION: Final = "memory"
"""There is nothing to migrate."""


class MemoryProbe:
    """Implements `Probe`: memory is always there."""

    async def schema_version(self) -> str:
        """The one version that there is."""
        return SCHEMA_VERSION
