"""The narrative of an incident: what happened where and when, what was changed, and what may have caused it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from core.detection.incident_causes import Weighed
from core.detection.incident_evidence import Case, change_said
from core.detection.incident_readings import REFERENCES_MAX, Piece, pieces_of, references_to
from core.detection.incident_troubles import TOGETHER_US, Trouble, in_order
from core.detection.incident_words import lasting, listed, moment, period
from core.domain.incidents import Reference, Sentence, Signal
from core.domain.times import MINUTE_US

TOLD_MAX: Final = 4
"""Hosts and services told of one by one; more are told of together."""
CHANGES_MAX: Final = 3
"""Told of one by one, the last before the trouble."""
INSTANT_US: Final = 10 * MINUTE_US
"""What lasted no longer happened at a time; anything else lasted from one time to another."""
ALSO_LIKELY: Final = 0.6
"""Of the first hypothesis' score: another one with so much is worth a sentence."""


def narrate(case: Case, weighed: Sequence[Weighed]) -> Iterator[Sentence]:
    """The sentences, in the order in which they are read; each has references."""
    told = [one for one in case.troubles.values() if one.signals]
    if len(told) > TOLD_MAX:
        yield from _together(case, told)
    else:
        for number, trouble in enumerate(told):
            yield _experienced(case, trouble, None if number == 0 else told[0])
    changes = [
        (change.at_us, change.key, one.entity, change) for one in case.troubles.values() for change in one.changes
    ]
    for _, _, entity, change in sorted(changes, key=lambda one: one[:2])[-CHANGES_MAX:]:
        yield change_said(case, entity, change)
    if told:
        yield from _hypotheses(case, weighed)


def _together(case: Case, told: Sequence[Trouble]) -> Iterator[Sentence]:
    """What many went through, and who they are."""
    signals = in_order(signal for one in told for signal in one.signals)
    pieces = pieces_of(signals, [state for one in told for state in one.conditions], case.levels)
    text = f"{_when(signals)}, {len(told):,} hosts and services experienced: {_what(pieces)}."
    yield Sentence(text=text, references=_joined(piece.references for piece in pieces))
    text = f"They are {listed([one.entity for one in told])}, in the order in which they moved."
    yield Sentence(text=text, references=references_to([signal for one in told for signal in one.earliest]))


def _experienced(case: Case, trouble: Trouble, first: Trouble | None) -> Sentence:
    """What one host or service went through, and when: against the first one's time where there is one."""
    pieces = pieces_of(trouble.signals, trouble.conditions, case.levels)
    if first is None:
        when = _when(trouble.signals)
    else:
        later_us = trouble.start_us - first.start_us
        when = "At the same time" if later_us <= TOGETHER_US else f"{lasting(later_us).capitalize()} later"
    text = f"{when}, {trouble.entity} experienced: {_what(pieces)}."
    return Sentence(text=text, references=_joined(piece.references for piece in pieces))


def _when(signals: Sequence[Signal]) -> str:
    first_us, last_us = signals[0].at_us, signals[-1].at_us
    return f"From {period(first_us, last_us)}" if last_us - first_us >= INSTANT_US else f"At {moment(first_us)}"


def _what(pieces: Iterable[Piece]) -> str:
    return "; ".join(piece.text for piece in pieces)


def _hypotheses(case: Case, weighed: Sequence[Weighed]) -> Iterator[Sentence]:
    if not weighed:
        yield _nothing(case)
        return
    (best, counters), *others = weighed
    yield Sentence(text=f"Hypothesis: {best.text}.", references=_joined(one.references for one in best.evidence))
    if counters:
        said = "; ".join(one.text.removesuffix(".") for one in counters)
        yield Sentence(text=f"Against it: {said}.", references=_joined(one.references for one in counters))
    for other, _ in others[:1]:
        if other.score >= ALSO_LIKELY * best.score:
            text = f"Also possible: {other.text}."
            yield Sentence(text=text, references=_joined(one.references for one in other.evidence))


def _nothing(case: Case) -> Sentence:
    """That no cause is known, so that nobody waits for one."""
    signals = in_order(signal for one in case.troubles.values() for signal in one.all)
    alone = (
        "One signal alone does not show a cause." if len(signals) == 1 else "Nothing that was measured shows a cause."
    )
    return Sentence(text=alone, references=references_to(signals))


def _joined(references: Iterable[Iterable[Reference]]) -> tuple[Reference, ...]:
    """Each once, as many of each source as fit."""
    found: list[Reference] = []
    for some in references:
        found += [reference for reference in some if reference not in found]
    return tuple(found[:REFERENCES_MAX])
