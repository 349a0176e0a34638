"""The routes for whoever runs the server: is it alive, is it ready, what are its numbers. They need no key."""

from collections.abc import Sequence
from typing import Final, Literal, TypeVar

import msgspec
from litestar import Controller, Response, get
from litestar.openapi.datastructures import ResponseSpec

from adapters.driving.http.guards import ServicesDependency, TelemetryDependency
from adapters.runtime.telemetry import CONTENT_TYPE
from adapters.runtime.version import __version__
from ports.driving.health import Check, Readiness, RemediationHealth

T = TypeVar("T")

TAG: Final = "Operations"
RETRY_AFTER: Final = "1"
"""Seconds; a database that restarts is back within a few."""


class Alive(msgspec.Struct, frozen=True):
    """This process answers."""

    status: Literal["ok"] = "ok"


class HealthReply(msgspec.Struct, frozen=True):
    """Readiness with the version."""

    status: Literal["ok", "unavailable"]
    version: str
    checks: Sequence[Check]
    remediation: RemediationHealth | None


class OperationsController(Controller):
    """For probes and scrapers."""

    path = "/"
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    security: Sequence[dict[str, list[str]]] = []  # the same

    @get("/healthz", operation_id="healthz", summary="Is the process alive?")
    async def healthz(self) -> Alive:
        """Says ok as long as this process answers, whatever the database does."""
        return Alive()

    @get(
        "/readyz",
        operation_id="readyz",
        summary="May traffic come here?",
        responses={503: ResponseSpec(Readiness, description="Something that is needed does not work")},
    )
    async def readyz(self, services: ServicesDependency) -> Response[Readiness]:
        """Asks the database, and whether its schema is up to date. `remediation` says whether Temporal is there and how
        many remediations wait for it; without it alerts fire all the same, so this is ready either way."""
        readiness = await services.health.readiness()
        return _by_readiness(readiness, ready=readiness.ready)

    @get(
        "/health",
        operation_id="health",
        summary="Health, for people",
        responses={503: ResponseSpec(HealthReply, description="Something that is needed does not work")},
    )
    async def health(self, services: ServicesDependency) -> Response[HealthReply]:
        """The same with the version that runs."""
        readiness = await services.health.readiness()
        reply = HealthReply(
            "ok" if readiness.ready else "unavailable", __version__, readiness.checks, readiness.remediation
        )
        return _by_readiness(reply, ready=readiness.ready)

    @get(
        "/metrics",
        operation_id="own_metrics",
        summary="Sextant's own metrics",
        media_type="text/plain",
    )
    async def metrics(self, telemetry: TelemetryDependency) -> Response[bytes]:
        """Numbers about the server itself, in Prometheus' text format."""
        return Response(telemetry.exposition(), media_type=CONTENT_TYPE)


def _by_readiness(reply: T, *, ready: bool) -> Response[T]:
    return Response(reply) if ready else Response(reply, status_code=503, headers={"retry-after": RETRY_AFTER})
