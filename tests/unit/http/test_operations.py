"""Probes, the server's own metrics, what is not there, and bugs."""

import httpx
import pytest
import structlog
from structlog.testing import LogCapture

from adapters.driving.http import failures
from tests.unit.http.conftest import World
from tests.unit.http.fakes import raised_by
from tests.unit.http.problems import problem_of


async def test_probes_need_no_key(client: httpx.AsyncClient) -> None:
    """An orchestrator has none."""
    for path in ("/healthz", "/readyz", "/health", "/metrics", "/openapi.json", "/docs", "/redoc"):
        assert (await client.get(path, headers={"x-api-key": ""})).status_code == 200, path


async def test_readiness_follows_the_database(world: World, client: httpx.AsyncClient) -> None:
    """Alive is not ready: without its database the server says when to look again."""
    assert (await client.get("/readyz")).json() == {
        "ready": True,
        "checks": [{"name": "database", "ok": True, "detail": "as told"}],
        "remediation": {"available": False, "waiting": 2, "detail": "as told"},
    }
    health = (await client.get("/health")).json()
    assert (health["status"], health["remediation"]["available"]) == ("ok", False)
    world.health.ready = False
    for path in ("/readyz", "/health"):
        response = await client.get(path)
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert response.json()["checks"][0]["ok"] is False
    assert (await client.get("/healthz")).json() == {"status": "ok"}


async def test_own_metrics_are_prometheus_text(client: httpx.AsyncClient) -> None:
    """In the format's media type."""
    response = await client.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "# TYPE sextant_samples_accepted_total counter" in response.text


@pytest.mark.parametrize("path", ["/nothing", "/api/v1/nothing", "/ingest/", "/docs/assets/secret", "/a%2Fb"])
async def test_what_is_not_there_is_a_problem(client: httpx.AsyncClient, path: str) -> None:
    """404 in the same form as every other failure."""
    assert problem_of(await client.get(path), 404)["type"] == "urn:sextant:problem:no-such-route"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/api/v1/metrics", "GET, OPTIONS"),
        ("PATCH", "/api/v1/metrics/definitions/cpu", "DELETE, GET, OPTIONS, PUT"),
        ("POST", "/healthz", "GET, OPTIONS"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    """405 with Allow."""
    response = await client.request(method, path)
    problem_of(response, 405)
    assert response.headers["allow"] == allowed


async def test_a_bug_is_logged_once_and_answered(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply has the request id and nothing of our insides."""
    logged = LogCapture()
    monkeypatch.setattr(failures, "log", structlog.wrap_logger(None, processors=[logged]))
    raised_by(world.querying, error=ZeroDivisionError("secret detail"))
    response = await client.get("/api/v1/metrics/names", headers={"x-request-id": "bug-2"})
    assert problem_of(response, 500)["request_id"] == "bug-2"
    assert "secret" not in response.text
    (event,) = logged.entries
    assert (event["event"], event["route"]) == ("http_request_failed", "/api/v1/metrics/names")
    assert isinstance(event["exc_info"], ZeroDivisionError)
