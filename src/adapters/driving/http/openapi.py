"""The OpenAPI 3.1 document: what Litestar derives from its handlers, and what it cannot know.

That is the two ingest routes, the bodies of the routes that decode strictly by themselves, examples, and that every
failure is a problem.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, Final

import msgspec
from litestar import Controller, Litestar
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

from adapters.driving.http import alert_examples, examples
from adapters.driving.http.approval import FORM, HTML
from adapters.driving.http.ingest_description import INGEST_PATHS, INGEST_SCHEMAS
from adapters.driving.http.openapi_bodies import ALTERNATIVES, BODIES, BODY_OPTIONAL, FURTHER_STATUS
from adapters.driving.http.openapi_checks import BODY_FIELDS, PARAMETERS
from adapters.driving.http.openapi_words import add_words, described_types
from adapters.driving.http.operations import TAG
from adapters.driving.http.problem import MEDIA_TYPE, ProblemDetails
from adapters.runtime.version import __version__
from core.domain.points import IngestReply

Node = dict[str, Any]

DESCRIPTION: Final = """\
A multi-tenant metrics server. Every request carries an API key, as `Authorization: Bearer …` or `X-API-Key`; the key
says which tenant it belongs to and what it may do: `ingest`, `query`, `alerts`, `remediate`, `admin`. Times are RFC
3339 in UTC, ranges are `[start, end)`, durations are written `30s`, `5m`, `1h`, `7d`. Failures are problem+json
(RFC 9457).
"""
TAGS: Final = {
    "Ingest": "Send metrics, one or a batch.",
    "Queries": "Read samples: raw, the latest, statistics, values by bucket.",
    "Definitions": "What a metric means, how it is aggregated and how long it is kept.",
    "Sources": "Collecting from where metrics already are, on schedule and on demand; the instances that were seen.",
    "Telemetry": "Pod metrics under standard names, whichever source they come from: the golden signals.",
    "Capacity": "What clusters have and use: snapshots, plans, when they run out, what is left, what to ask for.",
    "Configurations": "How workloads are configured: every change, the state at any time, what was declared.",
    "Drift": "Where clusters have moved away from what was asked for, declared or planned.",
    "Recommendations": "What would mend a drift, whether somebody agrees, doing it, and what it brought.",
    "Events": "What happened at a moment: error bursts, deployments, changes, anomalies. Purging what was simulated.",
    "Detection": "Looking for anomalies now, over history and on schedule; what was found, and whether it was right.",
    "Incidents": "Signals that belong together: what happened, in words, what probably caused it, the service graph.",
    "Alerts": "What fires or has fired, and what was done about it.",
    "Alert rules": "What is compared with what, who is told, and what a rule would have done over history.",
    "Silences": "Who is not told of what: silences, maintenance windows, inhibitions.",
    "Channels": "Where notifications go, what became of them, and the dead-letter list.",
    "Remediation": "What may be done about alerts: policies, attempts, approvals, the kill switch.",
    "Audit": "Every decision, approval, request, response and verdict, in a chain that shows tampering.",
    "Administration": "Tenants, keys and limits.",
    "Operations": "Health and Sextant's own metrics.",
}
"""In the order in which a newcomer needs them."""
PAGES: Final = frozenset({"show_decision", "decide_by_link"})
"""What people see in a browser: HTML, failures too, and no key."""
SECURITY: Final = {
    "bearer": SecurityScheme(type="http", scheme="bearer", description="An API key."),
    "apiKey": SecurityScheme(type="apiKey", name="X-API-Key", security_scheme_in="header", description="The same."),
}


def openapi_json(controllers: Sequence[type[Controller]], dependencies: Mapping[str, Provide]) -> bytes:
    """The whole document."""
    document = _litestar_document(controllers, dependencies)
    document["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    document["paths"] = deepcopy(INGEST_PATHS) | document["paths"]
    bodies = _add_schemas(document["components"]["schemas"])
    add_words(
        document["components"]["schemas"], described_types(controllers, [*BODIES.values(), ProblemDetails, IngestReply])
    )
    for operation in _operations(document):
        _tidy(operation)
        _add_body(operation, bodies)
        _add_examples(operation)
        _add_problems(operation)
    return msgspec.json.encode(document)


def _litestar_document(controllers: Sequence[type[Controller]], dependencies: Mapping[str, Provide]) -> Node:
    config = OpenAPIConfig(
        title="Sextant",
        version=__version__,
        description=DESCRIPTION,
        use_handler_docstrings=True,
        security=[{name: []} for name in SECURITY],
        components=Components(security_schemes=dict(SECURITY)),
    )
    # A second application, only to be described, so that the one that serves has no routes but ours.
    described = Litestar(controllers, dependencies=dependencies, openapi_config=config, logging_config=None)
    document: Node = described.openapi_schema.to_schema()
    return document


def _operations(document: Node) -> Iterator[Node]:
    for item in document["paths"].values():
        for member in item.values():
            if isinstance(member, dict) and "operationId" in member:
                yield member


def _tidy(operation: Node) -> None:
    """Mends what Litestar says of its own: a 400 in its shape, null as a query's value, keys where none are needed."""
    operation["responses"].pop("400", None)
    if operation["operationId"] in FURTHER_STATUS:
        known, further = FURTHER_STATUS[operation["operationId"]]
        operation["responses"][further] = operation["responses"][known]
    if TAG in operation["tags"] or operation["operationId"] in PAGES:
        operation["security"] = []
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"]
        options = [option for option in schema.pop("oneOf", ()) if option.get("type") != "null"]
        for option in options:
            schema.update(option)
        schema.update(PARAMETERS.get((parameter["in"], parameter["name"]), {}))


