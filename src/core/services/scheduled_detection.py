"""Scheduled detection: the runs that are due, one tenant after the other."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from core.domain.detection_runs import RunState
from core.domain.errors import Conflict, Unavailable
from core.domain.times import EPOCH
from core.services.detection_chunks import LEASE_S
from core.services.detection_pass import DetectionPass
from core.services.detection_risks import RiskPublisher
from ports.driven.clock import Clock
from ports.driven.detection_store import DetectionRuns, RunClaim
from ports.driven.journal import Journal
from ports.driven.sample_reader import SampleReader
from ports.driven.series_catalog import SeriesCatalog
from ports.driving.detecting import DetectionRound

ERROR_CHARS_MAX: Final = 1_000
"""What went wrong, not the whole of a query."""


class DetectionTelemetry(Protocol):
    """What scheduled detection reports."""

    def detection_run(self, *, state: str, series: int, points: int, findings: int, took_s: float) -> None:
        """One run ended; `state` as in `RunState`."""
        ...

    def detection_risks_published(self, risks: int) -> None:
        """So many fingerprints of a tenant are above the alert risk."""
        ...


class ScheduledDetection:
    """Implements `ports.driving.detecting.DetectionWork`."""

    def __init__(
        self,
        runs: DetectionRuns,
        reader: SampleReader,
        catalog: SeriesCatalog,
        journal: Journal,
        clock: Clock,
        telemetry: DetectionTelemetry,
    ) -> None:
        self._runs = runs
        self._reader = reader
        self._publisher = RiskPublisher(runs, catalog, journal, clock)
        self._clock = clock
        self._telemetry = telemetry
        self._cut_off: UUID | None = None
        """The token of the last claim that the database went away under; of no use once somebody has taken it up."""

    async def run_due(self, *, overdue_s: float = 0.0, tenant_id: int | None = None) -> DetectionRound:
        """See `DetectionWork.run_due`; with `tenant_id` only a run of this tenant."""
        claim = None
        try:
            claim = await self._runs.claim(
                now=self._now(), overdue_s=overdue_s, lease_s=LEASE_S, tenant_id=tenant_id, own=self._cut_off
            )
            return await self._run(claim) if claim is not None else DetectionRound()
        except Unavailable as error:
            # This process goes on with the run once the database is back; others may when the claim has run out.
            self._cut_off = claim.token if claim is not None else self._cut_off
            return DetectionRound(tenant=claim.tenant if claim is not None else None, away=str(error))

    async def _run(self, claim: RunClaim) -> DetectionRound:
        """Does the claimed run, whole."""
        started_s = self._clock.monotonic_s()
        attempt = DetectionPass(self._runs, self._reader, self._clock, claim)
        try:
            await self._runs.ensure_rule(claim.tenant_id)
            # Where the tenant has switched detection off since the run began, it is only put away.
            state = await attempt.look() if claim.settings.enabled else RunState.PARTIAL
            if state is RunState.DONE:
                await attempt.end_quiet()
            alarming = await self._publisher.publish(claim)
            await self._runs.finish(claim, state, now=self._now())
        except Conflict:
            # Another process took the run over, and goes on with it.
            return self._done(claim, attempt, None, started_s)
        except Unavailable:
            raise
        except Exception as error:
            await self._fail(claim, error)
            self._done(claim, attempt, RunState.FAILED, started_s)
            raise
        self._telemetry.detection_risks_published(alarming)
        return self._done(claim, attempt, state, started_s, alarming)

    async def _fail(self, claim: RunClaim, error: Exception) -> None:
        """Writes down why the run failed, if that is possible."""
        reason = f"{type(error).__name__}: {error}"[:ERROR_CHARS_MAX]
        with suppress(Conflict, Unavailable):
            await self._runs.finish(claim, RunState.FAILED, now=self._now(), error=reason)

    def _done(
        self, claim: RunClaim, attempt: DetectionPass, state: RunState | None, started_s: float, alarming: int = 0
    ) -> DetectionRound:
        """Reports the attempt; `state` None where the run was lost to another process."""
        progress, took_s = attempt.progress, self._clock.monotonic_s() - started_s
        if state is not None:
            self._telemetry.detection_run(
                state=state.value,
                series=progress.series,
                points=progress.points,
                findings=progress.findings,
                took_s=took_s,
            )
        return DetectionRound(
            tenant=claim.tenant,
            due_at=claim.run.due_at,
            state=state.value if state is not None else None,
            resumed=claim.run.attempts > 1,
            series=progress.series,
            points=progress.points,
            findings=progress.findings,
            opened=attempt.opened,
            ended=attempt.ended,
            alarming=alarming,
            took_s=took_s,
        )

    def _now(self) -> datetime:
        return EPOCH + timedelta(microseconds=self._clock.now_us())
