"""Samples for query tests, and the ways in which they come to be stored."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import numpy as np

from core.domain.times import DAY_US, SECOND_US, TimeRange
from tests.support import oracle
from tests.support.storages import RECENT_US, Row, Tenancy, settle_all

SERIES = 6
POINTS_PER_SERIES = 400
RANGE = TimeRange(RECENT_US, RECENT_US + 2 * DAY_US)
COMPRESS_ALL_US = RANGE.end_us + 2 * DAY_US


@dataclass(frozen=True)
class Dataset:
    """What was acknowledged: series ids, ascending, and the last value of every (series, ts)."""

    tenancy: Tenancy
    series_ids: list[int]
    model: Mapping[tuple[int, int], float]

    def line_of(self, series_id: int) -> int:
        """Three lines of two series each."""
        return self.series_ids.index(series_id) % 3


async def _nothing(tenancy: Tenancy) -> None:
    pass


async def _settle(tenancy: Tenancy) -> None:
    await settle_all(tenancy.storage, points_max=700)


async def _keep(tenancy: Tenancy) -> None:
    await settle_all(tenancy.storage)
    await tenancy.storage.keeping.refresh_aggregates(now_us=COMPRESS_ALL_US)
    await tenancy.storage.keeping.compress(older_than_us=COMPRESS_ALL_US)


Upkeep = Callable[[Tenancy], Awaitable[None]]
HISTORIES: Mapping[str, tuple[Upkeep, Upkeep]] = {
    "unsettled": (_nothing, _nothing),
    "settled": (_nothing, _settle),
    "half settled": (_settle, _nothing),
    "settled twice": (_settle, _settle),
    "half kept": (_keep, _nothing),
    "kept, then settled": (_keep, _settle),
    "kept twice": (_keep, _keep),
}
"""What happens after the first half of the points, and after the second."""


async def stored_dataset(tenancy: Tenancy, history: str, name: str = "cpu") -> Dataset:
    """Appends points in random order, of which the second half rewrites and precedes many of the first."""
    series_ids = [await tenancy.series(name, host=str(n)) for n in range(SERIES)]
    halves = _random_rows(series_ids, seed=7)
    for rows, upkeep in zip(halves, HISTORIES[history], strict=True):
        for start in range(0, len(rows), 500):
            await tenancy.append(rows[start : start + 500])
        await upkeep(tenancy)
    return Dataset(tenancy, series_ids, oracle.last_values(row for rows in halves for row in rows))


def _random_rows(series_ids: list[int], seed: int) -> tuple[list[Row], list[Row]]:
    random = np.random.default_rng(seed)
    count = SERIES * POINTS_PER_SERIES
    # A grid of 97 s makes the same instant of several series, and of one series, common.
    ticks = random.integers(0, (RANGE.end_us - RANGE.start_us) // (97 * SECOND_US), count)
    chosen = random.integers(0, SERIES, count)
    values = random.normal(0, 1, count).cumsum() + random.choice([0.0, 1e6, -1e9], count, p=[0.98, 0.01, 0.01])
    rows = [
        (series_ids[one], RANGE.start_us + tick * 97 * SECOND_US, value)
        for one, tick, value in zip(chosen.tolist(), ticks.tolist(), values.tolist(), strict=True)
    ]
    half = count // 2
    rewritten = [(series_id, ts_us, value + 1) for series_id, ts_us, value in rows[:half:5]]
    return rows[:half], rows[half:] + rewritten
