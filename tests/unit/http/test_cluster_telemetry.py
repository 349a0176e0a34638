"""Telemetry routes: pod metrics by standard names for a pod, a workload, a namespace, a cluster."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from core.domain.tenants import Scope
from tests.unit.http.memory_server import MemoryServer
from tests.unit.http.problems import problem_of

PATH = "/api/v1/telemetry"
ODD = "eu/west 100%/ü%2F"
"""A name as people may well give it."""


async def report(api: httpx.AsyncClient, cluster: str = "prod", **values: float) -> None:
    """Two samples of each metric of one pod, within the last hour."""
    labels = {"cluster_id": cluster, "namespace": "shop", "workload": "checkout", "pod": "checkout-1", "node": "n1"}
    now = datetime.now(UTC)
    metrics = [
        {"name": name, "value": value, "labels": labels, "timestamp": (now - timedelta(minutes=ago)).isoformat()}
        for name, value in values.items()
        for ago in (3, 30)
    ]
    sent = await api.post("/api/v1/metrics/ingest/batch", json={"metrics": metrics})
    assert sent.status_code == 200, sent.text


async def shown(api: httpx.AsyncClient, path: str, **params: Any) -> dict[str, Any]:
    """What a route answers."""
    reply = await api.get(f"{PATH}{path}", params=params)
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/metrics/pod/prod/shop/checkout-1", {"namespace": "shop", "pod": "checkout-1"}),
        ("/metrics/workload/prod/shop/checkout", {"namespace": "shop", "workload": "checkout"}),
        ("/metrics/namespace/prod/shop", {"namespace": "shop"}),
        ("/metrics/cluster/prod", {}),
    ],
)
async def test_metrics_of_each_scope(api: httpx.AsyncClient, path: str, scope: dict[str, str]) -> None:
    """By signal, with the buckets that have samples and nothing for what has none."""
    await report(api, pod_cpu_usage_cores=0.5, pod_request_latency_p95_seconds=0.25)
    answer = await shown(api, path, hours=1)
    expected: dict[str, str | None] = {"namespace": None, "workload": None, "pod": None, **scope}
    assert answer["scope"] == {"cluster_id": "prod", **expected}
    assert set(answer["metrics"]) == {"cpu", "latency_p95"}
    cpu = answer["metrics"]["cpu"]
    assert (cpu["metric"], cpu["unit"], cpu["combine"], cpu["pods"]) == ("pod_cpu_usage_cores", "cores", "sum", 1)
    assert [value for _, value in cpu["points"]] == [0.5, 0.5]
    assert answer["pods"] == ["checkout-1"]


async def test_the_range_is_the_last_hours(api: httpx.AsyncClient) -> None:
    """A day unless told; parts of an hour will do."""
    await report(api, pod_cpu_usage_cores=0.5)
    assert len((await shown(api, "/metrics/cluster/prod", hours=0.25))["metrics"]["cpu"]["points"]) == 1
    day = await shown(api, "/metrics/cluster/prod")
    start, end = (datetime.fromisoformat(day[name]) for name in ("start", "end"))
    assert end - start == timedelta(hours=24)


async def test_names_may_hold_anything_printable(api: httpx.AsyncClient) -> None:
    """Slashes, percent signs and what looks like their codes are told apart."""
    await report(api, ODD, pod_cpu_usage_cores=0.5)
    assert (await shown(api, f"/metrics/cluster/{quote(ODD, safe='')}"))["scope"]["cluster_id"] == ODD
    assert (await shown(api, f"/golden-signals/{quote(ODD, safe='')}"))["cluster_id"] == ODD
    problem_of(await api.get(f"{PATH}/metrics/cluster/{quote(ODD.replace('%2F', '/'), safe='')}"), 404)
    assert (await shown(api, "/clusters")) == {"data": [ODD]}


async def test_golden_signals(api: httpx.AsyncClient) -> None:
    """One row a workload; what nothing is known of is null."""
    await report(api, pod_cpu_usage_cores=0.5, pod_cpu_request_cores=1.0, pod_request_error_ratio=0.02)
    [row] = (await shown(api, "/golden-signals/prod", hours=2, namespace="shop"))["workloads"]
    assert (row["namespace"], row["workload"], row["pods"]) == ("shop", "checkout", 1)
    assert row["cpu_cores"] == 0.5
    assert row["cpu_saturation"] == 0.5
    assert row["memory_bytes"] is None


@pytest.mark.parametrize(
    "path",
    [
        "/metrics/cluster/absent",
        "/metrics/namespace/prod/absent",
        "/metrics/workload/prod/shop/absent",
        "/metrics/pod/prod/shop/absent",
        "/golden-signals/absent",
    ],
)
async def test_what_has_no_series_is_not_found(api: httpx.AsyncClient, path: str) -> None:
    """404 with what was looked for."""
    await report(api, pod_cpu_usage_cores=0.5)
    assert "absent" in problem_of(await api.get(f"{PATH}{path}"), 404)["detail"]


@pytest.mark.parametrize(
    ("path", "params", "field"),
    [
        ("/metrics/cluster/prod", {"hours": "0"}, "hours"),
        ("/metrics/cluster/prod", {"hours": "-1"}, "hours"),
        ("/metrics/cluster/prod", {"hours": "nan"}, "hours"),
        ("/metrics/cluster/prod", {"hours": "inf"}, "hours"),
        ("/metrics/cluster/prod", {"hours": "1e9"}, "hours"),
        ("/metrics/cluster/prod", {"hours": "day"}, "hours"),
        ("/metrics/cluster/prod", {"days": "1"}, "days"),
        (f"/metrics/cluster/{'x' * 254}", {}, "cluster"),
        ("/metrics/cluster/a%0Ab", {}, "cluster"),
        ("/metrics/namespace/prod/a%0Ab", {}, "namespace"),
        ("/metrics/workload/prod/shop/%7F", {}, "workload"),
        ("/metrics/pod/prod/shop/%7F", {}, "pod"),
        ("/golden-signals/prod", {"namespace": ""}, "namespace"),
    ],
)
async def test_bad_parameters_are_refused_by_name(
    api: httpx.AsyncClient, path: str, params: dict[str, str], field: str
) -> None:
    """By the name that the path or the query has for it."""
    assert problem_of(await api.get(f"{PATH}{path}", params=params), 400)["field"] == field


async def test_scopes(memory_server: MemoryServer) -> None:
    """Who queries or looks after alerts may look."""
    for scope in Scope:
        async with memory_server.client([scope]) as client:
            allowed = scope in (Scope.QUERY, Scope.ALERTS)
            assert (await client.get(f"{PATH}/clusters")).status_code == (200 if allowed else 403)
            assert (await client.get(f"{PATH}/metrics/cluster/a")).status_code == (404 if allowed else 403)
