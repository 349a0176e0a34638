"""What the TimescaleDB in WebAssembly can do for the tests, and what it cannot.

Most is claimed of the native server too, which shows that it is TimescaleDB's behaviour and not the lane's.
"""

import asyncio
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import psycopg
import pytest

from tests.support.servers import Engine

ROWS = 50_000
START = datetime(2026, 1, 1, tzinfo=UTC)
SAMPLES = """
    CREATE TABLE lane.samples (
        ts timestamptz NOT NULL, tenant_id integer NOT NULL, series_id integer NOT NULL, value float8 NOT NULL
    );
    SELECT create_hypertable(
        'lane.samples', by_range('ts', interval '1 day'), create_default_indexes => false
    );
    ALTER TABLE lane.samples SET (
        timescaledb.enable_columnstore,
        timescaledb.segmentby = 'tenant_id, series_id',
        timescaledb.orderby = 'ts'
    );
"""
# Three days of one sample a minute, five series of two tenants.
FILL = """
    INSERT INTO lane.samples
    SELECT '2026-01-01Z'::timestamptz + n * interval '1 minute', n % 2, n % 5, n
    FROM generate_series(0, 4319) n
"""


async def connect(engine: Engine, **options: Any) -> asyncpg.Connection:
    return await asyncpg.connect(engine.url, timeout=10, **options)


