"""`sextant telemetry`: golden signals with their units, short enough for a terminal."""

import json
from typing import cast

from adapters.driving.cli.telemetry import share_text, short_text, size_text, value_text
from adapters.runtime.clock import SystemClock
from core.domain import telemetry as names
from core.domain.times import MINUTE_US
from tests.support.cluster_telemetry import pod_samples, write_pods
from tests.support.storages import Storage
from tests.unit.cli.served_api import Commands, ServedApi

HOUR = 60
VALUES = {
    names.LATENCY_P50: 0.021,
    names.LATENCY_P95: 0.25,
    names.LATENCY_P99: 1.5,
    names.THROUGHPUT: 1_234.0,
    names.ERROR_RATE: 0.0125,
    names.CPU_USAGE: 0.5,
    names.CPU_REQUEST: 2.0,
    names.MEMORY_USAGE: 3.0 * 2**30,
    names.IO_READ: 2_048.0,
}


def with_pods(api: ServedApi) -> None:
    """The last hour of one workload of one pod, and of one about which only its cpu is known."""
    start_us = SystemClock().now_us() - HOUR * MINUTE_US
    samples = [pod_samples(metric, [value] * HOUR, start_us) for metric, value in VALUES.items()]
    samples.append(pod_samples(names.CPU_USAGE, [0.25] * HOUR, start_us, workload="w", pod="w-1", namespace="x"))
    api.within(write_pods(cast("Storage", api.storage), api.tenant.id, samples))


def test_golden_signals_of_each_workload(api: ServedApi, sextant: Commands) -> None:
    """What has no samples is a dash, never 0."""
    assert "no clusters" in sextant("telemetry", "clusters")
    assert "sextant:" in sextant.refused("telemetry", "golden", "prod-eu")
    with_pods(api)
    assert sextant("telemetry", "clusters") == "prod-eu\n"
    assert json.loads(sextant("telemetry", "clusters", "--json")) == ["prod-eu"]
    lines = [line.split() for line in sextant("telemetry", "golden", "prod-eu").splitlines()]
    assert ["shop/api", "1", "21/250/1500", "ms", "1,234", "1.25", "%", "0.5", "(25%)", "3", "GiB"] in lines
    assert ["x/w", "1", "-", "-", "-", "0.25", "-"] in lines
    assert sextant("telemetry", "golden", "prod-eu", "--hours", "0.001").startswith("no telemetry of prod-eu in ")
    assert sextant("telemetry", "show", "prod-eu", "--hours", "0.001").startswith("no telemetry of it in the last ")
    narrowed = sextant("telemetry", "golden", "prod-eu", "--namespace", "x", "--hours", "0.5")
    assert "shop/api" not in narrowed
    assert json.loads(sextant("telemetry", "golden", "prod-eu", "--json"))["workloads"]


def test_standard_metrics_of_a_scope(api: ServedApi, sextant: Commands) -> None:
    """Each value with its unit."""
    with_pods(api)
    scopes: list[tuple[str, ...]] = [(), ("--namespace", "shop")]
    scopes += [("--namespace", "shop", *part) for part in (("--workload", "api"), ("--pod", "api-1"))]
    for scope in scopes:
        printed = sextant("telemetry", "show", "prod-eu", *scope, "--hours", "2")
        assert printed.startswith("1 pod, " if scope else "2 pods, ")
        lines = {line.split()[0]: line.split()[2:] for line in printed.splitlines()[1:]}
        assert lines["latency_p50"] == ["21", "ms"] * 5
        assert lines["throughput"] == ["1,234/s"] * 5
        assert lines["io_read"] == ["2", "KiB/s"] * 5
    assert json.loads(sextant("telemetry", "show", "prod-eu", "--json"))["metrics"]["memory"]["points"]


def test_a_scope_is_typed_whole(sextant: Commands) -> None:
    """A workload is one of a namespace."""
    assert "need --namespace" in sextant.refused("telemetry", "show", "c", "--pod", "p", status=2)
    words = ("telemetry", "show", "c", "--namespace", "n", "--pod", "p", "--workload", "w")
    assert "not both" in sextant.refused(*words, status=2)
    assert sextant.refused("telemetry", "show", "a/../b")


def test_numbers_are_short() -> None:
    """Three digits, thousands apart, the largest unit that fits."""
    assert [short_text(number) for number in (None, 0.0, 0.01234, 12.345, 123_456.7)] == [
        "-", "0", "0.0123", "12.3", "123,457"
    ]  # fmt: skip
    assert [size_text(size) for size in (None, 1_023.0, 1_024.0, 1.5 * 2**40, 2.0**60)] == [
        "-", "1,023 B", "1 KiB", "1.5 TiB", "1,048,576 TiB"
    ]  # fmt: skip
    assert share_text(0.12345) == "12.3 %"
    assert [value_text(value, "seconds") for value in (0.5, 90.0)] == ["500 ms", "90 s"]
    assert value_text(2.0, "cores") == "2"
