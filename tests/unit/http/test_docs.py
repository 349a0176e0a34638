"""The documentation: complete, true to the routes, and from this server alone."""

import re
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
import schemathesis
from jsonschema_rs import Draft202012Validator
from schemathesis.core.result import Ok

from adapters.driving.http.docs import ASSETS
from tests.integration.in_process import InProcess
from tests.unit.http.detection_fakes import ANOMALY_ID
from tests.unit.http.test_auth import API

PUBLIC = [("GET", path) for path in ("/healthz", "/readyz", "/health", "/metrics")]
PAGES = [(method, "/api/v1/remediations/decide") for method in ("GET", "POST")]
INGEST = [("POST", prefix + suffix) for prefix in ("/api/v1/metrics/ingest", "/ingest") for suffix in ("", "/batch")]
ITEMS = {
    "keys": "key",
    "alerts": "alert",
    "rules": "rule",
    "silences": "silence",
    "inhibitions": "inhibition",
    "channels": "channel",
    "policies": "policy",
    "remediations": "remediation",
    "incidents": "incident",
    "purge": "purge",
    "runs": "run",
    "instances": "instance",
}
"""What an id in a path is the id of."""
UUIDS = {"notifications": "notification", "events": "event", "anomalies": "anomaly", "history": "change"}
"""The same of ids that are no numbers."""
NAMES = {
    "source": "production-aws",
    "cluster": "prod-eu",
    "namespace": "shop",
    "workload": "checkout",
    "pod": "pod-1",
    "drift_id": "cpu-over-request-checkout-2026-01-31",
    "rec_id": "right-size-checkout-2026-01-31",
}
"""Names in paths of things that go by their names."""