@pytest.fixture
async def connection(timescale_database: Engine) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection to a TimescaleDB with the empty hypertable lane.samples."""
    opened = await connect(timescale_database)
    await opened.execute("CREATE SCHEMA lane")
    await opened.execute(SAMPLES)
    yield opened
    await opened.execute("DROP SCHEMA lane CASCADE")
    await opened.close()


@pytest.fixture
def wasm(timescale_wasm_database: Engine) -> Engine:
    """Return the lane alone, for what a native server does otherwise."""
    return timescale_wasm_database


def samples(count: int, *, series: int = 100) -> list[tuple[datetime, int, int, float]]:
    """Return rows of lane.samples within one day, in the order of the columnstore."""
    rows = [(START + timedelta(seconds=n // series), 1, n % series, n / 7) for n in range(count)]
    return sorted(rows, key=lambda row: (row[1], row[2], row[0]))


async def test_copy_in_and_out_is_binary_and_exact(connection: asyncpg.Connection) -> None:
    """COPY takes and gives 50,000 rows, from records and from a binary source."""
    rows = samples(ROWS)
    assert (
        await connection.copy_records_to_table("samples", schema_name="lane", records=rows) == f"COPY {ROWS}"
    )
    query = "SELECT ts, tenant_id, series_id, value FROM lane.samples ORDER BY tenant_id, series_id, ts"
    assert [tuple(row) for row in await connection.fetch(query)] == rows
    copied = io.BytesIO()
    assert await connection.copy_from_query(query, output=copied, format="binary") == f"COPY {ROWS}"
    copied.seek(0)
    again = await connection.copy_to_table("samples", schema_name="lane", source=copied, format="binary")
    assert again == f"COPY {ROWS}"
    assert await connection.fetchval("SELECT count(*) FROM lane.samples") == 2 * ROWS


async def test_refused_copy_leaves_nothing(connection: asyncpg.Connection) -> None:
    """A COPY with a bad row fails as a whole and the connection goes on."""
    with pytest.raises(asyncpg.NotNullViolationError):
        await connection.copy_records_to_table(
            "samples", schema_name="lane", records=[*samples(10), (START, 1, 1, None)]
        )
    assert await connection.fetchval("SELECT count(*) FROM lane.samples") == 0


async def test_columnstore(connection: asyncpg.Connection) -> None:
    """Chunks compress, and late duplicates are deleted from compressed rows without a limit."""
    await connection.execute(FILL)
    await connection.execute("SELECT compress_chunk(chunk) FROM show_chunks('lane.samples') chunk")
    chunks = await connection.fetch(
        "SELECT is_compressed FROM timescaledb_information.chunks WHERE hypertable_schema = 'lane'"
    )
    assert [chunk["is_compressed"] for chunk in chunks] == [True] * 3
    async with connection.transaction():
        await connection.execute("SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0")
        deleted = await connection.execute(
            "DELETE FROM lane.samples s USING unnest($1::int[], $2::timestamptz[]) AS late (series_id, ts)"
            " WHERE s.series_id = late.series_id AND s.ts = late.ts",
            [n % 5 for n in range(2000)],
            [START + timedelta(minutes=n) for n in range(2000)],
        )
    assert deleted == "DELETE 2000"
    assert await connection.fetchval("SELECT sum(value) FROM lane.samples") == sum(range(2000, 4320))


async def test_stacked_continuous_aggregates(connection: asyncpg.Connection) -> None:
    """Materialized-only aggregates build on one another and refresh to the exact sums."""
    for name, source, bucket, measures in (
        ("five_minutes", "lane.samples", "time_bucket('5 min', ts)", "count(*) AS n, sum(value) AS total"),
        ("hour", "lane.five_minutes", "time_bucket('1 h', bucket)", "sum(n) AS n, sum(total) AS total"),
        ("day", "lane.hour", "time_bucket('1 day', bucket)", "sum(n) AS n, sum(total) AS total"),
    ):
        await connection.execute(
            f"CREATE MATERIALIZED VIEW lane.{name}"
            " WITH (timescaledb.continuous, timescaledb.materialized_only = true)"
            f" AS SELECT {bucket} AS bucket, tenant_id, series_id, {measures} FROM {source} GROUP BY 1, 2, 3"
            " WITH NO DATA"
        )
    await connection.execute(FILL)
    assert await connection.fetchval("SELECT count(*) FROM lane.day") == 0
    for name in ("five_minutes", "hour", "day"):
        await connection.execute(f"CALL refresh_continuous_aggregate('lane.{name}', NULL, NULL)")
    day = await connection.fetchrow("SELECT count(*) AS rows, sum(n) AS n, sum(total) AS total FROM lane.day")
    assert tuple(day) == (30, 4320, sum(range(4320)))


async def test_retention_and_jobs(connection: asyncpg.Connection) -> None:
    """drop_chunks works, and a policy does its work when its job is called."""
    await connection.execute(FILL)
    await connection.fetch("SELECT drop_chunks('lane.samples', '2026-01-02Z'::timestamptz)")
    assert await connection.fetchval("SELECT min(ts) FROM lane.samples") == START + timedelta(days=1)
    job = await connection.fetchval("SELECT add_retention_policy('lane.samples', interval '1 day')")
    await connection.execute(f"CALL run_job({job})")
    assert await connection.fetchval("SELECT count(*) FROM show_chunks('lane.samples')") == 0


async def test_tenants_are_kept_apart(connection: asyncpg.Connection) -> None:
    """Forced row security and security barrier views hold for a role taken for one transaction."""
    await connection.execute(FILL)
    await connection.execute("SELECT compress_chunk(chunk) FROM show_chunks('lane.samples') chunk")
    await connection.execute("""
        DROP ROLE IF EXISTS lane_reader;
        CREATE ROLE lane_reader;
        CREATE TABLE lane.series (tenant_id integer, name text);
        INSERT INTO lane.series VALUES (0, 'a'), (1, 'b');
        ALTER TABLE lane.series ENABLE ROW LEVEL SECURITY;
        ALTER TABLE lane.series FORCE ROW LEVEL SECURITY;
        CREATE POLICY tenant ON lane.series
            USING (tenant_id = nullif(current_setting('lane.tenant', true), '')::integer);
        CREATE VIEW lane.tenant_samples WITH (security_barrier) AS
            SELECT * FROM lane.samples
            WHERE tenant_id = nullif(current_setting('lane.tenant', true), '')::integer;
        GRANT USAGE ON SCHEMA lane TO lane_reader;
        GRANT SELECT ON lane.series, lane.tenant_samples TO lane_reader;
    """)
    seen = "SELECT (SELECT count(*) FROM lane.series), (SELECT count(*) FROM lane.tenant_samples)"
    async with connection.transaction():
        await connection.execute("SET LOCAL ROLE lane_reader")
        assert tuple(await connection.fetchrow(seen)) == (0, 0)
        await connection.execute("SELECT set_config('lane.tenant', '1', true)")
        assert tuple(await connection.fetchrow(seen)) == (1, 2160)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with connection.transaction():
                await connection.fetch("SELECT * FROM lane.samples")
    assert await connection.fetchval("SELECT current_user") == "sextant"
    await connection.execute("DROP OWNED BY lane_reader; DROP ROLE lane_reader")


async def test_copy_under_a_role(connection: asyncpg.Connection) -> None:
    """COPY obeys the rights of the transaction's role."""
    await connection.execute("DROP ROLE IF EXISTS lane_keeper; CREATE ROLE lane_keeper")
    for granted in (False, True):
        async with connection.transaction():
            if granted:
                await connection.execute("GRANT USAGE ON SCHEMA lane TO lane_keeper")
                await connection.execute("GRANT INSERT ON lane.samples TO lane_keeper")
            await connection.execute("SET LOCAL ROLE lane_keeper")
            copy = connection.copy_records_to_table("samples", schema_name="lane", records=samples(10))
            if granted:
                assert await copy == "COPY 10"
            else:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    async with connection.transaction():
                        await copy
    await connection.execute("DROP OWNED BY lane_keeper; DROP ROLE lane_keeper")


