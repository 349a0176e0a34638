"""Drift of a workload's use against what it asks for and what it may have.

Theory of operation. What a workload uses is compared with what its pods ask for together: the scheduler spreads pods
by requests, and one busy pod among idle ones is the load balancer's affair. A limit holds for each pod alone, so there
the worst pod counts. A level is the median of the recent buckets; how many of them are above it is the confidence.
"""

import msgspec
import numpy as np

from core.detection.drift_findings import (
    RECENT_HOURS,
    Judged,
    found_drift,
    lasts,
    share_text,
)
from core.detection.drift_right_size import (
    PARAMETERS,
    RULES,
    TEXTS,
    Surroundings,
    UsageParameters,
    WorkloadUse,
    right_size,
)
from core.detection.right_sizing import sized
from core.domain.columns import Float64s
from core.domain.drift import DetectionMethod, DriftCategory, DriftSeverity, FoundDrift, ProposedRecommendation


def judged_usage(
    around: Surroundings, resource: str, told: WorkloadUse, parameters: UsageParameters = PARAMETERS
) -> Judged:
    """Use of `cpu` or `memory` against requests and limits, as far as both are known."""
    judged: Judged = {}
    of_request, of_limit = _of_all(told.use, told.request), _of_worst(told.use, told.limit)
    if lasts(~np.isnan(of_request)):
        key = around.subject.key(f"{resource}-over-request")
        judged[key] = _over_request(around, resource, told, of_request, parameters)
    if lasts(~np.isnan(of_limit)):
        key = around.subject.key(f"{resource}-near-limit")
        judged[key] = _near_limit(around, resource, told, of_limit, parameters)
    return judged


def _over_request(
    around: Surroundings,
    resource: str,
    told: WorkloadUse,
    ratios: Float64s,
    parameters: UsageParameters,
) -> FoundDrift | None:
    """Against what all its pods ask for."""
    level = float(np.nanmedian(ratios))
    if level < parameters.request_minor:
        return None
    is_major = level >= parameters.request_major
    bound = parameters.request_major if is_major else parameters.request_minor
    used, asked = (_total(grid, told.use, told.request) for grid in (told.use, told.request))
    text = TEXTS[resource]
    return found_drift(
        around.subject,
        f"{resource}-over-request",
        category=DriftCategory.CPU_MEMORY_DRIFT,
        severity=DriftSeverity.MAJOR if is_major else DriftSeverity.MINOR,
        method=DetectionMethod.THRESHOLD,
        confidence=_share_above(ratios, bound),
        message=(
            f"{around.subject} uses {text(used)} of the {text(asked)} of {resource} that it asks for "
            f"({share_text(level)}), over the last {RECENT_HOURS} h"
        ),
        start=around.start,
        evidence={"resource": resource, "observed": used, "expected": asked, "ratio": level, "threshold": bound},
        recommendation=_larger(around, resource, told, parameters),
    )


def _near_limit(
    around: Surroundings,
    resource: str,
    told: WorkloadUse,
    ratios: Float64s,
    parameters: UsageParameters,
) -> FoundDrift | None:
    """Against the limit of the pod that is nearest to it."""
    level = float(np.nanmedian(ratios))
    if level < parameters.limit_critical:
        return None
    limit = _newest_median(told.limit) or 0.0
    danger = "killed when it has no more" if resource == "memory" else "throttled"
    return found_drift(
        around.subject,
        f"{resource}-near-limit",
        category=DriftCategory.CPU_MEMORY_DRIFT,
        severity=DriftSeverity.CRITICAL,
        method=DetectionMethod.THRESHOLD,
        confidence=_share_above(ratios, parameters.limit_critical),
        message=(
            f"a pod of {around.subject} uses {share_text(level)} of its limit of {TEXTS[resource](limit)} of "
            f"{resource}, over the last {RECENT_HOURS} h: it is {danger}"
        ),
        start=around.start,
        evidence={
            "resource": resource,
            "observed": level * limit,
            "expected": limit,
            "ratio": level,
            "threshold": parameters.limit_critical,
        },
        recommendation=_larger(around, resource, told, parameters),
    )


def _larger(
    around: Surroundings, resource: str, told: WorkloadUse, parameters: UsageParameters
) -> ProposedRecommendation | None:
    """A request that holds the recent use too, of which the whole range may hardly know yet."""
    sizing = told.sizing
    recent = sized(RULES[resource], told.use.ravel(), sizing.request)
    proposed = max(sizing.proposed or 0.0, recent.proposed or 0.0)
    if sizing.request is None or proposed <= sizing.request:
        return None
    larger = msgspec.structs.replace(sizing, proposed=proposed)
    return right_size(around, {resource: larger}, {resource: _newest_median(told.limit)}, parameters)


def _of_all(use: Float64s, bound: Float64s) -> Float64s:
    """Use of all pods that have both ÷ their bounds, shape (buckets,); NaN where there is no such pod."""
    both = ~np.isnan(use) & (bound > 0.0)
    bounds = np.where(both, bound, 0.0).sum(axis=0)
    used = np.where(both, use, 0.0).sum(axis=0)
    return np.where(bounds > 0.0, used / np.where(bounds > 0.0, bounds, 1.0), np.nan)


def _of_worst(use: Float64s, bound: Float64s) -> Float64s:
    """The ratios, shape (buckets,), of the pod with the highest median of those that have enough; else NaN."""
    both = ~np.isnan(use) & (bound > 0.0)
    ratios = np.where(both, use / np.where(both, bound, 1.0), np.nan)
    candidates = [pod for pod in ratios if lasts(~np.isnan(pod))]
    return max(candidates, key=lambda pod: float(np.nanmedian(pod)), default=np.full(use.shape[1], np.nan))


def _share_above(ratios: Float64s, bound: float) -> float:
    known = ratios[~np.isnan(ratios)]
    return float((known >= bound).mean())


def _total(grid: Float64s, use: Float64s, bound: Float64s) -> float:
    """The median over the buckets of the sum over the pods that have both."""
    both = ~np.isnan(use) & (bound > 0.0)
    return float(np.median(np.where(both, grid, 0.0).sum(axis=0)[both.any(axis=0)]))


def _newest_median(grid: Float64s) -> float | None:
    """Of the pods in the newest bucket in which there are any."""
    known = np.where(grid > 0.0, grid, np.nan)
    buckets = np.flatnonzero(~np.isnan(known).all(axis=0))
    return float(np.nanmedian(known[:, buckets[-1]])) if len(buckets) else None
