"""The catalog of series on PostgreSQL: resolving identities to ids, in bulk, on a cache miss."""

from collections.abc import Sequence
from typing import Final

import msgspec

from adapters.driven.postgres.database import Connection, Database, Role
from adapters.driven.postgres.queries import load_queries
from core.domain.series import SeriesIdentity
from ports.driven.series_catalog import LabelCardinality, Resolved

RESOLVE_TIMEOUT_S: Final = 20.0
"""10,000 new series take about 0.3 s; this allows for a tenant whose many creators queue."""

SQL = load_queries(__package__, "catalog.sql")


class PostgresSeriesCatalog:
    """Implements `ports.driven.series_catalog.SeriesCatalog`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def resolve(self, tenant_id: int, identities: Sequence[SeriesIdentity], *, series_max: int) -> Resolved:
        """See `SeriesCatalog.resolve`."""
        digests = [identity.digest for identity in identities]
        async with self._database.transaction(
            Role.WRITER, tenant_id=tenant_id, timeout_s=RESOLVE_TIMEOUT_S
        ) as connection:
            known = await _find(connection, tenant_id, digests)
            if len(known) < len(identities):
                active: int = await connection.fetchval(SQL["lock_catalog"], tenant_id)
                known |= await _find(connection, tenant_id, [digest for digest in digests if digest not in known])
                new = [identity for identity, digest in zip(identities, digests, strict=True) if digest not in known]
                known |= await _create(connection, tenant_id, new[: max(0, series_max - active)])
            series_ids = [known.get(digest) for digest in digests]
            if None not in series_ids:
                return Resolved(series_ids)
            worst = await connection.fetchrow(SQL["worst_label"], tenant_id)
        return Resolved(series_ids, LabelCardinality(worst["label"], worst["values"]) if worst else None)


async def _find(connection: Connection, tenant_id: int, digests: Sequence[bytes]) -> dict[bytes, int]:
    rows = await connection.fetch(SQL["find"], tenant_id, digests)
    return {row["digest"]: row["id"] for row in rows}


async def _create(connection: Connection, tenant_id: int, new: Sequence[SeriesIdentity]) -> dict[bytes, int]:
    if not new:
        return {}
    rows = await connection.fetch(
        SQL["create"],
        tenant_id,
        [identity.name for identity in new],
        [msgspec.json.encode(dict(identity.labels)).decode() for identity in new],
        [identity.source for identity in new],
        [identity.digest for identity in new],
    )
    await connection.execute(SQL["count_created"], tenant_id, len(new))
    return {row["digest"]: row["id"] for row in rows}
