"""Drift of a cluster's capacity from its plan: too full, full too soon, too many nodes or too few.

A cluster is full by what is used of it, and by what pods request, by which the scheduler goes.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec

from core.detection.capacity_outlook import (
    MEASURED,
    REQUESTED_MAX,
    Measure,
    instant_of,
    limit_of,
    name_of,
    outlook_of,
    utilisation_of,
    words_of,
)
from core.detection.drift_findings import Judged, Subject, found_drift, share_text
from core.detection.forecast import Forecast, Outlook
from core.domain.capacity import CapacityPlan, CapacitySnapshot
from core.domain.drift import DetectionMethod, DriftCategory, DriftSeverity, FoundDrift, ProposedRecommendation
from core.domain.resource_prices import HOURS_PER_MONTH


class CapacityParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Where capacity is drift, besides what the plan says."""

    full_critical: float = REQUESTED_MAX
    """Full in all but name: one node that fails, or one rollout, does not fit any more. Drift without a plan too."""
    spare_share_min: float = 0.3
    """Of the nodes: fewer spare ones are what an autoscaler keeps for the next hour."""
    spare_nodes_min: int = 2
    """One spare node is there for the one that fails."""
    spare_span: timedelta = timedelta(days=1)
    """Snapshots must span that much before nodes count as spare: every cluster sleeps at night."""


PARAMETERS: Final = CapacityParameters()
_BAND: Final = 0.9
"""Confidence of what follows from a forecast, as its band's."""


class _Looked(msgspec.Struct, frozen=True):
    """One resource, in use or as it is requested, now."""

    resource: str
    measure: Measure
    level: float
    limit: float

    @property
    def slug(self) -> str:
        """In keys: ``cpu`` or ``requested-cpu``."""
        return name_of(self.resource, self.measure).replace(" ", "-")


def judged_capacity(
    snapshots: Sequence[CapacitySnapshot],
    plan: CapacityPlan | None,
    nodes_spare: int,
    parameters: CapacityParameters = PARAMETERS,
) -> Judged:
    """Everything about a cluster's capacity; `snapshots` ascending by time, the last is the present, and `nodes_spare`
    how many nodes it could do without."""
    newest = snapshots[-1]
    subject = Subject(cluster_id=newest.cluster_id)
    judged: Judged = {}
    for measure, resource in ((measure, each) for measure, resources in MEASURED.items() for each in resources):
        level = utilisation_of(newest, resource, measure)
        if level is not None:
            one = _Looked(resource, measure, level, limit_of(plan, resource, measure))
            judged[f"capacity-{one.slug}"] = _full(subject, newest, plan, one, parameters)
            judged[f"runway-{one.slug}"] = _runway(subject, snapshots, plan, one)
    judged["nodes"] = _nodes(subject, newest, plan)
    if newest.requested is not None and newest.ts - snapshots[0].ts >= parameters.spare_span:
        judged["spare-nodes"] = _spare(subject, newest, nodes_spare, parameters)
    return judged


def _full(
    subject: Subject,
    newest: CapacitySnapshot,
    plan: CapacityPlan | None,
    one: _Looked,
    parameters: CapacityParameters,
) -> FoundDrift | None:
    is_critical = one.level >= parameters.full_critical
    if not is_critical and one.level <= one.limit:
        return None
    bound = min(one.limit, parameters.full_critical)
    return found_drift(
        subject,
        f"capacity-{one.slug}",
        category=DriftCategory.CAPACITY_DRIFT,
        severity=DriftSeverity.CRITICAL if is_critical else DriftSeverity.MAJOR,
        method=DetectionMethod.THRESHOLD,
        confidence=1.0,
        message=_full_text(subject, newest, plan, one),
        start=newest.ts,
        evidence={"resource": one.resource, "measure": one.measure.value, "observed": one.level, "expected": bound},
        recommendation=scaled(newest, plan, newest.node_count * one.level / bound),
    )


def _full_text(subject: Subject, newest: CapacitySnapshot, plan: CapacityPlan | None, one: _Looked) -> str:
    if one.measure is Measure.REQUESTED:
        used = utilisation_of(newest, one.resource)
        but = f"; {share_text(used)} is used" if used is not None else ""
        return (
            f"pods request {share_text(one.level)} of the {one.resource} of {subject}, so that more may have to wait "
            f"for room{but}"
        )
    is_planned = plan is not None and one.resource in plan.utilisation_max
    meant = f"; its plan allows {share_text(one.limit)}" if is_planned else ""
    return f"{subject} uses {share_text(one.level)} of its {one.resource}{meant}"


