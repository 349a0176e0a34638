"""Who may come in, and what the others are told."""

import httpx
import pytest

from core.domain.errors import Unavailable
from tests.unit.http.conftest import World
from tests.unit.http.fakes import raised_by
from tests.unit.http.problems import problem_of

METRIC = {"name": "cpu", "value": 1}
API = [
    ("POST", "/ingest"),
    ("POST", "/api/v1/metrics/ingest/batch"),
    ("GET", "/api/v1/metrics?name=cpu"),
    ("GET", "/api/v1/metrics/names"),
    ("GET", "/api/v1/metrics/labels"),
    ("GET", "/api/v1/metrics/labels/host/values"),
    ("GET", "/api/v1/metrics/latest/cpu"),
    ("GET", "/api/v1/metrics/aggregate/cpu"),
    ("GET", "/api/v1/metrics/series/cpu"),
    ("GET", "/api/v1/metrics/definitions"),
    ("POST", "/api/v1/metrics/definitions"),
    ("GET", "/api/v1/metrics/definitions/cpu"),
    ("PUT", "/api/v1/metrics/definitions/cpu"),
    ("DELETE", "/api/v1/metrics/definitions/cpu"),
    ("GET", "/api/v1/sources"),
    ("POST", "/api/v1/sources"),
    ("GET", "/api/v1/sources/production-aws"),
    ("PUT", "/api/v1/sources/production-aws"),
    ("DELETE", "/api/v1/sources/production-aws"),
    ("GET", "/api/v1/sources/runs"),
    ("GET", "/api/v1/sources/runs/1"),
    ("POST", "/api/v1/ingest/all"),
    ("POST", "/api/v1/ingest/synthetic"),
    ("GET", "/api/v1/instances"),
    ("GET", "/api/v1/instances/1"),
    ("GET", "/api/v1/telemetry/clusters"),
    ("GET", "/api/v1/telemetry/golden-signals/prod-eu"),
    ("GET", "/api/v1/telemetry/metrics/cluster/prod-eu"),
    ("GET", "/api/v1/telemetry/metrics/namespace/prod-eu/shop"),
    ("GET", "/api/v1/telemetry/metrics/workload/prod-eu/shop/checkout"),
    ("GET", "/api/v1/telemetry/metrics/pod/prod-eu/shop/pod-1"),
    ("POST", "/api/v1/capacity/snapshots"),
    ("GET", "/api/v1/capacity/snapshots/latest/prod-eu"),
    ("GET", "/api/v1/capacity/snapshots/prod-eu"),
    ("GET", "/api/v1/capacity/forecast/prod-eu"),
    ("GET", "/api/v1/capacity/headroom/prod-eu"),
    ("GET", "/api/v1/capacity/right-sizing/prod-eu"),
    ("GET", "/api/v1/capacity/plan/prod-eu"),
    ("PUT", "/api/v1/capacity/plan/prod-eu"),
    ("DELETE", "/api/v1/capacity/plan/prod-eu"),
    ("POST", "/api/v1/config/history"),
    ("GET", "/api/v1/config/history"),
    ("GET", "/api/v1/config/history/5b0c9a52-1f7e-4d0f-8a39-7c4b9be0d671"),
    ("GET", "/api/v1/config/at/prod-eu/checkout"),
    ("GET", "/api/v1/config/baselines"),
    ("PUT", "/api/v1/config/baselines"),
    ("DELETE", "/api/v1/config/baselines"),
    ("POST", "/api/v1/drift/events"),
    ("GET", "/api/v1/drift/events"),
    ("GET", "/api/v1/drift/events/cpu-over-request-checkout-2026-01-31"),
    ("PATCH", "/api/v1/drift/events/cpu-over-request-checkout-2026-01-31"),
    ("POST", "/api/v1/drift/detect"),
    ("POST", "/api/v1/drift/recommendations"),
    ("GET", "/api/v1/drift/recommendations"),
    ("GET", "/api/v1/drift/recommendations/right-size-checkout-2026-01-31"),
    ("POST", "/api/v1/drift/recommendations/right-size-checkout-2026-01-31/approve"),
    ("POST", "/api/v1/drift/recommendations/right-size-checkout-2026-01-31/reject"),
    ("POST", "/api/v1/drift/recommendations/right-size-checkout-2026-01-31/apply"),
    ("POST", "/api/v1/events"),
    ("GET", "/api/v1/events"),
    ("GET", "/api/v1/events/3f6c1a52-8f0b-4d3e-9c55-6f1f0e6d2b11"),
    ("POST", "/api/v1/synthetic/purge"),
    ("GET", "/api/v1/synthetic/purge/1"),
    ("POST", "/api/v1/detect"),
    ("POST", "/api/v1/detect/backtest"),
    ("GET", "/api/v1/detect/precision"),
    ("GET", "/api/v1/detect/settings"),
    ("PUT", "/api/v1/detect/settings"),
    ("GET", "/api/v1/detect/runs"),
    ("POST", "/api/v1/detect/runs"),
    ("GET", "/api/v1/anomalies"),
    ("GET", "/api/v1/anomalies/7a1d7c1e-52b4-5c0e-8a44-0d3c5f4b9e21"),
    ("PUT", "/api/v1/anomalies/7a1d7c1e-52b4-5c0e-8a44-0d3c5f4b9e21/mark"),
    ("DELETE", "/api/v1/anomalies/7a1d7c1e-52b4-5c0e-8a44-0d3c5f4b9e21/mark"),
    ("GET", "/api/v1/incidents"),
    ("GET", "/api/v1/incidents/1"),
    ("POST", "/api/v1/incidents/1/acknowledge"),
    ("POST", "/api/v1/incidents/1/resolve"),
    ("POST", "/api/v1/incidents/1/reopen"),
    ("POST", "/api/v1/incidents/1/merge"),
    ("POST", "/api/v1/incidents/1/split"),
    ("POST", "/api/v1/incidents/1/undo"),
    ("GET", "/api/v1/dependencies"),
    ("PUT", "/api/v1/dependencies"),
    ("GET", "/api/v1/tenants"),
    ("POST", "/api/v1/tenants"),
    ("PUT", "/api/v1/tenants/acme/limits"),
    ("GET", "/api/v1/keys"),
    ("POST", "/api/v1/keys"),
    ("DELETE", "/api/v1/keys/1"),
    ("GET", "/api/v1/limits"),
    ("GET", "/api/v1/alerts"),
    ("GET", "/api/v1/alerts/1"),
    ("POST", "/api/v1/alerts/1/acknowledge"),
    ("POST", "/api/v1/alerts/1/close"),
    ("GET", "/api/v1/alerts/rules"),
    ("POST", "/api/v1/alerts/rules"),
    ("GET", "/api/v1/alerts/rules/1"),
    ("PUT", "/api/v1/alerts/rules/1"),
    ("DELETE", "/api/v1/alerts/rules/1"),
    ("POST", "/api/v1/alerts/rules/1/backtest"),
    ("POST", "/api/v1/alerts/rules/backtest"),
    ("GET", "/api/v1/alerts/silences"),
    ("POST", "/api/v1/alerts/silences"),
    ("GET", "/api/v1/alerts/silences/1"),
    ("PUT", "/api/v1/alerts/silences/1"),
    ("DELETE", "/api/v1/alerts/silences/1"),
    ("GET", "/api/v1/alerts/inhibitions"),
    ("POST", "/api/v1/alerts/inhibitions"),
    ("DELETE", "/api/v1/alerts/inhibitions/1"),
    ("GET", "/api/v1/alerts/channels"),
    ("POST", "/api/v1/alerts/channels"),
    ("GET", "/api/v1/alerts/channels/1"),
    ("PUT", "/api/v1/alerts/channels/1"),
    ("DELETE", "/api/v1/alerts/channels/1"),
    ("POST", "/api/v1/alerts/channels/1/test"),
    ("GET", "/api/v1/alerts/notifications"),
    ("POST", "/api/v1/alerts/notifications/0b8f9f3a-3f0e-5c7e-9a53-5f5a4d0e2c11/resend"),
    ("GET", "/api/v1/remediation/policies"),
    ("POST", "/api/v1/remediation/policies"),
    ("GET", "/api/v1/remediation/policies/1"),
    ("PUT", "/api/v1/remediation/policies/1"),
    ("DELETE", "/api/v1/remediation/policies/1"),
    ("GET", "/api/v1/remediation/kill-switch"),
    ("PUT", "/api/v1/remediation/kill-switch"),
    ("GET", "/api/v1/remediations"),
    ("GET", "/api/v1/remediations/1"),
    ("POST", "/api/v1/remediations/1/approve"),
    ("POST", "/api/v1/remediations/1/reject"),
    ("POST", "/api/v1/remediations/1/cancel"),
    ("GET", "/api/v1/audit"),
    ("GET", "/api/v1/audit/verify"),
]


