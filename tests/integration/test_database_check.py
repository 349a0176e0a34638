"""A database that cannot be used is refused in one line that says how to mend it."""

import contextlib
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from adapters.runtime.database_check import DatabaseUnusableError, check_database, check_schema
from tests.support.servers import Engine

pytestmark = pytest.mark.postgres

WEAK = "sextant_test_weak"


@pytest.fixture
def url(postgres_database: Engine) -> Iterator[str]:
    """Yield a database whose schema is at 0004, as far as it says itself."""
    with psycopg.connect(postgres_database.url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA sextant")
        connection.execute("CREATE TABLE sextant.migrations AS SELECT '0004' AS number")
        for role in ("sextant_keeper NOLOGIN", f"{WEAK} LOGIN PASSWORD 'weak'"):
            with contextlib.suppress(psycopg.errors.DuplicateObject):  # roles belong to the whole server
                connection.execute(f"CREATE ROLE {role}")
        yield postgres_database.url
        connection.execute("DROP SCHEMA sextant CASCADE")
        connection.execute(f"DROP ROLE {WEAK}")


def as_weak(url: str) -> str:
    """The same database for a user without any rights."""
    parts = urlsplit(url)
    _, _, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{WEAK}:weak@{place}"))


def refusal(url: str, wanted: str = "0004") -> str:
    """What is said of a schema."""
    with pytest.raises(DatabaseUnusableError) as caught:
        check_schema(url, wanted=wanted)
    return str(caught.value)


def test_a_server_that_answers_with_the_right_schema_is_taken(url: str) -> None:
    """Nothing is raised."""
    check_database(url, connect_timeout_s=60)
    check_schema(url, wanted="0004")


def test_a_wrong_password_is_named_without_being_shown(url: str) -> None:
    """The line says where, for whom, and what to mend."""
    wrong = as_weak(url).replace(":weak@", ":hunter2@")
    with pytest.raises(DatabaseUnusableError, match=r"password authentication failed.*mend the password") as caught:
        check_database(wrong, connect_timeout_s=60)
    assert "hunter2" not in str(caught.value)


def test_a_missing_database_is_named(url: str) -> None:
    """So that it can be created."""
    missing = urlunsplit(urlsplit(url)._replace(path="/no_such_database"))
    with pytest.raises(DatabaseUnusableError, match='database "no_such_database" does not exist; create it'):
        check_database(missing, connect_timeout_s=60)


def test_a_database_without_schema_is_to_be_migrated(postgres_database: Engine) -> None:
    """Before anything else can be asked of it."""
    assert "has no Sextant schema yet: run `sextant migrate`" in refusal(postgres_database.url)


def test_an_older_schema_is_to_be_migrated(url: str) -> None:
    """The program would ask for what is not there."""
    assert "is at 0004, this Sextant needs 0005: run `sextant migrate`" in refusal(url, "0005")


def test_a_newer_schema_wants_a_newer_program(url: str) -> None:
    """An old program could do harm."""
    assert "is at 0004, this Sextant knows 0003 at most: upgrade Sextant" in refusal(url, "0003")


def test_a_user_without_rights_is_told_which(url: str) -> None:
    """First the schema, then the role."""
    assert "lacks a right: permission denied for schema sextant" in refusal(as_weak(url))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"GRANT USAGE ON SCHEMA sextant TO {WEAK}")
        connection.execute(f"GRANT SELECT ON sextant.migrations TO {WEAK}")
        assert "it is not a member of sextant_keeper" in refusal(as_weak(url))
        connection.execute(f"DROP OWNED BY {WEAK}")