def _runway(
    subject: Subject,
    snapshots: Sequence[CapacitySnapshot],
    plan: CapacityPlan | None,
    one: _Looked,
) -> FoundDrift | None:
    if plan is None or plan.runway_days_min is None or plan.runway_days_min <= 0.0:
        return None
    days, newest, level, limit = plan.runway_days_min, snapshots[-1], one.level, one.limit
    outlook = outlook_of(snapshots, one.resource, limit, horizon_days=days, measure=one.measure)
    if outlook.outlook is not Outlook.WITHIN:
        return None
    name = name_of(one.resource, one.measure)
    ahead = level + max(outlook.slope_per_day, 0.0) * days
    return found_drift(
        subject,
        f"runway-{one.slug}",
        category=DriftCategory.CAPACITY_DRIFT,
        # Its horizon is the runway: a latest instant that is known is within it.
        severity=DriftSeverity.MAJOR if outlook.latest_us is not None else DriftSeverity.MINOR,
        method=DetectionMethod.THRESHOLD,
        confidence=_BAND if outlook.latest_us is not None else 0.5,
        message=(
            f"{words_of(name, outlook, now=level, limit=limit, snapshots=len(snapshots), horizon_days=days)} in "
            f"{subject}; its plan wants {days:g} days of runway"
        ),
        start=newest.ts,
        evidence={
            "resource": one.resource,
            "measure": one.measure.value,
            "observed": level,
            "expected": limit,
            **_instants(outlook),
        },
        recommendation=scaled(newest, plan, newest.node_count * ahead / limit),
    )


def _nodes(subject: Subject, newest: CapacitySnapshot, plan: CapacityPlan | None) -> FoundDrift | None:
    if plan is None:
        return None
    count = newest.node_count
    least, most = plan.nodes_min, plan.nodes_max
    if least is not None and count < least:
        meant, wanted = f"at least {least}", least
    elif most is not None and count > most:
        meant, wanted = f"at most {most}", most
    else:
        return None
    return found_drift(
        subject,
        "nodes",
        category=DriftCategory.CAPACITY_DRIFT,
        severity=DriftSeverity.MAJOR,
        method=DetectionMethod.THRESHOLD,
        confidence=1.0,
        message=f"{subject} has {_nodes_text(count)}; its plan wants {meant}",
        start=newest.ts,
        evidence={"observed": count, "expected": wanted},
        recommendation=scaled(newest, plan, float(wanted)),
    )


def _spare(
    subject: Subject, newest: CapacitySnapshot, nodes_spare: int, parameters: CapacityParameters
) -> FoundDrift | None:
    count = newest.node_count
    if nodes_spare < max(parameters.spare_nodes_min, parameters.spare_share_min * count):
        return None
    cost = monthly_node_cost_usd(newest)
    price = f", which cost {nodes_spare * cost:,.0f} USD a month" if cost is not None else ""
    return found_drift(
        subject,
        "spare-nodes",
        category=DriftCategory.COST_DRIFT,
        severity=DriftSeverity.MINOR,
        method=DetectionMethod.THRESHOLD,
        confidence=nodes_spare / count,
        message=f"{subject} could do without {nodes_spare} of its {_nodes_text(count)}{price}",
        start=newest.ts,
        evidence={"observed": count, "expected": count - nodes_spare},
        recommendation=scaled(newest, None, float(count - nodes_spare)),
    )


def scaled(newest: CapacitySnapshot, plan: CapacityPlan | None, wanted: float) -> ProposedRecommendation | None:
    """As many nodes as are wanted, as far as the plan allows; None where that changes nothing, or
    would make it worse."""
    count = newest.node_count
    if not count:
        return None  # what there is of it is not known by nodes
    nodes = math.ceil(min(wanted, 1e6) - 1e-9)
    if plan is not None and plan.nodes_max is not None:
        nodes = min(nodes, plan.nodes_max)
    if plan is not None and plan.nodes_min is not None:
        nodes = max(nodes, plan.nodes_min)
    if (nodes - count) * (wanted - count) <= 0.0:
        return None
    cost = monthly_node_cost_usd(newest)
    return ProposedRecommendation(
        recommendation_type="scale_nodes",
        recommendation_json={"current": {"nodes": count}, "proposed": {"nodes": nodes}},
        estimated_savings_usd=None if cost is None else (count - nodes) * cost,
    )


def monthly_node_cost_usd(newest: CapacitySnapshot) -> float | None:
    """Of the average node; None where it is not known."""
    cost = newest.hourly_cost_usd
    return None if cost is None or not newest.node_count else cost * HOURS_PER_MONTH / newest.node_count


def _instants(outlook: Forecast) -> Mapping[str, Any]:
    ends = {"at": outlook.at_us, "earliest": outlook.earliest_us, "latest": outlook.latest_us}
    known = {name: instant_of(ts_us) for name, ts_us in ends.items()}
    return {
        "slope_per_day": outlook.slope_per_day,
        **{name: instant.isoformat() for name, instant in known.items() if instant is not None},
    }


def _nodes_text(count: int) -> str:
    return f"{count} node{'' if count == 1 else 's'}"
