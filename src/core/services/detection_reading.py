"""The samples that detection looks at, and which of them are a counter's."""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from core.detection.metric_meaning import meaning_of
from core.domain.columns import Columns, Int32s, empty_columns, overriding
from core.domain.definitions import RETENTION_DAYS_DEFAULT, MetricDefinition, MetricType, retention_cutoff
from core.domain.series import Series
from core.domain.times import TimeRange
from ports.driven.sample_reader import Snapshot


class Samples(msgspec.Struct, frozen=True, eq=False):
    """Of some series, as they were sent."""

    points: Columns
    """Sorted by (series, ts), unique."""
    counters: Int32s
    """Those of the series, ascending, that are counters: by their metric's name or its definition."""


async def samples_of(snapshot: Snapshot, series: Sequence[Series], time_range: TimeRange, *, now_us: int) -> Samples:
    """What is kept of `series` (ascending by id) in the range, settled or not. Raises `TooExpensive` past the
    snapshot's limits.

    What a metric's retention keeps no longer is left out, because it may be deleted at any time.
    """
    if not series:
        return Samples(empty_columns(), np.empty(0, np.int32))
    series_ids = np.array([one.series_id for one in series], np.int32)
    points = overriding(await snapshot.settled_points(series_ids, time_range), snapshot.head(series_ids, time_range))
    definitions = {name: await snapshot.definition(name) for name in {one.name for one in series}}
    cutoffs = {name: _cutoff_us(definition, now_us) for name, definition in definitions.items()}
    kept_from = np.array([cutoffs[one.name] for one in series], np.int64)
    kept = points.ts_us >= kept_from[np.searchsorted(series_ids, points.series_ids)]
    counted = np.array([_is_counter(one.name, definitions) for one in series], np.bool_)
    return Samples(points if kept.all() else points.take(kept), series_ids[counted])


def _cutoff_us(definition: MetricDefinition | None, now_us: int) -> int:
    """The oldest instant that a metric's retention keeps."""
    return retention_cutoff(now_us, definition.retention_days if definition is not None else RETENTION_DAYS_DEFAULT)


def _is_counter(name: str, definitions: Mapping[str, MetricDefinition | None]) -> bool:
    definition = definitions[name]
    return meaning_of(name).counter or (definition is not None and definition.type is MetricType.COUNTER)
