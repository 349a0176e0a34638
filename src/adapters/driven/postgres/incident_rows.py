"""Rows of the tables of incidents as values of the domain."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from core.domain.incidents import (
    ChangeKind,
    Incident,
    IncidentAnalysis,
    IncidentChange,
    IncidentState,
    Signal,
    SignalEdge,
)

_SIGNAL: Final = msgspec.json.Decoder(Signal)
_ANALYSIS: Final = msgspec.json.Decoder(IncidentAnalysis)
_DETAIL: Final = msgspec.json.Decoder(dict[str, Any])


def incident_of(row: Mapping[str, Any]) -> Incident:
    """The incident in a row of `sextant.incidents`."""
    return Incident(
        id=row["id"],
        state=IncidentState(row["state"]),
        title=row["title"],
        severe=row["severe"],
        started_at=row["started_at"],
        last_signal_at=row["last_signal_at"],
        hosts=tuple(row["hosts"]),
        services=tuple(row["services"]),
        signals=row["signals"],
        synthetic=row["synthetic"],
        acknowledged_at=row["acknowledged_at"],
        acknowledged_by=row["acknowledged_by"],
        resolved_at=row["resolved_at"],
        resolved_by=row["resolved_by"],
        merged_into=row["merged_into"],
        narrative=row["narrative"],
        revision=row["revision"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def signals_of(rows: Iterable[Mapping[str, Any]]) -> tuple[Signal, ...]:
    """The signals in rows of `sextant.incident_signals`."""
    return tuple(_SIGNAL.decode(row["signal"]) for row in rows)


def edge_of(row: Mapping[str, Any]) -> SignalEdge:
    """The link in a row of `sextant.incident_edges`."""
    return SignalEdge(first=row["first_key"], then=row["then_key"], score=row["score"], reasons=tuple(row["reasons"]))


def change_of(row: Mapping[str, Any]) -> IncidentChange:
    """The entry in a row of `sextant.incident_changes`."""
    return IncidentChange(
        id=row["id"],
        incident_id=row["incident_id"],
        kind=ChangeKind(row["kind"]),
        at=row["at"],
        by=row["by"],
        summary=row["summary"],
        detail=_DETAIL.decode(row["detail"]),
        undone=row["undone"],
    )


def analysis_of(text: str | None) -> IncidentAnalysis | None:
    """The analysis in a column of `sextant.incidents`."""
    return _ANALYSIS.decode(text) if text is not None else None
