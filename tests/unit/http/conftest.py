"""The HTTP application over fakes, in this process."""

from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from adapters.driving.http.app import build_app
from adapters.runtime.settings import Settings
from adapters.runtime.telemetry import PrometheusTelemetry
from ports.driving.services import Services
from tests.unit.http.alert_fakes import AlertBook, ChannelBook, RuleBook, SilenceBook
from tests.unit.http.detection_fakes import DetectionBook, EventBook, IncidentBook
from tests.unit.http.fakes import (
    Administrations,
    Authentications,
    DefinitionBook,
    FixedClock,
    HealthState,
    Ingestions,
    Queries,
)
from tests.unit.http.remediation_fakes import AuditTrail, PolicyBook, RemediationBook


class World(msgspec.Struct, frozen=True, eq=False):
    """The fakes behind the application, and the application."""

    authentication: Authentications
    ingestion: Ingestions
    querying: Queries
    definitions: DefinitionBook
    administration: Administrations
    health: HealthState
    alerts: AlertBook
    rules: RuleBook
    silences: SilenceBook
    channels: ChannelBook
    policies: PolicyBook
    remediations: RemediationBook
    audit: AuditTrail
    events: EventBook
    detections: DetectionBook
    incidents: IncidentBook
    app: object


@pytest.fixture
def world() -> World:
    """Return the application over fresh fakes."""
    core = (Authentications(), Ingestions(), Queries(), DefinitionBook(), Administrations(), HealthState())
    alerting = (AlertBook(), RuleBook(), SilenceBook(), ChannelBook(), PolicyBook(), RemediationBook(), AuditTrail())
    fakes = (*core, *alerting, EventBook(), DetectionBook(), IncidentBook())
    return World(*fakes, build_app(Services(*fakes), Settings(), PrometheusTelemetry(), FixedClock()))


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client that holds a key with every scope."""
    transport = httpx.ASGITransport(world.app)  # type: ignore[arg-type]  # httpx types ASGI more loosely
    headers = {"x-api-key": "all-scopes-key"}
    async with httpx.AsyncClient(transport=transport, base_url="http://sextant", headers=headers) as client:
        yield client
