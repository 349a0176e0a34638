"""The metrics around an incident, read from samples in memory."""

from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from core.detection.plan import RISK_METRIC
from core.domain.times import MINUTE_US, TimeRange
from core.services import incident_series
from core.services.incident_series import SeriesFound, SeriesRequest, read_series
from tests.support.storages import RECENT_US, Tenancy, memory_store, new_tenancy, settle_all

AROUND = TimeRange(RECENT_US, RECENT_US + 10 * MINUTE_US)
EVERYTHING = ("cpu", "cpu", "cpu", "latency", "memory")


@pytest.fixture
async def tenancy() -> AsyncIterator[Tenancy]:
    """Yield a tenant with an hour of samples of several hosts, services and calls, some of them settled."""
    async with memory_store().open() as storage:
        tenancy = await new_tenancy(storage)
        for name, labels in _MEASURED:
            series_id = await tenancy.series(name, **labels)
            for minutes in (range(0, 60, 2), range(1, 60, 2)):
                await tenancy.append([(series_id, RECENT_US + minute * MINUTE_US, float(minute)) for minute in minutes])
                if name == "cpu" and minutes[0] == 0:
                    await settle_all(storage)
        yield tenancy


_MEASURED: Sequence[tuple[str, Mapping[str, str]]] = (
    ("cpu", {"host": "db-1"}),
    ("cpu", {"host": "db-2"}),
    ("cpu", {"pod": "shop-1", "service": "shop", "node": "db-1"}),
    ("cpu", {"service": "shop"}),
    ("latency", {"client": "web", "server": "shop"}),
    ("memory", {"instance": "db-1"}),
    ("memory", {"region": "db-1"}),
    (RISK_METRIC, {"host": "db-1", "fingerprint": "db-1:cpu"}),
)


async def read(tenancy: Tenancy, *, metrics: Sequence[str] = (), time_range: TimeRange = AROUND) -> SeriesFound:
    """What is read around db-1 and shop."""
    entities = frozenset({"db-1", "shop"})
    wanted = SeriesRequest(tenant_id=tenancy.id, entities=entities, metrics=metrics, time_range=time_range)
    return await read_series(tenancy.storage.reader, wanted)


async def test_what_concerns_it(tenancy: Tenancy) -> None:
    """Series of its hosts and services and of calls to and from them, with all samples in the range, settled or not."""
    found = await read(tenancy)
    assert found.left_out is None
    assert sorted(one.name for one in found.series) == sorted(EVERYTHING)
    assert {"host": "db-2"} not in [one.labels for one in found.series]
    for one in found.series:
        assert one.ts_us.tolist() == [RECENT_US + minute * MINUTE_US for minute in range(10)]
        assert one.values.tolist() == [float(minute) for minute in range(10)]


async def test_nothing_then(tenancy: Tenancy) -> None:
    """What has no samples in the range is left out, without a word."""
    found = await read(tenancy, time_range=TimeRange(RECENT_US - 10 * MINUTE_US, RECENT_US))
    assert (found.series, found.left_out) == ([], None)


@pytest.mark.parametrize(
    ("limit", "value", "names"),
    [
        ("SERIES_MAX", 4, ["memory", "cpu", "cpu", "cpu"]),
        ("SERIES_LOOKED_AT_MAX", 6, ["memory", "cpu", "cpu", "cpu"]),
        ("POINTS_MAX", 49, ["memory"]),
        ("SERIES_MAX", 0, []),
        ("POINTS_MAX", 9, []),
    ],
)
async def test_whole_metrics_are_left_out(
    tenancy: Tenancy, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, names: list[str]
) -> None:
    """Those that the signals are about are read first; of a metric all series are read or none."""
    monkeypatch.setattr(incident_series, limit, value)
    found = await read(tenancy, metrics=["error", "memory"])
    assert sorted(one.name for one in found.series) == sorted(names)
    assert found.left_out is not None
