"""Requests that are far larger than use, and other requests to recommend."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from core.detection.drift_findings import Judged, Subject, bytes_text, cores_text, found_drift
from core.detection.right_sizing import (
    CPU_RULE,
    MEMORY_RULE,
    OVERSIZED_FROM,
    Sizing,
    SizingRule,
    monthly_savings,
    verdict_of,
)
from core.domain.columns import Float64s
from core.domain.configurations import ConfigChange, ConfigKind
from core.domain.drift import DetectionMethod, DriftCategory, DriftSeverity, FoundDrift, ProposedRecommendation
from core.domain.errors import InvalidInput
from core.domain.quantities import cpu_quantity, memory_quantity, parse_quantity
from core.domain.resource_prices import ResourcePrices

RULES: Final[Mapping[str, SizingRule]] = {"cpu": CPU_RULE, "memory": MEMORY_RULE}
RESOURCES: Final = tuple(RULES)
RIGHT_SIZE: Final = "right_size"
SIZED_KIND: Final = "Deployment"
"""What the recommendation changes."""
ROUNDED: Final = 0.01
"""By how much amounts may differ that are written in other units."""
UNKNOWN: Final = Sizing(request=None, observed=None, proposed=None)
TEXTS: Final = {"cpu": cores_text, "memory": bytes_text}
QUANTITIES: Final = {"cpu": cpu_quantity, "memory": memory_quantity}


class UsageParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Where use is drift."""

    request_minor: float = 0.9
    """Of what is asked for: what is left is less than the room that right-sizing leaves."""
    request_major: float = 1.0
    """From here on it lives on what other pods leave, and is the first to be evicted."""
    limit_critical: float = 0.9
    """Of the limit: half an hour's average of so much has peaks at the limit itself."""
    oversized_from: float = 2.0
    """Of what right-sizing proposes, for one resource at least: half of it unused, with room already left, is far too
    large. What is a little too large shows in the cluster's right-sizing."""
    oversized_buckets_min: int = 24
    """Twelve hours: what was idle for a night is not too large."""
    limit_room: float = 1.25
    """Of a proposed request: a limit is raised only where it would be below the request, and then it leaves this."""


PARAMETERS: Final = UsageParameters()


