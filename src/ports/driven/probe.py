"""A sign of life of the store."""

from typing import Protocol


class Probe(Protocol):
    """Answers within a few seconds whatever the store does."""

    async def schema_version(self) -> str:
        """The version of the schema in the store; raises `Unavailable`."""
        ...
