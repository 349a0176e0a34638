"""Alerts as rows of `sextant.shown_alerts`, the view that joins each alert with the remediation it caused.

Every query that makes alerts selects `*` of that view, or its columns by name, under the tenant it acts for.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from core.domain.alerts import Alert, EpisodeState, Resolution
from core.domain.rules import Severity, Threshold

_THRESHOLD: Final = msgspec.json.Decoder(Threshold)
_TEXTS: Final = msgspec.json.Decoder(dict[str, str])


def alert_of(row: Mapping[str, Any]) -> Alert:
    """The alert in a row of `sextant.shown_alerts`."""
    severity, threshold, resolution = row["severity"], row["threshold"], row["resolution"]
    return Alert(
        id=row["id"],
        rule=row["rule_name"],
        rule_id=row["rule_id"],
        metric=row["metric"],
        labels=_TEXTS.decode(row["labels"]),
        state=EpisodeState(row["state"]),
        severity=Severity(severity) if severity is not None else None,
        value=row["value"],
        threshold=_THRESHOLD.decode(threshold) if threshold is not None else None,
        started_at=row["started_at"],
        fired_at=row["fired_at"],
        resolved_at=row["resolved_at"],
        resolution=Resolution(resolution) if resolution is not None else None,
        episode=row["episode"],
        no_data=row["no_data"],
        shadow=row["shadow"],
        announced=row["announced"],
        acknowledged_at=row["acknowledged_at"],
        acknowledged_by=row["acknowledged_by"],
        annotations=_TEXTS.decode(row["annotations"]),
        runbook_url=row["runbook_url"],
        remediation=row["remediation_id"],
    )
