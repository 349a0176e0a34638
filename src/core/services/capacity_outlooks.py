"""Forecasts and headroom of a cluster's resources, from its snapshots."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from core.detection.capacity_outlook import Measure, instant_of, limit_of, name_of, outlook_of, utilisation_of, words_of
from core.domain.capacity import RESOURCES, CapacityPlan, CapacitySnapshot
from ports.driving.clusters import Headroom, HeadroomReply, ResourceForecast

FORECAST_DAYS: Final = 30.0
"""What a forecast of some weeks is drawn from, where nobody asks for more or less."""
SNAPSHOTS_READ_MAX: Final = 20_000
"""Two weeks of a cluster by the minute, two years by the hour; the line of a forecast needs no more."""
USE_PERCENT: Final = 95.0
"""Of snapshots: what is used more than that is a peak of one moment in twenty."""
PODS_MAX: Final = 1_000_000_000
"""More fit into no cluster; a request of next to nothing would fit any number of times."""


def resource_forecast(
    snapshots: Sequence[CapacitySnapshot],
    resource: str,
    plan: CapacityPlan | None,
    *,
    horizon_days: float,
    measure: Measure = Measure.USED,
) -> ResourceForecast | None:
    """When one of `RESOURCES` runs out; None where the newest snapshot (the last) does not tell."""
    now = utilisation_of(snapshots[-1], resource, measure)
    if now is None:
        return None
    limit = limit_of(plan, resource, measure)
    found = outlook_of(snapshots, resource, limit, horizon_days=horizon_days, measure=measure)
    name = name_of(resource, measure)
    return ResourceForecast(
        resource=resource,
        utilisation=now,
        limit=limit,
        outlook=found.outlook,
        at=instant_of(found.at_us),
        earliest=instant_of(found.earliest_us),
        latest=instant_of(found.latest_us),
        slope_per_day=found.slope_per_day,
        words=words_of(name, found, now=now, limit=limit, snapshots=len(snapshots), horizon_days=horizon_days),
    )


def headroom_of(snapshots: Sequence[CapacitySnapshot], plan: CapacityPlan | None) -> HeadroomReply:
    """What is left, by the newest snapshot (the last) and the 95th percentile of use over all of them.

    `free` is below 0 where use was above what is allocatable now. `pods_fit` goes by requests, as the scheduler does:
    what is not requested yet by what one running pod requests on the average. `nodes_spare` stays within the declared
    plan, or within what a plan says by default, leaves room for everything that is requested, and leaves the plan's
    `nodes_min`, at least one.
    """
    newest = snapshots[-1]
    used = {each: float(np.percentile([one.used.of(each) for one in snapshots], USE_PERCENT)) for each in RESOURCES}
    return HeadroomReply(
        cluster_id=newest.cluster_id,
        ts=newest.ts,
        nodes_spare=_nodes_spare(newest, used, plan or CapacityPlan()),
        resources=[_headroom(newest, each, used[each]) for each in RESOURCES],
    )


def _headroom(newest: CapacitySnapshot, resource: str, used_p95: float) -> Headroom:
    allocatable = newest.allocatable.of(resource)
    free = allocatable - used_p95
    return Headroom(
        resource=resource,
        allocatable=allocatable,
        used_p95=used_p95,
        requested=newest.requested.of(resource) if newest.requested is not None else None,
        free=free,
        free_share=max(free / allocatable, -float(PODS_MAX)) if allocatable > 0.0 else 0.0,
        pods_fit=_pods_fit(newest, resource),
    )


def _pods_fit(newest: CapacitySnapshot, resource: str) -> int | None:
    running = newest.used.pods
    if newest.requested is None or running <= 0.0:
        return None
    requested = newest.requested.of(resource)
    if requested <= 0.0:
        return None
    left = max(0.0, newest.allocatable.of(resource) - requested)
    return math.floor(min(left * running / requested, PODS_MAX) + 1e-9)


def _nodes_spare(newest: CapacitySnapshot, used: Mapping[str, float], plan: CapacityPlan) -> int:
    nodes = newest.node_count
    if nodes == 0:
        return 0
    needed = max(1.0, float(plan.nodes_min or 0))
    for resource in RESOURCES:
        allocatable = newest.allocatable.of(resource)
        if allocatable <= 0.0:
            continue
        requested = newest.requested.of(resource) if newest.requested is not None else 0.0
        room = max(used[resource] / limit_of(plan, resource), requested)
        needed = max(needed, min(nodes * room / allocatable, float(nodes)))
    return max(0, nodes - math.ceil(needed - 1e-9))
