"""Configuration changes and baselines in memory."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from adapters.driven.config_recording import check_baselines_fit, event_of_change, recorded_change
from adapters.driven.memory.database import MemoryDatabase
from core.domain.configurations import (
    ConfigBaseline,
    ConfigChange,
    ConfigFilter,
    ConfigKind,
    ObservedConfiguration,
    StoredBaseline,
)
from core.domain.errors import NotFound


class MemoryConfigStore:
    """Implements `ConfigStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._tables = database.clusters

    async def append(self, tenant_id: int, changes: Sequence[ConfigChange]) -> int:
        """Adds those whose id is new, with their events."""
        stored = self._tables.changes.setdefault(tenant_id, {})
        added = 0
        for change in changes:
            if change.id not in stored:
                stored[change.id] = change
                self._database.events.add(tenant_id, [event_of_change(change, now=change.ts)])
                added += 1
        return added

    async def observe(
        self, tenant_id: int, observed: Sequence[ObservedConfiguration], *, source: str, now: datetime
    ) -> int:
        """Records what differs from the newest; the first sight of a workload is no change."""
        stored = self._tables.changes.setdefault(tenant_id, {})
        changed = 0
        for found in observed:
            ascending = sorted(
                (
                    change
                    for change in stored.values()
                    if (change.cluster_id, change.namespace, change.workload, change.kind)
                    == (found.cluster_id, found.namespace, found.workload, found.kind)
                ),
                key=_position,
            )
            newest = ascending[-1] if ascending else None
            change = recorded_change(tenant_id, found, newest, source=source, now=now)
            if change is None or change.id in stored:
                continue
            stored[change.id] = change
            if newest is not None:
                self._database.events.add(tenant_id, [event_of_change(change, now=now)])
                changed += 1
        return changed

    async def standing(
        self, tenant_id: int, cluster_id: str, namespaces: Sequence[str], *, source: str
    ) -> Sequence[tuple[str, str, ConfigKind]]:
        """What was found by that source, and is not removed."""
        ascending = sorted(
            (
                change
                for change in self._tables.changes.get(tenant_id, {}).values()
                if change.cluster_id == cluster_id and (not namespaces or change.namespace in namespaces)
            ),
            key=_position,
        )
        found = {(one.namespace, one.workload, one.kind) for one in ascending if one.source == source}
        last = {(one.namespace, one.workload, one.kind): one for one in ascending}
        return sorted((place for place in found if last[place].after is not None), key=lambda place: place[:2])

    async def list(
        self, tenant_id: int, wanted: ConfigFilter, *, limit: int, before: tuple[datetime, UUID] | None
    ) -> Sequence[ConfigChange]:
        """Newest first, by (ts, id)."""
        found = [
            change
            for change in self._tables.changes.get(tenant_id, {}).values()
            if (before is None or _position(change) < before) and _is_wanted(change, wanted)
        ]
        return sorted(found, key=_position, reverse=True)[:limit]

    async def get(self, tenant_id: int, change_id: UUID) -> ConfigChange:
        """One, or `NotFound`."""
        change = self._tables.changes.get(tenant_id, {}).get(change_id)
        if change is None:
            raise NotFound("configuration change", str(change_id))
        return change

    async def at(
        self, tenant_id: int, cluster_id: str, workload: str, *, namespace: str | None, ts: datetime
    ) -> Sequence[ConfigChange]:
        """The last change of each (namespace, kind), by these."""
        ascending = sorted(
            (
                change
                for change in self._tables.changes.get(tenant_id, {}).values()
                if change.cluster_id == cluster_id
                and change.workload == workload
                and namespace in (None, change.namespace)
                and change.ts <= ts
            ),
            key=_position,
        )
        last = {(change.namespace, change.kind.value): change for change in ascending}
        return [last[key] for key in sorted(last)]

    async def baselines(
        self, tenant_id: int, *, cluster_id: str | None, workload: str | None
    ) -> Sequence[StoredBaseline]:
        """Ascending by (cluster, namespace, workload, kind)."""
        found = [
            stored
            for stored in self._tables.baselines.get(tenant_id, {}).values()
            if cluster_id in (None, stored.baseline.cluster_id) and workload in (None, stored.baseline.workload)
        ]
        return sorted(found, key=lambda stored: _place(stored.baseline))

    async def put_baseline(self, tenant_id: int, baseline: ConfigBaseline, *, by: str, now: datetime) -> None:
        """Declares or replaces one, or `Conflict`."""
        key = (baseline.cluster_id, baseline.namespace, baseline.workload, baseline.kind)
        declared = self._tables.baselines.setdefault(tenant_id, {})
        others = (stored.baseline for place, stored in declared.items() if place != key)
        check_baselines_fit(sum(map(_size_bytes, others)), _size_bytes(baseline))
        declared[key] = StoredBaseline(baseline=baseline, declared_by=by, declared_at=now)

    async def delete_baseline(
        self, tenant_id: int, cluster_id: str, namespace: str, workload: str, kind: ConfigKind
    ) -> None:
        """Removes one, or `NotFound`."""
        baselines = self._tables.baselines.get(tenant_id, {})
        if baselines.pop((cluster_id, namespace, workload, kind), None) is None:
            raise NotFound("baseline", f"{kind.value} of {cluster_id}/{namespace}/{workload}")


def _position(change: ConfigChange) -> tuple[datetime, UUID]:
    return change.ts, change.id


def _place(baseline: ConfigBaseline) -> tuple[str, str, str, str]:
    return baseline.cluster_id, baseline.namespace, baseline.workload, baseline.kind.value


def _is_wanted(change: ConfigChange, wanted: ConfigFilter) -> bool:
    return (
        wanted.cluster_id in (None, change.cluster_id)
        and wanted.namespace in (None, change.namespace)
        and wanted.workload in (None, change.workload)
        and wanted.kind in (None, change.kind)
        and (wanted.start is None or wanted.start <= change.ts)
        and (wanted.end is None or change.ts < wanted.end)
    )


def _size_bytes(baseline: ConfigBaseline) -> int:
    return len(msgspec.json.encode(baseline.document))
