"""When a cluster runs out, by snapshots whose line is known."""

from datetime import timedelta
from typing import Any

import pytest

from core.detection.capacity_outlook import Measure, instant_of, limit_of, name_of, outlook_of, utilisation_of, words_of
from core.detection.forecast import Forecast, Outlook
from core.domain.capacity import CapacityPlan, CapacitySnapshot, Resources
from core.domain.times import EPOCH

START = EPOCH + timedelta(days=20_000)


def snapshot(day: float, used: float, allocatable: float = 100.0, requested: float | None = None) -> CapacitySnapshot:
    """A cluster's cores on a day."""
    return CapacitySnapshot(
        cluster_id="prod-eu",
        ts=START + timedelta(days=day),
        nodes=(),
        allocatable=Resources(cpu_cores=allocatable, memory_bytes=0.0, pods=10.0),
        used=Resources(cpu_cores=used, memory_bytes=1.0, pods=1.0),
        requested=None if requested is None else Resources(cpu_cores=requested, memory_bytes=1.0, pods=1.0),
    )


def words(found: Forecast, now: float, snapshots: int = 21) -> str:
    """Of the cores, with the limit 75 %."""
    return words_of("cpu", found, now=now, limit=0.75, snapshots=snapshots, horizon_days=90.0)


def test_a_line_meets_the_limit_where_it_does() -> None:
    """40 % and one more a day are 75 % on day 35."""
    found = outlook_of([snapshot(day, 40.0 + day) for day in range(21)], "cpu", 0.75, horizon_days=90.0)
    assert found.outlook is Outlook.WITHIN
    at = instant_of(found.at_us)
    assert at is not None
    assert abs(at - (START + timedelta(days=35))) < timedelta(minutes=1)
    assert found.slope_per_day == pytest.approx(0.01)
    day = (START + timedelta(days=35)).date()
    assert words(found, 0.6) == f"cpu reaches 75 % on {day} (from {day} to {day})"


def test_requests_run_out_where_use_does_not() -> None:
    """74 of a hundred cores are requested after a month, one more each day; snapshots that do not tell are none."""
    told = [snapshot(day, 40.0, requested=44.0 + day) for day in range(31)]
    asked: Any = {"horizon_days": 90.0, "measure": Measure.REQUESTED}
    limit = limit_of(CapacityPlan(), "cpu", Measure.REQUESTED)
    found = outlook_of([snapshot(-3.0, 99.0), *told], "cpu", limit, **asked)
    at = instant_of(found.at_us)
    assert (found.outlook, limit) == (Outlook.WITHIN, 0.95)
    assert at is not None
    assert abs(at - (START + timedelta(days=51))) < timedelta(minutes=1)
    assert outlook_of(told, "cpu", 1.0, horizon_days=90.0).outlook is Outlook.NEVER
    assert utilisation_of(told[-1], "cpu", Measure.REQUESTED) == 0.74
    assert utilisation_of(told[-1], "memory", Measure.REQUESTED) is None
    assert utilisation_of(snapshot(0, 40.0), "cpu", Measure.REQUESTED) is None
    full = outlook_of([snapshot(day, 40.0, requested=99.0) for day in range(9)], "cpu", limit, **asked)
    name = name_of("cpu", Measure.REQUESTED)
    said = words_of(name, full, now=0.99, limit=limit, snapshots=9, horizon_days=90.0)
    assert said == "requested cpu is at 99 % and has reached 95 %"


def test_nodes_that_were_added_count() -> None:
    """Use that grows with what is allocatable never runs out."""
    grown = [snapshot(day, 40.0 + 4.0 * day, 100.0 + 10.0 * day) for day in range(21)]
    found = outlook_of(grown, "cpu", 0.75, horizon_days=90.0)
    assert found.outlook is Outlook.NEVER
    assert words(found, 0.4) == "cpu is at 40 % and does not grow towards 75 %"


def test_what_comes_after_the_horizon_is_not_within() -> None:
    """The words say so, and how fast it grows."""
    found = outlook_of([snapshot(day, 40.0 + day / 10.0) for day in range(21)], "cpu", 0.75, horizon_days=90.0)
    assert found.outlook is Outlook.NOT_WITHIN
    assert words(found, 0.42) == (
        "cpu is at 42 %, grows by 0.1 % of the cluster a day and does not reach 75 % within 90 days"
    )


def test_a_limit_that_is_passed_is_reached() -> None:
    """Whatever the line says."""
    found = outlook_of([snapshot(day, 90.0 - day) for day in range(10)], "cpu", 0.75, horizon_days=90.0)
    assert found.outlook is Outlook.REACHED
    assert words(found, 0.81) == "cpu is at 81 % and has reached 75 %"


@pytest.mark.parametrize(("count", "noun"), [(1, "1 snapshot"), (4, "4 snapshots")])
def test_too_few_snapshots_say_nothing(count: int, noun: str) -> None:
    """And the words how many it takes."""
    found = outlook_of([snapshot(day, 40.0) for day in range(count)], "cpu", 0.75, horizon_days=90.0)
    assert found.outlook is Outlook.UNKNOWN
    assert words(found, 0.4, count) == (
        f"cpu is at 40 %; when it reaches 75 % cannot be told from {noun}: it takes 5 or more of different times"
    )


def test_a_band_may_have_no_end() -> None:
    """The words do not make one up."""
    day_us = (START - EPOCH) // timedelta(microseconds=1)
    found = Forecast(outlook=Outlook.WITHIN, at_us=day_us, earliest_us=day_us)
    assert words(found, 0.5) == f"cpu reaches 75 % on {START.date()} (from {START.date()} on, with no telling how late)"
    flat = Forecast(outlook=Outlook.NEVER, earliest_us=day_us)
    assert words(flat, 0.5).endswith(f"does not grow towards 75 %; at worst it does on {START.date()}")


def test_nothing_allocatable_is_no_utilisation() -> None:
    """Nor is next to nothing an infinite one."""
    assert utilisation_of(snapshot(0, 1.0), "memory") is None
    assert utilisation_of(snapshot(0, 1.0, 5e-324), "cpu") == 1e9
    assert outlook_of([snapshot(day, 1.0) for day in range(9)], "memory", 1.0, horizon_days=9.0).outlook == "unknown"


def test_a_limit_is_the_plans() -> None:
    """Or all there is."""
    plan = CapacityPlan(utilisation_max={"cpu": 0.5})
    assert [limit_of(plan, "cpu"), limit_of(plan, "memory"), limit_of(None, "cpu")] == [0.5, 1.0, 1.0]
