"""Forgetting the history of clusters and instances on PostgreSQL."""

from datetime import datetime
from typing import Final

from adapters.driven.postgres.database import Database, Role
from adapters.driven.postgres.queries import affected_rows, load_queries
from core.domain.source_configs import SourceKind
from ports.driven.cluster_history import ClusterRecord

TIMEOUT_S: Final = 30.0
"""A batch takes tenths of a second, some seconds where each change holds documents of the largest size."""

SQL = load_queries(__package__, "cluster_history.sql")


class PostgresClusterHistory:
    """Implements `ports.driven.cluster_history.ClusterHistory`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def forget(self, record: ClusterRecord, *, before: datetime, limit: int) -> int:
        """See `ClusterHistory.forget`."""
        async with self._database.transaction(Role.KEEPER, timeout_s=TIMEOUT_S) as connection:
            values = [
                before,
                limit,
                *([[kind.value for kind in SourceKind]] if record is ClusterRecord.CHANGES else ()),
            ]
            return affected_rows(await connection.execute(SQL[record.value], *values))
