"""The HTTP application over fakes, in this process."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import httpx
import msgspec
import pytest

from adapters.bootstrap import Storage, open_services
from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.storage import memory_storage
from adapters.driving.http.app import build_app
from adapters.runtime.settings import Settings
from adapters.runtime.telemetry import PrometheusTelemetry
from core.services.operator_key import ensure_operator_tenant
from ports.driving.services import Services
from tests.integration.in_process import SETTINGS
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
from tests.unit.http.memory_server import api, memory_application, memory_server
from tests.unit.http.remediation_fakes import AuditTrail, PolicyBook, RemediationBook

__all__ = ["api", "memory_application", "memory_server"]


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


class Standing:
    """Answers as whatever stands in its place now: an application takes longer to make than most tests."""

    def __init__(self) -> None:
        self.behind: object = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)


class Stage(msgspec.Struct, frozen=True, eq=False):
    """An application, and the places of its services in the order of `Services`."""

    places: Sequence[Standing]
    app: object


@pytest.fixture(scope="module")
def stage() -> Stage:
    """Return an application that the tests of a module share."""
    places = [Standing() for _ in Services.__struct_fields__]
    services = Services(*cast("list[Any]", places))
    return Stage(places, build_app(services, Settings(), PrometheusTelemetry(), FixedClock()))


@pytest.fixture
async def world(stage: Stage) -> World:
    """Return the application over fresh fakes; what is about clusters stands on the store in memory."""
    core = (Authentications(), Ingestions(), Queries(), DefinitionBook(), Administrations(), HealthState())
    alerting = (AlertBook(), RuleBook(), SilenceBook(), ChannelBook(), PolicyBook(), RemediationBook(), AuditTrail())
    fakes = (*core, *alerting, EventBook(), DetectionBook(), IncidentBook())
    storage = memory_storage(MemoryDatabase(FixedClock()))
    await ensure_operator_tenant(storage.tenants)
    real = open_services(SETTINGS, cast("Storage", storage))
    clusters = (real.sources, real.telemetry, real.capacity, real.configurations, real.drift, real.recommendations)
    for place, service in zip(stage.places, (*fakes, *clusters), strict=True):
        place.behind = service
    return World(*fakes, stage.app)


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client that holds a key with every scope."""
    transport = httpx.ASGITransport(world.app)  # type: ignore[arg-type]  # httpx types ASGI more loosely
    headers = {"x-api-key": "all-scopes-key"}
    async with httpx.AsyncClient(transport=transport, base_url="http://sextant", headers=headers) as client:
        yield client
