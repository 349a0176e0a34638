"""What a tenant has of sources, clusters, drift and recommendations, for tests of who may see it."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx

from core.domain.collection import CollectionState, Counts, ItemResult, Progress
from ports.driven.metric_source import SeenInstance
from tests.integration.in_process import InProcess
from tests.support.storages import Tenancy, unique

LEASE_S = 60.0
RUNNING_MAX = 1_000


async def cluster_things(server: InProcess, tenancy: Tenancy, client: httpx.AsyncClient, secret: str) -> dict[str, Any]:
    """One of everything, with `secret` in it; names and ids as `Subject` has them."""
    names = {name: unique(f"secret-{name}") for name in ("source", "cluster", "namespace", "workload", "pod")}
    cluster, namespace, workload = names["cluster"], names["namespace"], names["workload"]
    change_id, drift_id, rec_id = str(uuid4()), unique("secret-drift"), unique("secret-rec")
    place = {"cluster_id": cluster, "namespace": namespace, "workload": workload}
    amounts = {"cpu_cores": 8.5, "memory_bytes": 8.5e9, "pods": 85}
    for method, path, body in (
        ("POST", "sources", {"name": names["source"], "config": {"type": "synthetic"}, "interval": None}),
        ("POST", "metrics/ingest", {"name": "pod_cpu_usage_cores", "value": 8.5, "labels": _labels(names)}),
        (
            "POST",
            "capacity/snapshots",
            {"cluster_id": cluster, "ts": _now(), "nodes": [], "allocatable": amounts, "used": amounts},
        ),
        ("PUT", f"capacity/plan/{cluster}", {"nodes_max": 85}),
        ("POST", "config/history", {**place, "id": change_id, "kind": "image", "after": {"image": secret}}),
        ("PUT", "config/baselines", {**place, "kind": "image", "document": {"image": secret}}),
        ("POST", "drift/events", drift_body(cluster, drift_id, secret)),
        ("POST", "drift/recommendations", recommendation_body(cluster, drift_id, rec_id, secret)),
    ):
        made = await client.request(method, f"/api/v1/{path}", json=body)
        assert made.status_code in (200, 201), made.text
    run_id = await _run(server, tenancy, client, names["source"], secret)
    [instance] = (await client.get("/api/v1/instances")).json()["data"]
    ids = {"run_id": run_id, "instance_id": instance["id"], "change_id": change_id}
    return {**names, **ids, "drift_id": drift_id, "rec_id": rec_id}


def drift_body(cluster: str, drift_id: str, message: str) -> dict[str, Any]:
    """A drift event."""
    drift = {"cluster_id": cluster, "drift_id": drift_id, "drift_category": "OTHER_DRIFT", "message": message}
    return {**drift, "severity": "minor", "start_ts": "2026-01-31T12:00:00Z"}


def recommendation_body(cluster: str, drift_id: str, rec_id: str, text: str) -> dict[str, Any]:
    """A recommendation for a drift event."""
    document = {"namespace": "a", "workload": text[:60].replace("_", "-"), "proposed": {"replicas": 3}}
    which = {"cluster_id": cluster, "drift_id": drift_id, "rec_id": rec_id}
    return {**which, "recommendation_type": "scale_workload", "recommendation_json": document}


async def _run(server: InProcess, tenancy: Tenancy, client: httpx.AsyncClient, source: str, secret: str) -> int:
    """The id of a finished run that saw an instance."""
    started = await client.post(f"/api/v1/ingest/{source}", params={"wait": "0"})
    assert started.status_code == 202, started.text
    work, now, claim = server.storage.collection_work, datetime.now(UTC), None
    while claim is None or claim.tenant_id != tenancy.id:  # other tenants' runs may stand in line, too
        claim = await work.claim(now=now, lease_s=LEASE_S, running_max=RUNNING_MAX)
        assert claim is not None
    result = ItemResult(item=secret, counts=Counts(fetched=85))
    await work.see_instances(claim, claim.run.kind, [SeenInstance(external_id=secret, kind="ec2")], now=now)
    await work.advance(
        claim,
        checkpoints=(),
        caught_up=(),
        results=[result],
        finished=(),
        progress=Progress(items=1, done=1, counts=result.counts),
        now=now,
        lease_s=LEASE_S,
    )
    await work.finish(claim, CollectionState.DONE, None, now=now)
    return claim.run.id


def _labels(names: dict[str, str]) -> dict[str, str]:
    labels = {name: names[name] for name in ("namespace", "workload", "pod")}
    return {**labels, "cluster_id": names["cluster"]}


def _now() -> str:
    return datetime.now(UTC).isoformat()
