"""The catalog of series: one row per (tenant, name, labels, source), with a small integer id that never changes."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from core.domain.series import SeriesIdentity


class LabelCardinality(msgspec.Struct, frozen=True):
    """How many distinct values one label has among a tenant's series."""

    label: str
    values: int


class Resolved(msgspec.Struct, frozen=True):
    """The ids of series, parallel to the identities asked for; None where a new series was over the limit."""

    series_ids: list[int | None]
    worst_label: LabelCardinality | None = None
    """Where some were refused: the label with the most values, which is the one that explodes."""


class SeriesCatalog(Protocol):
    """Resolving identities on the way in. Safe to call concurrently and to repeat."""

    async def resolve(self, tenant_id: int, identities: Sequence[SeriesIdentity], *, series_max: int) -> Resolved:
        """Finds or creates the series, committed before it returns.

        `identities` are distinct. Known series are found whatever the limit; new ones are created in order until
        the tenant has `series_max` active series. Raises `Unavailable`.
        """
        ...
