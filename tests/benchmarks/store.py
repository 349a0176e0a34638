"""What lies in Sextant's own tables, asked with the administrator's rights."""

import time
from collections.abc import Sequence
from typing import LiteralString

import psycopg

POLL_S = 0.05

WAITING_POINTS = """
    SELECT coalesce(sum(journal.points), 0)
    FROM sextant.journal
    LEFT JOIN sextant.journal_cursors AS done
        ON done.writer = journal.writer AND done.consumer = %s
    WHERE journal.sequence > coalesce(done.sequence, -1)
"""


# A bucket that is not over yet stays stale; the longer aggregates play no part here.
STALE_RANGES = """
    SELECT count(*) FROM sextant.stale_aggregates
    WHERE width = INTERVAL '5 minutes' AND starts_at < date_bin(width, now(), 'epoch')
"""


def unsettled_points(url: str) -> int:
    """Return how many points wait in the journal."""
    return _count(url, WAITING_POINTS, "settler")


def sample_count(url: str) -> int:
    """Return how many samples are settled."""
    return _count(url, "SELECT count(*) FROM sextant.samples")


def await_settled(url: str, *, timeout_s: float) -> None:
    """Wait until no point is unsettled."""
    _await_none(url, WAITING_POINTS, "points are still unsettled", timeout_s, "settler")


def await_evaluated(url: str, *, timeout_s: float) -> None:
    """Wait until rules have seen every point."""
    _await_none(url, WAITING_POINTS, "points are still to be evaluated", timeout_s, "alerts")


def alert_count(url: str) -> int:
    """Return how many episodes there were."""
    return _count(url, "SELECT count(*) FROM sextant.alerts")


def await_refreshed(url: str, *, timeout_s: float) -> None:
    """Wait until the 5-minute aggregate holds for every bucket that is over."""
    _await_none(url, STALE_RANGES, "ranges are still stale", timeout_s)


def _await_none(url: str, query: LiteralString, what: str, timeout_s: float, *parameters: str) -> None:
    deadline_s = time.monotonic() + timeout_s
    while (count := _count(url, query, *parameters)) > 0:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{count} {what} after {timeout_s:.0f} s")
        time.sleep(POLL_S)


def _count(url: str, query: LiteralString, *parameters: str) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query, parameters).fetchone()
        assert row is not None
        return int(row[0])


def compress_all(url: str, tables: Sequence[str]) -> None:
    """Compress every chunk of these hypertables."""
    with psycopg.connect(url, autocommit=True) as connection:
        for table in tables:
            connection.execute("SELECT compress_chunk(chunk, true) FROM show_chunks(%s::regclass) AS chunk", [table])


def decompress_all(url: str, table: str) -> None:
    """Turn every chunk of a hypertable back into plain rows."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT decompress_chunk(chunk, true) FROM show_chunks(%s::regclass) AS chunk", [table])


def analyze(url: str) -> None:
    """Refresh the planner's statistics of the whole database."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ANALYZE")


def hypertable_size_bytes(url: str, table: str) -> int:
    """Return the size on disk of a hypertable: all chunks, with indexes and TOAST."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("SELECT hypertable_size(%s::regclass)", [table]).fetchone()
        assert row is not None
        return int(row[0])
