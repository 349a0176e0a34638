"""Detection over 48 hours of 1-minute samples beside reading them: seconds of each, and memory.

The samples lie as a server leaves them: settled every five minutes, the last seven days as plain rows; on TimescaleDB
once more after compression. They are read chunk by chunk through snapshots and joined with the journal's head, by a
process of its own, so that its memory is that of reading and detecting alone. Most series are calm, one in twenty is
not. Beside them stands the worst case, white noise: its records are what the streaming detector speaks of, so that no
series is left out.
"""

import asyncio
import multiprocessing
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractAsyncContextManager

import msgspec
import numpy as np

from adapters.bootstrap import Storage, limits_of, open_storage, run_migrations
from adapters.runtime.settings import DatabaseSettings, Settings
from core.detection.batch import detect_batch
from core.detection.plan import DetectionPlan
from core.domain.anomalies import CLASSIC, Detector
from core.domain.columns import Columns, Float64s, Int32s, overriding
from core.domain.series import series_identity
from core.domain.times import DAY_US, MINUTE_US, TimeRange
from ports.driven.journal import JournalEntry
from ports.driven.tenant_store import LimitOverrides
from tests.benchmarks.engines import BenchEngine
from tests.benchmarks.report import Report
from tests.benchmarks.store import analyze, compress_all
from tests.benchmarks.workload import NAMES, host_name

MINUTES = 48 * 60
SETTLED_MINUTES = 5  # SEXTANT_KEEPER_SETTLE_AGE
CHUNK_SERIES = 300
RESOLVED_AT_ONCE = 10_000
ILL_EVERY = 20  # series: one of them leaks, or spikes, or grows restless
READ_SHARE_MOST = 3.0


class Pass(msgspec.Struct, frozen=True, kw_only=True):
    """What it took to look at every series once, seconds."""

    read_s: float
    classic_s: float
    streaming_s: float
    noise_s: float
    """By all detectors, had all series been white noise."""
    read_cpu_s: float
    points: int
    findings: dict[str, int]
    series_found: int
    peak_rss_bytes: int

    @property
    def detect_s(self) -> float:
        """By all detectors."""
        return self.classic_s + self.streaming_s


def detection(engine: BenchEngine, *, series: int) -> Report:
    """Load, read and detect; compress where that is possible, and again."""
    report = Report("detection", engine.name, f"{series:,} series of {MINUTES:,} points, {CHUNK_SERIES} at a time")
    with engine.database() as url:
        end_us = time.time_ns() // 1_000 // MINUTE_US * MINUTE_US
        tenant_id, loaded_s = asyncio.run(_load(url, series, end_us))
        report.figure("loaded and settled", "points/s", [series * MINUTES / loaded_s])
        analyze(url)
        engine.checkpoint()
        _measure(report, "as settled", url, tenant_id, series, end_us)
        if engine.has_timescale:
            compress_all(url, ("sextant.samples",))
            _measure(report, "compressed", url, tenant_id, series, end_us)
    return report


def _measure(report: Report, state: str, url: str, tenant_id: int, series: int, end_us: int) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        done = process.submit(_look_once, url, tenant_id, series, end_us).result()
    if done.points != series * MINUTES:
        raise RuntimeError(f"{done.points} points were read, where {series * MINUTES} are stored")
    report.figure(f"{state}: reading", "s", [done.read_s])
    report.figure(f"{state}: reading, processor time of the reader", "s", [done.read_cpu_s])
    report.figure(f"{state}: the classic three", "s", [done.classic_s])
    report.figure(f"{state}: streaming", "s", [done.streaming_s])
    report.figure(f"{state}: all detectors, were all series white noise", "s", [done.noise_s])
    report.figure(f"{state}: series with a finding", "", [done.series_found])
    for detector, count in done.findings.items():
        report.figure(f"{state}: findings, {detector}", "", [count])
    report.figure(f"{state}: process at most", "MiB", [done.peak_rss_bytes / 2**20])
    report.check(f"{state}: detection ÷ reading", done.detect_s / done.read_s, most=READ_SHARE_MOST)
    report.check(f"{state}: the same, white noise", done.noise_s / done.read_s, most=READ_SHARE_MOST)
    both = 1.0 + done.detect_s / done.read_s
    report.check(f"{state}: reading and detection ÷ reading", both, most=READ_SHARE_MOST)


def _look_once(url: str, tenant_id: int, series: int, end_us: int) -> Pass:
    return asyncio.run(_look(url, tenant_id, series, end_us))


