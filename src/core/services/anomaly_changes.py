"""What a look at some series changes about their anomalies.

Theory of operation. Variance and trend are conditions: an anomaly of theirs is open for as long as each look finds it
again. Spikes and streaming alerts are moments, which stay in the window that is looked at long after they are over.
Therefore an anomaly of theirs ends once its newest moment is `QUIET_US` old, and what is that old when it is seen for
the first time is recorded as ended at once. A window that slides on shows the same moments again; only one newer than
all that the latest anomaly, ended or not, was recorded with makes another.

Ids are digests of what they stand for, so that doing the same twice adds nothing.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

import msgspec

from core.detection.counters import PER_SECOND
from core.domain.anomalies import Anomaly, AnomalyFinding, Detector, Moment
from core.domain.events import EventSeverity, SignalEvent, fingerprint_of, host_of, is_synthetic, service_of
from core.domain.series import Series
from core.domain.times import EPOCH, HOUR_US
from ports.driven.detection_store import AnomalyChanges

QUIET_US: Final = {Detector.SPIKE: 4 * HOUR_US, Detector.STREAMING: HOUR_US}
"""After so long without another moment it is over. Spikes come in bursts with hours between them; the streaming
detector speaks once and is then silent for hours by itself."""
APART_US: Final = {Detector.SPIKE: 0, Detector.STREAMING: HOUR_US}
"""Moments no further apart are the same one. A spike is a sample; what the streaming detector alerts at moves a little
with where its window begins and how far its last bucket has filled."""
EVENTS_PER_FINDING_MAX: Final = 100
"""The newest moments become events; the hundredth says what the first said, and the finding counts them all."""
NAMESPACE: Final = UUID("7d3b1f52-0c0e-5d0a-9c53-2f5a1d6e8b41")
"""Of the ids of anomalies and their events; any fixed random number would do."""

Key = tuple[int, Detector]
"""A series and a detector: what has at most one open anomaly."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """When and how somebody looked."""

    tenant_id: int
    now: datetime
    shadow: bool
    alert_risk: float

    @property
    def now_us(self) -> int:
        """Microseconds since the Unix epoch."""
        return (self.now - EPOCH) // timedelta(microseconds=1)


def anomaly_changes(
    look: Look, series: Mapping[int, Series], latest: Sequence[Anomaly], findings: Sequence[AnomalyFinding]
) -> AnomalyChanges:
    """What has to be written after a look at `series` (by id).

    `latest`: of each of these series and each detector the newest anomaly, open or ended. `findings`: all that was
    found in them now, in any order. Open anomalies that are not among the findings end.
    """
    found: dict[Key, list[AnomalyFinding]] = defaultdict(list)
    for finding in findings:
        found[finding.series_id, finding.detector].append(finding)
    known = {(one.finding.series_id, one.finding.detector): one for one in latest}
    changes = _Changes(look, series)
    for key in dict.fromkeys([*known, *found]):
        follow = changes.follow_moments if key[1] in QUIET_US else changes.follow_condition
        follow(known.get(key), found.get(key, []))
    return changes.all()


def ended(anomalies: Sequence[Anomaly], now: datetime) -> AnomalyChanges:
    """Ends open anomalies whose series nobody looks at any more."""
    return AnomalyChanges(updated=[msgspec.structs.replace(one, ended_at=now) for one in anomalies])


class _Changes:
    """Collects them, one series and detector after the other."""

    def __init__(self, look: Look, series: Mapping[int, Series]) -> None:
        self._look = look
        self._series = series
        self._opened: dict[UUID, Anomaly] = {}
        self._updated: dict[UUID, Anomaly] = {}
        self._events: list[SignalEvent] = []

    def all(self) -> AnomalyChanges:
        """What was collected."""
        return AnomalyChanges(
            opened=list(self._opened.values()), updated=list(self._updated.values()), events=self._events
        )

    def follow_condition(self, latest: Anomaly | None, findings: Sequence[AnomalyFinding]) -> None:
        """It is open while it is found."""
        current = latest if latest is not None and latest.ended_at is None else None
        if findings:
            worst = max(findings, key=lambda finding: finding.risk)
            anomaly = self._found(current, worst, self._look.now_us)
            if current is None:
                self._tell(anomaly, Moment(self._look.now_us, worst.observed))
        elif current is not None:
            self._end(current)

    def follow_moments(self, latest: Anomaly | None, findings: Sequence[AnomalyFinding]) -> None:
        """It is open while its newest moment is new enough; moments that were recorded before make no other."""
        current = untouched = latest if latest is not None and latest.ended_at is None else None
        seen = latest.finding if latest is not None else None
        for finding in sorted(findings, key=_newest_us):
            apart_us, newest_us = APART_US[finding.detector], _newest_us(finding)
            told_us = _newest_us(seen) if seen is not None else -apart_us - 1
            if newest_us < told_us - apart_us or (current is None and newest_us <= told_us + apart_us):
                continue
            current, untouched, seen = self._found(current, finding, newest_us), None, finding
            news = [moment for moment in finding.moments if moment.ts_us > told_us + apart_us]
            for moment in news[-EVENTS_PER_FINDING_MAX:]:
                self._tell(current, moment)
            if newest_us <= self._look.now_us - QUIET_US[finding.detector]:
                self._end(current)
                current = None
        if untouched is not None:
            self._end(untouched)

    def _found(self, current: Anomaly | None, finding: AnomalyFinding, at_us: int) -> Anomaly:
        look = self._look
        if current is not None:
            return self._put(
                msgspec.structs.replace(
                    current,
                    finding=finding,
                    risk_max=max(current.risk_max, finding.risk),
                    last_seen_at=look.now,
                    shadow=look.shadow,
                )
            )
        series = self._series[finding.series_id]
        host, service = host_of(series.labels), service_of(series.labels)
        anomaly = Anomaly(
            id=self._id(finding, "anomaly", at_us),
            metric=series.name,
            labels=series.labels,
            host=host,
            service=service,
            fingerprint=fingerprint_of(host, service, series.name),
            finding=finding,
            risk_max=finding.risk,
            first_seen_at=look.now,
            last_seen_at=look.now,
            ended_at=None,
            shadow=look.shadow,
            synthetic=is_synthetic(series.labels),
        )
        self._opened[anomaly.id] = anomaly
        return anomaly

    def _end(self, anomaly: Anomaly) -> None:
        self._put(msgspec.structs.replace(anomaly, ended_at=self._look.now))

    def _put(self, anomaly: Anomaly) -> Anomaly:
        """In place of what was collected of it before."""
        place = self._opened if anomaly.id in self._opened else self._updated
        place[anomaly.id] = anomaly
        return anomaly

    def _tell(self, anomaly: Anomaly, moment: Moment) -> None:
        finding = anomaly.finding
        self._events.append(
            SignalEvent(
                id=self._id(finding, "event", moment.ts_us),
                ts=EPOCH + timedelta(microseconds=moment.ts_us),
                host=anomaly.host,
                service=anomaly.service,
                fingerprint=anomaly.fingerprint,
                severity=EventSeverity.ERROR if finding.risk > self._look.alert_risk else EventSeverity.WARN,
                metric=anomaly.metric,
                value=moment.value,
                message=_message(anomaly, moment),
                labels=anomaly.labels,
                synthetic=anomaly.synthetic,
                anomaly_id=anomaly.id,
                created_at=self._look.now,
            )
        )

    def _id(self, finding: AnomalyFinding, kind: str, at_us: int) -> UUID:
        name = f"{kind}/{self._look.tenant_id}/{finding.series_id}/{finding.detector.value}/{at_us}"
        return uuid5(NAMESPACE, name)


def _message(anomaly: Anomaly, moment: Moment) -> str:
    """The finding in words; a spike's event tells of that spike alone: ``web-1:cpu spiked to 83.33, usually about 48.1
    (risk 0.90)``."""
    finding = anomaly.finding
    if finding.detector is not Detector.SPIKE:
        return anomaly.text
    usual = float(f"{finding.usual_low:.3g}")
    lead = PER_SECOND if finding.phrase.startswith(PER_SECOND) else ""
    phrase = f"{lead}spiked to {moment.value:.6g}, usually about {usual:.6g}"
    return msgspec.structs.replace(finding, phrase=phrase).text(anomaly.fingerprint)


def _newest_us(finding: AnomalyFinding) -> int:
    return finding.moments[-1].ts_us
