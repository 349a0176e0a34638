"""Counters as detectors look at them: by their increase per second, because growing is all that they ever do."""

from collections.abc import Iterable
from typing import Final

import msgspec
import numpy as np

from core.domain.anomalies import AnomalyFinding
from core.domain.columns import Columns, Int32s
from core.domain.times import SECOND_US

PER_SECOND: Final = "per second "
"""What a counter's findings begin with, since all their numbers are of that."""
_VALUE_MAX: Final = 1e300
"""Values are clipped here, so that their differences over a microsecond are finite."""


def rates_of(points: Columns, counters: Int32s) -> Columns:
    """`points` with each counter's increase per second between its samples in place of these, at the later of each two.

    `points`: sorted by (series, ts), unique; `counters`: ids of series. The same as `level_shift.increments_per_s` of
    each: a counter that fell was reset to zero in between. Its samples that are not finite are left out.
    """
    counted = np.isin(points.series_ids, counters)
    if not counted.any():
        return points
    kept = points.take(~counted | np.isfinite(points.values))
    counted = np.isin(kept.series_ids, counters)
    follows = np.zeros(len(kept), np.bool_)
    follows[1:] = counted[1:] & (kept.series_ids[1:] == kept.series_ids[:-1])
    later = np.flatnonzero(follows)
    values = np.clip(kept.values, -_VALUE_MAX, _VALUE_MAX)
    grown = values[later] - values[later - 1]
    passed_s = (kept.ts_us[later] - kept.ts_us[later - 1]) / SECOND_US
    rated = kept.values.copy()
    rated[later] = np.where(grown < 0.0, values[later], grown) / passed_s
    return Columns(kept.series_ids, kept.ts_us, rated).take(follows | ~counted)


def told_per_second(findings: Iterable[AnomalyFinding], counters: Int32s) -> list[AnomalyFinding]:
    """The findings, those of counters with words that say what their numbers are: ``per second rose 40%``."""
    counted = frozenset(counters.tolist())
    return [
        msgspec.structs.replace(one, phrase=PER_SECOND + one.phrase) if one.series_id in counted else one
        for one in findings
    ]