async def test_every_api_route_needs_a_key(client: httpx.AsyncClient) -> None:
    """Without a key, whatever else is right or wrong with the request, the answer is 401."""
    for method, path in API:
        response = await client.request(method, path, headers={"x-api-key": ""})
        problem_of(response, 401)
        assert response.headers["www-authenticate"] == 'Bearer realm="sextant"'


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer ingest-key"},
        {"authorization": "bearer  ingest-key "},
        {"x-api-key": "ingest-key"},
        {"authorization": "Bearer ingest-key", "x-api-key": "another"},
        {"x-api-key": "ingest-key", "x-scope-orgid": "acme"},
        {"x-api-key": "ingest-key", "x-scope-orgid": "2"},
    ],
)
async def test_a_key_is_taken_from_either_header(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """As a bearer token, which counts first, or by its own header; the tenant may be repeated by name or id."""
    assert (await client.post("/ingest", json=METRIC, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": "unknown-key"},
        {"authorization": "Basic aW5nZXN0LWtleTo="},
        {"authorization": "Bearer"},
        {"authorization": "ingest-key"},
        {"x-api-key": "k" * 300},
        {"x-api-key": "\xff\xfe"},
    ],
)
@pytest.mark.parametrize("path", ["/ingest", "/api/v1/metrics/definitions"])
async def test_what_is_no_valid_key_is_refused(client: httpx.AsyncClient, headers: dict[str, str], path: str) -> None:
    """Unknown, mistyped or absurd keys are told apart from nothing but a missing one."""
    sent = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    problem_of(await client.post(path, json=METRIC, headers=sent), 401)


@pytest.mark.parametrize("tenant", ["other", "3", "", "ACME", "\xe9"])
@pytest.mark.parametrize(("method", "path"), [("POST", "/ingest"), ("GET", "/api/v1/limits")])
async def test_another_tenant_than_the_keys_is_refused(
    client: httpx.AsyncClient, method: str, path: str, tenant: str
) -> None:
    """A request that means another tenant must not land in this one."""
    headers = [(b"x-api-key", b"ingest-key"), (b"x-scope-orgid", tenant.encode("latin-1"))]
    problem_of(await client.request(method, path, json=METRIC, headers=headers), 403)


async def test_a_key_without_the_scope_is_refused_before_its_body_is_read(
    world: World, client: httpx.AsyncClient
) -> None:
    """The problem names the scope that is needed, and nothing reaches the core."""
    response = await client.post("/ingest", content=b"not json", headers={"x-api-key": "query-key"})
    assert "'ingest'" in problem_of(response, 403)["detail"]
    assert world.ingestion.requests == []
    response = await client.get("/api/v1/metrics/names", headers={"x-api-key": "ingest-key"})
    assert "'query'" in problem_of(response, 403)["detail"]


async def test_when_keys_cannot_be_looked_up_the_client_is_asked_to_wait(
    world: World, client: httpx.AsyncClient
) -> None:
    """A database that is away is nobody's wrong key."""
    raised_by(world.authentication, error=Unavailable("no database", retry_after_s=5))
    for response in (await client.post("/ingest", json=METRIC), await client.get("/api/v1/limits")):
        problem_of(response, 503)
        assert response.headers["retry-after"] == "5"


@pytest.mark.parametrize("sent", ["abc-1.2_3", "a" * 128])
async def test_a_sane_request_id_is_kept(client: httpx.AsyncClient, sent: str) -> None:
    """A proxy's id comes back, on every kind of route."""
    for path in ("/ingest", "/healthz", "/nothing"):
        response = await client.get(path, headers={"x-request-id": sent})
        assert response.headers.get_list("x-request-id") == [sent]


@pytest.mark.parametrize("sent", ["", "a b", "a" * 129, "<script>", "\xe9"])
async def test_another_request_id_is_replaced(client: httpx.AsyncClient, sent: str) -> None:
    """What could not stand in a log line is not repeated."""
    for path in ("/ingest", "/healthz", "/nothing"):
        response = await client.get(path, headers=[(b"x-request-id", sent.encode("latin-1"))])
        assert len(response.headers["x-request-id"]) == 16
