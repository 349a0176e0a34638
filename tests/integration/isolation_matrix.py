"""What every route is to two tenants: who may call it, and a request to it that names another tenant's things.

A route that is not here fails tests/architecture/test_isolation_matrix.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from core.domain.tenants import Scope

Route = tuple[str, str]
"""Method and path template."""


@dataclass(frozen=True)
class Subject:
    """Things that a request may name: a tenant's own, or ones that exist nowhere."""

    tenant: str
    tenant_id: int
    key_id: int
    metric: str
    label: str
    value: str


@dataclass(frozen=True)
class Request:
    """What is sent to the route."""

    path: str
    params: Mapping[str, str]
    json: Any = None


@dataclass(frozen=True)
class Guarded:
    """A route that needs a key with one of `scopes`; `operator`: even then only the operator's."""

    scopes: frozenset[Scope]
    request: Callable[[str, Subject], Request]
    operator: bool = False


@dataclass(frozen=True)
class Public:
    """A route that needs no key, and whose answer is the same whatever tenants have."""

    path: str


INGEST: Final = frozenset({Scope.INGEST})
QUERY: Final = frozenset({Scope.QUERY})
ADMIN: Final = frozenset({Scope.ADMIN})
ANY: Final = frozenset(Scope)


def routes_of(app: object) -> set[Route]:
    """Every route that the application answers, the raw ingest routes included."""
    server = cast("Any", app)
    served = {("POST", path) for path in server._routes}
    for route in server._litestar.routes:
        served |= {(method, route.path_format) for method in route.methods if method != "OPTIONS"}
    return served


def _named(path: str, subject: Subject) -> str:
    return path.format(
        name=subject.metric, label=subject.label, key_id=subject.key_id, tenant=subject.tenant, file="start.js"
    )


def _plain(path: str, subject: Subject) -> Request:
    return Request(_named(path, subject), {})


def _query(path: str, subject: Subject) -> Request:
    return Request(_named(path, subject), {"label": f"{subject.label}={subject.value}"})


def _raw(path: str, subject: Subject) -> Request:
    return Request(path, {"name": subject.metric, "label": f"{subject.label}={subject.value}"})


def _grouped(path: str, subject: Subject) -> Request:
    return Request(_named(path, subject), {"group_by": subject.label})


def _prefix(path: str, subject: Subject) -> Request:
    return Request(path, {"prefix": subject.metric})


def _metric(subject: Subject) -> dict[str, Any]:
    return {"name": subject.metric, "value": 6.66, "labels": {subject.label: subject.value}}


def _one(path: str, subject: Subject) -> Request:
    return Request(path, {}, _metric(subject))


def _batch(path: str, subject: Subject) -> Request:
    return Request(path, {}, {"metrics": [_metric(subject)]})


def _definition(path: str, subject: Subject) -> Request:
    return Request(_named(path, subject), {}, {"name": subject.metric, "retention_days": 1})


def _keys_of(path: str, subject: Subject) -> Request:
    return Request(path, {"tenant": subject.tenant})


def _new_key(path: str, subject: Subject) -> Request:
    return Request(path, {}, {"tenant": subject.tenant_id, "scopes": ["query"]})


def _new_tenant(path: str, subject: Subject) -> Request:
    return Request(path, {}, {"name": subject.tenant})


def _limits(path: str, subject: Subject) -> Request:
    return Request(_named(path, subject), {}, {"samples_per_s": 1})


MATRIX: Final[dict[Route, Guarded | Public]] = {
    ("POST", "/api/v1/metrics/ingest"): Guarded(INGEST, _one),
    ("POST", "/api/v1/metrics/ingest/batch"): Guarded(INGEST, _batch),
    ("POST", "/ingest"): Guarded(INGEST, _one),
    ("POST", "/ingest/batch"): Guarded(INGEST, _batch),
    ("GET", "/api/v1/metrics"): Guarded(QUERY, _raw),
    ("GET", "/api/v1/metrics/names"): Guarded(QUERY, _prefix),
    ("GET", "/api/v1/metrics/labels"): Guarded(QUERY, _plain),
    ("GET", "/api/v1/metrics/labels/{label}/values"): Guarded(QUERY, _plain),
    ("GET", "/api/v1/metrics/latest/{name}"): Guarded(QUERY, _query),
    ("GET", "/api/v1/metrics/aggregate/{name}"): Guarded(QUERY, _grouped),
    ("GET", "/api/v1/metrics/series/{name}"): Guarded(QUERY, _grouped),
    ("GET", "/api/v1/metrics/definitions"): Guarded(QUERY, _plain),
    ("POST", "/api/v1/metrics/definitions"): Guarded(ADMIN, _definition),
    ("GET", "/api/v1/metrics/definitions/{name}"): Guarded(QUERY, _plain),
    ("PUT", "/api/v1/metrics/definitions/{name}"): Guarded(ADMIN, _definition),
    ("DELETE", "/api/v1/metrics/definitions/{name}"): Guarded(ADMIN, _plain),
    ("GET", "/api/v1/tenants"): Guarded(ADMIN, _plain),
    ("POST", "/api/v1/tenants"): Guarded(ADMIN, _new_tenant, operator=True),
    ("PUT", "/api/v1/tenants/{tenant}/limits"): Guarded(ADMIN, _limits, operator=True),
    ("GET", "/api/v1/keys"): Guarded(ADMIN, _keys_of),
    ("POST", "/api/v1/keys"): Guarded(ADMIN, _new_key),
    ("DELETE", "/api/v1/keys/{key_id}"): Guarded(ADMIN, _plain),
    ("GET", "/api/v1/limits"): Guarded(ANY, _plain),
    ("GET", "/healthz"): Public("/healthz"),
    ("GET", "/readyz"): Public("/readyz"),
    ("GET", "/health"): Public("/health"),
    ("GET", "/metrics"): Public("/metrics"),
    ("GET", "/openapi.json"): Public("/openapi.json"),
    ("GET", "/"): Public("/"),
    ("GET", "/docs"): Public("/docs"),
    ("GET", "/redoc"): Public("/redoc"),
    ("GET", "/docs/assets/{file}"): Public("/docs/assets/start.js"),
}
