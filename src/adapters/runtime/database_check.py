"""Says in one line why a PostgreSQL server cannot be used, before anything else tries."""

from typing import Final
from urllib.parse import parse_qs, urlsplit

import psycopg

VERSION_MIN: Final = 15
"""The oldest PostgreSQL with everything that the migrations use."""

_ADVICE: Final = {
    "password authentication failed": "mend the password in SEXTANT_DATABASE_URL",
    "no password supplied": "put the password into SEXTANT_DATABASE_URL",
    "no pg_hba.conf entry": "let this host in through the server's pg_hba.conf",
    "does not exist": "create it, or mend the name in SEXTANT_DATABASE_URL",
    "refused": "start the server, or mend the address in SEXTANT_DATABASE_URL",
    "No such file": "start the server, or mend the address in SEXTANT_DATABASE_URL",
    "resolve": "mend the host in SEXTANT_DATABASE_URL",
    "timeout": "see whether the server is up and a firewall lets it be reached",
    "too many": "raise the server's max_connections, or end some of its connections",
    "starting up": "try again in a moment",
    "shutting down": "start the server again",
}


class DatabaseUnusableError(Exception):
    """The server that the settings name cannot be used; the text says why and how to mend it."""


def check_database(url: str, *, connect_timeout_s: float) -> None:
    """Connects once; raises `DatabaseUnusableError`."""
    try:
        # libpq rounds a time-out of one second up to two; less is taken as none at all.
        connection = psycopg.connect(url, connect_timeout=max(2, round(connect_timeout_s)), application_name="sextant")
    except psycopg.Error as error:
        raise DatabaseUnusableError(f"cannot use the database {address_of(url)}: {_reason(error)}") from error
    with connection:
        version = connection.info.server_version // 10_000
        if version < VERSION_MIN:
            raise DatabaseUnusableError(
                f"{address_of(url)} is PostgreSQL {version}: Sextant needs {VERSION_MIN} or newer"
            )


def address_of(url: str) -> str:
    """Where a connection URL leads, without user and password: ``host:port/database``."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    host = parts.hostname or query.get("host", ["local socket"])[0]
    port = parts.port or query.get("port", [5432])[0]
    return f"{host}:{port}{parts.path}"


def _reason(error: psycopg.Error) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    said = lines[0].rpartition("failed: ")[2].removeprefix("FATAL:").strip()
    advice = next((advice for words, advice in _ADVICE.items() if words in str(error)), None)
    return f"{said}; {advice}" if advice else said
