"""What may have caused an incident: hypotheses with evidence and with what speaks against them, the likeliest first.

Theory of operation. Each host and service that has trouble is suspected, by points:

- how much of it moved, which is log(1 + signals), no more than `ALIKE_MAX` of each kind; only the part counts that no
  cause of its own explains (`incident_graph`);
- who may follow from it: log(1 + others with trouble that its own may have led to);
- that it moved first, if others moved later: 1;
- a change of it shortly before its trouble, or before that of those it may have led to: 2;
- a resource of it that ran short while errors came: 1.5; without errors 0.5;
- what its samples say: the score of `core.detection.causes`, a sum of log(1 + scales), where it is notable.

They add up as there: each is the logarithm of how much likelier the entity is the cause if this is seen. The constants
are the odds that an engineer on call would give: who was changed just before is to blame e² = 7 times as often.

The hypothesis in words is the plainest that the points allow: a change, else a resource that ran short, else what the
samples say, else a call, else that nothing which was measured explains it.
"""

import math
from collections.abc import Iterable
from typing import Final

from core.detection.cause_evidence import EvidenceKind
from core.detection.incident_evidence import (
    Case,
    against,
    change_said,
    effects_said,
    first_said,
    in_samples,
    shortage_said,
)
from core.detection.incident_readings import Sort, sort_of
from core.detection.incident_words import listed, quoted, spoken
from core.domain.incidents import CauseHypothesis, Sentence, Signal

HYPOTHESES_MAX: Final = 5
"""Nobody reads the sixth."""
FIRST_POINTS: Final = 1.0
CHANGE_POINTS: Final = 2.0
SHORTAGE_POINTS: Final = 1.5
SHORTAGE_ALONE_POINTS: Final = 0.5
ALIKE_MAX: Final = 10
"""The eleventh error says what the first said."""
BURST_MIN: Final = 3
"""So many errors are a burst."""
_SCORE_DIGITS: Final = 6

Weighed = tuple[CauseHypothesis, tuple[Sentence, ...]]
"""A hypothesis, and its counter-evidence as sentences with their references."""


def weigh(case: Case) -> list[Weighed]:
    """The hypotheses, likeliest first, of equals in alphabetical order."""
    found = [weighed for entity in case.movers if (weighed := _weighed(case, entity)) is not None]
    found.sort(key=lambda one: (-one[0].score, one[0].entity))
    return found[:HYPOTHESES_MAX]


def moved(signals: Iterable[Signal]) -> float:
    """How much moved, on a logarithmic scale."""
    count: dict[tuple[Sort, str], int] = {}
    for signal in signals:
        kind = sort_of(signal), signal.metric
        count[kind] = min(ALIKE_MAX, count.get(kind, 0) + 1)
    return math.log1p(sum(count.values()))


def _weighed(case: Case, entity: str) -> Weighed | None:
    trouble, suspect = case.troubles.get(entity), case.suspects.get(entity)
    score = moved(trouble.signals) * (1 - case.explained.get(entity, 0.0)) if trouble is not None else 0.0
    score += math.log1p(len(case.effects.get(entity, ())))
    evidence: list[Sentence] = []
    if (change := case.change_of(entity)) is not None:
        score += CHANGE_POINTS
        evidence.append(change_said(case, entity, change))
    if case.resource_names(entity) or case.resources_in_samples(entity):
        score += SHORTAGE_POINTS if case.errors(entity) else SHORTAGE_ALONE_POINTS
    if pieces := case.ran_short(entity):
        evidence.append(shortage_said(case, entity, pieces))
    if suspect is not None:
        score += suspect.score
        evidence += in_samples(case, suspect)
    if (first := first_said(case, entity)) is not None:
        score += FIRST_POINTS
        evidence.append(first)
    if (effects := effects_said(case, entity)) is not None:
        evidence.append(effects)
    if not evidence:
        return None
    counters = tuple(against(case, entity))
    said = [one.text for one in counters]
    if suspect is not None:
        said += [one.said for one in suspect.counter_evidence if one.kind is not EvidenceKind.RESOURCE]
    hypothesis = CauseHypothesis(
        entity=entity,
        score=round(score, _SCORE_DIGITS),
        text=_text(case, entity),
        evidence=tuple(evidence),
        counter_evidence=tuple(dict.fromkeys(one.removesuffix(".") for one in said)),
    )
    return hypothesis, counters


def _text(case: Case, entity: str) -> str:
    effect = _effect(case, entity)
    whose = f" of {entity}" if len(case.movers) > 1 else ""
    change, suspect = case.change_of(entity), case.suspects.get(entity)
    if change is not None:
        return f"{effect} caused by the change {quoted(change.text)}{whose}"
    in_samples = [spoken(one.metric) for one in case.resources_in_samples(entity) if one.metric is not None]
    if short := sorted({*case.resource_names(entity), *in_samples}):
        if case.errors(entity):
            return f"{effect} caused by resource exhaustion{whose}"
        return f"{entity} is running short of {listed(short)}; no errors so far"
    if suspect is not None:
        return f"{effect} caused by trouble of {entity} ({suspect.hypothesis})"
    callers = [edge.effect for edge in case.edges if edge.cause == entity and f"{edge.effect} calls" in edge.reasons[0]]
    if callers:
        call = "calls" if len(callers) == 1 else "call"
        return f"{effect} caused by trouble of {entity}, which {listed(callers)} {call}"
    return f"{effect} caused by something on {entity} that was not measured"


def _effect(case: Case, entity: str) -> str:
    """What is to be explained: the errors that may follow from the entity, else the alerts, else what was unusual."""
    errors = [one for one in case.errors(entity) if one.severe]
    if len(errors) >= BURST_MIN:
        return "error burst"
    signals = [one for trouble in case.concerned(entity) for one in trouble.signals]
    alerts = [one for one in signals if sort_of(one) is Sort.ALERT]
    for name, found in (("error", errors), ("warning", case.errors(entity)), ("alert", alerts)):
        if found:
            return name if len(found) == 1 else f"{name}s"
    return f"unusual {listed(sorted({spoken(one.metric) for one in signals}))}" if signals else "trouble"
