"""One attempt at a run of scheduled detection: from where the last one stopped to the last series, chunk by chunk."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from core.detection.plan import WINDOW_US_MAX
from core.domain.anomalies import Anomaly
from core.domain.detection_runs import RunState
from core.domain.errors import TooExpensive
from core.domain.matchers import label_filter, parse_matchers
from core.domain.series import Series
from core.domain.tenants import Limits
from core.domain.times import EPOCH, SECOND_US, TimeRange, parse_duration
from core.services.anomaly_changes import Look, anomaly_changes, ended
from core.services.detection_chunks import LEASE_S, ChunkSize
from core.services.detection_looking import findings_in
from core.services.detection_reading import Samples, samples_of
from ports.driven.clock import Clock
from ports.driven.detection_store import AnomalyChanges, DetectionRuns, RunClaim, RunProgress
from ports.driven.sample_reader import SampleReader

POINTS_MAX: Final = 4_000_000
"""Of a chunk: 80 MB, and some times that while detectors look. Chunks of denser series become smaller."""
LIMITS: Final = Limits(
    samples_per_s=1.0, samples_burst=1.0, series_max=1, query_points_max=POINTS_MAX, query_timeout_s=LEASE_S / 3
)
"""A tenant's own limits on queries are no reason to miss an anomaly."""
QUIET_MAX: Final = 500
"""Anomalies whose series are looked up at once."""


class DetectionPass:
    """Looks at a tenant's series; whoever makes it holds the claim. After an error it is of no use any more."""

    def __init__(self, runs: DetectionRuns, reader: SampleReader, clock: Clock, claim: RunClaim) -> None:
        self._runs = runs
        self._reader = reader
        self._clock = clock
        self._claim = claim
        self._settings = claim.settings
        run = claim.run
        self.progress = RunProgress(
            after_series_id=run.after_series_id, series=run.series, points=run.points, findings=run.findings
        )
        self.opened = 0
        self.ended = 0
        self._selects = label_filter(parse_matchers(self._settings.matchers))
        self._looks_at: dict[str, bool] = {}
        self._size = ChunkSize(run.attempts)

    async def look(self) -> RunState:
        """Looks at all series that are left, or at as many as the time limit allows: one chunk at the least."""
        limit_s = parse_duration(self._settings.time_limit, "time_limit") / SECOND_US
        until_s = self._clock.monotonic_s() + limit_s
        began_after = self.progress.after_series_id
        while series := await self._listed(self.progress.after_series_id, self._size.series):
            if self.progress.after_series_id > began_after and self._clock.monotonic_s() >= until_s:
                return RunState.PARTIAL
            await self._chunk(series)
        return RunState.DONE

    async def end_quiet(self) -> None:
        """Ends anomalies whose series send nothing any more, and renews the claim."""
        while True:
            open_ones = await self._runs.quiet_anomalies(
                self._claim.tenant_id, seen_before=self._claim.run.started_at, limit=QUIET_MAX
            )
            # A run that began in the middle has not come to the others, which are not quiet for that.
            gone = [one for one in open_ones if not await self._is_listed(one)]
            await self._save(self.progress, ended(gone, self._now()))
            if not gone or len(open_ones) < QUIET_MAX:
                return

    async def _chunk(self, series: Sequence[Series]) -> None:
        """Looks at `series`; or where these hold too much makes chunks smaller, and of one series the window."""
        looked_at = [one for one in series if self._is_looked_at(one)]
        now, began_s = self._now(), self._clock.monotonic_s()
        window = self._size.part_of(self._window(now))
        try:
            samples = await self._samples(looked_at, window)
        except TooExpensive:
            if self._size.is_least:
                raise
            self._size.halve(len(series))
            await self._save(self.progress, AnomalyChanges())
            return
        compared_us = min(self._settings.window_us, window.end_us - window.start_us)
        findings = findings_in(samples, self._settings.plan, until_us=window.end_us, window_us=compared_us)
        latest = await self._runs.latest_anomalies(self._claim.tenant_id, [one.series_id for one in series])
        look = Look(
            tenant_id=self._claim.tenant_id,
            now=now,
            shadow=self._settings.shadow,
            alert_risk=self._settings.alert_risk,
        )
        changes = anomaly_changes(look, {one.series_id: one for one in series}, latest, findings)
        progress = RunProgress(
            after_series_id=series[-1].series_id,
            series=self.progress.series + len(looked_at),
            points=self.progress.points + len(samples.points),
            findings=self.progress.findings + len(findings),
        )
        await self._save(progress, changes)
        self._size.follow(len(series), self._clock.monotonic_s() - began_s)

    def _window(self, now: datetime) -> TimeRange:
        """Back to where the last run that was not missed began, as far as that is possible."""
        now_us = _us(now)
        start_us = now_us - self._settings.window_us
        if self._claim.run.covers_from is not None:
            start_us = max(min(start_us, _us(self._claim.run.covers_from)), now_us - WINDOW_US_MAX)
        return TimeRange(start_us, now_us)

    async def _samples(self, series: Sequence[Series], window: TimeRange) -> Samples:
        async with self._reader.snapshot(self._claim.tenant_id, LIMITS) as snapshot:
            return await samples_of(snapshot, series, window, now_us=window.end_us)

    def _is_looked_at(self, series: Series) -> bool:
        looks_at = self._looks_at.get(series.name)
        if looks_at is None:
            looks_at = self._looks_at[series.name] = self._settings.looks_at(series.name)
        return looks_at and self._selects(series.labels)

    async def _listed(self, after_id: int, limit: int) -> Sequence[Series]:
        since = EPOCH + timedelta(microseconds=self._window(self._now()).start_us)
        return await self._runs.series(self._claim.tenant_id, after_id=after_id, seen_since=since, limit=limit)

    async def _is_listed(self, anomaly: Anomaly) -> bool:
        series_id = anomaly.finding.series_id
        return any(one.series_id == series_id for one in await self._listed(series_id - 1, 1))

    async def _save(self, progress: RunProgress, changes: AnomalyChanges) -> None:
        await self._runs.save(self._claim, progress, changes, now=self._now(), lease_s=LEASE_S)
        self.progress = progress
        self.opened += len(changes.opened)
        self.ended += sum(one.ended_at is not None for one in [*changes.opened, *changes.updated])

    def _now(self) -> datetime:
        return EPOCH + timedelta(microseconds=self._clock.now_us())


def _us(instant: datetime) -> int:
    return (instant - EPOCH) // timedelta(microseconds=1)
