"""The catalog of series in memory."""

from collections import defaultdict
from collections.abc import Sequence

from adapters.driven.memory.database import MemoryDatabase, SeriesRow
from core.domain.series import SeriesIdentity
from ports.driven.series_catalog import LabelCardinality, Resolved


class MemorySeriesCatalog:
    """Implements `SeriesCatalog`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def resolve(self, tenant_id: int, identities: Sequence[SeriesIdentity], *, series_max: int) -> Resolved:
        """Finds or creates the series; None for new ones past `series_max`."""
        series_ids = [self._find_or_create(tenant_id, identity, series_max) for identity in identities]
        worst = self._worst_label(tenant_id) if None in series_ids else None
        return Resolved(series_ids, worst)

    def _find_or_create(self, tenant_id: int, identity: SeriesIdentity, series_max: int) -> int | None:
        database = self._database
        known = database.series_ids.get((tenant_id, identity))
        if known is not None:
            return known
        tenant = database.tenants[tenant_id]
        if tenant.series_active >= series_max:
            return None
        series_id = len(database.series) + 1
        database.series[series_id] = SeriesRow(series_id, tenant_id, identity, database.clock.now_us())
        database.series_ids[tenant_id, identity] = series_id
        tenant.series_active += 1
        return series_id

    def _worst_label(self, tenant_id: int) -> LabelCardinality | None:
        values: defaultdict[str, set[str]] = defaultdict(set)
        for row in self._database.series_of(tenant_id):
            for label, value in row.identity.labels:
                values[label].add(value)
        if not values:
            return None
        worst = max(values, key=lambda label: (len(values[label]), label))
        return LabelCardinality(worst, len(values[worst]))
