"""The HTTP server as one ASGI application: ingest goes straight to its handlers, the rest to Litestar."""

from functools import partial
from typing import Final, cast

from litestar import Litestar
from litestar.config.compression import CompressionConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, LifeSpanReceive, LifeSpanScope, LifeSpanSend, Receive, Scope, Send

from adapters.driving.http.administration import AdministrationController
from adapters.driving.http.alerts import AlertController
from adapters.driving.http.anomalies import AnomalyController
from adapters.driving.http.approval import ApprovalController
from adapters.driving.http.asgi import HttpApp, HttpReceive
from adapters.driving.http.audit import AuditController
from adapters.driving.http.body import BodyLimits
from adapters.driving.http.body_budget import BodyBudget
from adapters.driving.http.capacity import CapacityController
from adapters.driving.http.channels import ChannelController
from adapters.driving.http.collection import CollectionController
from adapters.driving.http.configurations import ConfigurationController
from adapters.driving.http.decode import decode_batch, decode_single
from adapters.driving.http.definitions import DefinitionController
from adapters.driving.http.dependencies import DependencyController
from adapters.driving.http.detect import DetectController
from adapters.driving.http.docs import docs_routes
from adapters.driving.http.drift import DriftController
from adapters.driving.http.events import PATH as EVENTS_ROUTE
from adapters.driving.http.events import EventController
from adapters.driving.http.failures import HANDLERS
from adapters.driving.http.front import Front
from adapters.driving.http.incidents import IncidentController
from adapters.driving.http.ingest import IngestRoute
from adapters.driving.http.instances import InstanceController
from adapters.driving.http.kill_switch import KillSwitchController
from adapters.driving.http.notifications import NotificationController
from adapters.driving.http.openapi import openapi_json
from adapters.driving.http.operations import OperationsController
from adapters.driving.http.policies import PolicyController
from adapters.driving.http.queries import QueryController
from adapters.driving.http.recommendations import RecommendationController
from adapters.driving.http.remediations import RemediationController
from adapters.driving.http.rules import RuleController
from adapters.driving.http.silences import InhibitionController, SilenceController
from adapters.driving.http.sources import SourceController
from adapters.driving.http.synthetic import SyntheticController
from adapters.driving.http.telemetry import TelemetryController
from adapters.runtime.settings import Settings
from adapters.runtime.telemetry import PrometheusTelemetry
from ports.driven.clock import Clock
from ports.driving.services import Services

SINGLE_ROUTE: Final = "/api/v1/metrics/ingest"
BATCH_ROUTE: Final = "/api/v1/metrics/ingest/batch"
COMPRESSED_BYTES_MIN: Final = 1_024
"""Smaller replies fit one packet anyway."""
COMPRESS_LEVEL: Final = 1
"""Repetitive JSON shrinks tenfold even so, at a tenth of the time of the usual level."""

CONTROLLERS: Final = (
    QueryController,
    DefinitionController,
    SourceController,
    CollectionController,
    InstanceController,
    TelemetryController,
    CapacityController,
    ConfigurationController,
    DriftController,
    RecommendationController,
    EventController,
    SyntheticController,
    DetectController,
    AnomalyController,
    IncidentController,
    DependencyController,
    AlertController,
    RuleController,
    SilenceController,
    InhibitionController,
    ChannelController,
    NotificationController,
    PolicyController,
    KillSwitchController,
    RemediationController,
    ApprovalController,
    AuditController,
    AdministrationController,
    OperationsController,
)
"""In the order in which the documentation shows them, which goes by path within a tag."""


def build_app(services: Services, settings: Settings, telemetry: PrometheusTelemetry, clock: Clock) -> ASGIApp:
    """The application; it opens nothing, so whoever calls it opens and closes what `services` stand on.

    `clock` says when "now" is in a query.
    """
    server = settings.server
    limits = BodyLimits(
        sent_bytes_max=server.body_bytes_max,
        inflated_bytes_max=server.inflated_bytes_max,
        timeout_s=server.body_timeout_s,
    )
    budget = BodyBudget()
    ingest = partial(IngestRoute, services=services, limits=limits, budget=budget, telemetry=telemetry)
    single, batch = ingest(SINGLE_ROUTE, decode_single), ingest(BATCH_ROUTE, decode_batch)
    litestar = _litestar(services, telemetry, clock)
    front = Front(
        cast("HttpApp", litestar),
        body_timeout_s=server.body_timeout_s,
        large={("POST", EVENTS_ROUTE): limits},
        budget=budget,
        telemetry=telemetry,
    )
    return HttpServer(
        litestar,
        front,
        {SINGLE_ROUTE: single, BATCH_ROUTE: batch, "/ingest": single, "/ingest/batch": batch},
    )


class HttpServer:
    """Dispatches by exact path: `routes` first, then `front`; start and stop go to `litestar`."""

    def __init__(self, litestar: Litestar, front: HttpApp, routes: dict[str, IngestRoute]) -> None:
        self._litestar = litestar
        self._front = front
        self._routes: dict[str, HttpApp] = dict(routes)

    async def __call__(
        self,
        scope: Scope | LifeSpanScope,
        receive: Receive | LifeSpanReceive,
        send: Send | LifeSpanSend,
    ) -> None:
        """One ASGI connection."""
        if scope["type"] == ScopeType.HTTP:
            http_scope = cast("HTTPScope", scope)
            handle = self._routes.get(http_scope["path"], self._front)
            await handle(http_scope, cast("HttpReceive", receive), cast("Send", send))
        else:
            await self._litestar(scope, receive, send)


def _litestar(services: Services, telemetry: PrometheusTelemetry, clock: Clock) -> Litestar:
    dependencies = {
        "services": Provide(lambda: services, sync_to_thread=False),
        "telemetry": Provide(lambda: telemetry, sync_to_thread=False),
        "clock": Provide(lambda: clock, sync_to_thread=False),
    }
    return Litestar(
        [*CONTROLLERS, *docs_routes(partial(openapi_json, CONTROLLERS, dependencies))],
        state=State({"services": services}),
        dependencies=dependencies,
        exception_handlers=HANDLERS,
        compression_config=CompressionConfig(
            backend="gzip", minimum_size=COMPRESSED_BYTES_MIN, gzip_compress_level=COMPRESS_LEVEL
        ),
        request_max_body_size=None,  # `Front` bounds bodies, and answers in our words
        openapi_config=None,
        logging_config=None,
    )
