"""What speaks for and against one host or service of an incident, in sentences with the rows behind them."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from core.detection.cause_evidence import NOTABLE_SCALES, Evidence, EvidenceKind
from core.detection.causes import Suspect
from core.detection.incident_graph import Mover
from core.detection.incident_readings import Levels, Piece, is_low, pieces_of, references_to
from core.detection.incident_samples import Samples
from core.detection.incident_troubles import TOGETHER_US, Trouble, in_order
from core.detection.incident_words import is_resource, lasting, listed, moment, quoted, reading, spoken
from core.domain.anomalies import Anomaly
from core.domain.incidents import GraphEdge, Sentence, Signal

UNMOVED_MAX: Final = 3
"""Resources named that did not move; more is a list of metrics."""
SAID_MAX: Final = 3
"""Pieces of evidence told of one suspect's samples: those that count most."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of an incident."""

    began_us: int
    services: frozenset[str]
    """Those of the service graph."""
    troubles: Mapping[str, Trouble]
    """By entity, the first to move first."""
    movers: Mapping[str, Mover]
    """The same, and those that only samples speak against; the first to move first."""
    suspects: Mapping[str, Suspect]
    """What samples say of services, where it is notable."""
    edges: Sequence[GraphEdge]
    effects: Mapping[str, Sequence[str]]
    """Of each entity the others that its trouble may have led to."""
    explained: Mapping[str, float]
    """Of each entity the share of its trouble that its causes explain."""
    samples: Samples
    levels: Levels

    def concerned(self, entity: str) -> list[Trouble]:
        """The entity's own trouble, and that of those it may have led to."""
        return [self.troubles[one] for one in (entity, *self.effects.get(entity, ())) if one in self.troubles]

    def errors(self, entity: str) -> list[Signal]:
        """The errors and warnings that the entity may have led to, its own included."""
        return [error for trouble in self.concerned(entity) for error in trouble.errors]

    def change_of(self, entity: str) -> Signal | None:
        """The last change of the entity before the first trouble that it may have led to."""
        trouble = self.troubles.get(entity)
        starts = [one.first_us for one in self.concerned(entity) if one.first_us is not None]
        if trouble is None or not starts:
            return None
        before = [one for one in trouble.changes if one.at_us <= min(starts) + TOGETHER_US]
        return before[-1] if before else None

    def resources(self, entity: str) -> tuple[list[Signal], list[Anomaly]]:
        """What signals and conditions tell of the entity's resources."""
        trouble = self.troubles.get(entity)
        if trouble is None:
            return [], []
        signals = [one for one in trouble.signals if is_resource(one.metric) and not is_low(one)]
        return signals, [one for one in trouble.conditions if is_resource(one.metric)]

    def resource_names(self, entity: str) -> list[str]:
        """What people call them."""
        signals, conditions = self.resources(entity)
        return sorted({*(spoken(one.metric) for one in signals), *(spoken(one.metric) for one in conditions)})

    def resources_in_samples(self, entity: str) -> list[Evidence]:
        """What samples tell of them: those used notably more."""
        suspect = self.suspects.get(entity)
        found = [one for one in suspect.evidence if one.kind is EvidenceKind.RESOURCE] if suspect is not None else []
        return [one for one in found if one.strength >= NOTABLE_SCALES and one.metric and is_resource(one.metric)]

    def ran_short(self, entity: str) -> list[Piece]:
        """What signals and conditions tell of them, in words."""
        return pieces_of(*self.resources(entity), self.levels)


def change_said(case: Case, entity: str, change: Signal) -> Sentence:
    """When an entity was changed, against when the trouble began."""
    before_us = case.began_us - change.at_us
    if not any(trouble.signals for trouble in case.troubles.values()):
        text = f"At {moment(change.at_us)}, {entity} was changed: {quoted(change.text)}."
    elif abs(before_us) <= TOGETHER_US:
        text = f"{entity} was changed as the trouble began: {quoted(change.text)}."
    else:
        when = f"{lasting(abs(before_us))} {'before' if before_us > 0 else 'after'} the trouble began"
        text = f"{entity} was changed {when}: {quoted(change.text)}."
    return Sentence(text=text, references=references_to([change]))


