"""The ingest routes in OpenAPI's words, written out because Litestar does not serve them."""

from copy import deepcopy
from typing import Any, Final

from core.domain.points import POINTS_PER_REQUEST_MAX

Node = dict[str, Any]

INGEST_SCHEMAS: Final[Node] = {
    "Metric": {
        "title": "Metric",
        "description": "One value of one series at one instant.",
        "type": "object",
        "required": ["name", "value"],
        "properties": {
            "name": {
                "type": "string",
                "maxLength": 200,
                "pattern": "^[A-Za-z_:][A-Za-z0-9_:.\\-]*$",
                "description": "What is measured.",
            },
            "value": {"type": "number", "description": "A finite 64-bit floating-point number."},
            "labels": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "What tells this series from others of the name; at most 40.",
            },
            "timestamp": {
                "type": ["string", "null"],
                "format": "date-time",
                "description": "RFC 3339 with a zone. Default: now.",
            },
            "source": {"type": ["string", "null"], "description": "Who measured; part of the series' identity."},
        },
    },
    "MetricBatch": {
        "title": "MetricBatch",
        "type": "object",
        "required": ["metrics"],
        "properties": {
            "metrics": {
                "type": "array",
                "minItems": 1,
                "maxItems": POINTS_PER_REQUEST_MAX,
                "items": {"$ref": "#/components/schemas/Metric"},
            }
        },
    },
}

_PARAMETERS: Final[list[Node]] = [
    {
        "name": "atomic",
        "in": "query",
        "description": "All or nothing: one refused metric refuses the request.",
        "schema": {"type": "boolean", "default": False},
        "examples": {"example": {"value": True}},
    },
    {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Repeating a request with the same key and body within 24 hours stores nothing more and gets "
        "the first reply.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        "examples": {"example": {"value": "0b7a2c9e-web-1-000017"}},
    },
]

_DESCRIPTION: Final = (
    " A 200 means that what was accepted is on disk. Good metrics are stored, bad ones answered by index, field "
    "and reason (the first 20). Unknown members are ignored. On 429 and 503 repeat the request after Retry-After "
    "seconds; a point sent twice is stored once. A body may be compressed, with `Content-Encoding: gzip` or `zstd`; it "
    "holds at most 8 MiB as sent and 32 MiB inflated."
)


def _path(operation_id: str, schema: str, summary: str, description: str) -> Node:
    return {
        "post": {
            "operationId": operation_id,
            "tags": ["Ingest"],
            "summary": summary,
            "description": description + _DESCRIPTION,
            "parameters": deepcopy(_PARAMETERS),
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
            },
            "responses": {
                "200": {
                    "description": "At least one metric is stored.",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/IngestReply"}}},
                }
            },
            "security": [{"bearer": []}, {"apiKey": []}],
        }
    }


_ONE: Final = ("Metric", "Send one metric", "Stores one metric.")
_MANY: Final = ("MetricBatch", "Send metrics", f"Stores up to {POINTS_PER_REQUEST_MAX} metrics.")

INGEST_PATHS: Final[Node] = {
    "/api/v1/metrics/ingest": _path("ingest", *_ONE),
    "/api/v1/metrics/ingest/batch": _path("ingest_batch", *_MANY),
    "/ingest": _path("ingest_alias", *_ONE),
    "/ingest/batch": _path("ingest_batch_alias", *_MANY),
}
