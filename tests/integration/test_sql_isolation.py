"""Two tenants in the database itself: what the roles that requests run in may read, straight with SQL."""

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from adapters.runtime.clock import SystemClock
from core.domain.times import DAY_US
from tests.conftest import on_postgres, on_timescale_native, on_timescale_wasm
from tests.integration.in_process import in_process
from tests.support.servers import Engine
from tests.support.storages import Store, settle_all, unique
from tests.support.store_fixtures import database_store, empty_database

READER = "sextant_reader"
WRITER = "sextant_writer"

OF_TENANTS = {"tenants", "tenant_catalogs", "api_keys", "metric_definitions", "series"}
"""Tables under row-level security: both roles may read them, and see one tenant's rows."""
OF_TENANTS_FOR_READERS = {"settled_until"}
"""The same, for the reader alone."""
VIEWS = {"tenant_samples", "tenant_samples_5m", "tenant_samples_1h", "tenant_samples_1d"}
"""What the reader sees of samples."""
OF_THE_SERVER = {"journal_cursors", "settle_epoch", "stale_aggregates"}
"""Bookkeeping of the store, without names or values: the reader needs it whole, to tell what is settled."""
IN_PART = {"journal": {"writer", "sequence", "commit_order", "points"}, "journal_streams": {"writer"}}
"""Of which the reader may read some columns; never a block."""


@pytest.fixture(scope="module", params=[on_postgres, on_timescale_wasm, on_timescale_native])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Yield a database on each engine in turn."""
    with empty_database(request, request.param) as engine:
        yield engine


@pytest.fixture(scope="module")
def tenants(engine: Engine) -> tuple[int, int]:
    """Return the ids of two tenants that both have series, settled and unsettled samples, a definition and a key."""
    return asyncio.run(two_tenants(database_store(engine)))


async def two_tenants(store: Store) -> tuple[int, int]:
    """Makes them, over HTTP as far as that goes."""
    ids = []
    async with store.open() as storage:
        server = in_process(storage)
        for _ in range(2):
            tenant = await server.new_tenant()
            ids.append(tenant.id)
            async with server.client(await server.new_key(tenant)) as client:
                for settled in (True, False):
                    body = {"name": "isolated", "value": float(tenant.id), "labels": {"of": tenant.name}}
                    headers = {"idempotency-key": unique("key")}
                    assert (await client.post("/ingest", json=body, headers=headers)).status_code == 200
                    if settled:
                        await settle_all(storage)
                await client.post("/api/v1/metrics/definitions", json={"name": "isolated", "retention_days": 7})
        await storage.keeping.refresh_aggregates(now_us=SystemClock().now_us() + 2 * DAY_US)
    return ids[0], ids[1]


def relations(connection: psycopg.Connection) -> dict[str, str]:
    """Every table and view of the schema, partitions and stored aggregates included, and its kind."""
    rows = connection.execute(
        "SELECT c.relname, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = 'sextant' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')"
    ).fetchall()
    return dict(rows)


def connect(engine: Engine, role: str | None = None, tenant: str | None = None) -> psycopg.Connection:
    """A connection that has taken a role, with a tenant set or none; each statement is its own transaction."""
    connection = psycopg.connect(engine.url, autocommit=True)
    if tenant is not None:
        connection.execute("SELECT set_config('sextant.tenant_id', %s, false)", (tenant,))
    if role is not None:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
    return connection


def readable(connection: psycopg.Connection, relation: str) -> list[tuple[object, ...]] | None:
    """All rows that are visible, or None where reading the relation is denied."""
    try:
        return connection.execute(sql.SQL("SELECT * FROM sextant.{}").format(sql.Identifier(relation))).fetchall()
    except psycopg.errors.InsufficientPrivilege:
        return None


@pytest.mark.usefixtures("tenants")
def test_the_reader_may_read_what_is_meant_and_nothing_else(engine: Engine) -> None:
    """Samples, aggregates, blocks, idempotency keys, migrations: denied to the reader, whatever tenant is set."""
    with connect(engine) as owner:
        there = {relation: columns(owner, relation) for relation in relations(owner)}
    meant = OF_TENANTS | OF_TENANTS_FOR_READERS | VIEWS | OF_THE_SERVER
    with connect(engine, READER, "1") as reader:
        for relation, names in there.items():
            assert (readable(reader, relation) is not None) is (relation in meant), relation
            for column in names:
                statement = sql.SQL("SELECT {} FROM sextant.{} LIMIT 1").format(
                    sql.Identifier(column), sql.Identifier(relation)
                )
                allowed = relation in meant or column in IN_PART.get(relation, set())
                try:
                    reader.execute(statement)
                except psycopg.errors.InsufficientPrivilege:
                    assert not allowed, f"{relation}.{column} is denied"
                else:
                    assert allowed, f"{relation}.{column} is readable"


@pytest.mark.usefixtures("tenants")
def test_no_role_of_requests_reaches_the_chunks(engine: Engine) -> None:
    """TimescaleDB's own tables, where samples and aggregates really lie, are denied too."""
    with connect(engine) as owner:
        chunks = owner.execute(
            "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = '_timescaledb_internal' AND c.relkind IN ('r', 'v', 'm', 'p', 'f') "
            "AND (c.relname LIKE '%%chunk' OR c.relname LIKE '%%materialized%%' OR c.relname LIKE '%%view%%')"
        ).fetchall()
    assert engine.name == "postgres" or chunks
    for role in (READER, WRITER):
        with connect(engine, role, "1") as connection:
            for schema, relation in chunks:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(
                        sql.SQL("SELECT * FROM {}.{} LIMIT 1").format(sql.Identifier(schema), sql.Identifier(relation))
                    )


