"""Hosts that are well and hosts that fall ill, made up: what `sextant simulate` sends.

Theory of operation. A healthy host has a gentle daily course and noise. A stressed one falls ill 48 hours before the
end, or at the start of a shorter simulation: its cpu oscillates, ever wider, and after a third of the illness every
crest is a spike; its memory leaks; its disk fills; late in the illness every second spike brings a burst of errors. So
whoever looks at the last 48 hours finds the whole of it, however long the simulation is.

Noise is of nearly constant size, its sign random within every pair of readings. Windows of a series then vary alike,
and no detector takes chance for an escalation, wherever its windows begin. Everything follows from the seed, the end
and the length; nothing looks at the clock.
"""

from collections.abc import Iterator, Sequence
from typing import Final
from uuid import UUID, uuid5

import msgspec
import numpy as np

from core.detection.scaling import Floats, Instants
from core.domain.columns import Bools
from core.domain.errors import InvalidInput
from core.domain.events import SYNTHETIC_LABEL, EventSeverity, EventSpec
from core.domain.points import Point
from core.domain.times import DAY_US, HOUR_US, MINUTE_US, SECOND_US, format_time

SEED: Final = 1
LENGTH_US: Final = 48 * HOUR_US
LENGTH_US_MIN: Final = 12 * HOUR_US
"""Shorter ones have too few windows for their pathologies to be seen."""
LENGTH_US_MAX: Final = 366 * DAY_US
HOSTS: Final = 2
HOSTS_MAX: Final = 1_000
SOURCE: Final = "sextant-simulator"
ERROR_METRIC: Final = "error"
ILLNESS_US: Final = 48 * HOUR_US
"""As far back as scheduled detection looks."""
NOISE_SMALLEST: Final = 0.85
"""Of the largest noise."""
CREST_EVERY: Final = 8
"""Readings of cpu from one crest of a stressed host to the next: 40 minutes."""
GOLDEN: Final = 0.618034
"""Multiples of it, taken modulo 1, are spread evenly over any stretch (Weyl's sequence)."""
CPU_MIDDLE: Final = 46.0
"""What the cpu of a stressed host oscillates around."""
ESCALATION: Final = 4.3
ESCALATION_WINDOW_US: Final = 4 * HOUR_US
"""The windows by which detection compares variances, at multiples of it since the Unix epoch."""
SPIKES_FROM: Final = 0.36
"""From this part of the illness on crests are spikes."""
ERRORS_FROM: Final = 0.6
"""From this part of the illness on every second spike brings errors."""
BURST_ERRORS: Final = (12, 14)
"""Fewest and most errors of a burst."""
BURST_US: Final = 4 * MINUTE_US
MESSAGES: Final = (
    "OutOfMemoryError: cannot allocate 67108864 bytes",
    "connection pool exhausted: 50 of 50 connections in use",
    "upstream request timed out after 30 s",
    "worker killed: no memory left in its control group",
    "GET /api/orders answered 503 after 30.0 s",
)
SERVICE: Final = "order-service"

