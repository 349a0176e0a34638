"""What the agent says of this machine."""

import math
import time

import msgspec
import psutil
import pytest

from adapters.driving.cli.host_metrics import COUNTERS, HostSampler, counter_definitions, cpu_shares
from core.domain.definitions import MetricType
from core.domain.points import Point
from core.domain.series import series_identity
from core.domain.times import parse_time

NOW = "2026-01-01T00:00:00Z"
NOW_US = parse_time(NOW, "")


def sampled(*, per_cpu: bool = False) -> list[Point]:
    sampler = HostSampler({"host": "a"}, per_cpu=per_cpu)
    before = psutil.cpu_times()
    while sum(psutil.cpu_times()) - sum(before) < 0.05:
        time.sleep(0.01)
    return sampler.sample(NOW_US)


def test_every_metric_is_one_that_the_server_takes() -> None:
    """A valid name, finite value, valid labels with the host, the given time; no series twice."""
    points = sampled(per_cpu=True)
    labels = [msgspec.json.decode(point.labels, type=dict[str, str]) for point in points]
    identities = {series_identity(point.name, own, None) for point, own in zip(points, labels, strict=True)}
    assert len(identities) == len(points) > 30
    assert all(math.isfinite(point.value) and point.timestamp == NOW for point in points)
    assert all(own["host"] == "a" for own in labels)


def test_the_usual_metrics_are_there() -> None:
    """One of each group."""
    values = {point.name: point.value for point in sampled()}
    assert 0 <= values["host_cpu_usage_percent"] <= 100
    assert values["host_cpu_cores"] == psutil.cpu_count()
    assert 0 < values["host_memory_used_bytes"] < values["host_memory_total_bytes"]
    assert values["host_uptime_seconds"] > 0
    assert values["host_processes"] >= 1
    assert {"host_load1", "host_load5", "host_load15", "host_swap_total_bytes"} <= set(values)


def test_counters_are_defined_as_such_and_nothing_else_is() -> None:
    """The definitions that are declared match the names that end in _total."""
    assert {definition.name for definition in counter_definitions()} == set(COUNTERS)
    assert all(definition.type is MetricType.COUNTER for definition in counter_definitions())
    assert {point.name for point in sampled(per_cpu=True) if point.name.endswith("_total")} <= set(COUNTERS)
    units = {definition.name: definition.unit for definition in counter_definitions()}
    assert units["host_disk_read_bytes_total"] == "bytes"
    assert units["host_disk_busy_seconds_total"] == "seconds"
    assert units["host_disk_reads_total"] is None


def test_shares_of_processor_time_add_up() -> None:
    """Over whatever interval; guest time is within user time; a counter that fell back counts as none."""
    before = {"user": 10.0, "system": 5.0, "idle": 100.0, "guest": 1.0}
    after = {"user": 10.1, "system": 4.0, "idle": 100.3, "guest": 2.0}
    assert cpu_shares(before, after) == {"user": pytest.approx(25), "system": 0.0, "idle": pytest.approx(75)}


def test_no_time_passed_means_no_shares() -> None:
    """Absent, not zero."""
    times = {"user": 10.0, "idle": 100.0}
    assert cpu_shares(times, times) == {}


def test_a_group_that_cannot_be_read_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """And does not take the others with it."""

    def refuse(**_: object) -> None:
        raise PermissionError("no /proc here")

    monkeypatch.setattr(psutil, "disk_io_counters", refuse)
    names = {point.name for point in sampled()}
    assert not any(name.startswith("host_disk_") for name in names)
    assert "host_memory_used_bytes" in names
