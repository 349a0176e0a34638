"""Forgetting the history of clusters and instances in memory."""

from datetime import datetime
from itertools import pairwise

from adapters.driven.memory.cluster_tables import ConfigKey
from adapters.driven.memory.database import MemoryDatabase
from core.domain.configurations import ConfigChange
from core.domain.drift import DriftStatus
from core.domain.source_configs import SourceKind
from ports.driven.cluster_history import ClusterRecord

SETTLED = (DriftStatus.RESOLVED, DriftStatus.IGNORED)
"""Where drift stands that nothing is expected of."""
COLLECTORS = frozenset(kind.value for kind in SourceKind)
"""Who looks for configurations that are gone."""


class MemoryClusterHistory:
    """Implements `ClusterHistory`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._tables = database.clusters
        self._collection = database.collection

    async def forget(self, record: ClusterRecord, *, before: datetime, limit: int) -> int:
        """Deletes old ones."""
        match record:
            case ClusterRecord.SNAPSHOTS:
                return self._forget_snapshots(before, limit)
            case ClusterRecord.CHANGES:
                return self._forget_changes(before, limit)
            case ClusterRecord.DRIFT:
                return self._forget_drift(before, limit)
            case ClusterRecord.INSTANCES:
                return self._forget_instances(before, limit)

    def _forget_snapshots(self, before: datetime, limit: int) -> int:
        gone = [
            (snapshots, key)
            for snapshots in self._tables.snapshots.values()
            for key, newer in pairwise(sorted(snapshots))
            if key[0] == newer[0] and key[1] < before
        ][:limit]
        for snapshots, key in gone:
            del snapshots[key]
        return len(gone)

    def _forget_changes(self, before: datetime, limit: int) -> int:
        gone = []
        for changes in self._tables.changes.values():
            old = sorted((one for one in changes.values() if one.ts < before), key=lambda one: (one.ts, one.id))
            last = {_place(one): one.id for one in old}
            # What a collector found goes once it has found something else: by it is known who looks for removals.
            last_found = {(_place(one), one.source): one.id for one in old if one.source in COLLECTORS}
            stay = {*last.values(), *last_found.values()}
            gone += [(changes, one.id) for one in old if one.id not in stay]
        for changes, change_id in gone[:limit]:
            del changes[change_id]
        return len(gone[:limit])

    def _forget_drift(self, before: datetime, limit: int) -> int:
        gone = []
        for tenant_id, events in self._tables.drift.items():
            recommendations = self._tables.recommendations.get(tenant_id, {}).values()
            touched = {
                row.recommendation.drift_id for row in recommendations if row.recommendation.updated_at >= before
            }
            gone += [
                (tenant_id, drift_id)
                for drift_id, event in events.items()
                if event.updated_at < before and event.status in SETTLED and drift_id not in touched
            ]
        for tenant_id, drift_id in gone[:limit]:
            del self._tables.drift[tenant_id][drift_id]
            rows = self._tables.recommendations.get(tenant_id, {})
            for rec_id in [rec_id for rec_id, row in rows.items() if row.recommendation.drift_id == drift_id]:
                del rows[rec_id]
        return len(gone[:limit])

    def _forget_instances(self, before: datetime, limit: int) -> int:
        instances, known = self._collection.instances, self._collection.known
        gone = [key for key, each in known.items() if instances[each].instance.last_seen_at < before][:limit]
        for key in gone:
            del instances[known.pop(key)]
        return len(gone)


def _place(change: ConfigChange) -> ConfigKey:
    """What changes of the same configuration have in common."""
    return change.cluster_id, change.namespace, change.workload, change.kind
