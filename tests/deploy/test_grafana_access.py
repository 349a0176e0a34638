"""A login as deploy/grafana/views.sql makes it: panels show its tenant's rows, and no SQL reaches others'."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from adapters.bootstrap import run_migrations
from adapters.runtime.settings import DatabaseSettings, Settings
from tests.conftest import or_skip
from tests.deploy.grafana import GRAFANA, Panel, expanded, panels, variables
from tests.deploy.grafana_rows import write_rows
from tests.support.servers import Engine, run_test_postgres, with_database

VIEWS = GRAFANA / "views.sql"
OWN, OTHERS = "acme", "rival"
OWN_NUMBER, OTHERS_NUMBER = 7, 777_777
PASSWORD = secrets.token_hex(8)


@dataclass(frozen=True)
class Grafana:
    """A database with two tenants, and a login for one of them."""

    engine: Engine
    login: str

    @contextmanager
    def connected(self) -> Iterator["psycopg.Connection[Any]"]:
        """One transaction as the login, over a connection of its own where the engine has such."""
        if not self.engine.single_connection:
            with psycopg.connect(make_conninfo(self.engine.url, user=self.login, password=PASSWORD)) as connection:
                yield connection
            return
        # That server knows no users: its one session becomes the login until the transaction ends.
        with psycopg.connect(self.engine.url) as connection:
            connection.execute(f"SET LOCAL SESSION AUTHORIZATION {self.login}".encode())
            yield connection
            connection.rollback()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What the login is answered."""
        with self.connected() as connection:
            return connection.execute(sql.encode()).fetchall()


@pytest.fixture(scope="module")
def grafana(engine_database: Engine) -> Iterator[Grafana]:
    """Yield the login, made as the head of views.sql says; the script is run twice, as after an upgrade."""
    engine = engine_database
    run_migrations(Settings(database=DatabaseSettings(url=engine.url)))
    for name, number in ((OWN, OWN_NUMBER), (OTHERS, OTHERS_NUMBER)):
        write_rows(engine.url, name, number, partitions=not engine.has_timescale)
    login = f"grafana_{secrets.token_hex(4)}"
    with psycopg.connect(engine.url, autocommit=True) as owner:
        for _ in range(2):
            owner.execute(VIEWS.read_bytes())
        for statement in documented_statements(login):
            owner.execute(statement.encode())
    try:
        yield Grafana(engine, login)
    finally:
        with psycopg.connect(engine.url, autocommit=True) as owner:
            owner.execute(f"DROP ROLE {login}".encode())


def documented_statements(login: str) -> list[str]:
    """The three statements in the script's head, for this login."""
    head = VIEWS.read_text().split("BEGIN;")[0].replace("grafana_acme", login).replace("'...'", f"'{PASSWORD}'")
    found = re.findall(r"^--   ([A-Z].*;)$", head, re.MULTILINE)
    assert len(found) == 3
    return found


def range_now() -> tuple[datetime, datetime]:
    """The last hour."""
    now = datetime.now(UTC)
    return now - timedelta(hours=1), now + timedelta(minutes=1)


def sent(panel: Panel, cluster: str = OWN) -> str:
    """A panel's SQL as Grafana sends it for the last hour."""
    return expanded(panel.sql, *range_now(), {"cluster": cluster}, interval=panel.interval)


@pytest.mark.parametrize("panel", panels(), ids=str)
def test_a_panel_shows_the_tenants_rows(grafana: Grafana, panel: Panel) -> None:
    """Some of its own, none of another's, in the form that the panel's format asks for."""
    with grafana.connected() as connection:
        cursor = connection.execute(sent(panel).encode())
        columns = [column.name for column in cursor.description or ()]
        rows = cursor.fetchall()
    assert rows
    shown = repr(rows)
    assert OTHERS not in shown
    assert str(OTHERS_NUMBER) not in shown
    if panel.type == "table":
        assert OWN in shown or "pod_" in shown
        return
    assert any(isinstance(value, int | float | Decimal) for row in rows for value in row)
    if panel.format == "time_series":
        assert columns[0] == "time"
        assert len(columns) >= 2
        assert all(isinstance(name, str) for name in columns)


OF_PODS = [panel for panel in panels() if "pod_samples" in panel.sql]
SUMS = {"Requests", "CPU used", "Memory used"}
"""Panels whose values add up over a workload's pods."""


@pytest.mark.parametrize("panel", OF_PODS, ids=str)
def test_pods_of_one_name_are_told_apart_by_namespace(grafana: Grafana, panel: Panel) -> None:
    """A line is one namespace's workload, and a point all its pods, though each is measured at a time of its own."""
    points = [(line, value) for _, line, value in grafana.rows(sent(panel))]
    expected = 2 * OWN_NUMBER if panel.title in SUMS else OWN_NUMBER
    assert sorted(points) == [(f"{OWN}-b/{OWN}", expected), (f"{OWN}/{OWN}", expected)]


def test_variables_offer_the_tenants_clusters(grafana: Grafana) -> None:
    """Its own alone."""
    assert [grafana.rows(sql) for sql in variables()] == [[(OWN,)]]


