"""What a vendor says, made fit to be stored: texts cleaned, and what cannot be kept left out and named."""

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from core.detection.plan import RISK_METRIC
from core.domain.capacity import CapacitySnapshot, Resources
from core.domain.collection import Problem
from core.domain.configurations import TEXT_CHARS_MAX as ACTOR_CHARS_MAX
from core.domain.configurations import ObservedConfiguration, check_document
from core.domain.errors import InvalidInput
from core.domain.names import check_cluster_id
from core.domain.series import SeriesIdentity, series_identity
from ports.driven.metric_source import SeenInstance, SeriesPoints

TEXT_CHARS_MAX: Final = 1_000
"""Of a message, a title or a tag: what a person reads."""
KEY_CHARS_MAX: Final = 16_000
"""Of an item: a query."""
TAGS_MAX: Final = 200
"""AWS allows 50; Kubernetes objects carry some dozens of labels."""


def cleaned(text: str, chars_max: int = TEXT_CHARS_MAX) -> str:
    """The text without what no store can keep: NUL characters and halves of surrogate pairs are written out."""
    if len(text) > chars_max:
        text = text[: chars_max - 1] + "…"
    return text.replace("\x00", "\\x00").encode(errors="backslashreplace").decode()


def cleaned_problem(problem: Problem) -> Problem:
    """The same of what a problem says."""
    return msgspec.structs.replace(problem, message=cleaned(problem.message))


def identity_of(points: SeriesPoints, source: str) -> SeriesIdentity:
    """The series' canonical identity; raises `InvalidInput` where its name or a label cannot be."""
    if points.name == RISK_METRIC:  # before it gets a place in the catalog; ingest refuses its points
        raise InvalidInput("name", f"{RISK_METRIC} is published by detection itself")
    return series_identity(points.name, points.labels, source)


def fit_instances(instances: Sequence[SeenInstance]) -> list[SeenInstance]:
    """The instances as they can be stored, one for each external id, the last one; nameless ones are left out."""
    fit: dict[str, SeenInstance] = {}
    for seen in instances:
        external_id = cleaned(seen.external_id)
        if external_id:
            fit[external_id] = SeenInstance(
                external_id=external_id,
                kind=cleaned(seen.kind),
                region=None if seen.region is None else cleaned(seen.region),
                name=None if seen.name is None else cleaned(seen.name),
                tags={cleaned(name): cleaned(value) for name, value in list(seen.tags.items())[:TAGS_MAX]},
            )
    return list(fit.values())


def fit_snapshots(snapshots: Sequence[CapacitySnapshot]) -> tuple[list[CapacitySnapshot], list[str]]:
    """The snapshots whose amounts are amounts, and what is wrong with the others."""
    fit, wrong = [], []
    for snapshot in snapshots:
        amounts = [snapshot.allocatable, snapshot.used, *([snapshot.requested] if snapshot.requested else [])]
        costs = [snapshot.cost_usd_per_hour, *(node.cost_usd_per_hour for node in snapshot.nodes)]
        if all(map(_are_amounts, amounts)) and all(cost is None or _is_amount(cost) for cost in costs):
            fit.append(snapshot)
        else:
            wrong.append(f"the capacity of {snapshot.cluster_id[:64]!r} at {snapshot.ts} holds what is no amount")
    return fit, wrong


def fit_configurations(
    observed: Sequence[ObservedConfiguration],
) -> tuple[list[ObservedConfiguration], list[str]]:
    """The configurations that can be stored, and what is wrong with the others."""
    fit, wrong = [], []
    for one in observed:
        try:
            for field in ("cluster_id", "namespace", "workload"):
                check_cluster_id(field, getattr(one, field))
            if one.document is not None:
                check_document("document", one.document)
        except InvalidInput as error:
            wrong.append(f"{one.kind.value} of {one.workload[:64]!r}: {error}")
            continue
        fit.append(msgspec.structs.replace(one, actor=cleaned(one.actor, ACTOR_CHARS_MAX) if one.actor else None))
    return fit, wrong


def _are_amounts(resources: Resources) -> bool:
    return all(map(_is_amount, (resources.cpu_cores, resources.memory_bytes, resources.pods)))


def _is_amount(amount: float) -> bool:
    return math.isfinite(amount) and amount >= 0
