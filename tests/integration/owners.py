"""Tenants that have something of everything, and all that they can see of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

from core.domain.tenants import Tenant
from tests.integration.alerting_things import alerting_things
from tests.integration.cluster_things import cluster_things
from tests.integration.detection_things import detection_things
from tests.integration.in_process import InProcess
from tests.integration.isolation_kinds import Subject
from tests.support.storages import Tenancy, settle_all, unique


@dataclass(frozen=True)
class Owner:
    """A tenant with things of its own."""

    tenant: Tenant
    key: str
    things: Subject


async def new_owner(server: InProcess) -> Owner:
    """A tenant with samples, half of them settled, a definition, keys, and one of everything about alerts."""
    tenant = await server.new_tenant()
    key = await server.new_key(tenant)
    value_name = name_like("secret_value")
    async with server.client(key) as client:
        things = Subject(
            tenant=tenant.name,
            tenant_id=tenant.id,
            key_id=(await server.storage.keys.list(tenant.id))[0].id,
            metric=name_like("secret.metric"),
            label=name_like("secret_label"),
            value=value_name,
            **await alerting_things(server, Tenancy(server.storage, tenant), client, value_name),
            **await detection_things(server, Tenancy(server.storage, tenant), client, value_name),
            **await cluster_things(server, Tenancy(server.storage, tenant), client, value_name),
        )
        for value in (1.25, 2.5):
            body = {"name": things.metric, "value": value, "labels": {things.label: things.value}, "source": "secret"}
            ingested = await client.post("/ingest", json=body)
            assert ingested.status_code == 200, ingested.text
            if value == 1.25:
                await settle_all(server.storage)
        definition = {"name": things.metric, "description": "secret", "retention_days": 90}
        assert (await client.post("/api/v1/metrics/definitions", json=definition)).status_code == 201
    return Owner(tenant, key, things)


def name_like(prefix: str) -> str:
    """A metric's or label's name that no other test uses."""
    return unique(prefix).replace("-", "_")


def of_nobody() -> Subject:
    """Names and ids that exist nowhere."""
    return Subject(
        tenant=unique("absent"),
        tenant_id=2_000_000_001,
        key_id=2_000_000_002,
        metric=name_like("absent.metric"),
        label=name_like("absent_label"),
        value=name_like("absent_value"),
        alert_id=2_000_000_003,
        rule_id=2_000_000_004,
        silence_id=2_000_000_005,
        inhibition_id=2_000_000_006,
        channel_id=2_000_000_007,
        notification_id=str(uuid4()),
        policy_id=2_000_000_008,
        remediation_id=2_000_000_009,
        event_id=str(uuid4()),
        anomaly_id=str(uuid4()),
        incident_id=2_000_000_010,
        purge_id=2_000_000_011,
        channel=unique("absent-channel"),
        policy=unique("absent-policy"),
        source=unique("absent-source"),
        run_id=2_000_000_012,
        instance_id=2_000_000_013,
        cluster=unique("absent-cluster"),
        namespace=unique("absent-namespace"),
        workload=unique("absent-workload"),
        pod=unique("absent-pod"),
        change_id=str(uuid4()),
        drift_id=unique("absent-drift"),
        rec_id=unique("absent-rec"),
    )


async def everything_of(server: InProcess, owner: Owner) -> Mapping[str, Any]:
    """All that the owner can see of its own."""
    async with server.client(owner.key) as client:
        name = owner.things.metric
        paths = (
            f"/api/v1/metrics?name={name}",
            f"/api/v1/metrics/latest/{name}",
            f"/api/v1/metrics/aggregate/{name}",
            "/api/v1/metrics/names",
            "/api/v1/metrics/labels",
            f"/api/v1/metrics/labels/{owner.things.label}/values",
            "/api/v1/metrics/definitions",
            "/api/v1/keys",
            "/api/v1/tenants",
            "/api/v1/alerts",
            f"/api/v1/alerts/{owner.things.alert_id}",
            "/api/v1/alerts/rules",
            "/api/v1/alerts/silences?ended=true",
            "/api/v1/alerts/inhibitions",
            "/api/v1/alerts/channels",
            "/api/v1/alerts/notifications",
            "/api/v1/remediation/policies",
            "/api/v1/remediation/kill-switch",
            "/api/v1/remediations",
            f"/api/v1/remediations/{owner.things.remediation_id}",
            "/api/v1/events",
            "/api/v1/dependencies",
            f"/api/v1/synthetic/purge/{owner.things.purge_id}",
            "/api/v1/detect/settings",
            "/api/v1/detect/precision",
            "/api/v1/detect/runs",
            "/api/v1/anomalies",
            "/api/v1/incidents",
            f"/api/v1/incidents/{owner.things.incident_id}",
            "/api/v1/sources",
            "/api/v1/sources/runs",
            f"/api/v1/sources/runs/{owner.things.run_id}",
            "/api/v1/instances",
            "/api/v1/telemetry/clusters",
            f"/api/v1/capacity/snapshots/{owner.things.cluster}",
            f"/api/v1/capacity/plan/{owner.things.cluster}",
            "/api/v1/config/history",
            "/api/v1/config/baselines",
            "/api/v1/drift/events",
            "/api/v1/drift/recommendations",
            "/api/v1/audit",
            "/api/v1/audit/verify",
        )
        replies = {path: await client.get(path) for path in paths}
        assert {reply.status_code for reply in replies.values()} == {200}
        seen = {path: reply.json() for path, reply in replies.items()}
        signals = (await client.get(f"/api/v1/telemetry/golden-signals/{owner.things.cluster}")).json()["workloads"]
        limits = (await client.get("/api/v1/limits")).json()
        return {**seen, "signals": signals, "limits": limits["limits"], "series_active": limits["series_active"]}


def assert_problem(reply: httpx.Response, status: int, kind: str) -> None:
    """Asserts a problem+json of a kind."""
    assert reply.status_code == status, f"{reply.status_code} {reply.text}"
    assert reply.headers["content-type"] == "application/problem+json"
    problem = json.loads(reply.text)
    assert problem["type"] == f"urn:sextant:problem:{kind}"
    assert problem["status"] == status
    assert problem["detail"]