_NAMESPACE: Final = UUID("6f2b7f0e-3a55-4d0c-9a3c-6d1f0c8f5a11")


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A metric, how often it is read, and what it is on a healthy host, percent."""

    name: str
    every_us: int
    level: float
    course: float
    """How far it is above the level in the afternoon."""
    noise: float
    """At the largest."""


CPU: Final = Metric(name="cpu", every_us=5 * MINUTE_US, level=30.0, course=2.0, noise=4.0)
MEMORY: Final = Metric(name="memory", every_us=10 * MINUTE_US, level=45.0, course=0.6, noise=1.5)
DISK: Final = Metric(name="disk", every_us=15 * MINUTE_US, level=40.0, course=0.2, noise=0.6)
METRICS: Final = (CPU, MEMORY, DISK)


class Host(msgspec.Struct, frozen=True):
    """A simulated host."""

    number: int
    """From 0."""

    @property
    def stressed(self) -> bool:
        """Every second one is."""
        return self.number % 2 == 1

    @property
    def name(self) -> str:
        """``host-healthy``, ``host-stressed``, ``host-healthy-2``, ``host-stressed-2`` …"""
        pair = self.number // 2 + 1
        return ("host-stressed" if self.stressed else "host-healthy") + (f"-{pair}" if pair > 1 else "")


class Readings(msgspec.Struct, frozen=True, eq=False):
    """One series: `ts_us` int64, ascending, `values` float64 in [0, 100], both of shape (n,)."""

    host: Host
    metric: Metric
    ts_us: Instants
    values: Floats


class Simulation:
    """What happened on the hosts in ``[end_us - length_us, end_us)``; the same whenever it is asked.

    Events have ids of their own that follow from seed, host, metric and time: sending them again adds nothing.
    """

    def __init__(self, seed: int = SEED, *, end_us: int, length_us: int = LENGTH_US, hosts: int = HOSTS) -> None:
        """Raises `InvalidInput` where a number is out of bounds."""
        if not LENGTH_US_MIN <= length_us <= LENGTH_US_MAX:
            raise InvalidInput("length", "must be between 12 hours and 366 days")
        if not 1 <= hosts <= HOSTS_MAX:
            raise InvalidInput("hosts", f"must be between 1 and {HOSTS_MAX}")
        if seed < 0:
            raise InvalidInput("seed", "must not be negative")
        self._seed = seed
        self._start_us = end_us - length_us
        self._end_us = end_us
        self._ill_us = max(self._start_us, end_us - ILLNESS_US)
        self.hosts: Sequence[Host] = [Host(number) for number in range(hosts)]

    def readings(self) -> Iterator[Readings]:
        """Every series, by host and metric."""
        for host in self.hosts:
            for metric in METRICS:
                yield self._read(host, metric)

    def points(self) -> Iterator[Point]:
        """The readings as metrics to ingest, by host, metric and time."""
        for readings in self.readings():
            labels = msgspec.Raw(msgspec.json.encode({"host": readings.host.name, SYNTHETIC_LABEL: "true"}))
            for ts_us, value in zip(readings.ts_us.tolist(), readings.values.tolist(), strict=True):
                yield Point(readings.metric.name, value, labels, format_time(ts_us), SOURCE)

    def events(self) -> Iterator[EventSpec]:
        """The readings as events, then the errors, of one host after the other."""
        for host in self.hosts:
            for metric in METRICS:
                readings = self._read(host, metric)
                for ts_us, value in zip(readings.ts_us.tolist(), readings.values.tolist(), strict=True):
                    yield self._event(host, metric.name, ts_us, value=value)
            yield from self._errors(host)

    def _errors(self, host: Host) -> Iterator[EventSpec]:
        if not host.stressed:
            return
        rng = self._random(host, len(METRICS))
        ts_us = self._times(CPU)
        spiking = np.flatnonzero(_spiking(self._progress(ts_us)))
        bursts = spiking[self._progress(ts_us)[spiking] >= ERRORS_FROM][::2]
        for at_us in ts_us[bursts].tolist():
            count = int(rng.integers(BURST_ERRORS[0], BURST_ERRORS[1], endpoint=True))
            after_s = np.sort(rng.choice(BURST_US // SECOND_US, count, replace=False))
            for error_us in (at_us + after_s * SECOND_US).tolist():
                message = MESSAGES[int(rng.integers(len(MESSAGES)))]
                yield self._event(host, ERROR_METRIC, error_us, message=message)

    def _event(
        self, host: Host, metric: str, ts_us: int, *, value: float | None = None, message: str | None = None
    ) -> EventSpec:
        return EventSpec(
            metric=metric,
            id=uuid5(_NAMESPACE, f"{self._seed}/{host.name}/{metric}/{ts_us}"),
            ts=format_time(ts_us),
            host=host.name,
            service=None if message is None else SERVICE,
            severity=EventSeverity.INFO if message is None else EventSeverity.ERROR,
            value=value,
            message=message,
            synthetic=True,
        )

    def _read(self, host: Host, metric: Metric) -> Readings:
        ts_us = self._times(metric)
        rng = self._random(host, METRICS.index(metric))
        values = _stressed(metric, self._progress(ts_us), rng) if host.stressed else _healthy(metric, ts_us, rng)
        if host.stressed and metric is CPU:
            _escalate(values, ts_us, ts_us >= self._ill_us, _spiking(self._progress(ts_us)))
        return Readings(host, metric, ts_us, values.clip(0.0, 100.0).round(2))

    def _times(self, metric: Metric) -> Instants:
        return np.arange(self._start_us, self._end_us, metric.every_us, dtype=np.int64)

    def _progress(self, ts_us: Instants) -> Floats:
        """Of the illness: 0 before it, 1 at the end."""
        return np.maximum((ts_us - self._ill_us) / (self._end_us - self._ill_us), 0.0)

    def _random(self, host: Host, stream: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, host.number, stream])


def _healthy(metric: Metric, ts_us: Instants, rng: np.random.Generator) -> Floats:
    afternoon = np.sin(2.0 * np.pi * (ts_us / DAY_US - 0.375))
    return metric.level + metric.course * afternoon + metric.noise * _noise(len(ts_us), rng)


def _stressed(metric: Metric, progress: Floats, rng: np.random.Generator) -> Floats:
    noise = _noise(len(progress), rng)
    if metric is MEMORY:
        return 38.0 + 50.2 * progress + 2.5 * noise
    if metric is DISK:
        return 45.0 + 27.0 * progress + 1.8 * noise
    crest = 2.0 * np.pi * np.arange(len(progress)) / CREST_EVERY
    values = CPU_MIDDLE + (8.96 + 1.04 * progress) * np.cos(crest) + 2.0 * noise
    spiking = _spiking(progress)
    heights = (rng.random() + GOLDEN * np.arange(int(spiking.sum()))) % 1.0
    values[spiking] = 79.0 + 16.0 * (heights / heights.max(initial=GOLDEN)) ** 5 - 0.2 * rng.random(len(heights))
    return values


def _escalate(values: Floats, ts_us: Instants, ill: Bools, spiking: Bools) -> None:
    """Sets the spikes of the last window so that its variance is `ESCALATION` times that of the illness' first one,
    wherever windows begin."""
    windows = (ts_us // ESCALATION_WINDOW_US)[ill]
    counts = np.bincount(windows - windows[0])
    full = np.flatnonzero(counts >= counts.max() / 2) + windows[0]
    first, last = (np.flatnonzero(ill)[windows == window] for window in full[[0, -1]])
    spikes = spiking[last].astype(float)
    if first[0] == last[0] or not spikes.any():
        return
    others = np.where(spiking[last], CPU_MIDDLE, values[last])
    (fixed, mixed), (_, scaled) = np.cov(others, spikes)
    wanted = ESCALATION * float(values[first].var(ddof=1))
    height = (np.sqrt(max(mixed**2 - scaled * (fixed - wanted), 0.0)) - mixed) / scaled
    values[last] = others + spikes * height


def _spiking(progress: Floats) -> Bools:
    """Which readings of cpu are spikes: the crests of the later illness."""
    crests: Bools = np.arange(len(progress)) % CREST_EVERY == 0
    return crests & (progress >= SPIKES_FROM)


def _noise(count: int, rng: np.random.Generator) -> Floats:
    """In [-1, 1], nowhere near 0; of every two values one is above it."""
    signs = rng.permuted(np.tile([-1.0, 1.0], (-(-count // 2), 1)), axis=1).ravel()[:count]
    return signs * rng.uniform(NOISE_SMALLEST, 1.0, count)
