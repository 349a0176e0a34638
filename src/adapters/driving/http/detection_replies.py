"""What detection found, as it goes out: instants are RFC 3339, and the core's numbers of microseconds stay inside."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from core.domain.anomalies import Anomaly, AnomalyFinding, Detector, Mark
from core.domain.times import EPOCH
from ports.driving.detecting import AnomalyPage, Detection, DetectionBacktest, SeriesFinding


class MomentReply(msgspec.Struct, frozen=True):
    """A sample that stands out."""

    at: datetime
    value: float


class FindingReply(msgspec.Struct, frozen=True, kw_only=True):
    """What one detector found in one series; numbers are in the unit of the values. Whoever reads the samples between
    `start` and `end` again can compute it again."""

    detector: Detector
    component: str | None
    """Of the streaming detector: which component spoke."""
    risk: float
    """From 0 to 1."""
    start: datetime
    """The first sample of the window that the statistic is of."""
    end: datetime
    """Just after its last sample."""
    baseline_start: datetime
    """The stretch that is compared with; for spike and trend the whole window."""
    baseline_end: datetime
    usual_low: float
    """What was usual there, as a band. Of variance, spike and trend it is one number twice: the first window's standard
    deviation, the mean, the line's start."""
    usual_high: float
    observed: float
    """Of variance the last window's standard deviation, of spike the largest value, of trend the line's end, of the
    streaming detector its statistic."""
    count: int
    """Windows compared, spikes, samples under the line; 1 of the streaming detector."""
    phrase: str
    """In words, without the series and the risk."""
    moments: Sequence[MomentReply]
    """Spikes, or the sample that raised the streaming alert; ascending, the newest 200. Empty for variance and trend,
    which are conditions, not moments."""


class SeriesFindingReply(msgspec.Struct, frozen=True, kw_only=True):
    """A finding with the series that it is about."""

    metric: str
    labels: dict[str, str]
    fingerprint: str
    """`host:metric`; the service's name where there is no host."""
    text: str
    """In words, with the risk."""
    finding: FindingReply


class DetectionReply(msgspec.Struct, frozen=True, kw_only=True):
    """What one look at stored samples found; nothing is recorded of it."""

    start: datetime
    end: datetime
    series: int
    """Looked at."""
    samples: int
    findings: Sequence[SeriesFindingReply]
    """The highest risk first; `findings_total` says whether they are all."""
    findings_total: int


class BacktestStepReply(msgspec.Struct, frozen=True, kw_only=True):
    """What one scheduled run would have found."""

    at: datetime
    findings: int
    alarming: Sequence[SeriesFindingReply]
    """Those above the alert risk that the run before did not have."""


class DetectionBacktestReply(msgspec.Struct, frozen=True, kw_only=True):
    """What scheduled detection would have done over a range of history."""

    start: datetime
    end: datetime
    series: int
    samples: int
    runs: int
    alerts: int
    """Fingerprints that would have begun to alert, counted each time."""
    alerting_s: float
    """Of all of them together."""
    steps: Sequence[BacktestStepReply]
    """Runs with something new above the alert risk."""


class AnomalyReply(msgspec.Struct, frozen=True, kw_only=True):
    """A stored anomaly: findings of one detector about one series that follow one another."""

    id: UUID
    metric: str
    labels: dict[str, str]
    host: str | None
    service: str | None
    fingerprint: str
    """`host:metric`; the service's name where there is no host."""
    text: str
    """The latest finding in words."""
    risk: float
    """Of the latest finding."""
    risk_max: float
    """The highest it has been."""
    first_seen_at: datetime
    """When the run that found it first ran; the finding's own times say when it happened."""
    last_seen_at: datetime
    ended_at: datetime | None
    """When a run no longer found it; null while it is open."""
    shadow: bool
    """It was recorded while detection was in shadow mode, and raises no alert."""
    synthetic: bool
    """The simulator made its series."""
    mark: Mark | None
    """What an operator said of it."""
    finding: FindingReply
    """The latest; after `ended_at` the last one."""


class AnomaliesReply(msgspec.Struct, frozen=True):
    """Anomalies, last seen first, and the cursor of the next page where there is one."""

    data: Sequence[AnomalyReply]
    next_cursor: str | None


def instant(ts_us: int) -> datetime:
    """The instant of microseconds since the Unix epoch."""
    return EPOCH + timedelta(microseconds=ts_us)


def detection_reply(detection: Detection) -> DetectionReply:
    """One look."""
    return DetectionReply(
        start=detection.start,
        end=detection.end,
        series=detection.series,
        samples=detection.samples,
        findings=_series_findings(detection.findings),
        findings_total=detection.findings_total,
    )


def backtest_reply(backtest: DetectionBacktest) -> DetectionBacktestReply:
    """A backtest."""
    steps = [
        BacktestStepReply(at=step.at, findings=step.findings, alarming=_series_findings(step.alarming))
        for step in backtest.steps
    ]
    members = {name: getattr(backtest, name) for name in backtest.__struct_fields__ if name != "steps"}
    return DetectionBacktestReply(**members, steps=steps)


def anomaly_reply(anomaly: Anomaly) -> AnomalyReply:
    """One anomaly."""
    return AnomalyReply(
        id=anomaly.id,
        metric=anomaly.metric,
        labels=anomaly.labels,
        host=anomaly.host,
        service=anomaly.service,
        fingerprint=anomaly.fingerprint,
        text=anomaly.text,
        risk=anomaly.finding.risk,
        risk_max=anomaly.risk_max,
        first_seen_at=anomaly.first_seen_at,
        last_seen_at=anomaly.last_seen_at,
        ended_at=anomaly.ended_at,
        shadow=anomaly.shadow,
        synthetic=anomaly.synthetic,
        mark=anomaly.mark,
        finding=_finding(anomaly.finding),
    )


def anomalies_reply(page: AnomalyPage) -> AnomaliesReply:
    """A page of anomalies."""
    return AnomaliesReply([anomaly_reply(anomaly) for anomaly in page.data], page.next_cursor)


def _series_findings(findings: Sequence[SeriesFinding]) -> list[SeriesFindingReply]:
    return [
        SeriesFindingReply(
            metric=found.metric,
            labels=found.labels,
            fingerprint=found.fingerprint,
            text=found.text,
            finding=_finding(found.finding),
        )
        for found in findings
    ]


def _finding(finding: AnomalyFinding) -> FindingReply:
    return FindingReply(
        detector=finding.detector,
        component=finding.component,
        risk=finding.risk,
        start=instant(finding.start_us),
        end=instant(finding.end_us),
        baseline_start=instant(finding.baseline_start_us),
        baseline_end=instant(finding.baseline_end_us),
        usual_low=finding.usual_low,
        usual_high=finding.usual_high,
        observed=finding.observed,
        count=finding.count,
        phrase=finding.phrase,
        moments=[MomentReply(instant(moment.ts_us), moment.value) for moment in finding.moments],
    )