@pytest.fixture
async def document(memory_application: InProcess) -> dict[str, Any]:
    """Return the OpenAPI document, which the application makes once."""
    async with memory_application.client() as client:
        response = await client.get("/openapi.json")
    assert response.headers["content-type"] == "application/json"
    parsed: dict[str, Any] = response.json()
    return parsed


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Operations by method and path."""
    return {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def template(path: str) -> str:
    """The path as OpenAPI has it."""
    path = path.partition("?")[0]
    path = re.sub(r"/(latest|aggregate|series|definitions)/cpu", r"/\1/{name}", path)
    path = path.replace("/host/", "/{label}/").replace("/acme/", "/{tenant}/")
    path = path.replace("/ingest/synthetic", "/ingest/{source}")
    for parameter, name in NAMES.items():
        path = re.sub(rf"/{name}(?=/|$)", f"/{{{parameter}}}", path)
    for plural in UUIDS:
        path = re.sub(rf"/{plural}/[0-9a-f-]{{36}}", f"/{plural}/{{{UUIDS[plural]}_id}}", path)
    return re.sub(r"/([a-z]+)/1(?=/|$)", lambda found: f"/{found[1]}/{{{ITEMS[found[1]]}_id}}", path)


async def test_every_route_is_described_and_no_other(document: dict[str, Any]) -> None:
    """The document and the server agree on what there is."""
    expected = {(method, template(path)) for method, path in [*API, *PUBLIC, *PAGES, *INGEST]}
    assert set(operations(document)) == expected
    assert document["openapi"].startswith("3.1")


async def test_the_document_is_openapi(document: dict[str, Any]) -> None:
    """A tool that generates requests from it understands every operation."""
    found = list(schemathesis.openapi.from_dict(document).get_all_operations())
    assert all(isinstance(operation, Ok) for operation in found)
    assert len(found) == len([*API, *PUBLIC, *PAGES, *INGEST]) - 2  # API names two of the ingest routes as well


async def test_every_operation_is_worth_reading(document: dict[str, Any]) -> None:
    """A summary, a description, an example for every body and reply, and the shape of failures."""
    for where, operation in operations(document).items():
        assert operation["summary"], where
        assert operation["description"], where
        assert "default" in operation["responses"], where
        bodies = [*operation["responses"].values(), *([operation["requestBody"]] if "requestBody" in operation else [])]
        for body in bodies:
            for content in body.get("content", {}).values():
                assert content["examples"], where
                assert content["schema"], where
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (where, parameter["name"])
            assert "null" not in str(parameter["schema"].get("type")), (where, parameter["name"])


async def test_operations_have_names_of_their_own(document: dict[str, Any]) -> None:
    """Client generators make a function of each."""
    names = [operation["operationId"] for operation in operations(document).values()]
    assert len(set(names)) == len(names)


async def test_keys_are_described(document: dict[str, Any]) -> None:
    """Both ways to send one, on every route but the public ones."""
    assert set(document["components"]["securitySchemes"]) == {"bearer", "apiKey"}
    for (method, path), operation in operations(document).items():
        security = operation.get("security", document["security"])
        assert security == ([] if (method, path) in [*PUBLIC, *PAGES] else [{"bearer": []}, {"apiKey": []}]), path


async def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    """Every `$ref` of the document is in it."""
    text = str(document)
    schemas = document["components"]["schemas"]
    for name in re.findall(r"'#/components/schemas/([^']+)'", text):
        assert name in schemas


async def test_examples_fit_their_schemas(document: dict[str, Any]) -> None:
    """What the document shows is what it describes, in requests, replies and problems."""
    for where, operation in operations(document).items():
        bodies = [*operation["responses"].values(), *([operation["requestBody"]] if "requestBody" in operation else [])]
        for content in [content for body in bodies for content in body.get("content", {}).values()]:
            schema = {**content["schema"], "components": document["components"]}
            for example in content["examples"].values():
                errors = [error.message for error in Draft202012Validator(schema).iter_errors(example["value"])]
                assert errors == [], where


async def test_examples_are_what_the_server_says_and_takes(client: httpx.AsyncClient, document: dict[str, Any]) -> None:
    """Each request example is accepted, and its reply has the members of the reply example."""
    await client.post("/api/v1/tenants", json={"name": "acme"})
    await client.post("/api/v1/sources", json={"name": "made-up", "config": {"type": "synthetic"}})
    made = {"POST /api/v1/tenants": {"name": "other"}}
    first = {f"{item}_id": 1 for item in ITEMS.values()}
    ids = {"reject": {"remediation_id": 2}, "cancel": {"remediation_id": 3}}
    in_order = sorted(operations(document).items(), key=lambda item: (item[0][0] == "PATCH", item[0]))
    for (method, path), operation in in_order:
        if "requestBody" not in operation or (method, path) in PAGES:
            continue
        body = operation["requestBody"]["content"]["application/json"]["examples"]["example"]["value"]
        numbers = {**first, **ids.get(path.rpartition("/")[2], {})}
        names = {**NAMES, "source": "synthetic"} if "/ingest/" in path else NAMES
        target = path.format(name="mem", tenant="acme", anomaly_id=ANOMALY_ID, **numbers, **names)
        target += "?wait=0" if "/api/v1/ingest/" in path else ""
        response = await client.request(method, target, json=made.get(f"{method} {path}", body))
        assert response.status_code in (200, 201, 202), (path, response.text)
        shown = operation["responses"][str(response.status_code)]["content"]["application/json"]
        assert set(response.json()) == set(shown["examples"]["example"]["value"]), path


async def test_members_are_described_by_the_code(document: dict[str, Any]) -> None:
    """What stands under a field or an enumeration's word in the source stands in the document, in JSON's words."""
    schemas = document["components"]["schemas"]
    assert schemas["AlertRule"]["description"] == "One rule of one tenant."
    for schema in ("AlertRule", "RuleReply"):
        members = schemas[schema]["properties"]
        assert members["for"]["description"].startswith("How long the condition must hold")
        assert members["channels"]["description"] == "Names of channels; null: the tenant's default ones."
    assert "`keep`: Nothing is known" in schemas["NoData"]["description"]
    assert schemas["PolicyBody"]["properties"]["secrets"]["description"].startswith("All of them by name")


class Links(HTMLParser):
    """Collects what a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.inline = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.urls += [found[name] for name in ("src", "href", "spec-url") if name in found]
        self.inline |= tag == "script" and "src" not in found


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_pages_load_only_from_this_server(client: httpx.AsyncClient, page: str) -> None:
    """Every link of the page is relative and answers; the policy forbids what a script might add."""
    response = await client.get(page)
    links = Links()
    links.feed(response.text)
    assert len(links.urls) >= 2
    assert not links.inline
    for url in links.urls:
        assert "//" not in url
        loaded = await client.get(f"/{url}")
        assert loaded.status_code == 200, url
        assert len(loaded.content) > 50, url
    policy = response.headers["content-security-policy"]
    assert "http" not in policy
    assert policy.startswith("default-src 'none'; script-src 'self';")


async def test_assets_come_with_their_media_types(client: httpx.AsyncClient) -> None:
    """A browser refuses a script that is called a page."""
    for name, (_, media_type) in {**ASSETS, "start.js": ("", "text/javascript")}.items():
        response = await client.get(f"/docs/assets/{name}")
        assert response.headers["content-type"].partition(";")[0] == media_type
        assert "max-age" in response.headers["cache-control"]


async def test_the_front_door_leads_to_the_docs(client: httpx.AsyncClient) -> None:
    """Who opens the address in a browser sees something."""
    response = await client.get("/", follow_redirects=True)
    assert (response.url.path, response.status_code) == ("/docs", 200)
