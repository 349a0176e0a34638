"""The OpenAPI 3.1 document: what Litestar derives from its handlers, and what it cannot know.

That is the two ingest routes, the bodies of the routes that decode strictly by themselves, examples, and that every
failure is a problem.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from litestar import Controller, Litestar
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

from adapters.driving.http import examples
from adapters.driving.http.administration import KeyBody, LimitsBody, TenantBody
from adapters.driving.http.definitions import DefinitionBody
from adapters.driving.http.ingest_description import INGEST_PATHS, INGEST_SCHEMAS
from adapters.driving.http.operations import TAG
from adapters.driving.http.problem import MEDIA_TYPE, Problem
from adapters.runtime.version import __version__
from core.domain.definitions import RETENTION_DAYS_MAX, MetricDefinition
from core.domain.matchers import MATCHERS_MAX
from core.domain.points import IngestReply
from core.domain.series import LABEL_NAME_CHARS_MAX, LABELS_MAX, NAME_CHARS_MAX

Node = dict[str, Any]

DESCRIPTION: Final = """\
A multi-tenant metrics server. Every request carries an API key, as `Authorization: Bearer …` or `X-API-Key`; the key
says which tenant it belongs to and what it may do: `ingest`, `query`, `admin`. Times are RFC 3339 in UTC, ranges are
`[start, end)`, durations are written `30s`, `5m`, `1h`, `7d`. Failures are problem+json (RFC 9457).
"""
TAGS: Final = {
    "Ingest": "Send metrics, one or a batch.",
    "Queries": "Read samples: raw, the latest, statistics, values by bucket.",
    "Definitions": "What a metric means, how it is aggregated and how long it is kept.",
    "Administration": "Tenants, keys and limits.",
    "Operations": "Health and Sextant's own metrics.",
}
"""In the order in which a newcomer needs them."""
BODIES: Final[dict[str, type]] = {
    "create_definition": MetricDefinition,
    "put_definition": DefinitionBody,
    "create_tenant": TenantBody,
    "put_tenant_limits": LimitsBody,
    "create_key": KeyBody,
}
"""The types of request bodies by operation."""
METRIC_NAME: Final = {"minLength": 1, "maxLength": NAME_CHARS_MAX, "pattern": r"^[A-Za-z_:][A-Za-z0-9_:.\-]*$"}
LABEL_NAME: Final = {
    "minLength": 1,
    "maxLength": LABEL_NAME_CHARS_MAX,
    "pattern": r"^[A-Za-z_][A-Za-z0-9_.\-/]*$",
}
PARAMETERS: Final[dict[tuple[str, str], Node]] = {
    ("query", "name"): METRIC_NAME,
    ("path", "name"): METRIC_NAME,
    ("path", "label"): LABEL_NAME,
    ("query", "label"): {
        "maxItems": MATCHERS_MAX,
        "items": {"type": "string", "pattern": r"^[A-Za-z_][A-Za-z0-9_.\-/]*(=|!=|=~|!~)[A-Za-z0-9_.*\-]*$"},
    },
    ("query", "group_by"): {"maxItems": LABELS_MAX, "items": {"type": "string", **LABEL_NAME}},
    ("query", "bucket"): {"pattern": "^[1-9][0-9]{0,4}(ms|s|m|h|d|w)$"},
}
"""What the core checks of a parameter, for whoever generates requests from the document."""
BODY_FIELDS: Final[dict[tuple[str, str], Node]] = {
    ("MetricDefinition", "name"): METRIC_NAME,
    ("MetricDefinition", "retention_days"): {"minimum": 1, "maximum": RETENTION_DAYS_MAX},
    ("DefinitionBody", "retention_days"): {"minimum": 1, "maximum": RETENTION_DAYS_MAX},
    ("TenantBody", "name"): {"pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"},
}
"""The same of a body's field."""
SECURITY: Final = {
    "bearer": SecurityScheme(type="http", scheme="bearer", description="An API key."),
    "apiKey": SecurityScheme(type="apiKey", name="X-API-Key", security_scheme_in="header", description="The same."),
}


def openapi_json(controllers: Sequence[type[Controller]], dependencies: Mapping[str, Provide]) -> bytes:
    """The whole document."""
    document = _litestar_document(controllers, dependencies)
    document["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    document["paths"] = INGEST_PATHS | document["paths"]
    _add_schemas(document["components"]["schemas"])
    for operation in _operations(document):
        _tidy(operation)
        _add_body(operation)
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
    if operation["operationId"] == "put_definition":
        operation["responses"]["201"] = operation["responses"]["200"]
    if TAG in operation["tags"]:
        operation["security"] = []
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"]
        options = [option for option in schema.pop("oneOf", ()) if option.get("type") != "null"]
        for option in options:
            schema.update(option)
        schema.update(PARAMETERS.get((parameter["in"], parameter["name"]), {}))


def _add_schemas(schemas: Node) -> None:
    _, ours = msgspec.json.schema_components(
        [Problem, IngestReply, *BODIES.values()], ref_template="#/components/schemas/{name}"
    )
    for name, schema in {**ours, **INGEST_SCHEMAS}.items():
        schemas.setdefault(name, schema)
    for (name, field), checks in BODY_FIELDS.items():
        schemas[name]["properties"][field] |= checks


def _add_body(operation: Node) -> None:
    body = BODIES.get(operation["operationId"])
    if body is not None:
        schema = {"$ref": f"#/components/schemas/{body.__name__}"}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}


def _add_examples(operation: Node) -> None:
    name = operation["operationId"]
    for sent in operation.get("requestBody", {}).get("content", {}).values():
        sent.setdefault("examples", {"example": {"value": examples.REQUESTS[name]}})
    for status, response in operation["responses"].items():
        for content in response.get("content", {}).values():
            shown = examples.UNAVAILABLE if status == "503" else examples.REPLIES
            content["examples"] = {"example": {"value": shown[name]}}


def _add_problems(operation: Node) -> None:
    operation["responses"].setdefault(
        "default",
        {
            "description": "The request failed; `type` and `detail` say why.",
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": {"example": {"value": examples.PROBLEM}},
                }
            },
        },
    )
