"""The simulator: what was planted is found, nothing else is, and all of it follows from the seed."""

from collections import Counter
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from adapters.driving.cli.simulation import (
    BURST_US,
    CPU,
    ERROR_METRIC,
    HOSTS_MAX,
    LENGTH_US_MAX,
    LENGTH_US_MIN,
    MEMORY,
    METRICS,
    Simulation,
)
from core.detection.batch import detect_batch
from core.detection.plan import DetectionPlan
from core.domain.anomalies import AnomalyFinding, Detector
from core.domain.columns import Columns, concat_columns
from core.domain.errors import InvalidInput
from core.domain.events import EventSeverity, EventSpec
from core.domain.times import DAY_US, HOUR_US, MINUTE_US, parse_time

END_US = parse_time("2025-12-13T04:20:00Z", "end")
PLANTED = {
    ("host-stressed:cpu", Detector.VARIANCE),
    ("host-stressed:cpu", Detector.SPIKE),
    ("host-stressed:memory", Detector.TREND),
    ("host-stressed:disk", Detector.TREND),
}


def findings(simulation: Simulation, since_us: int = 0) -> list[tuple[str, AnomalyFinding]]:
    """With the series' fingerprints, of the samples from `since_us` on, by the default plan."""
    columns, fingerprints = [], []
    for number, readings in enumerate(simulation.readings()):
        wanted = readings.ts_us >= since_us
        ids = np.full(int(wanted.sum()), number, np.int32)
        columns.append(Columns(ids, readings.ts_us[wanted], readings.values[wanted]))
        fingerprints.append(f"{readings.host.name}:{readings.metric.name}")
    found = detect_batch(concat_columns(columns), DetectionPlan())
    return [(fingerprints[one.series_id], one) for one in found]


def by_classic(found: list[tuple[str, AnomalyFinding]]) -> set[tuple[str, Detector]]:
    return {(name, one.detector) for name, one in found if one.detector is not Detector.STREAMING}


def errors_of(simulation: Simulation) -> list[EventSpec]:
    return [event for event in simulation.events() if event.metric == ERROR_METRIC]


def instant(event: EventSpec) -> int:
    assert event.ts is not None
    return parse_time(event.ts, "ts")


def test_the_reference_findings() -> None:
    """What the default simulation shows on the stressed host, in words."""
    found = findings(Simulation(end_us=END_US))
    assert [one.text(name) for name, one in found if one.detector is not Detector.STREAMING] == [
        "host-stressed:cpu variance escalated 4.30x (risk 1.00)",
        "host-stressed:cpu spiked 46 times up to 94.98 (risk 0.90)",
        "host-stressed:memory rose 132% (risk 1.00)",
        "host-stressed:disk rose 60% (risk 0.60)",
    ]


@pytest.mark.parametrize("quarter", range(16))
def test_the_escalation_is_as_planted_wherever_windows_begin(quarter: int) -> None:
    """4.3 times, at whatever quarter of an hour the simulation ends."""
    found = findings(Simulation(end_us=END_US + quarter * 15 * MINUTE_US))
    escalated = next(one for name, one in found if name == "host-stressed:cpu" and one.detector is Detector.VARIANCE)
    assert (escalated.observed / escalated.usual_low) ** 2 == pytest.approx(4.3, abs=0.05)


@pytest.mark.parametrize("seed", range(24))
def test_everything_planted_is_found_and_nothing_else(seed: int) -> None:
    """Wherever the detectors' windows begin; and by a look that comes a while after the end."""
    end_us = END_US + seed * 37 * MINUTE_US
    simulation = Simulation(seed, end_us=end_us)
    for late_us in (0, 15 * MINUTE_US, 2 * HOUR_US):
        found = findings(simulation, end_us + late_us - 48 * HOUR_US)
        assert by_classic(found) == PLANTED
        assert {name for name, _ in found} == {name for name, _ in PLANTED}


@pytest.mark.parametrize("length_us", [LENGTH_US_MIN, DAY_US, 7 * DAY_US, 14 * DAY_US])
def test_any_length_and_number_of_hosts(length_us: int) -> None:
    """Every stressed host falls ill within the last two days; no healthy one is ever found by any detector."""
    simulation = Simulation(5, end_us=END_US, length_us=length_us, hosts=5)
    assert [host.name for host in simulation.hosts] == [
        "host-healthy", "host-stressed", "host-healthy-2", "host-stressed-2", "host-healthy-3",
    ]  # fmt: skip
    every = PLANTED | {(name.replace("stressed", "stressed-2"), detector) for name, detector in PLANTED}
    assert by_classic(findings(simulation, END_US - 48 * HOUR_US)) >= every
    assert not [text for text, _ in findings(simulation) if "healthy" in text]


