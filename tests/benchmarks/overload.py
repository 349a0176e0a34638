"""Memory under overload: as many batches as 64 connections can push, then a million distinct label sets."""

import itertools
import time
from collections.abc import Iterable, Iterator

from tests.benchmarks.engines import BenchEngine
from tests.benchmarks.load import Load, run_load
from tests.benchmarks.processes import Usage
from tests.benchmarks.report import Report
from tests.benchmarks.serving import sextant_server
from tests.benchmarks.workload import BATCH_PATH, BATCH_POINTS, Workload, post

CONNECTIONS = 64
EXPLOSION_CONNECTIONS = 4
RSS_MIB_MAX = 600
MIB = 2**20


def overload(engine: BenchEngine, work: Workload, *, duration_s: float, label_sets: int, workers: int) -> Report:
    """Report each process' peak; 429 and 503 are right answers here, a broken connection is not."""
    report = Report("overload", engine.name, f"{duration_s:.0f} s, {label_sets:,} label sets, {workers} worker(s)")
    bodies = list(work.batch_bodies())
    load, usage = _pushed(engine, _for_seconds(bodies, duration_s), CONNECTIONS, workers)
    _describe(report, "overload", load, usage)
    exploding = Workload(label_sets, label_sets).batch_bodies()
    load, usage = _pushed(engine, exploding, EXPLOSION_CONNECTIONS, workers)
    _describe(report, "label sets", load, usage)
    return report


def _pushed(engine: BenchEngine, bodies: Iterable[bytes], connections: int, workers: int) -> tuple[Load, Usage]:
    with engine.database() as url, sextant_server(url, workers=workers) as server:
        requests = (post(BATCH_PATH, body, key=server.key) for body in bodies)
        load = run_load(server.port, requests, connections=connections)
        server.get("/readyz")
        return load, server.usage()


def _for_seconds(bodies: list[bytes], duration_s: float) -> Iterator[bytes]:
    """Bodies over and over; the clock starts with the first."""
    deadline_s = time.monotonic() + duration_s
    return itertools.takewhile(lambda _: time.monotonic() < deadline_s, itertools.cycle(bodies))


def _describe(report: Report, part: str, load: Load, usage: Usage) -> None:
    for status, count in sorted(load.statuses.items()):
        report.figure(f"{part}: answers {status or 'none (broken)'}", "", [count])
    report.figure(f"{part}: points acknowledged", "points/s", [load.statuses[200] * BATCH_POINTS / load.elapsed_s])
    for process in usage.processes:
        report.figure(f"{part}: {process.command[-60:]}", "MiB at most", [process.peak_rss_bytes / MIB])
    report.check(f"{part}: all processes' peaks, MiB", usage.peak_rss_bytes / MIB, most=RSS_MIB_MAX)
