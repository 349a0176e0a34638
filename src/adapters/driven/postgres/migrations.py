"""Migrations: plain SQL files, run by Alembic in order, each in a transaction, under a lock, each file's hash kept.

Which engine a database is for is decided by its first migration, and kept.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import sqlalchemy
from alembic.runtime.migration import MigrationContext, MigrationStep
from alembic.script.base import Script
from alembic.script.revision import RevisionMap

from adapters.driven.postgres.migration_files import (
    MigrationError,
    MigrationFile,
    MigrationReport,
    migration_files,
    migrations_directory,
)

MIGRATION_LOCK: Final = 5_083_411_602_146
"""An arbitrary advisory lock key: whoever migrates a database holds it."""
LOCK_TIMEOUT_MS: Final = 10_000
"""A migration waits this long for a table in use, then fails and can be repeated."""


def migrate(url: str, *, directory: Path | None = None) -> MigrationReport:
    """Brings the database to the newest schema. Safe to repeat, to interrupt, and to run on several servers at once.

    Raises `MigrationError`, and the driver's errors where the server cannot be reached.
    """
    with _connected(url) as connection:
        connection.exec_driver_sql("SELECT pg_advisory_lock(%s)", (MIGRATION_LOCK,))
        connection.commit()
        try:
            return _migrate(connection, directory or migrations_directory())
        finally:
            connection.rollback()
            connection.exec_driver_sql("SELECT pg_advisory_unlock(%s)", (MIGRATION_LOCK,))
            connection.commit()


def _migrate(connection: sqlalchemy.Connection, directory: Path) -> MigrationReport:
    _prepare(connection)
    engine, reason = _engine(connection)
    files = migration_files(directory, engine)
    _check_applied(connection, files)
    applied: list[str] = []
    context = MigrationContext.configure(
        connection,
        opts={
            "version_table_schema": "sextant",
            "transaction_per_migration": True,
            "fn": lambda heads, _context: _steps(connection, files, heads, applied),
        },
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
    version = connection.exec_driver_sql("SHOW server_version").scalar_one()
    extension, licence = _timescale(connection)
    return MigrationReport(
        engine=engine,
        engine_reason=reason,
        server_version=str(version).split()[0],
        extension_version=extension,
        licence=licence,
        applied=applied,
        schema_version=files[-1].number,
    )


def _steps(
    connection: sqlalchemy.Connection, files: Sequence[MigrationFile], heads: tuple[str, ...], applied: list[str]
) -> list[MigrationStep]:
    """Alembic's steps for the files after the current head."""

    def script(file: MigrationFile, before: str | None) -> Script:
        def upgrade(**_: Any) -> None:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS:d}")
            connection.execution_options(no_parameters=True).exec_driver_sql(file.path.read_text(encoding="utf-8"))
            connection.exec_driver_sql(
                "INSERT INTO sextant.migrations (number, file, sha256) VALUES (%s, %s, %s)",
                (file.number, file.path.name, file.sha256),
            )
            applied.append(file.path.name)

        module = SimpleNamespace(
            __doc__=file.path.name, revision=file.number, down_revision=before, upgrade=upgrade, downgrade=None
        )
        return Script(module, file.number, str(file.path))  # type: ignore[arg-type]  # any object with these names serves

    befores = [None, *(file.number for file in files)]
    scripts = [script(file, before) for file, before in zip(files, befores, strict=False)]
    revisions = RevisionMap(lambda: scripts)
    if revisions.heads != (files[-1].number,):  # asking also links the scripts to one another
        raise MigrationError("the migrations' numbers do not form one line")
    current = heads[0] if heads else ""
    return [
        MigrationStep.upgrade_from_script(revisions, one)
        for one in scripts
        if one.revision > current
    ]


def _prepare(connection: sqlalchemy.Connection) -> None:
    """What must be there before the first migration."""
    connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS sextant")
    connection.exec_driver_sql(
        "CREATE TABLE IF NOT EXISTS sextant.migrations (number text PRIMARY KEY, file text NOT NULL, "
        "sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    connection.commit()


def _engine(connection: sqlalchemy.Connection) -> tuple[str, str]:
    """The engine this database is for, and why; creates the extension where that is possible."""
    chosen = connection.exec_driver_sql(
        "SELECT file FROM sextant.migrations WHERE file LIKE '0003!_%%' ESCAPE '!'"
    ).scalar_one_or_none()
    available = connection.exec_driver_sql(
        "SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'"
    ).scalar_one_or_none()
    if chosen is not None and ".postgres." in chosen:
        reason = "TimescaleDB is there now, but this database was set up without it" if available else ""
        return "postgresql", reason or "TimescaleDB is not installed on this server"
    if not available:
        if chosen is not None:
            raise MigrationError("this database was set up with TimescaleDB, which the server no longer has")
        return "postgresql", "TimescaleDB is not installed on this server"
    try:
        connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS timescaledb")
        connection.commit()
    except sqlalchemy.exc.DBAPIError as error:
        connection.rollback()
        reason = str(error.orig).splitlines()[0]
        return "postgresql", f"TimescaleDB is installed but CREATE EXTENSION failed: {reason}"
    _, licence = _timescale(connection)
    if licence != "timescale":
        if chosen is not None:
            raise MigrationError(
                "this database was set up with TimescaleDB's full licence; set timescaledb.license = 'timescale'"
            )
        return "postgresql", (
            f"timescaledb.license is {licence!r}, which has no columnstore and no continuous aggregates; "
            "set it to 'timescale' before the first start to use them"
        )
    return "timescaledb", ""


def _timescale(connection: sqlalchemy.Connection) -> tuple[str | None, str | None]:
    version = connection.exec_driver_sql(
        "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"
    ).scalar_one_or_none()
    licence = connection.exec_driver_sql("SELECT current_setting('timescaledb.license', true)").scalar_one_or_none()
    return version, licence


def _check_applied(connection: sqlalchemy.Connection, files: Sequence[MigrationFile]) -> None:
    """Raises `MigrationError` where the database's history is not this program's."""
    known = {file.number: file for file in files}
    rows = connection.exec_driver_sql("SELECT number, file, sha256 FROM sextant.migrations ORDER BY number").all()
    for number, file, sha256 in rows:
        if number not in known:
            raise MigrationError(
                f"the database has migration {file}, which this version of Sextant does not know: "
                "a newer one set it up; upgrade Sextant"
            )
        if known[number].sha256 != sha256:
            raise MigrationError(f"migration {file} was changed after it was applied; restore the file as it was")


@contextmanager
def _connected(url: str) -> Iterator[sqlalchemy.Connection]:
    address = re.sub(r"\Apostgres(?:ql)?(?:\+\w+)?://", "postgresql+psycopg://", url)
    engine = sqlalchemy.create_engine(address, poolclass=sqlalchemy.pool.NullPool, connect_args={"connect_timeout": 10})
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()
