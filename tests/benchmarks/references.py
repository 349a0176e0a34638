"""The references that need no Sextant: raw binary COPY, and the HTTP servers of `reference_app`."""

import asyncio
import io
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import asyncpg
import psycopg

from tests.benchmarks.reference_app import DATABASE_VARIABLE
from tests.benchmarks.serving import Server, serving
from tests.benchmarks.workload import Workload, moment

RAW_TABLE = "raw_samples"
RAW_COLUMNS = ("ts", "tenant_id", "series_id", "value")
RAW_COLUMNSTORE = f"""
    ALTER TABLE {RAW_TABLE} SET (
        timescaledb.enable_columnstore,
        timescaledb.segmentby = 'tenant_id, series_id',
        timescaledb.orderby = 'ts'
    )
"""
RAW_DDL = f"""
    CREATE TABLE {RAW_TABLE} (
        ts timestamptz NOT NULL, tenant_id int NOT NULL, series_id int NOT NULL, value float8 NOT NULL
    )
"""
NAIVE_DDL = """
    CREATE TABLE metrics (
        ts timestamptz NOT NULL, name text NOT NULL, labels jsonb NOT NULL, value float8 NOT NULL
    )
"""
DAY_US = 86_400_000_000


def create_raw_table(url: str, work: Workload, *, has_timescale: bool) -> None:
    """Create a table shaped like Sextant's samples, in 1-day chunks, with a unique (series_id, ts)."""
    with psycopg.connect(url, autocommit=True) as connection:
        if has_timescale:
            connection.execute(RAW_DDL)
            connection.execute(f"SELECT create_hypertable('{RAW_TABLE}', by_range('ts', interval '1 day'), false)")
            connection.execute(RAW_COLUMNSTORE)
        else:
            connection.execute(RAW_DDL + " PARTITION BY RANGE (ts)")
            for day in range(work.start_us // DAY_US, work.end_us // DAY_US + 1):
                start, end = moment(day * DAY_US), moment((day + 1) * DAY_US)
                bounds = f"FROM ('{start}') TO ('{end}')"
                connection.execute(f"CREATE TABLE {RAW_TABLE}_{day} PARTITION OF {RAW_TABLE} FOR VALUES {bounds}")
        connection.execute(f"CREATE UNIQUE INDEX ON {RAW_TABLE} (series_id, ts)")


def raw_copy(url: str, work: Workload) -> float:
    """Load all points into the raw table over one connection, a commit per batch, and return points/s."""
    return asyncio.run(_raw_copy(url, work))


async def _raw_copy(url: str, work: Workload) -> float:
    buffers = list(work.copy_buffers())
    connection = await asyncpg.connect(url)
    try:
        started_s = time.perf_counter()
        for buffer in buffers:
            await connection.copy_to_table(RAW_TABLE, source=io.BytesIO(buffer), columns=RAW_COLUMNS, format="binary")
        return work.points / (time.perf_counter() - started_s)
    finally:
        await connection.close()


@contextmanager
def naive_server(url: str, *, workers: int, has_timescale: bool) -> Iterator[Server]:
    """Run the naive server on an empty database, its table with an index on ts as such tables have."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(NAIVE_DDL)
        if has_timescale:
            connection.execute("SELECT create_hypertable('metrics', by_range('ts', interval '1 day'))")
        else:
            connection.execute("CREATE INDEX ON metrics (ts DESC)")
    with _reference("naive", workers, {DATABASE_VARIABLE: url}) as server:
        yield server


def noop_server(*, workers: int) -> AbstractContextManager[Server]:
    """Run the server that only reads."""
    return _reference("noop", workers, {})


def _reference(
    app: Literal["naive", "noop"], workers: int, environment: dict[str, str]
) -> AbstractContextManager[Server]:
    command = [sys.executable, "-m", "tests.benchmarks.reference_app", app, "--workers", str(workers)]
    return serving(command, environment)
