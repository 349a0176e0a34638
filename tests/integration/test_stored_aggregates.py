"""Continuous aggregates on TimescaleDB: refreshing never reaches past what is kept, and never loses what is."""

from collections.abc import AsyncIterator

import asyncpg
import numpy as np
import pytest

from adapters.bootstrap import Storage, open_storage, run_migrations
from adapters.runtime.settings import DatabaseSettings, Settings
from core.domain.columns import Columns, empty_columns
from core.domain.definitions import RETENTION_DAYS_DEFAULT, retention_cutoff
from core.domain.errors import TooExpensive
from core.domain.series import series_identity
from core.domain.tenants import Limits
from core.domain.times import DAY_US, HOUR_US, MINUTE_US, TimeRange
from ports.driven.journal import JournalEntry
from ports.driven.sample_reader import Lines
from ports.driven.tenant_store import LimitOverrides
from tests.support.servers import Engine

pytestmark = pytest.mark.timescale

AGGREGATES = ("samples_5m", "samples_1h", "samples_1d")


@pytest.fixture
async def storage(timescale_database: Engine) -> AsyncIterator[Storage]:
    settings = Settings(database=DatabaseSettings(url=timescale_database.url, pool_size=3))
    run_migrations(settings)
    async with open_storage(settings) as opened:
        yield opened


async def test_refresh_windows_stay_inside_retention(storage: Storage, timescale_database: Engine) -> None:
    """Every refresh policy looks back for less than the shortest time for which chunks are kept."""
    connection = await asyncpg.connect(timescale_database.url)
    try:
        rows = await connection.fetch(
            "SELECT (config ->> 'start_offset')::interval AS back FROM timescaledb_information.jobs"
            " WHERE proc_name = 'policy_refresh_continuous_aggregate'"
        )
    finally:
        await connection.close()
    assert len(rows) == len(AGGREGATES)
    assert all(row["back"].days < RETENTION_DAYS_DEFAULT for row in rows)


async def test_expiry_takes_the_old_out_of_aggregates_and_leaves_the_rest(
    storage: Storage, timescale_database: Engine
) -> None:
    """After chunks are dropped and everything is refreshed, the aggregates hold exactly the samples that are left."""
    now_us = storage.clock.now_us()
    cutoff_us = retention_cutoff(now_us, RETENTION_DAYS_DEFAULT)
    tenant = await storage.tenants.create("kept", LimitOverrides())
    identity = series_identity("load", {"host": "a"}, None)
    resolved = await storage.catalog.resolve(tenant.id, [identity], series_max=10)
    series_id = resolved.series_ids[0]
    assert series_id is not None
    ts_us = np.arange(cutoff_us - 3 * DAY_US, cutoff_us + 3 * DAY_US, 7 * MINUTE_US, dtype=np.int64)
    points = Columns(np.full(len(ts_us), series_id, np.int32), ts_us, (ts_us % 1_000).astype(np.float64))
    await storage.journal.append(JournalEntry(tenant.id, points))
    await storage.keeping.settle(points_max=1_000_000)
    await storage.keeping.refresh_aggregates(now_us=now_us)
    assert await _counted(timescale_database) == [len(ts_us)] * len(AGGREGATES)
    assert await storage.keeping.drop_expired(now_us=now_us) == 3
    await storage.keeping.refresh_aggregates(now_us=now_us)
    left = int((ts_us >= cutoff_us).sum())
    assert await _counted(timescale_database) == [left] * len(AGGREGATES)
    assert (await storage.keeping.status()).samples == left
    assert left > HOUR_US // (7 * MINUTE_US)


async def test_samples_that_an_aggregate_answers_for_are_not_counted_as_read(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is on samples that a query reads: a month of stored aggregates is no month of samples."""
    monkeypatch.setattr("adapters.driven.timescale.reader.AGGREGATE_ROWS_MIN", 1)
    now_us = storage.clock.now_us()
    day_us = now_us // DAY_US * DAY_US - 2 * DAY_US
    tenant = await storage.tenants.create("frugal", LimitOverrides())
    resolved = await storage.catalog.resolve(tenant.id, [series_identity("load", {}, None)], series_max=10)
    series_ids = np.array(resolved.series_ids, np.int32)
    ts_us = np.arange(day_us, day_us + DAY_US, MINUTE_US, dtype=np.int64)
    points = Columns(np.full(len(ts_us), series_ids[0], np.int32), ts_us, np.ones(len(ts_us)))
    await storage.journal.append(JournalEntry(tenant.id, points))
    await storage.keeping.settle(points_max=1_000_000)
    await storage.keeping.refresh_aggregates(now_us=now_us)
    limits = Limits(
        samples_per_s=1e6, samples_burst=1e6, series_max=10, query_points_max=100, query_timeout_s=30.0
    )
    lines = Lines(series_ids, np.zeros(1, np.int32), 1)
    whole, ragged = TimeRange(day_us, day_us + DAY_US), TimeRange(day_us + 1, day_us + DAY_US)
    async with storage.reader.snapshot(tenant.id, limits) as snapshot:
        parts = await snapshot.settled_partials(lines, whole, HOUR_US, empty_columns(), ends=False)
        assert sum(int(part.counts.sum()) for part in parts) == len(ts_us)
        with pytest.raises(TooExpensive):
            await snapshot.settled_points(series_ids, ragged)


async def _counted(database: Engine) -> list[int]:
    connection = await asyncpg.connect(database.url)
    try:
        return [await connection.fetchval(f"SELECT coalesce(sum(count), 0) FROM sextant.{name}") for name in AGGREGATES]
    finally:
        await connection.close()
