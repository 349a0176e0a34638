"""Which migrations there are: plain SQL files, and what a run of them reports.

A file is named ``NNNN_name.sql``, or ``NNNN_name.timescale.sql`` and ``NNNN_name.postgres.sql`` where the engines
differ. This module is apart from the runner because every server process asks for the newest version, and none of
them needs Alembic for that.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

_FILE = re.compile(r"(?P<number>\d{4})_(?P<name>[a-z0-9_]+?)(?:\.(?P<engine>timescale|postgres))?\.sql\Z")


class MigrationError(Exception):
    """The database cannot be migrated; the text says why and what to do."""


class MigrationReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a run found and did."""

    engine: str
    """``timescaledb`` or ``postgresql``."""
    engine_reason: str
    """Why that engine, where it is not the full TimescaleDB."""
    server_version: str
    extension_version: str | None
    licence: str | None
    applied: Sequence[str]
    """Files run this time, in order."""
    schema_version: str


class MigrationFile(msgspec.Struct, frozen=True):
    """One migration for one engine."""

    number: str
    path: Path

    @property
    def sha256(self) -> str:
        """Of the file's bytes, in hex."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


def migrations_directory() -> Path:
    """Where the SQL files are: in the installed package, else in the checkout it was installed from."""
    import adapters

    package = Path(next(iter(adapters.__path__)))
    packaged = package / "migrations"
    return packaged if packaged.is_dir() else package.parents[1] / "migrations"


def migration_files(directory: Path, engine: str | None = None) -> list[MigrationFile]:
    """The files of an engine (None: of all) in order; raises `MigrationError` for a name that is not a migration's."""
    files = []
    for path in sorted(directory.glob("*.sql")):
        match = _FILE.match(path.name)
        if match is None:
            raise MigrationError(f"{path.name} is not named NNNN_name[.timescale|.postgres].sql")
        if engine is None or match["engine"] in (None, "timescale" if engine == "timescaledb" else "postgres"):
            files.append(MigrationFile(match["number"], path))
    return files
