"""What a thousand rules cost: bulk ingest with and without them, in turn, and what they cost while nothing arrives."""

import http.client
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from statistics import median

import msgspec

from core.domain.rules import AlertRule
from tests.benchmarks.alert_rules import MIX, thousand_rules
from tests.benchmarks.bulk import CONNECTIONS, SETTLE_SETTINGS, SETTLE_TIMEOUT_S
from tests.benchmarks.engines import BenchEngine
from tests.benchmarks.load import run_load
from tests.benchmarks.processes import Process
from tests.benchmarks.report import Report
from tests.benchmarks.serving import Server, sextant_server
from tests.benchmarks.store import alert_count, await_evaluated, await_settled
from tests.benchmarks.workload import BATCH_PATH, Workload, post

RULES_PATH = "/api/v1/alerts/rules"
IDLE_S = 5.0  # evaluation polls ten times a second
RELOAD_S = 1.0  # the rules that were made last are in force by then
EVALUATED_TIMEOUT_S = 120.0
ALERTS_PROCESS = "sextant alerts"


@dataclass(frozen=True)
class Run:
    """One run. Processor times are seconds per million points, idle ones shares of a core."""

    points_per_s: float
    all_cpu_s: float
    alerts_cpu_s: float
    lag_s: float
    alerts_rss_bytes: int
    idle_share: float
    alerts: int


def alerts(engine: BenchEngine, work: Workload, *, workers: int, repeats: int) -> Report:
    """Measure without and with rules, `repeats` times in turn."""
    report = Report(
        "alerts", engine.name, f"{work.points:,} points, {work.series:,} series, {workers} worker(s); {MIX}"
    )
    bodies = list(work.batch_bodies())
    without, ruled = [], []
    for _ in range(repeats):
        without.append(_run(engine, bodies, work, workers, ()))
        ruled.append(_run(engine, bodies, work, workers, thousand_rules()))
    for name, runs in (("without rules", without), ("1,000 rules", ruled)):
        report.figure(f"{name}, acknowledged", "points/s", [run.points_per_s for run in runs])
        report.figure(f"{name}, Sextant and PostgreSQL", "CPU s/M", [run.all_cpu_s for run in runs])
        report.figure(f"{name}, alerts process", "CPU s/M", [run.alerts_cpu_s for run in runs])
        report.figure(f"{name}, evaluated after the last reply", "s", [run.lag_s for run in runs])
        report.figure(f"{name}, alerts process at most", "MiB", [run.alerts_rss_bytes / 2**20 for run in runs])
        report.figure(f"{name}, alerts process idle", "% of a core", [100 * run.idle_share for run in runs])
        report.figure(f"{name}, episodes", "", [run.alerts for run in runs])
    pairs = list(zip(without, ruled, strict=True))
    kept = report.figure("acknowledged, with ÷ without", "", [b.points_per_s / a.points_per_s for a, b in pairs])
    report.figure("CPU, with ÷ without", "", [b.all_cpu_s / a.all_cpu_s for a, b in pairs])
    report.check("points/s with 1,000 rules ÷ without, median of pairs", kept, least=0.85)
    report.check("evaluated after the last reply, s", median(run.lag_s for run in ruled), most=1.0)
    return report


def _run(engine: BenchEngine, bodies: Sequence[bytes], work: Workload, workers: int, rules: Sequence[AlertRule]) -> Run:
    with engine.database() as url, sextant_server(url, workers=workers, settings=SETTLE_SETTINGS) as server:
        create_rules(server, rules)
        idle_share = _idle_share(server)
        requests = [post(BATCH_PATH, body, key=server.key) for body in bodies]
        postgres_s, before, alerts_before = engine.cpu_s(), server.usage().cpu_s, alerts_process(server)
        load = run_load(server.port, requests, connections=CONNECTIONS)
        answered_s = time.perf_counter()
        load.expect_success()
        await_evaluated(url, timeout_s=EVALUATED_TIMEOUT_S)
        lag_s = time.perf_counter() - answered_s
        await_settled(url, timeout_s=SETTLE_TIMEOUT_S)
        alerts_after, all_s = alerts_process(server), server.usage().cpu_s - before + engine.cpu_s() - postgres_s
        return Run(
            points_per_s=work.points / load.elapsed_s,
            all_cpu_s=all_s * 1e6 / work.points,
            alerts_cpu_s=(alerts_after.own_cpu_s - alerts_before.own_cpu_s) * 1e6 / work.points,
            lag_s=lag_s,
            alerts_rss_bytes=alerts_after.peak_rss_bytes,
            idle_share=idle_share,
            alerts=alert_count(url),
        )


def create_rules(server: Server, rules: Sequence[AlertRule]) -> None:
    """Make the rules, and wait until they are in force."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        for rule in rules:
            create(connection, server.key, RULES_PATH, rule)
    time.sleep(RELOAD_S)


def create(connection: http.client.HTTPConnection, key: str, path: str, body: object) -> None:
    """POST one thing that is to be made."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request("POST", path, msgspec.json.encode(body), headers)
    response = connection.getresponse()
    text = response.read()
    if response.status != 201:
        raise RuntimeError(f"POST {path}: {response.status} {text[:500]!r}")


def alerts_process(server: Server) -> Process:
    """The process that evaluates and notifies."""
    return next(process for process in server.usage().processes if process.name == ALERTS_PROCESS)


def _idle_share(server: Server) -> float:
    """What share of a core the process takes while nothing arrives."""
    before, started_s = alerts_process(server).own_cpu_s, time.perf_counter()
    time.sleep(IDLE_S)
    return (alerts_process(server).own_cpu_s - before) / (time.perf_counter() - started_s)
