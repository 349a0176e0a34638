"""Reaching an embedded PostgreSQL from outside the `sextant serve` that may be running it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg

from adapters.runtime.embedded_postgres import EmbeddedPostgresError, run_embedded_postgres
from adapters.runtime.postgres_cluster import beside
from adapters.runtime.postgres_server import connection_url

DIRECTORY: Final = "postgres"
"""The database's place in Sextant's data directory; its password and log are beside it."""
CONNECT_TIMEOUT_S: Final = 5
"""A server on the same machine that takes longer is frozen."""


@contextmanager
def embedded_database(data_dir: Path) -> Iterator[str]:
    """The URL of the database in Sextant's `data_dir`, whose server is started for now if none runs.

    Raises `EmbeddedPostgresError`, also where there is no database yet.
    """
    directory = data_dir / DIRECTORY
    if not directory.exists():
        raise EmbeddedPostgresError(
            f"there is no database in {data_dir}: name another --data-dir, set SEXTANT_DATABASE_URL, "
            "or run `sextant serve` once"
        )
    url = _running(directory)
    if url is not None:
        yield url
        return
    with run_embedded_postgres(directory) as server:
        yield server.url


def _running(directory: Path) -> str | None:
    """The URL of the server that runs on `directory`, if one answers."""
    try:
        password = beside(directory, ".password").read_text().strip()
        socket_dir = Path((directory / "postmaster.pid").read_text().splitlines()[4])
    except (FileNotFoundError, IndexError):
        return None
    except PermissionError as error:
        raise EmbeddedPostgresError(
            f"{error.filename} is another user's: run this as the user of `sextant serve`"
        ) from error
    url = connection_url(socket_dir, password)
    try:
        psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S).close()
    except psycopg.OperationalError:
        return None
    return url
