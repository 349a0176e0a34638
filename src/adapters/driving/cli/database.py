"""Which database a command works on, and options that several commands share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from adapters.driving.cli.program import Program
from adapters.runtime.settings import Settings

DataDir = Annotated[
    Path | None,
    Parameter(
        help="The data directory of `sextant serve`. Used where SEXTANT_DATABASE_URL is not set; "
        "default: SEXTANT_SERVER_DATA_DIR."
    ),
]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]
Hidden = Parameter(parse=False)
"""Marks what `adapters.main` passes to a command, which the user never sees."""


def with_data_dir(settings: Settings, data_dir: Path | None) -> Settings:
    """The settings with what ``--data-dir`` said."""
    if data_dir is None:
        return settings
    server = msgspec.structs.replace(settings.server, data_dir=data_dir.expanduser().absolute())
    return msgspec.structs.replace(settings, server=server)


def with_database(settings: Settings, url: str) -> Settings:
    """The settings with a database's URL."""
    return msgspec.structs.replace(settings, database=msgspec.structs.replace(settings.database, url=url))


@contextmanager
def reachable(settings: Settings) -> Iterator[Settings]:
    """The settings with the URL of a database that answers: the one named, or the embedded one.

    An embedded server that is not running is started for as long as the context is open. Raises
    `DatabaseUnusableError` and `EmbeddedPostgresError`.
    """
    from adapters.runtime.database_check import check_database
    from adapters.runtime.embedded_access import embedded_database

    if settings.database.url is not None:
        check_database(settings.database.url, connect_timeout_s=settings.database.connect_timeout_s)
        yield settings
        return
    with embedded_database(settings.server.data_dir) as url:
        yield with_database(settings, url)


@contextmanager
def migrated(settings: Settings, program: Program) -> Iterator[Settings]:
    """The same for a command that needs the schema to be there, in the version that it knows."""
    from adapters.runtime.database_check import check_schema

    with reachable(settings) as settings:
        check_schema(str(settings.database.url), wanted=program.schema_version())
        yield settings
