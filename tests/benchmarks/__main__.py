"""`python -m tests.benchmarks`: the figures that Sextant must show, each as a ratio measured in one run.

On native TimescaleDB (SEXTANT_TEST_TIMESCALE_URL names a superuser on it) and on a PostgreSQL started here.
Exit status 1 when a target is missed. Let nothing else run on the machine meanwhile.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from tests.benchmarks.alert_latency import alert_latency
from tests.benchmarks.alerts import alerts
from tests.benchmarks.bulk import bulk
from tests.benchmarks.detection import detection
from tests.benchmarks.engines import BenchEngine, EngineName, open_engine
from tests.benchmarks.evaluator import evaluator
from tests.benchmarks.overload import overload
from tests.benchmarks.queries import queries
from tests.benchmarks.report import Report, as_json, show
from tests.benchmarks.single import single
from tests.benchmarks.storage import storage
from tests.benchmarks.workload import Workload

ENGINES: tuple[EngineName, ...] = ("timescale", "postgres")
QUICK = {
    "points": 500_000,
    "requests": 5_000,
    "repeats": 1,
    "query_repeats": 9,
    "overload_s": 10.0,
    "label_sets": 200_000,
    "alert_load": 50_000.0,
    "alert_load_s": 15.0,
    "detection_series": 500,
}


def main() -> None:
    """Run what the command line names and print it."""
    options = _parser().parse_args()
    if options.quick:
        vars(options).update(QUICK)
    console = Console(stderr=options.json)
    reports = []
    for name in options.engine or ENGINES:
        with open_engine(name) as engine:
            for benchmark in options.benchmarks or BENCHMARKS:
                for report in BENCHMARKS[benchmark](engine, options):
                    show(report, console)
                    reports.append(report)
    if options.json:
        print(as_json(reports))
    sys.exit(0 if all(check.passed for report in reports for check in report.checks) else 1)


def _bulk(engine: BenchEngine, options: argparse.Namespace) -> Iterator[Report]:
    for series in options.series:
        for workers in options.workers:
            yield bulk(engine, Workload(options.points, series), workers=workers, repeats=options.repeats)


def _alerts(engine: BenchEngine, options: argparse.Namespace) -> Iterator[Report]:
    work = Workload(options.points, options.series[-1])
    yield alerts(engine, work, workers=options.workers[0], repeats=options.repeats)


def _evaluator(_engine: BenchEngine, options: argparse.Namespace) -> Iterator[Report]:
    yield evaluator(Workload(options.points, options.series[-1]), repeats=options.repeats)


def _alert_latency(engine: BenchEngine, options: argparse.Namespace) -> Iterator[Report]:
    yield alert_latency(
        engine,
        Workload(options.points, options.series[-1]),
        points_per_s=options.alert_load,
        duration_s=options.alert_load_s,
    )


def _single(engine: BenchEngine, options: argparse.Namespace) -> Iterator[Report]:
    for workers in options.workers:
        yield single(engine, options.requests, series=options.series[0], workers=workers, repeats=options.repeats)


def _queries(engine: BenchEngine, options: argparse.Namespace) -> Iterator[Report]:
    yield queries(engine, Workload(options.points, options.series[-1]), repeats=options.query_repeats)


def _storage(engine: BenchEngine, options: argparse.Namespace) -> Iterator[Report]:
    if engine.has_timescale and options.data is not None:
        yield storage(engine, options.data)


def _detection(engine: BenchEngine, options: argparse.Namespace) -> Iterator[Report]:
    yield detection(engine, series=options.detection_series)


def _overload(engine: BenchEngine, options: argparse.Namespace) -> Iterator[Report]:
    work = Workload(min(options.points, 1_000_000), options.series[-1])
    yield overload(
        engine, work, duration_s=options.overload_s, label_sets=options.label_sets, workers=options.workers[0]
    )


BENCHMARKS: dict[str, Callable[[BenchEngine, argparse.Namespace], Iterator[Report]]] = {
    "bulk": _bulk,
    "alerts": _alerts,
    "alert_latency": _alert_latency,
    "evaluator": _evaluator,
    "single": _single,
    "queries": _queries,
    "storage": _storage,
    "detection": _detection,
    "overload": _overload,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK", help=f"of {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--engine", action="append", choices=ENGINES, help="may repeat (default: both)")
    parser.add_argument("--points", type=int, default=2_000_000)
    parser.add_argument("--series", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3, help="of bulk, single and alerts")
    parser.add_argument("--requests", type=int, default=20_000, help="single metrics per repeat")
    parser.add_argument("--query-repeats", type=int, default=31)
    parser.add_argument("--overload-s", type=float, default=30.0)
    parser.add_argument("--label-sets", type=int, default=1_000_000)
    parser.add_argument("--alert-load", type=float, default=200_000.0, help="points/s: half of what bulk shows")
    parser.add_argument("--alert-load-s", type=float, default=60.0)
    parser.add_argument("--detection-series", type=int, default=10_000, help="of 48 h of 1-minute points each")
    parser.add_argument("--data", type=Path, help="directory of CSV and NDJSON recordings; storage needs it")
    parser.add_argument("--quick", action="store_true", help="smaller and once: to see that everything runs")
    parser.add_argument(
        "--json", action="store_true", help="the reports as JSON on standard output, tables on standard error"
    )
    return parser


if __name__ == "__main__":
    main()