async def test_statements_and_values(connection: asyncpg.Connection) -> None:
    """Prepared statements, long arrays, megabytes, snapshots and binary aggregates come through."""
    await connection.copy_records_to_table(
        "samples", schema_name="lane", records=samples(10_000, series=10_000)
    )
    statement = await connection.prepare("SELECT count(*) FROM lane.samples WHERE series_id = any($1::int[])")
    for _ in range(3):
        assert await statement.fetchval(list(range(5_000))) == 5_000
    packed = await connection.fetchval(
        "SELECT string_agg(float8send(value), ''::bytea ORDER BY series_id) FROM lane.samples"
        " WHERE series_id < 3"
    )
    assert packed == await connection.fetchval(
        "SELECT float8send(0) || float8send($1) || float8send($2)", 1 / 7, 2 / 7
    )
    block = bytes(range(256)) * 4096
    assert await connection.fetchval("SELECT $1::bytea", block) == block
    async with connection.transaction():
        xid, xmin = await connection.fetchrow(
            "SELECT pg_current_xact_id()::text::bigint, pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
        )
        assert xid >= xmin
        assert await connection.fetchval("SELECT pg_try_advisory_xact_lock(1)")
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute("DELETE FROM lane.samples")


async def test_psycopg(timescale_database: Engine) -> None:
    """psycopg copies, prepares and recovers from errors."""
    with psycopg.connect(timescale_database.url) as connection:
        connection.execute("CREATE TEMPORARY TABLE numbers (n bigint)")
        with connection.cursor().copy("COPY numbers FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int8"])
            for n in range(1000):
                copy.write_row([n])
        for n in range(10):
            assert connection.execute("SELECT n FROM numbers WHERE n = %s", [n], prepare=True).fetchone() == (
                n,
            )
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1 / 0")
        connection.rollback()
        assert connection.execute("SELECT 1").fetchone() == (1,)


async def test_client_that_dies_is_rolled_back(
    connection: asyncpg.Connection, timescale_database: Engine
) -> None:
    """What a dead client left behind does not reach the next."""
    in_transaction = await connect(timescale_database)
    await in_transaction.execute("BEGIN; SET LOCAL search_path = nowhere")
    await in_transaction.copy_records_to_table("samples", schema_name="lane", records=samples(10))
    in_transaction.terminate()
    assert await connection.fetchval("SELECT count(*) FROM lane.samples") == 0
    assert "public" in await connection.fetchval("SHOW search_path")

    before_sync = psycopg.connect(timescale_database.url, autocommit=True)
    before_sync.pgconn.enter_pipeline_mode()
    before_sync.pgconn.send_query_params(b"INSERT INTO lane.samples VALUES (now(), 1, 1, 1)", None)
    before_sync.pgconn.send_flush_request()
    before_sync.pgconn.flush()
    before_sync.close()
    assert await connection.fetchval("SELECT count(*) FROM lane.samples") == 0