@pytest.mark.parametrize("role", [READER, WRITER])
def test_a_tenant_sees_its_own_rows_only(engine: Engine, tenants: tuple[int, int], role: str) -> None:
    """With a tenant set, every row that is visible is that tenant's."""
    own, _ = tenants
    with connect(engine) as owner:
        own_series = {row[0] for row in owner.execute("SELECT id FROM sextant.series WHERE tenant_id = %s", (own,))}
    with connect(engine, role, str(own)) as connection:
        for relation in OF_TENANTS | (OF_TENANTS_FOR_READERS if role == READER else set()):
            key = "id" if relation == "tenants" else "tenant_id"
            statement = sql.SQL("SELECT DISTINCT {} FROM sextant.{}").format(
                sql.Identifier(key), sql.Identifier(relation)
            )
            assert connection.execute(statement).fetchall() == [(own,)], relation
        for view in VIEWS & relations(connection).keys() if role == READER else ():
            statement = sql.SQL("SELECT DISTINCT series_id FROM sextant.{}").format(sql.Identifier(view))
            seen = {row[0] for row in connection.execute(statement)}
            assert seen, f"{view} is empty, so this proves nothing"
            assert seen <= own_series, view


@pytest.mark.parametrize("role", [READER, WRITER])
@pytest.mark.parametrize("tenant", [None, "", "0", "-1", "2147483647"])
@pytest.mark.usefixtures("tenants")
def test_without_a_tenant_nothing_is_seen(engine: Engine, role: str, tenant: str | None) -> None:
    """With no tenant set, an empty one or one that does not exist, no row of any tenant is visible."""
    with connect(engine, role, tenant) as connection:
        guarded = OF_TENANTS | (VIEWS | OF_TENANTS_FOR_READERS if role == READER else set())
        for relation in guarded & relations(connection).keys():
            assert readable(connection, relation) == [], relation


@pytest.mark.usefixtures("tenants")
def test_a_tenant_setting_that_is_no_number_is_an_error(engine: Engine) -> None:
    """What is no number is refused by the database, whatever it looks like."""
    with connect(engine, READER, "1 OR true") as connection:
        for relation in OF_TENANTS | {"tenant_samples"}:
            with pytest.raises(psycopg.errors.InvalidTextRepresentation):
                readable(connection, relation)


def test_the_reader_changes_nothing(engine: Engine, tenants: tuple[int, int]) -> None:
    """Neither role of requests may write samples or the journal; the reader may write nothing at all."""
    with connect(engine, READER, str(tenants[0])) as reader:
        for relation in relations(reader):
            for statement in ("DELETE FROM sextant.{}", "TRUNCATE sextant.{}"):
                with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.WrongObjectType)):
                    reader.execute(sql.SQL(statement).format(sql.Identifier(relation)))
    with connect(engine, WRITER, str(tenants[0])) as writer:
        for relation in relations(writer).keys() - OF_TENANTS:
            assert readable(writer, relation) is None, relation
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.WrongObjectType)):
                writer.execute(sql.SQL("DELETE FROM sextant.{}").format(sql.Identifier(relation)))


def test_the_writer_cannot_write_for_another_tenant(engine: Engine, tenants: tuple[int, int]) -> None:
    """Rows of another tenant can be neither added nor changed nor deleted."""
    own, other = tenants
    with connect(engine, WRITER, str(own)) as writer:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            writer.execute(
                "INSERT INTO sextant.series (tenant_id, name, labels, source, digest) VALUES (%s, 'x', '{}', '', 'x')",
                (other,),
            )
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            writer.execute("UPDATE sextant.series SET tenant_id = %s", (other,))
        changed = writer.execute("UPDATE sextant.api_keys SET scopes = '{admin}' WHERE tenant_id = %s", (other,))
        assert changed.rowcount == 0
        deleted = writer.execute("DELETE FROM sextant.metric_definitions WHERE tenant_id = %s", (other,))
        assert deleted.rowcount == 0


@pytest.mark.usefixtures("tenants")
def test_a_leaky_function_sees_no_other_tenants_rows(engine: Engine, tenants: tuple[int, int]) -> None:
    """A condition that would report every row it sees runs after the tenant's filter, in views and tables alike."""
    own, other = tenants
    with connect(engine) as owner:
        foreign = [row[0] for row in owner.execute("SELECT id FROM sextant.series WHERE tenant_id = %s", (other,))]
    with connect(engine, READER, str(own)) as reader:
        for relation, column in (("tenant_samples", "series_id"), ("series", "id")):
            # Dividing by zero at a foreign row would tell that it is there.
            revealing = "SELECT count(*) FROM sextant.{} WHERE 1 / CASE WHEN {} = ANY(%s) THEN 0 ELSE 1 END = 1"
            query = sql.SQL(revealing).format(sql.Identifier(relation), sql.Identifier(column))
            [(count,)] = reader.execute(query, (foreign,)).fetchall()
            assert count > 0


def columns(connection: psycopg.Connection, relation: str) -> list[str]:
    """The columns of a relation."""
    rows = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
        (f'sextant."{relation}"',),
    ).fetchall()
    return [row[0] for row in rows]
