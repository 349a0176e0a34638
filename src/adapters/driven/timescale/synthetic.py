"""Purges of synthetic data on TimescaleDB: what stored aggregates say of it no longer holds."""

import numpy as np

from adapters.driven.postgres import wire
from adapters.driven.postgres.database import Connection
from adapters.driven.postgres.queries import load_queries
from adapters.driven.postgres.synthetic import PostgresSyntheticPurger
from adapters.driven.timescale.keeping import CHANGE_COMPRESSED, mark_stale, stale_spans

SQL = load_queries(__package__, "synthetic.sql")


class TimescaleSyntheticPurger(PostgresSyntheticPurger):
    """Implements `ports.driven.synthetic_store.SyntheticPurger` on TimescaleDB with its full licence."""

    async def _delete_samples(self, connection: Connection, tenant_id: int, series_ids: list[int]) -> int:
        # Counted apart: on TimescaleDB 2.23 a DELETE with RETURNING leaves compressed rows that an index scan finds.
        rows = await connection.fetch(SQL["samples"], tenant_id, series_ids)
        if rows:
            await connection.execute(CHANGE_COMPRESSED)
            await super()._delete_samples(connection, tenant_id, series_ids)
            buckets = np.array([wire.microseconds(row["bucket"]) for row in rows], np.int64)
            await mark_stale(connection, stale_spans(buckets))
        return sum(row["samples"] for row in rows)
