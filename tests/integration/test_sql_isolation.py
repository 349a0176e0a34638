"""Two tenants in the database itself: what the roles that requests run in may read, straight with SQL."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from adapters.runtime.clock import SystemClock
from core.domain.alerts import InhibitionSpec, SilenceSpec
from core.domain.audit import AuditKind, AuditRecord
from core.domain.notifications import AlertEvent, Message, WebhookConfig
from core.domain.rules import AlertRule
from core.domain.times import DAY_US
from ports.driven.remediation_store import Reservation
from tests.conftest import on_postgres, on_timescale_native, on_timescale_wasm
from tests.integration.in_process import in_process
from tests.support.alert_rows import write_alert
from tests.support.alert_storage import open_alert_storage
from tests.support.cluster_rows import write_cluster_rows
from tests.support.collection_rows import write_collection_rows
from tests.support.detection_rows import write_detection_rows
from tests.support.remediation_rows import CREATED, POLICY, insert_remediation
from tests.support.remediation_storage import open_remediation_storage
from tests.support.servers import Engine
from tests.support.storages import Store, Tenancy, settle_all, unique
from tests.support.store_fixtures import database_store, empty_database

READER = "sextant_reader"
WRITER = "sextant_writer"

OF_TENANTS = {
    "tenants",
    "tenant_catalogs",
    "api_keys",
    "metric_definitions",
    "series",
    "alert_rules",
    "alerts",
    "shown_alerts",
    "silences",
    "inhibitions",
    "notification_events",
    "notifications",
    "remediations",
    "kill_switches",
    "audit_entries",
    "audit_heads",
    "signal_events",
    "service_dependencies",
    "detection_settings",
    "detection_runs",
    "anomalies",
    "incidents",
    "incident_signals",
    "incident_edges",
    "incident_changes",
    "synthetic_purges",
    "collection_items",
    "instances",
    "drift_cluster_capacity_snapshots",
    "capacity_plans",
    "config_changes",
    "config_baselines",
    "drift_events",
    "drift_recommendations",
}
"""Under row-level security: both roles may read them, and see one tenant's rows."""
OF_TENANTS_FOR = {
    READER: {"settled_until"},
    WRITER: {"alert_states", "remediation_actions", "collection_checkpoints"},
}
"""The same, for one role alone."""
DELETED_FROM = {"collection_checkpoints"}
"""From which the writer deletes its tenant's rows, without writing any."""
OF_TENANTS_IN_PART = {
    "channels": {"secrets"},
    "remediation_policies": {"secrets"},
    "metric_sources": {"credentials"},
    "collection_runs": {"credentials", "token", "leased_until"},
}
"""The same for both roles, but for these columns, which both may at most write."""
VIEWS = {"tenant_samples", "tenant_samples_5m", "tenant_samples_1h", "tenant_samples_1d"}
"""What the reader sees of samples."""
OF_THE_SERVER = {READER: {"journal_cursors", "settle_epoch", "stale_aggregates"}, WRITER: {"alert_revision"}}
"""Bookkeeping, without names or values: the reader tells by it what is settled, the writer counts changes."""
IN_PART = {READER: {"journal": {"writer", "sequence", "commit_order", "points"}, "journal_streams": {"writer"}}}
"""Of which the reader may read some columns; never a block."""

REFUSED = (
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.WrongObjectType,
    psycopg.errors.ObjectNotInPrerequisiteState,
)
"""What changing a table that may not be changed, a view, or a view of two tables fails with."""