def shortage_said(case: Case, entity: str, pieces: Sequence[Piece]) -> Sentence:
    """What ran short, and that errors came meanwhile if they did."""
    errors = case.errors(entity)
    text = f"{entity}: {'; '.join(piece.text for piece in pieces)}{', while errors came' if errors else ''}."
    references = [reference for piece in pieces for reference in piece.references]
    return Sentence(text=text, references=(*references, *references_to(errors[:1])))


def first_said(case: Case, entity: str) -> Sentence | None:
    """That the entity moved before all others; None unless signals tell of it, and of others later."""
    first, second = [*itertools.islice(case.movers, 2), None, None][:2]
    if first != entity or second is None or entity not in case.troubles:
        return None
    ahead_us = case.movers[second].first_us - case.movers[entity].first_us
    if ahead_us <= TOGETHER_US:
        return None
    text = f"{entity} moved first, {lasting(ahead_us)} before any other."
    return Sentence(text=text, references=references_to(case.troubles[entity].earliest))


def effects_said(case: Case, entity: str) -> Sentence | None:
    """Whose trouble may follow from the entity's."""
    effects = [one for one in case.effects.get(entity, ()) if one in case.troubles]
    if not effects:
        return None
    reasons = {edge.effect: edge.reasons[0] for edge in case.edges if edge.cause == entity}
    why = [reasons[one] for one in effects if one in reasons]
    firsts = [signal for one in effects for signal in case.troubles[one].earliest]
    text = f"Trouble of {listed(effects)} may follow from it" + (f": {'; '.join(why[:SAID_MAX])}." if why else ".")
    return Sentence(text=text, references=references_to(firsts))


def in_samples(case: Case, suspect: Suspect) -> list[Sentence]:
    """What the samples say against a service, each with the samples."""
    told = [one for one in suspect.evidence if one.counts and one.strength >= NOTABLE_SCALES]
    return [
        Sentence(text=_change(one), references=references)
        for one in told[:SAID_MAX]
        if (references := case.samples.behind(one, suspect.service))
    ]


def against(case: Case, entity: str) -> list[Sentence]:
    """What speaks against an entity as the cause, for which there are signals or samples to show."""
    found = []
    moved = {*case.resource_names(entity), *(spoken(one.metric or "") for one in case.resources_in_samples(entity))}
    still = [one for one in sorted(case.samples.unmoved(entity).items()) if one[0] not in moved][:UNMOVED_MAX]
    if still and case.change_of(entity) is None:
        text = f"{listed([name for name, _ in still])} of {entity} did not move."
        found.append(Sentence(text=text, references=tuple(reference for _, reference in still)))
    mine_us = case.movers[entity].first_us
    first = next(iter(case.troubles.values()))
    if first.entity != entity and first.start_us < mine_us - TOGETHER_US:
        text = f"{first.entity} moved {lasting(mine_us - first.start_us)} earlier."
        found.append(Sentence(text=text, references=references_to(first.earliest)))
    signals, conditions = case.resources(entity)
    errors = case.errors(entity)
    if signals and errors and not conditions:
        short, failed = in_order(signals)[0], in_order(errors)[0]
        if short.at_us - failed.at_us > TOGETHER_US:
            text = f"errors began {lasting(short.at_us - failed.at_us)} before {spoken(short.metric)} moved."
            found.append(Sentence(text=text, references=references_to([failed, short])))
    return found


def _change(evidence: Evidence) -> str:
    """The evidence in plain words: what moved from where to where."""
    if evidence.metric is None or evidence.baseline is None or evidence.value is None:
        return f"{evidence.said}."
    what = spoken(evidence.metric) + evidence.said.partition(": ")[0].removeprefix(evidence.metric)
    before, after = reading(evidence.metric, evidence.baseline), reading(evidence.metric, evidence.value)
    return f"{what} went from {before} to {after}."
