"""From metrics that are elsewhere to the dry run of a mended cluster, through the shipped program.

collect → instances → telemetry → capacity forecast → drift → recommendation → dry run with its diff → purge; and
CloudWatch as moto plays it, collected twice and once more after a late revision.
"""

import asyncio
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import on_postgres, on_timescale_native
from tests.e2e.alerting import WAIT_S, Api
from tests.e2e.program import COLLECTING, KEY, Program, run_sextant, running, wait_until
from tests.e2e.served import in_thread
from tests.support.kubernetes_api import KubernetesApiServer
from tests.support.store_fixtures import empty_database
from tests.support.temporal import require_temporal
from tests.support.vendors.moto_server import AMI, CREDENTIALS, REGION, moto_client, run_moto

pytestmark = pytest.mark.slow

CLUSTER = "demo"
CPU = "aws_ec2_cpuutilization_average"


@dataclass(frozen=True)
class World:
    """A server, and the cluster that its worker can change."""

    program: Program
    cluster: KubernetesApiServer

    def typed(self, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """A command against the server."""
        ours = {"SEXTANT_AGENT_URL": self.program.url, "SEXTANT_AGENT_KEY": KEY}
        return run_sextant(*arguments, environment={**ours, **(environment or {})}, timeout_s=120)

    def printed(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Any:
        """The JSON that a command prints, which must succeed."""
        done = self.typed(*arguments, "--json", environment=environment)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}{self.program.log[-2_000:]}"
        return json.loads(done.stdout)

    def collected(self, *arguments: str, environment: Mapping[str, str] | None = None) -> dict[str, int]:
        """The counts of a run that collected everything."""
        [run] = self.printed("collect", *arguments, environment=environment)["runs"]
        assert run["run"]["state"] == "done", run
        counts: dict[str, int] = run["run"]["progress"]["counts"]
        return counts


@pytest.fixture(scope="module", params=[on_postgres, on_timescale_native])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Yield a server with a Temporal of its own: with its own PostgreSQL, then on the native TimescaleDB."""
    require_temporal()
    directory = tmp_path_factory.mktemp("collection")
    with in_thread(KubernetesApiServer().served()) as cluster:
        kubeconfig = str(cluster.kubeconfig(directory / "kubeconfig"))
        environment = {
            **COLLECTING,
            "SEXTANT_WORKER_KUBECONFIG": kubeconfig,
            "SEXTANT_WORKER_CLUSTER_ID": CLUSTER,
        }
        if request.param == "postgres":
            with running(directory, environment=environment) as program:
                yield World(program, cluster)
            return
        with (
            empty_database(request, request.param) as engine,
            running(directory, database_url=engine.url, environment=environment) as program,
        ):
            yield World(program, cluster)


def test_a_made_up_cluster_is_collected_understood_and_mended_in_a_dry_run(world: World) -> None:
    """Nothing of it is left after a purge."""
    collects_once_and_not_twice(world)
    shows_instances_and_telemetry(world)
    foresees_when_it_is_full(world)
    drift = finds_what_drifted(world)
    rehearses_the_recommendation(world, drift)
    leaves_nothing(world)


def collects_once_and_not_twice(world: World) -> None:
    """The second run has nothing to add, and says so."""
    first = world.collected("synthetic")
    assert first["stored"] == first["fetched"] > 100_000
    again = world.collected("synthetic", "--since", "6h")
    assert again["unchanged"] == again["fetched"] - again["stored"] > 10_000
    assert again["revised"] == again["refused"] == again["created"] == 0
    shown = world.typed("collect", "synthetic")
    assert "0 revised" in shown.stdout, shown.stdout + shown.stderr


def shows_instances_and_telemetry(world: World) -> None:
    """The made-up machines, and the golden signals of the workload that ails."""
    instances = world.printed("instances", "list", "--provider", "synthetic")
    assert len(instances) == 6
    assert {one["kind"] for one in instances} == {"ec2"}
    golden = world.printed("telemetry", "golden", CLUSTER)["workloads"]
    [checkout] = [one for one in golden if (one["namespace"], one["workload"]) == ("shop", "checkout")]
    assert checkout["cpu_saturation"] > 1
    shown = world.printed("telemetry", "show", CLUSTER, "--namespace", "shop", "--workload", "checkout")
    assert shown["metrics"]["cpu"]["pods"] == 2
    assert world.typed("telemetry", "golden", "no-such-cluster").returncode == 1


def foresees_when_it_is_full(world: World) -> None:
    """A date with a band for cpu, in words; but for the days after the made-up cluster was enlarged."""
    forecast = world.printed("capacity", "forecast", CLUSTER)
    cpu = next(one for one in forecast["resources"] if one["resource"] == "cpu")
    if cpu["outlook"] == "within":
        assert cpu["earliest"] <= cpu["at"] <= (cpu["latest"] or "9999")
    assert cpu["words"] in world.typed("capacity", "forecast", CLUSTER).stdout
    assert world.printed("capacity", "headroom", CLUSTER)["resources"]


def finds_what_drifted(world: World) -> dict[str, Any]:
    """The leaking workload by its requests, and an image that is not the declared one; returns the former."""
    history = world.printed("config", "history", "--workload", "checkout", "--kind", "image")
    change = next(one for one in history if one["before"] is not None)
    wait_until(lambda: "drift_looked_for" in world.program.log, WAIT_S)  # by the server itself, every 15 minutes
    with Api(world.program.url) as api:
        assert {one["service"] for one in api.all("events", metric="config_change")} == {"checkout"}
        api.put(
            "config/baselines",
            {
                "cluster_id": CLUSTER,
                "namespace": "shop",
                "workload": "checkout",
                "kind": "image",
                "document": change["before"],
            },
        )
    assert world.printed("drift", "find", CLUSTER)["found"] >= 4, "the server's own look may have been first"
    assert world.printed("drift", "find", CLUSTER)["opened"] == 0, "the same drift again"
    events = world.printed("drift", "list", "--cluster", CLUSTER)
    of_checkout = [one for one in events if one["workload_name"] == "checkout"]
    assert {"CPU_MEMORY_DRIFT", "CONFIG_DRIFT"} <= {one["drift_category"] for one in of_checkout}
    over: dict[str, Any] = next(
        one
        for one in of_checkout
        if (one["drift_category"], one["detection_method"]) == ("CPU_MEMORY_DRIFT", "threshold")
    )
    assert "checkout" in world.typed("drift", "show", over["drift_id"]).stdout
    return over


def rehearses_the_recommendation(world: World, drift: Mapping[str, Any]) -> None:
    """The exact change is shown, of the deployment as the cluster has it, and nothing is changed."""
    world.cluster.add(
        "deployments",
        "shop",
        "checkout",
        {
            "replicas": 2,
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": "checkout",
                            "image": "shop:1",
                            "resources": {"requests": {"cpu": "100m", "memory": "96Mi"}},
                        }
                    ]
                }
            },
        },
    )
    advice = world.printed("recommendations", "list", "--cluster", CLUSTER)
    wanted = next(one for one in advice if one["drift_id"] == drift["drift_id"])
    assert wanted["recommendation_type"] == "right_size"
    refused = world.typed("recommendations", "apply", wanted["rec_id"], "--execute")
    assert refused.returncode == 1
    assert "approve" in refused.stderr
    done = world.typed("recommendations", "apply", wanted["rec_id"])
    assert done.returncode == 0, done.stdout + done.stderr + world.program.log[-2_000:]
    assert "container checkout of deployments shop/checkout" in done.stdout, "as the cluster has it"
    assert "dry_run" in done.stdout
    assert not world.cluster.writes
    world.printed("recommendations", "approve", wanted["rec_id"], "--reason", "agreed")
    assert world.printed("recommendations", "show", wanted["rec_id"])["recommendation"]["state"] == "approved"


def leaves_nothing(world: World) -> None:
    """What was made up goes, and what was concluded from it."""
    assert world.typed("purge").returncode == 0

    def gone() -> bool:
        lists: Sequence[tuple[str, ...]] = (
            ("instances", "list"),
            ("drift", "list", "--all"),
            ("recommendations", "list"),
            ("config", "history"),
        )
        return not any(world.printed(*arguments) for arguments in lists)

    wait_until(gone, WAIT_S)


def test_cloudwatch_is_collected_once_and_takes_in_what_aws_revises(world: World, tmp_path: Path) -> None:
    """What is stored is moto's last answer, aggregates are numpy's, memory is absent, no credential is shown."""
    with run_moto() as url:
        now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        values = np.random.default_rng(5).uniform(5, 95, 20).round(3)
        instance = asyncio.run(fill(url, now, values.tolist()))
        environment = {
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": CREDENTIALS["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": CREDENTIALS["secret_access_key"],
            "HOME": str(tmp_path),
        }
        first = world.collected("cloudwatch", environment=environment)
        assert first["stored"] == first["fetched"] == len(values)
        assert world.collected("cloudwatch", "--since", "24h", environment=environment)["unchanged"] == len(values)
        assert stored(world, instance) == pytest.approx(list(values))
        asyncio.run(put(url, instance, now - timedelta(hours=2), 0.0))
        values[-2] /= 2  # an average of two samples now
        late = world.collected("cloudwatch", environment=environment)
        assert (late["revised"], late["stored"]) == (1, 0), late
        assert stored(world, instance) == pytest.approx(list(values))
        with Api(world.program.url) as api:
            whole = api.get(f"metrics/aggregate/{CPU}", start=_day_ago(), group_by="instance_id")["data"][0]
            assert (whole["count"], whole["avg"]) == (len(values), pytest.approx(float(np.mean(values))))
            assert not [name for name in api.get("metrics/names")["data"] if "memory" in name and "ec2" in name]
        [machine] = world.printed("instances", "list", "--provider", "cloudwatch")
        assert (machine["external_id"], machine["region"]) == (instance, REGION)
        wrong = world.typed(
            "collect", "cloudwatch", environment={**environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
        )
        assert wrong.returncode == 1
        assert "unreachable" in wrong.stdout
    told = world.program.log + wrong.stdout + wrong.stderr
    assert CREDENTIALS["secret_access_key"] not in told


async def fill(url: str, now: datetime, values: Sequence[float]) -> str:
    """One instance with an hour's value for each of the last hours, the newest last; its id."""
    async with moto_client(url, "ec2") as ec2:
        launched = await ec2.run_instances(ImageId=AMI, MinCount=1, MaxCount=1)
    instance: str = launched["Instances"][0]["InstanceId"]
    for place, value in enumerate(reversed(values)):
        await put(url, instance, now - timedelta(hours=place + 1), float(value))
    return instance


async def put(url: str, instance: str, at: datetime, value: float) -> None:
    """One sample of CPUUtilization."""
    async with moto_client(url, "cloudwatch") as cloudwatch:
        await cloudwatch.put_metric_data(
            Namespace="AWS/EC2",
            MetricData=[
                {
                    "MetricName": "CPUUtilization",
                    "Dimensions": [{"Name": "InstanceId", "Value": instance}],
                    "Timestamp": at + timedelta(minutes=1),
                    "Value": value,
                }
            ],
        )


def stored(world: World, instance: str) -> list[float]:
    """The values of the instance, oldest first."""
    with Api(world.program.url) as api:
        rows = api.all("metrics", name=CPU, label=f"instance_id={instance}", start=_day_ago())
    return [row["value"] for row in rows]


def _day_ago() -> str:
    return (datetime.now(UTC) - timedelta(hours=26)).isoformat()
