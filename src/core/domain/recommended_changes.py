"""What a recommendation would change, in words: ``cpu request of shop/checkout: 2 → 500m``."""

from collections.abc import Sequence
from typing import Final

import msgspec

from core.domain.drift import DriftEvent
from core.domain.recommendations import Recommendation, Target

CONTAINER_FIELDS: Final = ("image", "cpu_request", "cpu_limit", "memory_request", "memory_limit")
AMOUNT_FIELDS: Final = CONTAINER_FIELDS[1:]
HPA_FIELDS: Final = ("replicas_min", "replicas_max")
FIELDS: Final = {
    "right_size": AMOUNT_FIELDS,
    "rollback_config": CONTAINER_FIELDS,
    "hpa_tune": HPA_FIELDS,
    "scale_workload": ("replicas",),
    "scale_nodes": ("nodes",),
}
"""Which settings each type changes."""
ALL_FIELDS: Final = (*CONTAINER_FIELDS, "replicas", *HPA_FIELDS, "nodes")
STEP_CHARS_MAX: Final = 2_000
"""Of a step of one's own; the whole one is in the document."""
_WORDS: Final = {"replicas_min": "fewest replicas", "replicas_max": "most replicas"}


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What a recommendation is about."""

    cluster_id: str
    namespace: str | None
    workload: str | None

    def __str__(self) -> str:
        within = "/".join(part for part in (self.namespace, self.workload) if part is not None)
        return within or f"cluster {self.cluster_id}"


def place_of(recommendation: Recommendation, target: Target, event: DriftEvent) -> Place:
    """What the document names, else what its drift event does."""
    return Place(
        cluster_id=recommendation.cluster_id,
        namespace=target.namespace if target.namespace is not None else event.namespace,
        workload=target.workload if target.workload is not None else event.workload_name,
    )


def changed_fields(kind: str, target: Target) -> Sequence[str]:
    """The settings that `proposed` gives, of those that the type changes."""
    return [field for field in FIELDS.get(kind, ALL_FIELDS) if getattr(target.proposed, field) is not None]


def change_lines(kind: str, target: Target, place: Place) -> Sequence[str]:
    """A line for each setting, and for each step of its own."""
    lines = [_line(field, target, place) for field in changed_fields(kind, target)]
    for step in target.steps:
        action = msgspec.json.encode(step.action).decode()
        shown = action if len(action) <= STEP_CHARS_MAX else f"{action[:STEP_CHARS_MAX]}…"
        lines.append(f"step {step.name!r}: {shown}")
    return lines


def _line(field: str, target: Target, place: Place) -> str:
    before, after = getattr(target.current, field), getattr(target.proposed, field)
    name = _WORDS.get(field, field.replace("_", " "))
    where = str(place)
    if field == "nodes":
        where = f"cluster {place.cluster_id}"
    elif field in HPA_FIELDS and target.hpa is not None:
        where = f"autoscaler {place.namespace}/{target.hpa}"
    elif field in CONTAINER_FIELDS and target.container is not None:
        where = f"container {target.container} of {place}"
    return f"{name} of {where}: {before} → {after}" if before is not None else f"{name} of {where}: to {after}"
