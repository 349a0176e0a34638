"""Scheduled detection over a store: samples worth finding, runs of one tenant, and processes that die."""

import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

import msgspec

from adapters.driven.memory.clock import FakeClock
from adapters.runtime.clock import SystemClock
from core.detection.plan import RISK_METRIC, DetectionPlan, DetectionSettings
from core.domain.anomalies import Anomaly, AnomalyFilter, Detector
from core.domain.events import EventFilter, SignalEvent
from core.domain.times import DAY_US, EPOCH, HOUR_US, MINUTE_US, SECOND_US, TimeRange
from core.services.scheduled_detection import ScheduledDetection
from ports.driving.detecting import DetectionRound
from tests.support.storages import Row, Storage, Tenancy

STEP_US = 30 * MINUTE_US
WINDOW_US = 48 * HOUR_US
ALL = 10_000
CLASSIC_PLAN = DetectionPlan(detectors=(Detector.TREND, Detector.SPIKE))
SETTINGS = DetectionSettings(plan=CLASSIC_PLAN)

Port = TypeVar("Port")


class Ledger:
    """Telemetry that is kept."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.risks: list[int] = []

    def detection_run(self, *, state: str, series: int, points: int, findings: int, took_s: float) -> None:
        """One run ended."""
        self.runs.append(state)

    def detection_risks_published(self, risks: int) -> None:
        """So many fingerprints are above the alert risk."""
        self.risks.append(risks)


class Died(BaseException):
    """A process was killed."""


class Life:
    """Of one process: how many moments, before and after each call of a port, it lives. Calls go to the real port."""

    def __init__(self, moments: float = math.inf, error: Callable[[], BaseException] = Died) -> None:
        self._moments = moments
        self._error = error

    @property
    def is_over(self) -> bool:
        """Whether it died."""
        return self._moments < 0

    def of(self, port: Port) -> Port:
        """The port, as this process calls it."""
        return cast("Port", _Mortal(port, self))

    def moment(self) -> None:
        """One more, or the last."""
        self._moments -= 1
        if self._moments == -1:
            raise self._error()


class Slow(Life):
    """Of a process that takes long: with each moment some time passes."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def moment(self) -> None:
        """One more, ten seconds later."""
        self._clock.advance(10 * SECOND_US)


class _Mortal:
    def __init__(self, port: object, life: Life) -> None:
        self._port = port
        self._life = life

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if name == "snapshot":
            return method  # reading changes nothing

        async def call(*args: object, **kwargs: object) -> object:
            self._life.moment()
            result = await cast("Awaitable[object]", method(*args, **kwargs))
            self._life.moment()
            return result

        return call


class Detecting:
    """One tenant's scheduled detection, at times of the test's choosing: first a minute after a run was due."""

    def __init__(self, tenancy: Tenancy, *, minutes_ago: float = 0.0) -> None:
        self.tenancy = tenancy
        self.storage: Storage = tenancy.storage
        then_us = SystemClock().now_us() - round(minutes_ago * MINUTE_US)
        self.clock = FakeClock(then_us - then_us % SETTINGS.interval_us + MINUTE_US)
        self.ledger = Ledger()

    @property
    def now(self) -> datetime:
        """The present."""
        return EPOCH + timedelta(microseconds=self.clock.now_us())

    async def set(self, **changes: Any) -> None:
        """Changes the tenant's settings from those that tests use."""
        settings = msgspec.structs.replace(SETTINGS, **changes)
        await self.storage.detection.replace_settings(self.tenancy.id, settings)

    def service(self, life: Life | None = None) -> ScheduledDetection:
        """A new process'."""
        alive = life or Life()
        storage = self.storage
        return ScheduledDetection(
            alive.of(storage.detection_runs),
            alive.of(storage.reader),
            alive.of(storage.catalog),
            alive.of(storage.journal),
            self.clock,
            self.ledger,
        )

    async def run(self, life: Life | None = None) -> DetectionRound:
        """One look for a run of this tenant that is due."""
        return await self.service(life).run_due(tenant_id=self.tenancy.id)

    async def next_run(self, minutes: float = 15) -> DetectionRound:
        """The same, some minutes later."""
        self.clock.advance(round(minutes * MINUTE_US))
        return await self.run()

    def rows(self, series_id: int, course: Callable[[float], float]) -> list[Row]:
        """A sample each half hour of the last two days; `course` of the part of them that has passed, in [0, 1]."""
        count = WINDOW_US // STEP_US
        start_us = self.clock.now_us() - WINDOW_US + 1
        return [(series_id, start_us + n * STEP_US, course(n / count)) for n in range(count)]

    async def leaking(self, name: str = "memory", **labels: str) -> int:
        """A series that doubles, which is a trend with a risk of 1."""
        series_id = await self.tenancy.series(name, **labels)
        await self.tenancy.append(self.rows(series_id, lambda part: 10.0 + 15.0 * part))
        return series_id

    async def anomalies(self) -> Sequence[Anomaly]:
        """All of the tenant's, last seen first."""
        return await self.storage.detection.anomalies(self.tenancy.id, AnomalyFilter(), limit=ALL, before=None)

    async def events(self) -> Sequence[SignalEvent]:
        """All of the tenant's, oldest first."""
        found = await self.storage.events.list(self.tenancy.id, EventFilter(), limit=ALL, before=None)
        return sorted(found, key=lambda event: event.ts)

    async def risks(self) -> dict[str, float]:
        """The newest published risk of each fingerprint; of one fingerprint there is one series."""
        found = {}
        for labels, samples in await self.risk_samples():
            assert labels["fingerprint"] not in found
            found[labels["fingerprint"]] = samples[-1][1]
        return found

    async def risk_samples(self) -> list[tuple[dict[str, str], list[tuple[int, float]]]]:
        """The labels of each series of risks, with its samples."""
        now_us = self.clock.now_us()
        async with self.tenancy.snapshot() as snapshot:
            table = await snapshot.find(RISK_METRIC, ())
            points = snapshot.head(table.series_ids, TimeRange(now_us - DAY_US, now_us + DAY_US))
        return [
            (
                one.labels,
                [
                    (ts_us, value)
                    for series_id, ts_us, value in zip(
                        points.series_ids.tolist(), points.ts_us.tolist(), points.values.tolist(), strict=True
                    )
                    if series_id == one.series_id
                ],
            )
            for one in table.series
        ]
