"""A machine that is gone without a word (power, network) does not keep its locks: others lead, settle and go on."""

import pytest

from adapters.driven.postgres.database import LOST_AFTER, open_database
from tests.support.servers import Engine


@pytest.mark.postgres
async def test_every_session_is_given_up_within_half_a_minute(postgres_database: Engine) -> None:
    """PostgreSQL is told, for each connection, to ask for signs of life, and to end one that gives none."""
    idle_s = int(LOST_AFTER["tcp_keepalives_idle"])
    asking_s = int(LOST_AFTER["tcp_keepalives_interval"]) * int(LOST_AFTER["tcp_keepalives_count"])
    assert idle_s + asking_s <= 30
    assert int(LOST_AFTER["tcp_user_timeout"]) <= 30_000
    async with (
        open_database(
            postgres_database.url, pool_size=2, connect_timeout_s=10, application_name="lost machines"
        ) as database,
        database.session() as connection,
    ):
        # What is shown (`setting`) is the socket's own, which is 0 where it is not TCP's.
        rows = await connection.fetch("SELECT name, reset_val FROM pg_settings WHERE name = ANY($1)", list(LOST_AFTER))
    assert {row["name"]: row["reset_val"] for row in rows} == LOST_AFTER
