"""Entries of incidents' histories: their words and what they carry, the same whatever stores them."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from core.domain.errors import Conflict, InvalidInput
from core.domain.incidents import ChangeKind, Incident, IncidentChange, IncidentState

SEXTANT: Final = "sextant"
"""Who did it where no person did."""
BY_A_SIGNAL: Final = "by a new signal"
MOVES: Final = (ChangeKind.MERGED, ChangeKind.SPLIT)
"""What can be undone."""


_KINDS: Final = {
    IncidentState.OPEN: ChangeKind.REOPENED,
    IncidentState.ACKNOWLEDGED: ChangeKind.ACKNOWLEDGED,
    IncidentState.RESOLVED: ChangeKind.RESOLVED,
}


class NewChange(msgspec.Struct, frozen=True):
    """An entry to be written."""

    incident_id: int
    kind: ChangeKind
    summary: str
    detail: dict[str, Any] = {}


class Move(msgspec.Struct, frozen=True, rename={"from_id": "from", "into_id": "into"}):
    """What a merge or a split moved, as both incidents' entries carry it."""

    from_id: int
    into_id: int
    keys: list[str]
    """Of the signals that are kept."""
    signals: int
    """How many were moved, those that were only counted included."""


def opened(incident_id: int, signals: int) -> NewChange:
    """It began."""
    return NewChange(incident_id, ChangeKind.OPENED, f"opened with {counted(signals)}", {"signals": signals})


def grew(incident_id: int, signals: int) -> NewChange:
    """Signals came to it."""
    return NewChange(incident_id, ChangeKind.GREW, f"{counted(signals)} more", {"signals": signals})


def stood(incident_id: int, state: IncidentState, why: str = "") -> NewChange:
    """It was acknowledged, resolved or reopened."""
    kind = _KINDS[state]
    return NewChange(incident_id, kind, f"{kind.value} {why}".strip())


def merged(move: Move) -> tuple[NewChange, NewChange]:
    """A merge, for both incidents."""
    detail, kind = msgspec.to_builtins(move), ChangeKind.MERGED
    moved = counted(move.signals)
    return (
        NewChange(move.into_id, kind, f"incident {move.from_id} was merged into this one, {moved}", detail),
        NewChange(move.from_id, kind, f"merged into incident {move.into_id}, {moved}", detail),
    )


def split(move: Move) -> tuple[NewChange, NewChange]:
    """A split, for both incidents."""
    detail, kind = msgspec.to_builtins(move), ChangeKind.SPLIT
    moved = counted(move.signals)
    return (
        NewChange(move.from_id, kind, f"{moved} went to the new incident {move.into_id}", detail),
        NewChange(move.into_id, kind, f"split off from incident {move.from_id} with {moved}", detail),
    )


def undone(entry: IncidentChange) -> NewChange:
    """That a merge or split was taken back, for the incident of this entry of it."""
    summary = f"undid the {_noun(entry)} {entry.id}: {entry.summary}"
    return NewChange(entry.incident_id, ChangeKind.UNDONE, summary, {"change": entry.id})


def move_to_undo(change: IncidentChange) -> Move:
    """What a change moved; raises `Conflict` unless it can be undone."""
    if change.kind not in MOVES:
        raise Conflict(f"the change {change.id} is neither a merge nor a split")
    if change.undone:
        raise Conflict(f"the {_noun(change)} {change.id} was undone already")
    return msgspec.convert(change.detail, Move)


def check_last(change: IncidentChange, standing: Sequence[IncidentChange]) -> Sequence[IncidentChange]:
    """The entries of a merge or split in both incidents' histories; `standing` are all that are not undone there.

    Raises `Conflict` where one of the incidents is gone, or a later merge or split stands on it.
    """
    entries = [entry for entry in standing if _is_same(change, entry)]
    if len(entries) < 2:  # one of each incident
        raise Conflict(f"one of the incidents of the {_noun(change)} {change.id} is no longer kept")
    after = max(entry.id for entry in entries)
    later = [entry for entry in standing if entry.id > after]
    if later:
        newest = max(later, key=lambda entry: entry.id)
        raise Conflict(f"undo the later {_noun(newest)} {newest.id} of incident {newest.incident_id} first")
    return entries


def check_split(wanted: Sequence[str], keys: Collection[str]) -> None:
    """Raises `InvalidInput` unless `wanted` are some, and not all, of an incident's signals' `keys`."""
    missing = set(wanted).difference(keys)
    if missing:
        raise InvalidInput("keys", f"{min(missing)[:64]!r} is not a signal of this incident")
    if not 0 < len(set(wanted)) < len(keys):
        raise InvalidInput("keys", "name at least one signal, and leave at least one")


def check_acknowledged(incident: Incident) -> None:
    """Raises `Conflict` where nobody can acknowledge it any more."""
    if incident.state is IncidentState.RESOLVED:
        raise Conflict(f"the incident {incident.id} is resolved; reopen it first")


def check_unmerged(incident: Incident) -> None:
    """Raises `Conflict` where it was merged."""
    if incident.merged_into is not None:
        raise Conflict(f"the incident {incident.id} was merged into {incident.merged_into}")


def check_alike(incident: Incident, other: Incident) -> None:
    """Raises `Conflict` unless both are synthetic or neither is."""
    if incident.synthetic != other.synthetic:
        made, real = (incident, other) if incident.synthetic else (other, incident)
        raise Conflict(
            f"the incident {made.id} is synthetic and {real.id} is not: they stay apart, so that it can be purged"
        )


def state_before(merged: Incident) -> IncidentState:
    """What a merged incident was before that."""
    if merged.resolved_at is not None:
        return IncidentState.RESOLVED
    return IncidentState.OPEN if merged.acknowledged_at is None else IncidentState.ACKNOWLEDGED


def over_since(incident: Incident) -> datetime | None:
    """Since when it is resolved or merged; None for one that is neither."""
    match incident.state:
        case IncidentState.RESOLVED:
            return incident.resolved_at
        case IncidentState.MERGED:
            return incident.updated_at  # nothing changes it after that
        case _:
            return None


def counted(signals: int) -> str:
    """How many signals, in words."""
    return f"{signals} signal" if signals == 1 else f"{signals} signals"


def _is_same(change: IncidentChange, entry: IncidentChange) -> bool:
    """Whether both entries, the second one not undone, tell of one merge or split."""
    return entry.kind is change.kind and all(entry.detail[end] == change.detail[end] for end in ("from", "into"))


def _noun(change: IncidentChange) -> str:
    return "merge" if change.kind is ChangeKind.MERGED else "split"
