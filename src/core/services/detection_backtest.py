"""What scheduled detection would have done: its runs over history, by the same windows and the same bookkeeping."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec
import numpy as np

from core.detection.plan import DetectionSettings
from core.domain.anomalies import Anomaly
from core.domain.columns import Bools, Columns, in_range
from core.domain.errors import TooExpensive
from core.domain.matchers import parse_matchers
from core.domain.series import Series
from core.domain.times import EPOCH, SECOND_US, TimeRange
from core.services.anomaly_changes import Key, Look, anomaly_changes
from core.services.detection_looking import findings_in
from core.services.detection_reading import Samples
from core.services.detection_search import DetectionSearch, check_reach, described, riskiest
from ports.driving.detecting import DetectionBacktest, DetectionBacktestStep, SeriesFinding

RUNS_MAX: Final = 3_000
"""A month of quarters of an hour."""
SAMPLES_LOOKED_AT_MAX: Final = 20_000_000
"""By all runs together, each of which looks at its whole window: up to a minute's work for one core."""
STEPS_MAX: Final = 1_000
"""Settings that alert more often are wrong, and the first thousand show how."""
STEP_FINDINGS_MAX: Final = 100
"""Of one run, the highest risks."""


async def backtest_detection(
    search: DetectionSearch, tenant_id: int, settings: DetectionSettings, time_range: TimeRange
) -> DetectionBacktest:
    """See `Detections.backtest`. Shadow mode and `enabled` make no difference."""
    check_reach(time_range)
    runs_us = _runs_us(settings, time_range)
    selection = await search.select(tenant_id, settings.looks_at, parse_matchers(settings.matchers))
    replay = _Replay(tenant_id, settings, runs_us)
    looked_at = 0
    if len(runs_us):
        reach = TimeRange(max(0, runs_us[0] - settings.window_us), runs_us[-1])
        async for series, samples in search.slices(selection, reach):
            looked_at += len(samples.points)
            replay.admit(samples.points)
            latest: dict[Key, Anomaly] = {}
            for run in range(len(runs_us)):
                latest = replay.step(run, series, samples, latest)
                await search.breathe()
    return DetectionBacktest(
        start=_at(time_range.start_us),
        end=_at(time_range.end_us),
        series=len(selection.series),
        samples=looked_at,
        runs=len(runs_us),
        alerts=replay.alerts,
        alerting_s=replay.alerting_s,
        steps=replay.steps[:STEPS_MAX],
    )


def _runs_us(settings: DetectionSettings, time_range: TimeRange) -> range:
    """When runs were due in the range; raises `TooExpensive`."""
    interval_us = settings.interval_us
    first_us = -(-time_range.start_us // interval_us) * interval_us
    runs_us = range(first_us, time_range.end_us, interval_us)
    if len(runs_us) > RUNS_MAX:
        raise TooExpensive(
            f"these would be {len(runs_us):,} runs, and at most {RUNS_MAX:,} are tried; ask for a shorter range or a "
            "longer interval",
            limit=RUNS_MAX,
        )
    return runs_us


class _Step(msgspec.Struct, eq=False):
    """One run over all series."""

    at: datetime
    findings: int = 0
    news: list[SeriesFinding] = []


class _Replay:
    """The runs, over one slice of series after the other."""

    def __init__(self, tenant_id: int, settings: DetectionSettings, runs_us: range) -> None:
        self._tenant_id = tenant_id
        self._settings = settings
        self._runs_us = runs_us
        self._steps = [_Step(_at(at_us)) for at_us in runs_us]
        self._alerting: dict[str, Bools] = {}
        self._looked_at = 0

    @property
    def alerts(self) -> int:
        """How often a fingerprint began to alert."""
        return sum(int(during[0]) + int((during[1:] & ~during[:-1]).sum()) for during in self._alerting.values())

    @property
    def alerting_s(self) -> float:
        """For how long fingerprints alerted, all together; an alert lasts from run to run."""
        runs = sum(int(during.sum()) for during in self._alerting.values())
        return runs * self._settings.interval_us / SECOND_US

    @property
    def steps(self) -> list[DetectionBacktestStep]:
        """The runs with something new above the alert risk."""
        return [
            DetectionBacktestStep(at=step.at, findings=step.findings, alarming=step.news)
            for step in self._steps
            if step.news
        ]

    def admit(self, points: Columns) -> None:
        """Counts what all runs will look at; raises `TooExpensive` where that is too much."""
        ts_us, runs_us = np.sort(points.ts_us), np.array(self._runs_us, np.int64)
        began_us = runs_us - self._settings.window_us
        self._looked_at += int((np.searchsorted(ts_us, runs_us) - np.searchsorted(ts_us, began_us)).sum())
        if self._looked_at > SAMPLES_LOOKED_AT_MAX:
            raise TooExpensive(
                f"the runs would look at more than {SAMPLES_LOOKED_AT_MAX:,} samples, each at its whole window; ask "
                "for a shorter range, a longer interval or fewer series",
                limit=SAMPLES_LOOKED_AT_MAX,
            )

    def step(
        self, run: int, series: Mapping[int, Series], samples: Samples, latest: Mapping[Key, Anomaly]
    ) -> dict[Key, Anomaly]:
        """One run over some series whose latest anomalies are `latest`; returns the latest after it."""
        at_us, window_us = self._runs_us[run], self._settings.window_us
        seen = Samples(in_range(samples.points, at_us - window_us, at_us), samples.counters)
        findings = findings_in(seen, self._settings.plan, until_us=at_us, window_us=window_us)
        look = Look(tenant_id=self._tenant_id, now=_at(at_us), shadow=False, alert_risk=self._settings.alert_risk)
        changes = anomaly_changes(look, series, list(latest.values()), findings)
        after = dict(latest)
        for anomaly in [*changes.updated, *changes.opened]:  # what is open now was opened last
            after[anomaly.finding.series_id, anomaly.finding.detector] = anomaly
        alarming, before = self._alarming(after), self._alarming(latest)
        for anomaly in alarming.values():
            during = self._alerting.setdefault(anomaly.fingerprint, np.zeros(len(self._runs_us), np.bool_))
            during[run] = True
        news = described([one.finding for key, one in alarming.items() if key not in before], series)
        step = self._steps[run]
        step.findings += len(findings)
        step.news = riskiest([*step.news, *news], STEP_FINDINGS_MAX)
        return after

    def _alarming(self, latest: Mapping[Key, Anomaly]) -> dict[Key, Anomaly]:
        """Those that are alerted."""
        risk, detectors = self._settings.alert_risk, self._settings.alert_detectors
        return {
            key: one
            for key, one in latest.items()
            if one.ended_at is None and one.finding.risk > risk and one.finding.detector in detectors
        }


def _at(ts_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=ts_us)
