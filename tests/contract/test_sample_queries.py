"""The sample reader port over samples: every query equals a slow oracle, wherever the points are kept."""

import pytest

from core.domain.times import DAY_US, HOUR_US, MINUTE_US, SECOND_US, TimeRange
from tests.contract.dataset import HISTORIES, RANGE, Dataset, stored_dataset
from tests.support import oracle
from tests.support.queries import (
    first_points,
    latest,
    lines_by,
    one_line,
    partials,
    raw_points,
    values_by_line,
)
from tests.support.storages import Store, Tenancy, ids

RANGES = [
    RANGE,
    TimeRange(RANGE.start_us + 7 * HOUR_US + 13, RANGE.start_us + 31 * HOUR_US + 17),
    TimeRange(RANGE.start_us - 3 * DAY_US, RANGE.start_us + DAY_US),
    TimeRange(RANGE.start_us + 97 * SECOND_US, RANGE.start_us + 98 * SECOND_US),
    TimeRange(RANGE.end_us + DAY_US, RANGE.end_us + 2 * DAY_US),
]
STEPS_US = [MINUTE_US, 5 * MINUTE_US, 7 * MINUTE_US, HOUR_US, DAY_US, 2 * DAY_US, 90 * MINUTE_US]


@pytest.fixture(scope="module", params=list(HISTORIES))
def history(request: pytest.FixtureRequest) -> str:
    """Return each of the ways in which points come to be stored; pytest runs all tests of one before the next."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def built(store: Store, history: str) -> list[Dataset]:
    """Return a place for the dataset of this store and history, which the first test of them fills."""
    return []


@pytest.fixture
async def dataset(history: str, built: list[Dataset], tenancy: Tenancy) -> Dataset:
    """Return the same points stored in each of the ways that there are."""
    if not built:
        built.append(await stored_dataset(tenancy, history))
    [kept] = built
    return Dataset(Tenancy(tenancy.storage, kept.tenancy.tenant), kept.series_ids, kept.model)


async def test_raw(dataset: Dataset) -> None:
    """Raw samples are the last acknowledged value of every (series, ts) in the range, for any choice of series."""
    async with dataset.tenancy.snapshot() as snapshot:
        for wanted in (dataset.series_ids, dataset.series_ids[2:3], []):
            for time_range in RANGES:
                points = await raw_points(snapshot, ids(wanted), time_range)
                expected = oracle.narrowed(dataset.model, wanted, time_range.start_us, time_range.end_us)
                assert oracle.rows(points) == oracle.model_rows(expected)


@pytest.mark.parametrize("first", [1, 100, 333])
async def test_pages(dataset: Dataset, first: int) -> None:
    """Pages by (ts, series), each past the last of the one before, hold every sample once, in order."""
    time_range = RANGES[1] if first == 1 else RANGE
    expected = oracle.narrowed(dataset.model, dataset.series_ids, time_range.start_us, time_range.end_us)
    in_order = sorted((ts_us, series_id, value) for (series_id, ts_us), value in expected.items())
    in_order = in_order[: 40 if first == 1 else len(in_order)]
    found: list[tuple[int, int, float]] = []
    async with dataset.tenancy.snapshot() as snapshot:
        while len(found) < len(in_order):
            after = found[-1][:2] if found else None
            page = await first_points(snapshot, ids(dataset.series_ids), time_range, first, after)
            assert page
            found += page
    assert found[: len(in_order)] == in_order


@pytest.mark.parametrize("ends", [False, True])
async def test_partials(dataset: Dataset, ends: bool) -> None:
    """Partial aggregates of every line and bucket equal the oracle's, for aligned and unaligned ranges and steps."""
    lines = lines_by(ids(dataset.series_ids), dataset.line_of)
    async with dataset.tenancy.snapshot() as snapshot:
        for time_range in RANGES:
            model = oracle.narrowed(dataset.model, dataset.series_ids, time_range.start_us, time_range.end_us)
            for step_us in STEPS_US:
                found = await partials(snapshot, lines, time_range, step_us, ends=ends)
                oracle.check_partials(found, oracle.summaries(model, dataset.line_of, step_us), ends=ends)


@pytest.mark.parametrize("ends", [False, True])
async def test_partials_on_one_line(dataset: Dataset, ends: bool) -> None:
    """The same for one line over all series, and over one."""
    async with dataset.tenancy.snapshot() as snapshot:
        for wanted in (dataset.series_ids, dataset.series_ids[:1]):
            for step_us in STEPS_US:
                found = await partials(snapshot, one_line(ids(wanted)), RANGE, step_us, ends=ends)
                model = oracle.narrowed(dataset.model, wanted, RANGE.start_us, RANGE.end_us)
                oracle.check_partials(found, oracle.summaries(model, lambda _: 0, step_us), ends=ends)


async def test_values(dataset: Dataset) -> None:
    """The values of each line, from which percentiles are made, are exactly the oracle's."""
    by_line = lines_by(ids(dataset.series_ids), dataset.line_of)
    all_in_one = one_line(ids(dataset.series_ids))
    async with dataset.tenancy.snapshot() as snapshot:
        for time_range in RANGES:
            model = oracle.narrowed(dataset.model, dataset.series_ids, time_range.start_us, time_range.end_us)
            expected: list[list[float]] = [[], [], []]
            for (series_id, _), value in model.items():
                expected[dataset.line_of(series_id)].append(value)
            assert await values_by_line(snapshot, by_line, time_range) == [sorted(line) for line in expected]
            assert await values_by_line(snapshot, all_in_one, time_range) == [sorted(model.values())]


async def test_latest(dataset: Dataset) -> None:
    """The newest sample of each series in a range is the oracle's; a series without one is absent."""
    async with dataset.tenancy.snapshot() as snapshot:
        for time_range in RANGES:
            for wanted in (dataset.series_ids, dataset.series_ids[4:], []):
                model = oracle.narrowed(dataset.model, wanted, time_range.start_us, time_range.end_us)
                assert await latest(snapshot, ids(wanted), time_range) == oracle.latest(model)


async def test_other_tenants_series(dataset: Dataset, neighbour: Tenancy) -> None:
    """Another tenant's series ids give nothing, by whatever method, also beside one's own."""
    own = await neighbour.series()
    await neighbour.append([(own, RANGE.start_us + 1, 4.0)])
    series_ids = ids([own, *dataset.series_ids])
    async with neighbour.snapshot() as snapshot:
        assert oracle.rows(await raw_points(snapshot, series_ids, RANGE)) == [(own, RANGE.start_us + 1, 4.0)]
        page = await first_points(snapshot, series_ids, RANGE, 10, None)
        assert page == [(RANGE.start_us + 1, own, 4.0)]
        assert await latest(snapshot, series_ids, RANGE) == {own: (RANGE.start_us + 1, 4.0)}
        assert await values_by_line(snapshot, one_line(series_ids), RANGE) == [[4.0]]
        for ends in (False, True):
            found = await partials(snapshot, one_line(series_ids), RANGE, HOUR_US, ends=ends)
            assert (found.counts.tolist(), found.sums.tolist()) == ([1], [4.0])
