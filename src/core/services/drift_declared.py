"""Drift from what was declared: configuration from baselines, capacity from plans."""

from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

from core.detection.drift_capacity import judged_capacity
from core.detection.drift_config import deviated, subject_of, what_of
from core.detection.drift_findings import Judged
from core.domain.capacity import CapacitySnapshot
from core.domain.configurations import StoredBaseline
from core.services.capacity_outlooks import FORECAST_DAYS, SNAPSHOTS_READ_MAX, headroom_of
from core.services.drift_part import DriftPart, bounded
from ports.driven.cluster_store import CapacityStore, ConfigStore

SNAPSHOT_AGE_MAX: Final = timedelta(days=1)
"""An older one says nothing of the present."""
CONFIG: Final = "config-"
"""What keys of configuration begin with."""


async def look_at_configuration(
    configurations: ConfigStore, tenant_id: int, cluster_id: str, now: datetime
) -> tuple[DriftPart, set[str]]:
    """Each baseline of the cluster against what is live, and the keys of all of them."""
    baselines = await configurations.baselines(tenant_id, cluster_id=cluster_id, workload=None)
    judged: Judged = {}
    skipped: list[str] = []
    for (namespace, workload), group in groupby(baselines, key=_place):
        changes = await configurations.at(tenant_id, cluster_id, workload, namespace=namespace, ts=now)
        states = {change.kind: change for change in changes}
        for one in group:
            state = states.get(one.baseline.kind)
            if state is None:
                skipped.append(
                    f"configuration: nothing is known of the {one.baseline.kind.value} of {workload} in {namespace}"
                )
            else:
                judged[_key(one)] = deviated(one, state)
    return DriftPart(judged=judged, skipped=bounded(skipped)), {_key(one) for one in baselines}


async def look_at_capacity(
    capacity: CapacityStore, tenant_id: int, cluster_id: str, newest: CapacitySnapshot | None, now: datetime
) -> DriftPart:
    """The newest snapshot against the plan, and where the last month leads; by the snapshots that a forecast is drawn
    from where nobody says otherwise, so that both tell the same."""
    if newest is None:
        return DriftPart(skipped=["capacity: there is no snapshot"])
    if newest.ts < now - SNAPSHOT_AGE_MAX:
        return DriftPart(skipped=[f"capacity: the newest snapshot, of {newest.ts.isoformat()}, is older than a day"])
    plan = await capacity.plan(tenant_id, cluster_id)
    snapshots = await capacity.list(
        tenant_id, cluster_id, start=now - timedelta(days=FORECAST_DAYS), end=None, limit=SNAPSHOTS_READ_MAX
    ) or [newest]
    return DriftPart(judged=judged_capacity(snapshots, plan, headroom_of(snapshots, plan).nodes_spare))


def _place(stored: StoredBaseline) -> tuple[str, str]:
    return stored.baseline.namespace, stored.baseline.workload


def _key(stored: StoredBaseline) -> str:
    return subject_of(stored).key(what_of(stored.baseline.kind))
