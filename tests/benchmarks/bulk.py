"""Bulk ingest: batches of 10,000 on 4 keep-alive connections, against raw COPY and the naive server."""

import time
from collections.abc import Collection
from dataclasses import dataclass

from tests.benchmarks.engines import BenchEngine
from tests.benchmarks.load import Load, run_load
from tests.benchmarks.processes import Usage
from tests.benchmarks.references import create_raw_table, naive_server, raw_copy
from tests.benchmarks.report import Report
from tests.benchmarks.serving import sextant_server
from tests.benchmarks.store import await_settled, sample_count
from tests.benchmarks.workload import BATCH_PATH, Workload, post

CONNECTIONS = 4
NAIVE_SHARE = 5  # the naive server gets a fifth of the points, or one run would take half a minute
SETTLE_SETTINGS = {"SEXTANT_KEEPER_SETTLE_AGE": "3s"}  # so that the last points need not wait for five minutes
SETTLE_TIMEOUT_S = 330.0


@dataclass(frozen=True)
class Run:
    """One run of Sextant. Processor times are seconds per million points; `api` is of those that take requests."""

    points_per_s: float
    sustained_per_s: float
    settle_s: float
    api_cpu_s: float
    server_cpu_s: float
    postgres_cpu_s: float
    client_cpu_s: float
    peak_rss_bytes: int


def bulk(engine: BenchEngine, work: Workload, *, workers: int, repeats: int) -> Report:
    """Measure all three, `repeats` times in turn."""
    report = Report("bulk", engine.name, f"{work.points:,} points, {work.series:,} series, {workers} worker(s)")
    bodies = list(work.batch_bodies())
    raw, naive, runs = [], [], []
    for _ in range(repeats):
        raw.append(_raw(engine, work))
        naive.append(_naive(engine, bodies[: max(CONNECTIONS, len(bodies) // NAIVE_SHARE)], work, workers))
        runs.append(_sextant(engine, bodies, work, workers))
    copy_per_s = report.figure("raw COPY, 1 connection", "points/s", [rate for rate, _ in raw])
    report.figure("raw COPY, PostgreSQL", "CPU s/M", [cpu_s for _, cpu_s in raw])
    naive_per_s = report.figure("naive server", "points/s", [rate for rate, _ in naive])
    report.figure("naive server and PostgreSQL", "CPU s/M", [cpu_s for _, cpu_s in naive])
    acknowledged = report.figure("Sextant, acknowledged", "points/s", [run.points_per_s for run in runs])
    sustained = report.figure("Sextant, until settled", "points/s", [run.sustained_per_s for run in runs])
    settle_s = report.figure("settled after the last reply", "s", [run.settle_s for run in runs])
    api_cpu_s = report.figure("API processes until the last reply", "CPU s/M", [run.api_cpu_s for run in runs])
    server_cpu_s = report.figure("all Sextant processes", "CPU s/M", [run.server_cpu_s for run in runs])
    postgres_cpu_s = report.figure("PostgreSQL", "CPU s/M", [run.postgres_cpu_s for run in runs])
    report.figure("load generator", "CPU s/M", [run.client_cpu_s for run in runs])
    report.figure("peak memory, all Sextant processes", "MiB", [run.peak_rss_bytes / 2**20 for run in runs])
    if engine.has_timescale:
        report.check("acknowledged ÷ raw COPY", acknowledged / copy_per_s, least=1.5)
        report.check("acknowledged ÷ naive server", acknowledged / naive_per_s, least=7)
        report.check("API processes, CPU s per million", api_cpu_s, most=1.6)
        report.check("Sextant and PostgreSQL, CPU s per million", server_cpu_s + postgres_cpu_s, most=3.0)
    else:
        report.check("sustained until settled ÷ raw COPY", sustained / copy_per_s, least=0.6)
    report.check("settled after, s", settle_s, most=30)
    return report


def _raw(engine: BenchEngine, work: Workload) -> tuple[float, float]:
    """Return points/s and PostgreSQL's CPU seconds per million."""
    with engine.database() as url:
        create_raw_table(url, work, has_timescale=engine.has_timescale)
        before_s = engine.cpu_s()
        rate = raw_copy(url, work)
        return rate, (engine.cpu_s() - before_s) * 1e6 / work.points


def _naive(engine: BenchEngine, bodies: list[bytes], work: Workload, workers: int) -> tuple[float, float]:
    """Return points/s and the CPU seconds per million of server and PostgreSQL together."""
    requests = [post(BATCH_PATH, body) for body in bodies]
    points = len(bodies) * work.points // work.batches
    with (
        engine.database() as url,
        naive_server(url, workers=workers, has_timescale=engine.has_timescale) as server,
    ):
        before_s = engine.cpu_s() + server.usage().cpu_s
        load = run_load(server.port, requests, connections=CONNECTIONS)
        load.expect_success()
        spent_s = engine.cpu_s() + server.usage().cpu_s - before_s
    return points / load.elapsed_s, spent_s * 1e6 / points


def _sextant(engine: BenchEngine, bodies: list[bytes], work: Workload, workers: int) -> Run:
    with engine.database() as url, sextant_server(url, workers=workers, settings=SETTLE_SETTINGS) as server:
        requests = [post(BATCH_PATH, body, key=server.key) for body in bodies]
        postgres_s, before, api_pids = engine.cpu_s(), server.usage(), server.api_pids()
        load = run_load(server.port, requests, connections=CONNECTIONS)
        answered_s, answered = time.perf_counter(), server.usage()
        load.expect_success()
        await_settled(url, timeout_s=SETTLE_TIMEOUT_S)
        settle_s = time.perf_counter() - answered_s
        after = server.usage()
        postgres_s = engine.cpu_s() - postgres_s
        if (stored := sample_count(url)) != work.points:
            raise RuntimeError(f"{work.points} points were acknowledged and {stored} are stored")
    return _run(work, load, api_pids, (before, answered, after), settle_s, postgres_s)


def _run(
    work: Workload,
    load: Load,
    api_pids: Collection[int],
    usages: tuple[Usage, Usage, Usage],
    settle_s: float,
    postgres_s: float,
) -> Run:
    before, answered, after = usages
    per_million = 1e6 / work.points
    return Run(
        points_per_s=work.points / load.elapsed_s,
        sustained_per_s=work.points / (load.elapsed_s + settle_s),
        settle_s=settle_s,
        api_cpu_s=(answered.own_cpu_s(api_pids) - before.own_cpu_s(api_pids)) * per_million,
        server_cpu_s=(after.cpu_s - before.cpu_s) * per_million,
        postgres_cpu_s=postgres_s * per_million,
        client_cpu_s=load.client_cpu_s * per_million,
        peak_rss_bytes=after.peak_rss_bytes,
    )
