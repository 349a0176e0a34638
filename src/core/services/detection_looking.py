"""What detectors say of stored samples: how those come before them, and whom they may speak of."""

from typing import Final

from core.detection.batch import detect_batch
from core.detection.counters import rates_of, told_per_second
from core.detection.plan import DetectionPlan
from core.detection.segments import segments_of
from core.domain.anomalies import CLASSIC, AnomalyFinding
from core.domain.columns import Columns
from core.services.detection_reading import Samples

COVERAGE_MIN: Final = 0.5
"""The classic three compare a stretch with itself. A series that has been there for less than half of a window has too
little past for that: ten minutes of a process that starts are a trend in whatever it does."""


def findings_in(samples: Samples, plan: DetectionPlan, *, until_us: int, window_us: int = 0) -> list[AnomalyFinding]:
    """What the plan's detectors find in samples up to `until_us`, counters by their increase per second; by (series,
    detector, time).

    The classic three speak only of series whose samples span at least `COVERAGE_MIN` of `window_us`.
    """
    found = detect_batch(rates_of(samples.points, samples.counters), plan, until_us=until_us)
    young = _spanning_less(samples.points, COVERAGE_MIN * window_us)
    old_enough = [one for one in found if one.detector not in CLASSIC or one.series_id not in young]
    return told_per_second(old_enough, samples.counters)


def _spanning_less(points: Columns, span_us: float) -> frozenset[int]:
    """The series whose samples lie within a shorter time than that."""
    series = segments_of(points.series_ids)
    if not len(series):
        return frozenset()
    short = series.last(points.ts_us) - series.first(points.ts_us) < span_us
    return frozenset(points.series_ids[series.starts[short]].tolist())
