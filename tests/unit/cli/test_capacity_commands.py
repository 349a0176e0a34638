"""`sextant capacity`: what a cluster has, when it runs out, and what its workloads should request."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from adapters.driving.cli.capacity import usd_text
from adapters.runtime.clock import SystemClock
from core.domain import telemetry as names
from core.domain.capacity import NodeType, Resources
from core.domain.times import HOUR_US, MINUTE_US
from tests.support.cluster_rows import snapshot
from tests.support.cluster_telemetry import pod_samples, write_pods
from tests.support.storages import Storage
from tests.unit.cli.served_api import Commands, ServedApi

DAYS = 20


def with_snapshots(api: ServedApi, requested: Resources | None = None) -> None:
    """A cluster whose cpu fills by half a core a day."""
    now = datetime.now(UTC).replace(microsecond=0)
    nodes = (NodeType(instance_type="m6i.large", count=3, cost_usd_per_hour=0.5),)
    kept = [
        snapshot(
            ts=now - timedelta(days=ago),
            nodes=nodes,
            allocatable=Resources(cpu_cores=24.0, memory_bytes=64.0 * 2**30, pods=100.0),
            used=Resources(cpu_cores=20.0 - ago / 2, memory_bytes=16.0 * 2**30, pods=10.0),
            requested=requested,
            cost_usd_per_hour=None,
        )
        for ago in range(DAYS)
    ]
    api.within(api.storage.capacity.put(api.tenant.id, kept))


def test_the_newest_snapshot(api: ServedApi, sextant: Commands) -> None:
    """Each resource in its unit; what is not known is a dash."""
    assert sextant.refused("capacity", "latest", "prod")
    with_snapshots(api)
    lines = [line.split() for line in sextant("capacity", "latest", "prod").splitlines()]
    assert ["nodes", "3", "×", "m6i.large"] in lines
    assert ["cost", "$1.5", "an", "hour"] in lines
    assert ["cpu", "24", "20", "-", "83.3", "%"] in lines
    assert ["memory", "64", "GiB", "16", "GiB", "-", "25", "%"] in lines
    assert json.loads(sextant("capacity", "latest", "prod", "--json"))["node_count"] == 3


def test_when_it_runs_out(api: ServedApi, sextant: Commands) -> None:
    """In a sentence a resource, and what they rest on."""
    with_snapshots(api)
    printed = sextant("capacity", "forecast", "prod", "--horizon-days", "30").splitlines()
    assert printed[0].startswith("cpu reaches 100 % on ")
    assert len(printed) == 4
    assert printed[-1] == f"by {DAYS} snapshots; bands of 90%, as long as use goes on as it did"
    assert len(json.loads(sextant("capacity", "forecast", "prod", "--json"))["resources"]) == 3
    assert "no capacity snapshot" in sextant.refused("capacity", "forecast", "other")


def test_when_nothing_more_can_be_requested(api: ServedApi, sextant: Commands) -> None:
    """In a sentence a resource, after those of use."""
    with_snapshots(api, Resources(cpu_cores=23.5, memory_bytes=16.0 * 2**30, pods=10.0))
    printed = sextant("capacity", "forecast", "prod").splitlines()
    assert printed[3] == "requested cpu is at 97.9 % and has reached 95 %"
    assert printed[4].startswith("requested memory is at 25 %")
    assert len(printed) == 6


def test_what_is_left(api: ServedApi, sextant: Commands) -> None:
    """By the percentiles of its use."""
    with_snapshots(api)
    lines = [line.split() for line in sextant("capacity", "headroom", "prod").splitlines()]
    assert lines[3] == ["pods", "100", "10", "-", "90", "90", "%", "-"]
    assert lines[-1][1:] in (["nodes", "could", "go"], ["node", "could", "go"])


def test_what_workloads_should_request(api: ServedApi, sextant: Commands) -> None:
    """The saving in the cluster's price."""
    with_snapshots(api)
    start_us = SystemClock().now_us() - 6 * HOUR_US
    values = {
        names.CPU_USAGE: 0.5, names.CPU_REQUEST: 4.0, names.MEMORY_USAGE: 2.0**29, names.MEMORY_REQUEST: 2.0**33
    }  # fmt: skip
    samples = [pod_samples(metric, [value] * 72, start_us, every_us=5 * MINUTE_US) for metric, value in values.items()]
    api.within(write_pods(cast("Storage", api.storage), api.tenant.id, samples, cluster_id="prod"))
    [line] = [line for line in sextant("capacity", "right-sizing", "prod").splitlines() if line.startswith("shop/api")]
    words = line.split()
    assert words[1:4] == ["oversized", "4", "→"]
    assert "8 GiB → " in line
    assert words[-1].startswith("$")
    assert json.loads(sextant("capacity", "right-sizing", "prod", "--json"))["workloads"][0]["verdict"] == "oversized"


def test_a_plan_is_declared_shown_and_removed(
    sextant: Commands, tmp_path: Path, type_in: Callable[[str], None]
) -> None:
    """What `plan` prints it takes, on standard input too."""
    assert sextant.refused("capacity", "plan", "prod")
    file = tmp_path / "plan.yaml"
    file.write_text("utilisation_max: {cpu: 0.7, memory: 0.8}")
    declared = sextant("capacity", "plan", "prod", str(file))
    assert "cpu: 0.7" in declared
    type_in(sextant("capacity", "plan", "prod"))
    assert sextant("capacity", "plan", "prod", "-") == declared
    assert json.loads(sextant("capacity", "plan", "prod", "--json"))["utilisation_max"]["memory"] == 0.8
    file.write_text("utilisation_max: {gpu: 0.7}")
    assert "gpu" in sextant.refused("capacity", "plan", "prod", str(file))
    assert sextant("capacity", "plan", "prod", "--remove") == "prod has no plan any more\n"
    assert sextant.refused("capacity", "plan", "prod")


def test_dollars_have_their_sign_first() -> None:
    """And thousands apart."""
    assert [usd_text(amount) for amount in (None, 1_234.5, -38.894)] == ["-", "$1,234.50", "-$38.89"]
