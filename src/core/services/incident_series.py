"""The metrics around an incident, as its analysis looks at them.

Theory of operation. Suspects are compared with each other, so what cannot be read is left out by whole metrics: those
that are read are read of every host and service alike. The metrics that the incident's signals are about come first.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from core.detection.metric_meaning import CLIENT_LABEL, SERVER_LABEL, ObservedSeries
from core.detection.plan import RISK_METRIC
from core.domain.columns import overriding, rows_of
from core.domain.errors import TooExpensive
from core.domain.events import HOST_LABELS, SERVICE_LABEL
from core.domain.series import Labels, Series
from core.domain.tenants import Limits
from core.domain.times import TimeRange
from ports.driven.sample_reader import SampleReader, Snapshot

NAMES_MAX: Final = 1_000
"""Metrics that are looked through; a host with its services has a few hundred."""
SERIES_LOOKED_AT_MAX: Final = 200_000
"""Of all hosts and services, to find those of the incident: a second or two where nothing of it is cached."""
TOO_MANY: Final = f"there are more than {SERIES_LOOKED_AT_MAX:,} series to look through"
SERIES_MAX: Final = 2_000
"""Read; every one of them is weighed, which takes a fraction of a millisecond each."""
POINTS_MAX: Final = 2_000_000
"""Read; 300 series for an hour at a sample a second, with some room. 40 MB."""
LIMITS: Final = Limits(
    samples_per_s=1.0, samples_burst=1.0, series_max=1, query_points_max=POINTS_MAX, query_timeout_s=20.0
)
"""As much as one analysis may read, whatever a tenant's own limits on queries are."""
ENTITY_LABELS: Final = (*HOST_LABELS, SERVICE_LABEL, CLIENT_LABEL, SERVER_LABEL)

ByMetric = Mapping[str, Sequence[Series]]


class SeriesRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which samples are wanted."""

    tenant_id: int
    entities: frozenset[str]
    """Hosts and services."""
    metrics: Sequence[str]
    """Looked at first, the others after them in the order of the alphabet."""
    time_range: TimeRange


class SeriesFound(msgspec.Struct, frozen=True, kw_only=True):
    """What was read."""

    series: Sequence[ObservedSeries] = ()
    left_out: str | None = None
    """Why metrics were left out, where they were."""


async def read_series(reader: SampleReader, wanted: SeriesRequest) -> SeriesFound:
    """The series of these hosts and services, and of the calls between them, with their samples in the range.

    What is too much is left out. Raises `Unavailable`.
    """
    names = await _names(reader, wanted)
    async with reader.snapshot(wanted.tenant_id, LIMITS) as snapshot:
        found, left_out = await _find(snapshot, names, wanted.entities)
    while found:
        try:
            async with reader.snapshot(wanted.tenant_id, LIMITS) as snapshot:
                return SeriesFound(series=await _observe(snapshot, found, wanted.time_range), left_out=left_out)
        except TooExpensive:
            found = {name: found[name] for name in list(found)[: len(found) // 2]}
            left_out = f"they have more than {POINTS_MAX:,} samples around it"
    return SeriesFound(left_out=left_out)


async def _names(reader: SampleReader, wanted: SeriesRequest) -> list[str]:
    known = await reader.names(wanted.tenant_id, "", NAMES_MAX)
    names = dict.fromkeys([*wanted.metrics, *known])
    names.pop(RISK_METRIC, None)  # Detection's own opinion of the others is no evidence beside them.
    return list(names)[:NAMES_MAX]


async def _find(snapshot: Snapshot, names: Sequence[str], entities: Collection[str]) -> tuple[ByMetric, str | None]:
    """The series of `entities`, and why names were left out."""
    found: dict[str, Sequence[Series]] = {}
    count = looked_at = 0
    for name in names:
        try:
            # All of a name at once: who reads it next, detection or another analysis, finds it in the reader's cache.
            table = await snapshot.find(name, ())
        except TooExpensive:
            return found, TOO_MANY
        looked_at += len(table.series)
        if looked_at > SERIES_LOOKED_AT_MAX:
            return found, TOO_MANY
        concerned = [one for one in table.series if _concerns(one.labels, entities)]
        count += len(concerned)
        if count > SERIES_MAX:
            return found, f"its hosts and services have more than {SERIES_MAX:,} series"
        if concerned:
            found[name] = concerned
    return found, None


def _concerns(labels: Labels, entities: Collection[str]) -> bool:
    return any(labels.get(label) in entities for label in ENTITY_LABELS)


async def _observe(snapshot: Snapshot, found: ByMetric, time_range: TimeRange) -> list[ObservedSeries]:
    by_id = {one.series_id: one for some in found.values() for one in some}
    series_ids = np.array(sorted(by_id), np.int32)
    settled = await snapshot.settled_points(series_ids, time_range)
    points = overriding(settled, snapshot.head(series_ids, time_range))
    if len(points) > POINTS_MAX:
        raise TooExpensive(f"more than {POINTS_MAX:,} samples", limit=POINTS_MAX)
    rows, counts = rows_of(points, series_ids)
    ends = np.cumsum(counts)
    return [
        ObservedSeries(
            by_id[series_id].name,
            by_id[series_id].labels,
            points.ts_us[rows[start:end]],
            points.values[rows[start:end]],
        )
        for series_id, start, end in zip(series_ids.tolist(), (ends - counts).tolist(), ends.tolist(), strict=True)
        if end > start
    ]
