"""Single metrics: one per POST on 64 connections, durable before its 200, against no-op and naive servers."""

from contextlib import ExitStack
from statistics import quantiles

from tests.benchmarks.engines import BenchEngine
from tests.benchmarks.load import Load, run_load
from tests.benchmarks.references import naive_server, noop_server
from tests.benchmarks.report import Report
from tests.benchmarks.serving import Server, sextant_server
from tests.benchmarks.workload import INGEST_PATH, Workload, post

CONNECTIONS = 64
WARM_UP = 1_280  # requests before the clock starts: pools fill, every series is created, every code path is used
NAIVE_SHARE = 4  # the naive server gets a quarter of the requests


def single(engine: BenchEngine, requests: int, *, series: int, workers: int, repeats: int) -> Report:
    """Measure the three servers in turn, `repeats` times; all run throughout, and one works at a time."""
    report = Report("single", engine.name, f"{requests:,} requests, {CONNECTIONS} connections, {workers} worker(s)")
    loads: dict[str, list[Load]] = {"noop": [], "naive": [], "sextant": []}
    postgres_s = []
    with ExitStack() as opened:
        naive_url, url = (opened.enter_context(engine.database()) for _ in range(2))
        servers = {
            "noop": opened.enter_context(noop_server(workers=workers)),
            "naive": opened.enter_context(naive_server(naive_url, workers=workers, has_timescale=engine.has_timescale)),
            "sextant": opened.enter_context(sextant_server(url, workers=workers)),
        }
        for repeat in range(repeats):
            bodies = Workload((requests + WARM_UP) * (repeat + 1), series).single_bodies()[-requests - WARM_UP :]
            for name, server in servers.items():
                count = requests // NAIVE_SHARE if name == "naive" else requests
                before_s = engine.cpu_s()
                loads[name].append(_post_all(server, bodies[: WARM_UP + count]))
                if name == "sextant":
                    postgres_s.append((engine.cpu_s() - before_s) * 1e3 / (WARM_UP + count))
    rates = {
        name: report.figure(f"{name}", "requests/s", [len(load.latencies_s) / load.elapsed_s for load in done])
        for name, done in loads.items()
    }
    for name, done in loads.items():
        report.figure(f"{name}, p50", "ms", [quantiles(load.latencies_s, n=100)[49] * 1e3 for load in done])
        report.figure(f"{name}, p99", "ms", [quantiles(load.latencies_s, n=100)[98] * 1e3 for load in done])
    report.figure("PostgreSQL under Sextant", "CPU ms/request", postgres_s)
    report.figure(
        "load generator",
        "CPU ms/request",
        [load.client_cpu_s * 1e3 / load.requests for load in loads["sextant"]],
    )
    report.check("requests/s ÷ no-op handler", rates["sextant"] / rates["noop"], least=0.7)
    report.check("requests/s ÷ naive server", rates["sextant"] / rates["naive"], least=2.5)
    return report


def _post_all(server: Server, bodies: list[bytes]) -> Load:
    requests = [post(INGEST_PATH, body, key=server.key) for body in bodies]
    run_load(server.port, requests[:WARM_UP], connections=CONNECTIONS).expect_success()
    load = run_load(server.port, requests[WARM_UP:], connections=CONNECTIONS)
    load.expect_success()
    return load
