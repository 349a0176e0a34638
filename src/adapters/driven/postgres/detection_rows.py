"""Rows of detection's tables as values of the domain."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from core.detection.plan import DetectionSettings
from core.domain.anomalies import Anomaly, AnomalyFinding, Mark, Verdict
from core.domain.detection_runs import DetectionRun, RunState

_FINDING: Final = msgspec.json.Decoder(AnomalyFinding)
_SETTINGS: Final = msgspec.json.Decoder(DetectionSettings)
_TEXTS: Final = msgspec.json.Decoder(dict[str, str])


def anomaly_of(row: Mapping[str, Any]) -> Anomaly:
    """The anomaly in a row of `sextant.anomalies`."""
    return Anomaly(
        id=row["id"],
        metric=row["metric"],
        labels=_TEXTS.decode(row["labels"]),
        host=row["host"],
        service=row["service"],
        fingerprint=row["fingerprint"],
        finding=_FINDING.decode(row["finding"]),
        risk_max=row["risk_max"],
        first_seen_at=row["first_seen_at"],
        last_seen_at=row["last_seen_at"],
        ended_at=row["ended_at"],
        shadow=row["shadow"],
        synthetic=row["synthetic"],
        mark=_mark(row),
    )


def run_of(row: Mapping[str, Any]) -> DetectionRun:
    """The run in a row of `sextant.detection_runs`."""
    return DetectionRun(
        id=row["id"],
        due_at=row["due_at"],
        covers_from=row["covers_from"],
        state=RunState(row["state"]),
        attempts=row["attempts"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        after_series_id=row["after_series_id"],
        series=row["series"],
        points=row["points"],
        findings=row["findings"],
        error=row["error"],
    )


def settings_of(text: str | None) -> DetectionSettings:
    """Settings as they are stored; the defaults where none are."""
    return DetectionSettings() if text is None else _SETTINGS.decode(text)


def _mark(row: Mapping[str, Any]) -> Mark | None:
    if row["verdict"] is None:
        return None
    return Mark(verdict=Verdict(row["verdict"]), by=row["marked_by"], at=row["marked_at"], note=row["note"])
