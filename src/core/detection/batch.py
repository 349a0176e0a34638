"""All detectors over many series at once: what a scheduled run looks at, a chunk of series at a time.

Every detector is screened with numpy over all series, and asked only where it may find something. So findings are those
that it has for the series by itself.
"""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from core.detection.classic import Finding, spike_rows, spikes, trend, variance_escalation
from core.detection.classic_screen import ScaledSeries, may_escalate, may_rise, may_spike, scaled_series
from core.detection.plan import DetectionPlan
from core.detection.scaling import Floats, Instants
from core.detection.segments import Segments, segments_of
from core.detection.streaming import StreamingDetector, StreamingParameters
from core.detection.streaming_alert import Alert
from core.detection.streaming_screen import may_alert
from core.domain.anomalies import MOMENTS_MAX, AnomalyFinding, Detector, Moment
from core.domain.columns import Bools, Columns

_ORDER: Final = tuple(Detector)


def detect_batch(points: Columns, plan: DetectionPlan, *, until_us: int | None = None) -> list[AnomalyFinding]:
    """What the plan's detectors find, by (series, detector, time).

    `points`: sorted by (series, ts), unique, of any number of series; values that are not finite are gaps. The
    streaming detector follows means of the plan's buckets where samples are denser than them, each at the time of its
    bucket's last sample. Of points that reach to `until_us`, and would go on, it leaves out the bucket that had not
    ended by then: the mean of the few samples in it scatters more than those of whole ones, which looks unusual.
    """
    points = _varied(points.take(np.isfinite(points.values)))
    if not len(points):
        return []
    series = segments_of(points.series_ids)
    look = scaled_series(points, series)
    found: list[AnomalyFinding] = []
    for detector in plan.detectors:
        if detector is Detector.STREAMING:
            whole = (
                points if until_us is None else points.take(points.ts_us < until_us // plan.bucket_us * plan.bucket_us)
            )
            found += _streaming(bucket_means(whole, plan.bucket_us))
        else:
            found += _classic(detector, points, look, plan)
    return sorted(found, key=lambda one: (one.series_id, _ORDER.index(one.detector)))


def bucket_means(points: Columns, bucket_us: int) -> Columns:
    """One point for each series and bucket: the mean of its finite values at the time of the last; sorted."""
    buckets = segments_of(points.series_ids, points.ts_us // bucket_us)
    return Columns(points.series_ids[buckets.starts], buckets.last(points.ts_us), buckets.bounded_means(points.values))


def _varied(points: Columns) -> Columns:
    """Without the series whose values are all equal: no detector has anything to say of them."""
    series = segments_of(points.series_ids)
    if not len(series):
        return points
    varied = series.lowest(points.values) < series.highest(points.values)
    return points if varied.all() else points.take(np.repeat(varied, series.counts))


def _classic(detector: Detector, points: Columns, look: ScaledSeries, plan: DetectionPlan) -> Iterator[AnomalyFinding]:
    screened, find = _screened(detector, look, plan)
    for rows in _rows_of(look.series, screened):
        ts_us, values = points.ts_us[rows], points.values[rows]
        finding = find(ts_us, values)
        if finding is None:
            continue
        marked = np.flatnonzero(spike_rows(values, plan.spike_parameters)) if detector is Detector.SPIKE else ()
        yield AnomalyFinding(
            series_id=int(points.series_ids[rows.start]),
            detector=detector,
            risk=finding.risk,
            start_us=finding.observed_window.start_us,
            end_us=finding.observed_window.end_us,
            baseline_start_us=finding.baseline_window.start_us,
            baseline_end_us=finding.baseline_window.end_us,
            usual_low=finding.baseline,
            usual_high=finding.baseline,
            observed=finding.observed,
            count=finding.count,
            phrase=finding.phrase,
            moments=tuple(Moment(int(ts_us[row]), float(values[row])) for row in marked[-MOMENTS_MAX:]),
        )


def _screened(
    detector: Detector, look: ScaledSeries, plan: DetectionPlan
) -> tuple[Bools, Callable[[Instants, Floats], Finding | None]]:
    """The series in which a classic detector may find something, and how to ask it."""
    match detector:
        case Detector.VARIANCE:
            variance = plan.variance_parameters
            return may_escalate(look, variance), lambda ts_us, values: variance_escalation(ts_us, values, variance)
        case Detector.SPIKE:
            spike = plan.spike_parameters
            return may_spike(look, spike), lambda ts_us, values: spikes(ts_us, values, spike)
        case Detector.TREND:
            rise = plan.trend_parameters
            return may_rise(look, rise), lambda ts_us, values: trend(ts_us, values, rise)
        case Detector.STREAMING:
            raise ValueError("streaming is none of the classic three")


def _streaming(points: Columns) -> Iterator[AnomalyFinding]:
    series, parameters = segments_of(points.series_ids), StreamingParameters()
    for rows in _rows_of(series, may_alert(points, series, parameters)):
        series_id = int(points.series_ids[rows.start])
        detector = StreamingDetector(parameters)
        for ts_us, value in zip(points.ts_us[rows].tolist(), points.values[rows].tolist(), strict=True):
            detector.update(ts_us, value)
            if detector.alert is not None:
                yield _finding_of(series_id, detector.alert)


def _finding_of(series_id: int, alert: Alert) -> AnomalyFinding:
    return AnomalyFinding(
        series_id=series_id,
        detector=Detector.STREAMING,
        component=alert.component.value,
        risk=alert.risk,
        start_us=alert.window.start_us,
        end_us=alert.window.end_us,
        baseline_start_us=alert.baseline.start_us,
        baseline_end_us=alert.baseline.end_us,
        usual_low=alert.usual_low,
        usual_high=alert.usual_high,
        observed=alert.statistic,
        count=1,
        phrase=alert.phrase,
        moments=(Moment(alert.ts_us, alert.value),),
    )


def _rows_of(series: Segments, wanted: Bools) -> Iterator[slice]:
    """The rows of each series that is wanted."""
    for start, count in zip(series.starts[wanted].tolist(), series.counts[wanted].tolist(), strict=True):
        yield slice(start, start + count)
