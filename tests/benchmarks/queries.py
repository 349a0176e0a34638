"""Queries over HTTP against bare SQL over raw samples, just after ingest and after settling and compression.

The bare SQL gets every advantage: series ids bound by the client, the best plans, over a table of its own;
before compression with its unique index, after it as `compress_chunk` lays it out.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any
from urllib.parse import urlencode

import asyncpg
import msgspec
import numpy as np

from tests.benchmarks.engines import BenchEngine
from tests.benchmarks.load import Client, run_load
from tests.benchmarks.references import RAW_TABLE, create_raw_table, raw_copy
from tests.benchmarks.report import Report
from tests.benchmarks.serving import Server, sextant_server
from tests.benchmarks.store import analyze, await_refreshed, await_settled, compress_all, unsettled_points
from tests.benchmarks.workload import BATCH_PATH, BUCKET_US, NAMES, Workload, host_name, moment, post

CONNECTIONS = 4
NAME = NAMES[0]
BUCKET = timedelta(microseconds=BUCKET_US)
KEEP_UNSETTLED = {"SEXTANT_KEEPER_SETTLE_POINTS": "100000000", "SEXTANT_KEEPER_SETTLE_AGE": "1d"}
SETTLE_SOON = {"SEXTANT_KEEPER_SETTLE_AGE": "1s"}
SETTLE_TIMEOUT_S = 120.0

# Left alone, PostgreSQL takes a generic plan from a statement's sixth execution on, several times slower.
SERVER_SETTINGS = {"jit": "off", "plan_cache_mode": "force_custom_plan"}
RANGE = f"FROM {RAW_TABLE} WHERE series_id = ANY($1::int[]) AND ts >= $2 AND ts < $3"
BUCKETS = f"SELECT date_bin($4, ts, '2000-01-01Z') AS bucket, avg(value) {RANGE} GROUP BY 1 ORDER BY 1"
STATISTICS = (
    "SELECT count(*)::float8, avg(value), min(value), max(value), sum(value), "
    f"percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY value) {RANGE}"
)
LATEST = (
    "SELECT wanted, last.ts, last.value FROM unnest($1::int[]) AS wanted CROSS JOIN LATERAL ("
    f"SELECT ts, value FROM {RAW_TABLE} WHERE tenant_id = 1 AND series_id = wanted AND ts >= $2 AND ts < $3 "
    "ORDER BY ts DESC LIMIT 1) AS last"
)
LATEST_DISTINCT = f"SELECT DISTINCT ON (series_id) series_id, ts, value {RANGE} ORDER BY series_id, ts DESC"


@dataclass(frozen=True)
class Query:
    """The same question in two languages; `numbers` and `bare_numbers` make the answers comparable."""

    claim: str
    path: str
    parameters: Mapping[str, str]
    ids: list[int]
    statements: tuple[str, ...]
    """Ways to ask it in SQL; the fastest counts."""
    numbers: Callable[[Any], list[float]]
    bare_numbers: Callable[[list[Any]], list[float]]
    ratio_most: float | None = None
    faster_least: float | None = None


def queries(engine: BenchEngine, work: Workload, *, repeats: int) -> Report:
    """Ingest, ask everything, settle and compress, ask everything again."""
    report = Report("queries", engine.name, f"{work.points:,} points, {work.series:,} series, p50 of {repeats}")
    with engine.database() as url:
        create_raw_table(url, work, has_timescale=engine.has_timescale)
        raw_copy(url, work)
        with sextant_server(url, workers=1, settings=KEEP_UNSETTLED) as server:
            requests = [post(BATCH_PATH, body, key=server.key) for body in work.batch_bodies()]
            run_load(server.port, requests, connections=CONNECTIONS).expect_success()
            if (waiting := unsettled_points(url)) != work.points:
                raise RuntimeError(f"{waiting} of {work.points} points are unsettled, where all should be")
            _ask_all(report, "head", engine, work, url, server, repeats)
        with sextant_server(url, workers=1, settings=SETTLE_SOON) as server:
            await_settled(url, timeout_s=SETTLE_TIMEOUT_S)
            if engine.has_timescale:
                await_refreshed(url, timeout_s=SETTLE_TIMEOUT_S)
                compress_all(url, ("sextant.samples", RAW_TABLE))
            _ask_all(report, "settled", engine, work, url, server, repeats)
    return report


def _questions(engine: BenchEngine, work: Workload) -> list[Query]:
    host = work.series // len(NAMES) // 2
    ids = work.ids_of_name(NAME)
    return [
        Query(
            "one series in 5-minute averages",
            f"/api/v1/metrics/series/{NAME}",
            {"bucket": "5m", "agg": "avg", "label": f"host={host_name(host)}"},
            [ids[host]],
            (BUCKETS,),
            _bucket_values,
            lambda rows: [row[1] for row in rows],
            ratio_most=2.0,
        ),
        Query(
            f"average over all {len(ids):,} hosts in 5-minute buckets",
            f"/api/v1/metrics/series/{NAME}",
            {"bucket": "5m", "agg": "avg"},
            ids,
            (BUCKETS,),
            _bucket_values,
            lambda rows: [row[1] for row in rows],
            ratio_most=None if engine.has_timescale else 1.3,
            faster_least=3.0 if engine.has_timescale else None,
        ),
        Query(
            "latest of every series of a name",
            f"/api/v1/metrics/latest/{NAME}",
            {},
            ids,
            (LATEST, LATEST_DISTINCT),
            lambda answer: sorted(item["value"] for item in answer["data"]),
            lambda rows: sorted(row[2] for row in rows),
            ratio_most=1.3,
        ),
        Query(
            "statistics over the whole range",
            f"/api/v1/metrics/aggregate/{NAME}",
            {},
            ids,
            (STATISTICS,),
            lambda answer: [
                answer["data"][0][key] for key in ("count", "avg", "min", "max", "sum", "p50", "p95", "p99")
            ],
            lambda rows: [*rows[0][:5], *rows[0][5]],
            ratio_most=1.3,
        ),
    ]


def _bucket_values(answer: Any) -> list[float]:
    return [point["value"] for point in answer["data"][0]["points"]]


def _ask_all(
    report: Report, state: str, engine: BenchEngine, work: Workload, url: str, server: Server, repeats: int
) -> None:
    analyze(url)
    for query in _questions(engine, work):
        bare_s, expected = asyncio.run(_bare(url, work, query, repeats))
        asked_s, answered = _asked(server, work, query, repeats)
        if len(answered) != len(expected) or not np.allclose(answered, expected, rtol=1e-9):
            raise RuntimeError(f"{query.claim}, {state}: Sextant says {answered[:8]}, bare SQL {expected[:8]}")
        report.figure(f"{state}: {query.claim}, bare SQL", "ms", [bare_s * 1e3])
        report.figure(f"{state}: {query.claim}, Sextant", "ms", [asked_s * 1e3])
        claim = f"{state}: {query.claim}"
        if query.ratio_most is not None:
            report.check(f"{claim}, time ÷ bare SQL", asked_s / bare_s, most=query.ratio_most)
        if query.faster_least is not None:
            report.check(f"{claim}, times faster than bare SQL", bare_s / asked_s, least=query.faster_least)


def _asked(server: Server, work: Workload, query: Query, repeats: int) -> tuple[float, list[float]]:
    """Return the median time and the answer; each repeat begins its range a bucket sooner, past any cache."""
    times_s = []
    with Client(server.port, server.key) as client:
        for repeat in range(repeats + 1):
            start, end = _asked_range(work, repeat)
            whole = {"start": start.isoformat(), "end": end.isoformat()} if "latest" not in query.path else {}
            path = f"{query.path}?{urlencode({**query.parameters, **whole})}"
            started_s = time.perf_counter()
            body = client.get(path)
            times_s.append(time.perf_counter() - started_s)
    return median(times_s[1:]), query.numbers(msgspec.json.decode(body))


def _asked_range(work: Workload, repeat: int) -> tuple[datetime, datetime]:
    """All of the points, from the start of a bucket to the end of one, as dashboards ask."""
    first = work.start_us // BUCKET_US * BUCKET_US
    return moment(first - repeat * BUCKET_US), moment(work.end_us)


async def _bare(url: str, work: Workload, query: Query, repeats: int) -> tuple[float, list[float]]:
    """The same for bare SQL, by its fastest statement."""
    connection = await asyncpg.connect(url, server_settings=SERVER_SETTINGS)
    try:
        answers = [await _timed(connection, work, query, statement, repeats) for statement in query.statements]
    finally:
        await connection.close()
    return min(answers, key=lambda answer: answer[0])


async def _timed(
    connection: asyncpg.Connection, work: Workload, query: Query, statement: str, repeats: int
) -> tuple[float, list[float]]:
    times_s = []
    for repeat in range(repeats + 1):
        start, end = _asked_range(work, repeat)
        bucket = [BUCKET] if "$4" in statement else []
        started_s = time.perf_counter()
        rows = await connection.fetch(statement, query.ids, start, end, *bucket)
        times_s.append(time.perf_counter() - started_s)
    return median(times_s[1:]), query.bare_numbers(rows)