def _add_schemas(schemas: Node) -> Node:
    """Adds what is not in the handlers' signatures; returns the schemas of request bodies by operation."""
    reference = "#/components/schemas/{name}"
    bodies, ours = msgspec.json.schema_components(BODIES.values(), ref_template=reference)
    _, further = msgspec.json.schema_components([ProblemDetails, IngestReply], ref_template=reference)
    schemas |= {**further, **ours, **INGEST_SCHEMAS}
    for (name, field), checks in BODY_FIELDS.items():
        schemas[name]["properties"][field] |= checks
    return dict(zip(BODIES, bodies, strict=True))


def _add_body(operation: Node, bodies: Node) -> None:
    name = operation["operationId"]
    if name in bodies:
        media_type = FORM if name in PAGES else "application/json"
        content = {media_type: {"schema": _any_of(name, bodies[name])}}
        operation["requestBody"] = {"required": name not in BODY_OPTIONAL, "content": content}


def _any_of(name: str, schema: Node) -> Node:
    return {"anyOf": [schema, *ALTERNATIVES[name]]} if name in ALTERNATIVES else schema


def _add_examples(operation: Node) -> None:
    name = operation["operationId"]
    for sent in operation.get("requestBody", {}).get("content", {}).values():
        sent.setdefault("examples", {"example": {"value": examples.REQUESTS[name]}})
    for status, response in operation["responses"].items():
        for content in response.get("content", {}).values():
            shown = examples.UNAVAILABLE if status == "503" else examples.REPLIES
            content["examples"] = {"example": {"value": shown[name]}}


def _add_problems(operation: Node) -> None:
    if operation["operationId"] in PAGES:
        shown = {HTML: {"schema": {"type": "string"}, "examples": {"example": {"value": alert_examples.PAGE}}}}
    else:
        problem = {"$ref": "#/components/schemas/ProblemDetails"}
        shown = {MEDIA_TYPE: {"schema": problem, "examples": {"example": {"value": examples.PROBLEM}}}}
    failure = {"description": "The request failed; `type` and `detail` say why.", "content": shown}
    operation["responses"].setdefault("default", failure)