def test_readings_are_percent_at_their_intervals() -> None:
    """From start to end, without a gap."""
    for readings in Simulation(3, end_us=END_US).readings():
        assert readings.ts_us[0] == END_US - 48 * HOUR_US
        assert (np.diff(readings.ts_us) == readings.metric.every_us).all()
        assert readings.ts_us[-1] == END_US - readings.metric.every_us
        assert readings.values.min() >= 0.0
        assert readings.values.max() <= 100.0


def test_the_same_seed_gives_the_same_and_another_one_does_not() -> None:
    """To the last id, however many hosts there are beside; so sending twice adds nothing."""
    first, again = (list(Simulation(1, end_us=END_US).events()) for _ in range(2))
    assert first == again
    assert list(Simulation(1, end_us=END_US).points()) == list(Simulation(1, end_us=END_US).points())
    assert list(Simulation(1, end_us=END_US, hosts=4).events())[: len(first)] == first
    other = list(Simulation(2, end_us=END_US).events())
    assert not {event.id for event in first} & {event.id for event in other}
    assert [event.value for event in first] != [event.value for event in other]


def test_every_reading_is_a_sample_and_an_event() -> None:
    """Both are marked as synthetic; every event has an id of its own."""
    simulation = Simulation(end_us=END_US)
    events, points = list(simulation.events()), list(simulation.points())
    assert 2_280 <= len(events) <= 2_320
    assert len({event.id for event in events}) == len(events)
    assert all(event.synthetic and event.id is not None and event.id.version == 5 for event in events)
    assert all(END_US - 48 * HOUR_US <= instant(event) < END_US for event in events)
    readings = [event for event in events if event.severity is EventSeverity.INFO]
    assert Counter(event.metric for event in readings) == {
        metric.name: 2 * 48 * HOUR_US // metric.every_us for metric in METRICS
    }
    assert [(point.name, point.value, point.timestamp, point.source) for point in points] == [
        (event.metric, event.value, event.ts, "sextant-simulator") for event in readings
    ]
    assert [msgspec.json.decode(point.labels) for point in points] == [
        {"host": event.host, "synthetic": "true"} for event in readings
    ]


@pytest.mark.parametrize("seed", range(8))
def test_errors_come_in_bursts_with_a_spike_and_late_memory(seed: int) -> None:
    """On the stressed host alone, some 13 within four minutes of a spike, while memory is above two thirds."""
    simulation = Simulation(seed, end_us=END_US)
    cpu, memory = (
        dict(zip(readings.ts_us.tolist(), readings.values.tolist(), strict=True))
        for readings in simulation.readings()
        if readings.host.stressed and readings.metric in (CPU, MEMORY)
    )
    errors = errors_of(simulation)
    times = [instant(event) for event in errors]
    starts = [
        0,
        *(at for at, (before, after) in enumerate(pairwise(times), 1) if after - before > BURST_US),
        len(times),
    ]
    assert len(starts) - 1 >= 12
    for first, end in pairwise(starts):
        spike_us = times[first] // CPU.every_us * CPU.every_us
        assert 12 <= end - first <= 14
        assert times[end - 1] < spike_us + BURST_US
        assert cpu[spike_us] > 75.0
        assert memory[spike_us // MEMORY.every_us * MEMORY.every_us] > 60.0
    for event in errors:
        assert (event.host, event.severity, event.value) == ("host-stressed", EventSeverity.ERROR, None)
        assert event.message
        assert event.service


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("seed", {"seed": -1}),
        ("length", {"length_us": LENGTH_US_MIN - 1}),
        ("length", {"length_us": LENGTH_US_MAX + 1}),
        ("hosts", {"hosts": 0}),
        ("hosts", {"hosts": HOSTS_MAX + 1}),
    ],
)
def test_numbers_out_of_bounds_are_refused(field: str, arguments: dict[str, int]) -> None:
    """Naming what is wrong."""
    with pytest.raises(InvalidInput) as refused:
        Simulation(**{"end_us": END_US, **arguments})
    assert refused.value.field == field
