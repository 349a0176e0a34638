"""Requests generated from the OpenAPI document: never a 5xx, and every reply is as the document says."""

import os
import secrets
from typing import Any, cast

import httpx
import hypothesis
import pytest
import schemathesis
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from adapters.driving.http.app import build_app
from adapters.runtime.clock import SystemClock
from adapters.runtime.settings import Settings
from adapters.runtime.telemetry import PrometheusTelemetry
from ports.driving.services import Services
from tests.e2e.program import KEY, Program

EXAMPLES = int(os.environ.get("SEXTANT_TEST_EXAMPLES", "20"))
"""Requests for each operation; raise it to search for longer."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]


def operations() -> list[Any]:
    """The document's operations; the application that it is taken from stands on nothing."""
    services = Services(*[cast("Any", None)] * len(Services.__struct_fields__))
    app = build_app(services, Settings(), PrometheusTelemetry(), SystemClock())
    document = schemathesis.openapi.from_dict(schemathesis.openapi.from_asgi("/openapi.json", app).raw_schema)
    return [cast("Any", found).ok() for found in document.get_all_operations()]


@pytest.fixture(scope="module")
def keys(server: Program) -> dict[str, str]:
    """Return the keys to use by tag: the operator's for administration, else one of a tenant of its own.

    Silences and kill switches of the operator's tenant would reach the other tests.
    """
    headers = {"X-API-Key": KEY}
    tenant = {"name": f"schema-{secrets.token_hex(6)}"}
    made = httpx.post(f"{server.url}/api/v1/tenants", json=tenant, headers=headers, timeout=30)
    assert made.status_code == 201, made.text
    body = {"tenant": tenant["name"], "scopes": ["ingest", "query", "alerts", "remediate", "admin"]}
    key = httpx.post(f"{server.url}/api/v1/keys", json=body, headers=headers, timeout=30)
    assert key.status_code == 201, key.text
    return {"Administration": KEY, "": key.json()["key"]}


@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.label)
def test_every_operation_keeps_to_the_document(server: Program, keys: dict[str, str], operation: Any) -> None:
    """Valid and invalid requests alike get a reply that the document describes."""
    headers = {"X-API-Key": keys.get(operation.tags[0], keys[""])}

    @hypothesis.settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.given(
        case=hypothesis.strategies.one_of([operation.as_strategy(generation_mode=mode) for mode in GenerationMode])
    )
    def check(case: "schemathesis.Case[Any]") -> None:
        spare_the_other_tests(case)
        case.call_and_validate(base_url=server.url, headers=headers, checks=CHECKS, timeout=30)

    check()


def spare_the_other_tests(case: "schemathesis.Case[Any]") -> None:
    """Turns requests away that would revoke a key that is in use, or throttle the operator's tenant, and lets none wait
    for a collector, which is not there."""
    if "key_id" in case.path_parameters and len(str(case.path_parameters["key_id"])) < 4:
        case.path_parameters["key_id"] = 999_999
    if str(case.path_parameters.get("tenant")) in ("1", "default"):
        case.path_parameters["tenant"] = "absent"
    if case.path.startswith("/api/v1/ingest/"):
        case.query = {**(case.query or {}), "wait": "0"}