class WorkloadUse(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a workload's pods use of one resource: grids of shape (pods, recent buckets), NaN where there is none."""

    use: Float64s
    request: Float64s
    limit: Float64s
    sizing: Sizing
    """Of one pod, by the whole range."""


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What all drift of one workload has in common."""

    subject: Subject
    start: datetime
    """Of the recent buckets."""
    pods: float
    prices: ResourcePrices | None


def judged_oversized(
    around: Surroundings, told: Mapping[str, WorkloadUse], buckets: int, parameters: UsageParameters = PARAMETERS
) -> Judged:
    """Requests of both resources against use over the whole range, of which `buckets` have samples."""
    sizings = {resource: told[resource].sizing for resource in RESOURCES}
    verdict = verdict_of(*sizings.values())
    if buckets < parameters.oversized_buckets_min or verdict == "no request":
        return {}
    key = around.subject.key("oversized")
    if verdict != "oversized" or max(one.ratio or 0.0 for one in sizings.values()) < parameters.oversized_from:
        return {key: None}
    large = {name: one for name, one in sizings.items() if one.ratio is not None and one.ratio >= OVERSIZED_FROM}
    parts = [
        f"{name}: {TEXTS[name](one.request or 0.0)}, where {TEXTS[name](one.proposed or 0.0)} would do"
        for name, one in large.items()
    ]
    return {
        key: found_drift(
            around.subject,
            "oversized",
            category=DriftCategory.CPU_MEMORY_DRIFT,
            severity=DriftSeverity.MINOR,
            method=DetectionMethod.THRESHOLD,
            confidence=1.0 - 1.0 / max(one.ratio or 1.0 for one in large.values()),
            message=f"each pod of {around.subject} asks for far more than it uses; {'; '.join(parts)}",
            start=around.start,
            evidence={
                name: {"request": one.request, "observed": one.observed, "proposed": one.proposed}
                for name, one in large.items()
            },
            recommendation=right_size(around, large, {}, parameters),
        )
    }


def right_size(
    around: Surroundings,
    sizings: Mapping[str, Sizing],
    limits: Mapping[str, float | None],
    parameters: UsageParameters = PARAMETERS,
) -> ProposedRecommendation | None:
    """Other requests for some resources; a limit that would be below its request is raised too. None: as they are."""
    current: dict[str, str] = {}
    proposed: dict[str, str] = {}
    for resource, sizing in sizings.items():
        if sizing.request is None or sizing.proposed is None or sizing.request == sizing.proposed:
            continue
        quantity, limit = QUANTITIES[resource], limits.get(resource)
        current[f"{resource}_request"], proposed[f"{resource}_request"] = (
            quantity(sizing.request),
            quantity(sizing.proposed),
        )
        if limit is not None and limit < sizing.proposed:
            raised = sizing.proposed * parameters.limit_room
            step = RULES[resource].step
            current[f"{resource}_limit"] = quantity(limit)
            proposed[f"{resource}_limit"] = quantity(math.ceil(raised / step - 1e-9) * step)
    if not proposed:
        return None
    cpu, memory = (sizings.get(resource, UNKNOWN) for resource in RESOURCES)
    return ProposedRecommendation(
        recommendation_type=RIGHT_SIZE,
        recommendation_json={
            "namespace": around.subject.namespace,
            "workload": around.subject.workload,
            "current": current,
            "proposed": proposed,
        },
        estimated_savings_usd=monthly_savings(cpu, memory, around.prices, around.pods),
    )


def applicable(found: FoundDrift, known: Sequence[ConfigChange]) -> FoundDrift:
    """The same for a workload whose newest configurations are `known`: right-sizing names its container, and where it
    could not be applied its numbers are evidence instead. What is not known changes nothing."""
    proposed = found.recommendation
    if proposed is None or proposed.recommendation_type != RIGHT_SIZE:
        return found
    documents = {change.kind: change.after or {} for change in known}
    kind = documents.get(ConfigKind.RUNTIME, {}).get("kind")
    containers = documents.get(ConfigKind.RESOURCE, {}).get("containers")
    if isinstance(kind, str) and kind != SIZED_KIND:
        return _only_evidence(found, proposed, f"it is a {kind}, and only a {SIZED_KIND} can be right-sized")
    if not isinstance(containers, dict) or not containers:
        return found
    if len(containers) > 1:
        message = f"it has {len(containers)} containers, and what each of them uses is not known"
        return _only_evidence(found, proposed, message)
    [(container, wants)] = containers.items()
    current = _as_configured(proposed.recommendation_json["current"], wants)
    if current is None:
        return _only_evidence(found, proposed, "its pods ask for something else than its configuration says")
    document = {**proposed.recommendation_json, "container": container, "current": current}
    return msgspec.structs.replace(
        found, recommendation=msgspec.structs.replace(proposed, recommendation_json=document)
    )


def _as_configured(measured: Mapping[str, str], container: object) -> dict[str, str] | None:
    """These settings of pods as their configuration writes them, without those that it leaves to defaults; None where
    it says something else: what is added to pods as they start, such as a sidecar, counts with them."""
    told: dict[str, str] = {}
    for field, amount in measured.items():
        resource, side = field.split("_")
        amounts = container.get(f"{side}s") if isinstance(container, Mapping) else None
        written = amounts.get(resource) if isinstance(amounts, Mapping) else None
        if written is None:
            continue
        try:
            amounts_differ = not math.isclose(
                parse_quantity(field, str(written)), parse_quantity(field, amount), rel_tol=ROUNDED
            )
        except InvalidInput:
            return None
        if amounts_differ:
            return None
        told[field] = str(written)
    return told


def _only_evidence(found: FoundDrift, proposed: ProposedRecommendation, why: str) -> FoundDrift:
    numbers = {name: proposed.recommendation_json[name] for name in ("current", "proposed")}
    evidence = {**found.drift.evidence, RIGHT_SIZE: {**numbers, "not_recommended": why}}
    drift = msgspec.structs.replace(found.drift, evidence=evidence)
    return msgspec.structs.replace(found, drift=drift, recommendation=None)