@pytest.mark.parametrize("panel", [panel for panel in panels() if "${cluster" in panel.sql], ids=str)
def test_another_tenants_cluster_has_nothing(grafana: Grafana, panel: Panel) -> None:
    """Whatever is put into the variable."""
    for cluster in (OTHERS, "' OR true --"):
        assert grafana.rows(sent(panel, cluster)) == []


FORBIDDEN = [
    "SELECT * FROM sextant.samples",
    "SELECT * FROM sextant.tenant_samples",
    "SELECT * FROM sextant.api_keys",
    "SELECT * FROM sextant_grafana.logins",
    "SET ROLE sextant_reader",
    "SET ROLE sextant_keeper",
    "SET ROLE sextant_grafana",
    "INSERT INTO sextant_grafana.logins SELECT session_user, 1",
    "DELETE FROM sextant_grafana.series",
    "UPDATE sextant_grafana.alerts SET state = 'resolved'",
    "CREATE VIEW sextant_grafana.mine AS SELECT 1",
]


@pytest.mark.parametrize("sql", FORBIDDEN)
def test_what_is_forbidden(grafana: Grafana, sql: str) -> None:
    """Tables, other roles, and any change."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        grafana.rows(sql)


@pytest.mark.parametrize(
    "setting",
    [
        "SET LOCAL sextant.tenant_id = '{other}'",
        "SET LOCAL sextant.operator = 'on'",
        "SET LOCAL ROLE sextant_grafana_reader",
        "SET LOCAL search_path = pg_temp, sextant_grafana",
    ],
)
def test_no_setting_changes_the_tenant(grafana: Grafana, setting: str) -> None:
    """Neither those that requests use, nor another role of the login's, nor names of its own."""
    with psycopg.connect(grafana.engine.url) as owner:
        [[other]] = owner.execute("SELECT id FROM sextant.tenants WHERE name = %s", (OTHERS,)).fetchall()
    with grafana.connected() as connection:
        connection.execute(setting.format(other=other).encode())
        assert connection.execute("SELECT name FROM sextant_grafana.tenant").fetchall() == [(OWN,)]
        values = connection.execute("SELECT DISTINCT value FROM sextant_grafana.samples").fetchall()
    assert values == [(OWN_NUMBER,)]


LEAK = """
CREATE FUNCTION pg_temp.tell(anyelement) RETURNS boolean LANGUAGE plpgsql COST 0.0000001
AS $$ BEGIN RAISE NOTICE 'told %', $1; RETURN true; END $$
"""


def test_a_function_that_tells_sees_no_other_row(grafana: Grafana) -> None:
    """The views are barriers: a cheap function of the login's own is given the tenant's rows alone."""
    heard: list[str] = []
    with grafana.connected() as connection:
        connection.add_notice_handler(lambda notice: heard.append(notice.message_primary or ""))
        connection.execute(LEAK)
        for plan in ("indexscan", "bitmapscan"):  # an index by tenant would hide that there is no barrier
            connection.execute(f"SET LOCAL enable_{plan} = off".encode())
        for view in ("series WHERE pg_temp.tell(source)", "samples WHERE pg_temp.tell(value)"):
            connection.execute(f"SELECT * FROM sextant_grafana.{view}".encode()).fetchall()
    assert {message for message in heard if message.startswith("told ")} == {f"told {OWN}", f"told {OWN_NUMBER}"}


def test_a_login_that_is_not_listed_sees_nothing(grafana: Grafana) -> None:
    """Being a member of the readers is not enough; the owner, who could change the views, is none of the logins."""
    with psycopg.connect(grafana.engine.url) as owner:
        owner.execute(b"DELETE FROM sextant_grafana.logins")
        for view in ("tenant", "series", "samples", "alerts", "capacity"):
            assert owner.execute(f"SELECT * FROM sextant_grafana.{view}".encode()).fetchall() == []
        owner.rollback()


@pytest.mark.postgres
def test_the_owner_need_not_be_a_superuser() -> None:
    """On a server of its own, where no superuser made the roles before: the right to make roles is enough."""
    with or_skip(run_test_postgres()) as server_url:
        with psycopg.connect(server_url, autocommit=True) as superuser:
            superuser.execute(f"CREATE ROLE owner LOGIN CREATEROLE PASSWORD '{PASSWORD}'".encode())
            superuser.execute(b"CREATE DATABASE owned OWNER owner")
        place = urlsplit(with_database(server_url, "owned"))
        url = place._replace(netloc=f"owner:{PASSWORD}@{place.netloc.rpartition('@')[2]}").geturl()
        run_migrations(Settings(database=DatabaseSettings(url=url)))
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute("SET ROLE sextant_writer")
            owner.execute("SELECT set_config('sextant.operator', 'on', false)")
            owner.execute("INSERT INTO sextant.tenants (name) VALUES ('acme')")
            owner.execute("INSERT INTO sextant.tenant_catalogs (tenant_id) SELECT id FROM sextant.tenants")
            owner.execute("RESET ALL")
            owner.execute("RESET ROLE")
            for statement in (VIEWS.read_text(), *documented_statements("grafana_acme")):
                owner.execute(statement.encode())
        with psycopg.connect(make_conninfo(url, user="grafana_acme", password=PASSWORD)) as login:
            assert login.execute("SELECT name FROM sextant_grafana.tenant").fetchall() == [("acme",)]
            assert login.execute("SHOW statement_timeout").fetchall() == [("30s",)]
