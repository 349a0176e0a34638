"""Right-sizing is recommended for what it can be applied to, as far as the workload's configuration is known."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from adapters.driven.memory.clock import FakeClock
from adapters.driven.memory.storage import memory_storage
from core.domain.configurations import ConfigKind, ObservedConfiguration
from core.domain.drift import DriftEvent, DriftFilter
from core.domain.recommendations import Recommendation, RecommendationFilter
from core.domain.telemetry import CPU_REQUEST, CPU_USAGE
from core.domain.times import EPOCH, HOUR_US
from tests.support.callers import database
from tests.support.cluster_telemetry import CLUSTER_ID, pod_samples, write_pods
from tests.support.drifting import looking_over

TENANT_ID = 2
APP = {"app": {"requests": {"cpu": "1"}}}


async def found_with(**documents: dict[str, Any]) -> tuple[DriftEvent, list[Recommendation]]:
    """The drift of a workload that uses more than it asks for, with these configurations, and what is recommended."""
    clock = FakeClock()
    storage = memory_storage(database(clock))
    start_us = clock.now_us() - 3 * HOUR_US
    told = ((CPU_USAGE, 2.0), (CPU_REQUEST, 1.0))
    await write_pods(storage, TENANT_ID, [pod_samples(metric, np.full(180, value), start_us) for metric, value in told])
    observed = [
        ObservedConfiguration(
            cluster_id=CLUSTER_ID, namespace="shop", workload="api", kind=ConfigKind(kind), document=document
        )
        for kind, document in documents.items()
    ]
    now = EPOCH + timedelta(microseconds=clock.now_us() - HOUR_US)
    await storage.configurations.observe(TENANT_ID, observed, source="eks", now=now)
    await looking_over(storage, clock).look(TENANT_ID, CLUSTER_ID)
    [event] = await storage.drift.list(TENANT_ID, DriftFilter(), limit=10, before=None)
    wanted = RecommendationFilter()
    return event, list(await storage.recommendations.list(TENANT_ID, wanted, limit=10, before=None))


@pytest.mark.parametrize("runtime", [{}, {"kind": "Deployment", "replicas": 2}])
async def test_the_only_container_is_named(runtime: dict[str, Any]) -> None:
    """Of a Deployment, or of what may be one."""
    _, [recommended] = await found_with(resource={"containers": APP}, runtime=runtime)
    assert recommended.recommendation_json["container"] == "app"
    assert recommended.recommendation_json["proposed"]["cpu_request"]


async def test_without_a_known_configuration_the_workload_is_named() -> None:
    """It may be applied: a remediation says whether it can be."""
    for documents in ({}, {"resource": {"requests": {"cpu": "1"}}}):
        _, [recommended] = await found_with(**documents)
        assert "container" not in recommended.recommendation_json


@pytest.mark.parametrize(
    ("wants", "current"),
    [({"requests": {"cpu": "1000m"}}, {"cpu_request": "1000m"}), ({"limits": {"cpu": "1"}}, {}), ({}, {})],
)
async def test_what_is_there_now_is_told_as_it_is_configured(wants: dict[str, Any], current: dict[str, str]) -> None:
    """A request that Kubernetes made of a limit, or of a default, stands in no template."""
    _, [recommended] = await found_with(resource={"containers": {"app": wants}})
    assert recommended.recommendation_json["current"] == current


@pytest.mark.parametrize(
    ("documents", "why"),
    [
        ({"resource": {"containers": {"app": {"requests": {"cpu": "900m"}}}}}, "its pods ask for something else"),
        ({"resource": {"containers": {"app": {"requests": {"cpu": "?"}}}}}, "its pods ask for something else"),
        ({"resource": {"containers": {**APP, "proxy": {}}}}, "it has 2 containers"),
        ({"resource": {"containers": APP}, "runtime": {"kind": "StatefulSet"}}, "it is a StatefulSet"),
    ],
)
async def test_what_could_not_be_applied_is_evidence(documents: dict[str, Any], why: str) -> None:
    """The numbers are there for whoever does it by hand."""
    event, recommended = await found_with(**documents)
    assert recommended == []
    assert event.evidence["right_size"]["current"] == {"cpu_request": "1"}
    assert event.evidence["right_size"]["proposed"]["cpu_request"]
    assert event.evidence["right_size"]["not_recommended"].startswith(why)
