"""Thresholds that metric definitions had before there were alerts become rules when the schema is brought up."""

import re
import secrets
import shutil
from pathlib import Path

import msgspec
import psycopg
import pytest

from adapters.driven.postgres.migration_files import migrations_directory
from adapters.driven.postgres.migrations import migrate
from core.domain.definitions import AlertThreshold
from core.domain.rules import AlertRule, definition_rule
from tests.support.servers import Engine, fresh_database

ALERTS_MIGRATION = "0005"
DEFINED = {
    "cpu": AlertThreshold(warning=80.0, critical=90.0),
    "free": AlertThreshold(warning=20.0, critical=10.0),
    "same": AlertThreshold(warning=1.0, critical=1.0),
    "only_warning": AlertThreshold(warning=-1.7976931348623157e308),
    "only_critical": AlertThreshold(critical=5e-324),
    "n" * 187: AlertThreshold(warning=0.0),
    "n" * 188: AlertThreshold(warning=0.1 + 0.2),
    "n" * 200: AlertThreshold(warning=1e300),
    "n" * 199 + "m": AlertThreshold(critical=1.0),
    "unwatched": AlertThreshold(),
}


@pytest.fixture
def earlier_migrations(tmp_path: Path) -> Path:
    """Return a directory of the migrations before alerts."""
    before = tmp_path / "migrations"
    before.mkdir()
    for file in migrations_directory().iterdir():
        if file.name < ALERTS_MIGRATION:
            shutil.copy(file, before)
    return before


def test_admin_keys_get_the_new_scopes(postgres_server: str, earlier_migrations: Path) -> None:
    """Also where the database's owner is no superuser, whom row-level security binds; other keys stay as they are."""
    with (
        fresh_database(postgres_server, with_timescale=False) as database_url,
        psycopg.connect(database_url, autocommit=True) as superuser,
    ):
        database, owner = superuser.info.dbname, f"owner_{secrets.token_hex(4)}"
        superuser.execute(f"CREATE ROLE {owner} LOGIN CREATEROLE PASSWORD 'owner'")
        superuser.execute(f"ALTER DATABASE {database} OWNER TO {owner}")
        known = {name for (name,) in superuser.execute("SELECT rolname FROM pg_roles").fetchall()}
        for role in ("sextant_reader", "sextant_writer", "sextant_keeper"):
            if role not in known:
                superuser.execute(f"CREATE ROLE {role} NOLOGIN")
            superuser.execute(f"GRANT {role} TO {owner}")
        url = re.sub("//[^@]*@", f"//{owner}:owner@", database_url)
        migrate(url, directory=earlier_migrations)
        superuser.execute("INSERT INTO sextant.tenants (name) VALUES ('earlier')")
        for name, scopes in (("admin", ["ingest", "admin"]), ("agent", ["ingest"])):
            superuser.execute(
                "INSERT INTO sextant.api_keys (tenant_id, name, prefix, sha256, scopes) "
                "SELECT id, %s, 'abcdef', %s, %s FROM sextant.tenants",
                (name, name.encode(), scopes),
            )
        migrate(url)
        rows = superuser.execute("SELECT name, scopes FROM sextant.api_keys").fetchall()
    assert dict(rows) == {"admin": ["ingest", "admin", "alerts", "remediate"], "agent": ["ingest"]}


def test_thresholds_become_rules(engine_database: Engine, earlier_migrations: Path) -> None:
    """Each is the very rule that a definition made today would have, under the very name."""
    migrate(engine_database.url, directory=earlier_migrations)
    with psycopg.connect(engine_database.url, autocommit=True) as connection:
        row = connection.execute("INSERT INTO sextant.tenants (name) VALUES ('earlier') RETURNING id").fetchone()
        assert row is not None
        for metric, threshold in DEFINED.items():
            connection.execute(
                "INSERT INTO sextant.metric_definitions "
                "(tenant_id, name, type, retention_days, alert_warning, alert_critical) "
                "VALUES (%s, %s, 'gauge', 30, %s, %s)",
                (row[0], metric, threshold.warning, threshold.critical),
            )
        migrate(engine_database.url)
        rows = connection.execute(
            "SELECT tenant_id, name, origin, rule::text, revision FROM sextant.alert_rules"
        ).fetchall()
    assert {(tenant_id, origin, revision) for tenant_id, _, origin, _, revision in rows} == {(row[0], "definition", 1)}
    rules = {name: msgspec.json.decode(text, type=AlertRule) for _, name, _, text, _ in rows}
    expected = [rule for metric, threshold in DEFINED.items() if (rule := definition_rule(metric, threshold))]
    assert rules == {rule.name: rule for rule in expected}
    assert len(rules) == len(DEFINED) - 1