async def _look(url: str, tenant_id: int, series: int, end_us: int) -> Pass:
    """Every chunk of series: read, then the classic three, then streaming."""
    classic = DetectionPlan(detectors=CLASSIC)
    streaming = DetectionPlan(detectors=(Detector.STREAMING,))
    read_s = classic_s = streaming_s = read_cpu_s = 0.0
    points, found, findings = 0, set(), dict.fromkeys((detector.value for detector in Detector), 0)
    async with _opened(url) as storage:
        series_ids = await _series_ids(storage, tenant_id, series)
        for first in range(0, series, CHUNK_SERIES):
            started_s, started_cpu_s = time.perf_counter(), time.process_time()
            chunk = await _read(storage, tenant_id, series_ids[first : first + CHUNK_SERIES], end_us)
            read_at_s = time.perf_counter()
            read_cpu_s += time.process_time() - started_cpu_s
            by_classic = detect_batch(chunk, classic)
            classic_at_s = time.perf_counter()
            by_streaming = detect_batch(chunk, streaming)
            streaming_s += time.perf_counter() - classic_at_s
            classic_s += classic_at_s - read_at_s
            read_s += read_at_s - started_s
            points += len(chunk)
            for one in [*by_classic, *by_streaming]:
                findings[one.detector.value] += 1
                found.add(one.series_id)
    peak_rss_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Pass(
        read_s=read_s,
        classic_s=classic_s,
        streaming_s=streaming_s,
        noise_s=_noise_s(end_us) * series / CHUNK_SERIES,
        read_cpu_s=read_cpu_s,
        points=points,
        findings=findings,
        series_found=len(found),
        peak_rss_bytes=peak_rss_bytes,
    )


def _noise_s(end_us: int) -> float:
    """Seconds for all detectors over one chunk of white noise."""
    ts_us = end_us + np.arange(-MINUTES, 0) * MINUTE_US
    noise = np.random.default_rng(1).normal(50.0, 2.0, CHUNK_SERIES * MINUTES)
    points = Columns(np.repeat(np.arange(CHUNK_SERIES, dtype=np.int32), MINUTES), np.tile(ts_us, CHUNK_SERIES), noise)
    started_s = time.perf_counter()
    detect_batch(points, DetectionPlan())
    return time.perf_counter() - started_s


async def _read(storage: Storage, tenant_id: int, series_ids: Int32s, end_us: int) -> Columns:
    span = TimeRange(end_us - MINUTES * MINUTE_US, end_us)
    async with storage.reader.snapshot(tenant_id, limits_of(Settings())) as snapshot:
        return overriding(await snapshot.settled_points(series_ids, span), snapshot.head(series_ids, span))


async def _load(url: str, series: int, end_us: int) -> tuple[int, float]:
    """Settle what every five minutes brought; return the tenant and the seconds it took."""
    run_migrations(_settings(url))
    async with _opened(url) as storage:
        tenant = await storage.tenants.create("bench", LimitOverrides())
        series_ids = await _series_ids(storage, tenant.id, series)
        started_s = time.perf_counter()
        for points in _arrivals(series_ids, end_us):
            await storage.journal.append(JournalEntry(tenant.id, points))
            while (await storage.keeping.backlog()).blocks:
                await storage.keeping.settle(points_max=len(points))
        return tenant.id, time.perf_counter() - started_s


async def _series_ids(storage: Storage, tenant_id: int, series: int) -> Int32s:
    """Ascending; series are created where there are none."""
    identities = [
        series_identity(NAMES[number % len(NAMES)], {"host": host_name(number // len(NAMES))}, None)
        for number in range(series)
    ]
    known: list[int | None] = []
    for first in range(0, series, RESOLVED_AT_ONCE):
        some = identities[first : first + RESOLVED_AT_ONCE]
        known += (await storage.catalog.resolve(tenant_id, some, series_max=series)).series_ids
    return np.sort(np.array(known, np.int32))


def _arrivals(series_ids: Int32s, end_us: int) -> Iterator[Columns]:
    """Every five minutes' points, minute by minute, as they are ingested."""
    size = len(series_ids)
    levels = np.random.default_rng(size).uniform(20.0, 60.0, size)
    for first in range(0, MINUTES, SETTLED_MINUTES):
        minutes = range(first, min(first + SETTLED_MINUTES, MINUTES))
        ts_us = [end_us + (minute - MINUTES) * MINUTE_US for minute in minutes]
        values = [_values(levels, minute, at_us) for minute, at_us in zip(minutes, ts_us, strict=True)]
        yield Columns(np.tile(series_ids, len(minutes)), np.repeat(ts_us, size), np.concatenate(values))


def _values(levels: Float64s, minute: int, ts_us: int) -> Float64s:
    """One value of each series: a level, a daily course, noise; an illness for some."""
    rng = np.random.default_rng([len(levels), minute])
    afternoon = np.sin(2.0 * np.pi * (ts_us / DAY_US - 0.375))
    progress = minute / MINUTES
    noise = rng.normal(0.0, 0.02, len(levels))
    ill = np.arange(len(levels)) // ILL_EVERY % 3
    is_ill = np.arange(len(levels)) % ILL_EVERY == 0
    noise[is_ill & (ill == 0)] *= 1.0 + 3.0 * progress
    values: Float64s = levels * (1.0 + 0.2 * afternoon + noise)
    values[is_ill & (ill == 1)] *= 1.0 + progress
    values[is_ill & (ill == 2) & (rng.random(len(levels)) < 0.02)] *= 1.5 + progress
    return values


def _settings(url: str) -> Settings:
    return Settings(database=DatabaseSettings(url=url))


def _opened(url: str) -> AbstractAsyncContextManager[Storage]:
    return open_storage(_settings(url))
