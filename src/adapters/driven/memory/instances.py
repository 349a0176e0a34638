"""Instances in memory."""

from collections.abc import Sequence

from adapters.driven.memory.database import MemoryDatabase
from core.domain.collection import Instance, InstanceFilter
from core.domain.errors import NotFound


class MemoryInstanceStore:
    """Implements `InstanceStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._tables = database.collection

    async def list(
        self, tenant_id: int, wanted: InstanceFilter, *, limit: int, after_id: int | None
    ) -> Sequence[Instance]:
        """By id."""
        rows = (row for row in self._tables.instances.values() if row.tenant_id == tenant_id)
        found = [row.instance for row in rows if _matches(row.instance, wanted)]
        return [instance for instance in found if after_id is None or instance.id > after_id][:limit]

    async def get(self, tenant_id: int, instance_id: int) -> Instance:
        """One, or `NotFound`."""
        row = self._tables.instances.get(instance_id)
        if row is None or row.tenant_id != tenant_id:
            raise NotFound("instance", str(instance_id))
        return row.instance


def _matches(instance: Instance, wanted: InstanceFilter) -> bool:
    return (
        (wanted.provider is None or instance.provider is wanted.provider)
        and (wanted.kind is None or instance.kind == wanted.kind)
        and (wanted.region is None or instance.region == wanted.region)
        and (wanted.tag is None or instance.tags.get(wanted.tag[0]) == wanted.tag[1])
        and (wanted.seen_since is None or instance.last_seen_at >= wanted.seen_since)
    )
