"""Says in one line why a PostgreSQL server cannot be used, before anything else tries."""

from typing import Final
from urllib.parse import parse_qs, urlsplit

import psycopg

VERSION_MIN: Final = 15
"""The oldest PostgreSQL with everything that the migrations use."""

CONNECT_TIMEOUT_S: Final = 10
"""For a server that has just answered `check_database`."""

_SCHEMA_FOUND: Final = "SELECT to_regclass('sextant.migrations') IS NOT NULL"
_SCHEMA_VERSION: Final = "SELECT max(number) FROM sextant.migrations"
_MAY_KEEP: Final = "SELECT pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = 'sextant_keeper'"
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


def check_schema(url: str, *, wanted: str) -> None:
    """Sees whether the schema is the program's, version `wanted`, and the user may work with it.

    Raises `DatabaseUnusableError`.
    """
    with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S, application_name="sextant") as connection:
        try:
            found = connection.execute(_SCHEMA_FOUND).fetchone()
            row = connection.execute(_SCHEMA_VERSION).fetchone() if found == (True,) else None
            member = connection.execute(_MAY_KEEP).fetchone() if found == (True,) else None
        except psycopg.errors.InsufficientPrivilege as error:
            raise DatabaseUnusableError(_lacking(url, error)) from error
    version = None if row is None else row[0]
    if version is None:
        raise DatabaseUnusableError(f"{address_of(url)} has no Sextant schema yet: run `sextant migrate`")
    if version < wanted:
        raise DatabaseUnusableError(
            f"the schema of {address_of(url)} is at {version}, this Sextant needs {wanted}: run `sextant migrate`"
        )
    if version > wanted:
        raise DatabaseUnusableError(
            f"the schema of {address_of(url)} is at {version}, this Sextant knows {wanted} at most: upgrade Sextant"
        )
    if member != (True,):
        raise DatabaseUnusableError(_lacking(url, "it is not a member of sextant_keeper"))


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


def _lacking(url: str, why: object) -> str:
    said = str(why).splitlines()[0]
    return f"the user for {address_of(url)} lacks a right: {said}; use the one who ran `sextant migrate`"