async def test_many_connections(timescale_database: Engine) -> None:
    """Clients come and go, and many at once run their transactions without mixing them up."""
    for _ in range(100):
        opened = await connect(timescale_database)
        assert await opened.fetchval("SELECT 1") == 1
        await opened.close()

    async def work(pool: asyncpg.Pool, n: int) -> int:
        async with pool.acquire() as opened, opened.transaction():
            await opened.execute("SELECT set_config('lane.mine', $1, true)", str(n))
            await asyncio.sleep(0)
            mine: str = await opened.fetchval("SELECT current_setting('lane.mine')")
            return int(mine)

    async with asyncpg.create_pool(timescale_database.url, min_size=10, max_size=10) as pool:
        assert await asyncio.gather(*(work(pool, n) for n in range(200))) == list(range(200))


async def test_settings_and_users_belong_to_a_client(
    connection: asyncpg.Connection, timescale_database: Engine
) -> None:
    """Settings asked for at connection stay with their client and survive a pool's reset."""
    other = await connect(
        timescale_database, server_settings={"application_name": "other", "work_mem": "1MB"}
    )
    for _ in range(2):
        assert await connection.fetchval("SHOW work_mem") != "1MB"
        assert await other.fetchval("SHOW work_mem") == "1MB"
        await other.reset()
    await other.close()


@pytest.mark.timescale
async def test_waiting_statement_can_be_cancelled(wasm: Engine) -> None:
    """A client that waits for another's transaction may give up and go on afterwards."""
    holder, waiter = await connect(wasm), await connect(wasm)
    await holder.execute("BEGIN")
    with pytest.raises(TimeoutError):
        await waiter.fetchval("SELECT 1", timeout=0.05)
    await holder.execute("COMMIT")
    assert await waiter.fetchval("SELECT 2") == 2
    await holder.close()
    await waiter.close()


@pytest.mark.timescale
async def test_lane_has_one_session(wasm: Engine) -> None:
    """In the lane session-level advisory locks exclude nobody and statement time-outs do not strike."""
    one, two = await connect(wasm), await connect(wasm)
    assert await one.fetchval("SELECT pg_try_advisory_lock(1)")
    assert await two.fetchval("SELECT pg_try_advisory_lock(1)")
    await one.execute("SET statement_timeout = 1")
    assert await one.fetchval("SELECT true FROM pg_sleep(0.05)")
    assert await one.fetchval("SELECT count(*) FROM pg_stat_activity") == 0
    await one.close()
    await two.close()


async def test_direct_copy_to_the_columnstore(
    connection: asyncpg.Connection, timescale_database: Engine
) -> None:
    """Direct COPY works next to an index; TimescaleDB 2.23 gives it up, silently, next to an aggregate."""

    async def copied_compressed(day: int) -> bool:
        rows = [(ts + timedelta(days=day), *row) for ts, *row in samples(ROWS)]
        async with connection.transaction():
            await connection.execute("SET LOCAL timescaledb.enable_direct_compress_copy = on")
            await connection.execute("SET LOCAL timescaledb.enable_direct_compress_copy_client_sorted = on")
            await connection.copy_records_to_table("samples", schema_name="lane", records=rows)
        assert (
            await connection.fetchval("SELECT count(*) FROM lane.samples WHERE ts >= $1", rows[0][0]) == ROWS
        )
        compressed: bool = await connection.fetchval(
            "SELECT is_compressed FROM timescaledb_information.chunks"
            " WHERE hypertable_schema = 'lane' AND range_start <= $1 AND range_end > $1",
            rows[0][0],
        )
        return compressed

    await connection.execute("CREATE INDEX ON lane.samples (series_id, ts)")
    assert await copied_compressed(day=0)
    await connection.execute(
        "CREATE MATERIALIZED VIEW lane.hour WITH (timescaledb.continuous)"
        " AS SELECT time_bucket('1 h', ts) AS bucket, sum(value) FROM lane.samples GROUP BY 1 WITH NO DATA"
    )
    assert await copied_compressed(day=1) == (timescale_database.name == "timescale-native")