@pytest.fixture(scope="module", params=[on_postgres, on_timescale_wasm, on_timescale_native])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Yield a database on each engine in turn."""
    with empty_database(request, request.param) as engine:
        yield engine


@pytest.fixture(scope="module")
def tenants(engine: Engine) -> tuple[int, int]:
    """Return the ids of two tenants that both have something in every table of tenants."""
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
        for tenant_id in ids:
            await fill_alerts(store, Tenancy(storage, await storage.tenants.get(str(tenant_id))))
            assert isinstance(store.place, str)
            write_detection_rows(store.place, tenant_id)
            write_collection_rows(store.place, tenant_id)
            write_cluster_rows(store.place, tenant_id)
    return ids[0], ids[1]


async def fill_alerts(store: Store, tenancy: Tenancy) -> None:
    """Gives a tenant rules, alerts, notifications and remediations, with secrets."""
    now = CREATED
    rule = AlertRule(name="high", metric="isolated", warning=1.0)
    silence = SilenceSpec(matchers=("host=a",), ends_at=now + timedelta(hours=1), reason="x")
    inhibition = InhibitionSpec(name="x", source=("a=b",), target=("c=d",))
    async with open_alert_storage(store) as alerting:
        await alerting.rules.create(tenancy.id, rule)
        await alerting.silences.create_silence(tenancy.id, silence, author="a", now=now)
        await alerting.silences.create_inhibition(tenancy.id, inhibition)
        channel = await alerting.channels.create(
            tenancy.id, WebhookConfig(name="x", url="https://x.example"), ("secret",)
        )
        alert = write_alert(store.place, tenancy.id, target_key="isolated")
        await alerting.alerts.acknowledge(tenancy.id, alert.id, by="a", now=now)
        message = Message(
            id=uuid4(),
            event=AlertEvent.FIRED,
            tenant=tenancy.tenant.name,
            rule="high",
            alerts=(alert,),
            alerts_total=1,
            created_at=now,
        )
        await alerting.notifications.put(tenancy.id, channel.id, message)
    order = insert_remediation(store, tenancy)
    reservation = Reservation(
        key="isolated",
        remediation_id=order.remediation_id,
        policy="restart",
        target="x",
        rollback=False,
        cooldown_s=0.0,
        tenant_per_hour_max=1,
        target_per_hour_max=1,
    )
    record = AuditRecord(key="isolated", kind=AuditKind.CHANGE, actor="a", summary="x")
    async with open_remediation_storage(store) as repairs:
        await repairs.policies.create(tenancy.id, POLICY, {"token": "secret"})
        await repairs.limits.reserve(tenancy.id, reservation, now=now)
        await repairs.limits.set_kill_switch(tenancy.id, engaged=True, by="a", reason="x", now=now)
        await repairs.audit_log.append(tenancy.id, record, now=now)
        await repairs.server_secrets.get("isolated")


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


@pytest.mark.parametrize("role", [READER, WRITER])
@pytest.mark.usefixtures("tenants")
def test_requests_may_read_what_is_meant_and_nothing_else(engine: Engine, role: str) -> None:
    """Samples, aggregates, blocks, secrets, idempotency keys, migrations: denied to both, whatever tenant is set."""
    with connect(engine) as owner:
        there = {relation: columns(owner, relation) for relation in relations(owner)}
    meant = OF_TENANTS | OF_TENANTS_FOR[role] | OF_THE_SERVER[role] | (VIEWS if role == READER else set())
    in_part = IN_PART.get(role, {}) | {
        relation: set(there[relation]) - secret for relation, secret in OF_TENANTS_IN_PART.items()
    }
    with connect(engine, role, "1") as connection:
        for relation, names in there.items():
            assert (readable(connection, relation) is not None) is (relation in meant), relation
            for column in names:
                statement = sql.SQL("SELECT {} FROM sextant.{} LIMIT 1").format(
                    sql.Identifier(column), sql.Identifier(relation)
                )
                allowed = relation in meant or column in in_part.get(relation, set())
                try:
                    connection.execute(statement)
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
        for relation in OF_TENANTS | OF_TENANTS_FOR[role] | OF_TENANTS_IN_PART.keys():
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
        guarded = OF_TENANTS | OF_TENANTS_FOR[role] | (VIEWS if role == READER else set())
        for relation in guarded & relations(connection).keys():
            assert readable(connection, relation) == [], relation
        for relation in OF_TENANTS_IN_PART:
            statement = sql.SQL("SELECT tenant_id FROM sextant.{}").format(sql.Identifier(relation))
            assert connection.execute(statement).fetchall() == [], relation


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
                with pytest.raises(REFUSED):
                    reader.execute(sql.SQL(statement).format(sql.Identifier(relation)))
    with connect(engine, WRITER, str(tenants[0])) as writer:
        for relation in relations(writer).keys() - OF_TENANTS - OF_TENANTS_IN_PART.keys() - DELETED_FROM:
            if relation not in OF_TENANTS_FOR[WRITER] | OF_THE_SERVER[WRITER]:
                assert readable(writer, relation) is None, relation
            with pytest.raises(REFUSED):
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
        for column in ("secrets", "config"):
            statement = sql.SQL("UPDATE sextant.channels SET {} = DEFAULT WHERE tenant_id = %s")
            assert writer.execute(statement.format(sql.Identifier(column)), (other,)).rowcount == 0
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
